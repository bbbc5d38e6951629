/* JSON from files, through jansson: no duplicate keys, bounded depth and size. */
#ifndef WN_IO_JSON_H
#define WN_IO_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"
#include "base/status.h"

/* Nesting and number of values that a file may have: far above any real one, low enough that a hostile one
 * costs neither stack nor gigabytes. */
enum { WN_JSON_MAX_DEPTH = 32, WN_JSON_MAX_VALUES = 2 * 1000 * 1000 };

/* Make jansson allocate through base/mem.h, so that its allocations are counted and can be failed.
 * Process-wide and therefore for tests and programs only, before the first use of jansson: a library must not
 * do it to a host that may use jansson itself. */
void wn_json_hook_memory(void);

/* Parse text [n bytes], which need not end in NUL. `flags`: jansson's decoding flags beside
 * JSON_REJECT_DUPLICATES. Free *root with json_decref. `path` is for messages. */
enum wan_status wn_json_parse(json_t **root, const char *text, size_t n, size_t flags, const char *path,
                              struct wn_err *err);
/* The same from a file of at most `max` bytes. */
enum wan_status wn_json_read(json_t **root, const char *path, size_t max, size_t flags, struct wn_err *err);

/* `root` as text, indented, reals to the precision of a float. Free with wn_free. */
enum wan_status wn_json_text(const json_t *root, char **text, struct wn_err *err);

/* *out = object[key], borrowed, which must be there and of that type; else WAN_EFORMAT naming `path` and key.
 */
enum wan_status wn_json_get(const json_t *object, const char *key, json_type type, const json_t **out,
                            const char *path, struct wn_err *err);
enum wan_status wn_json_get_bool(const json_t *object, const char *key, bool *out, const char *path,
                                 struct wn_err *err);

/* Append s [n bytes] as a JSON string; bytes that are not UTF-8 become U+FFFD. 0, or -1 when out of memory.
 */
int wn_json_add_text(struct wn_str *out, const char *s, size_t n);

#endif
