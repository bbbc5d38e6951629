/* Members of JSON objects from files nobody vouches for. */
#ifndef WN_TEXT_JSON_H
#define WN_TEXT_JSON_H

#include <stdbool.h>

#include <jansson.h>

#include "base/status.h"

/* *out = object[key], borrowed, which must be there and of that type; else WAN_EFORMAT naming `path` and key.
 */
enum wan_status wn_json_get(const json_t *object, const char *key, json_type type, const json_t **out,
                            const char *path, struct wn_err *err);
enum wan_status wn_json_get_bool(const json_t *object, const char *key, bool *out, const char *path,
                                 struct wn_err *err);

#endif
