/* JSON from files: jansson with our allocator, no duplicate keys, bounded depth and size. */
#ifndef WN_IO_JSON_H
#define WN_IO_JSON_H

#include <jansson.h>
#include <stddef.h>

#include "base/status.h"

/* Nesting and number of values that a file may have: far above any real one, low enough that a hostile one
 * costs neither stack nor gigabytes. */
enum { WN_JSON_MAX_DEPTH = 32, WN_JSON_MAX_VALUES = 2 * 1000 * 1000 };

/* Make jansson allocate through base/mem.h. Process-wide, so it must come before the first use of jansson in
 * the process; everything below calls it, wan_context_new should. Thread-safe; later calls do nothing. */
void wn_json_init(void);

/* Parse text [n bytes], which need not end in NUL. Free *root with json_decref. `path` is for messages. */
enum wan_status wn_json_parse(json_t **root, const char *text, size_t n, const char *path,
                              struct wn_err *err);
/* The same from a file of at most `max` bytes. */
enum wan_status wn_json_read(json_t **root, const char *path, size_t max, struct wn_err *err);

#endif
