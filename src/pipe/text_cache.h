/* Encoded texts kept in a folder between runs: one small file for each, found by the text's tokens and by
 * what the bits of its rows depend on.
 *
 * Any number of processes may use a folder at once: entries appear whole, and one that vanishes, is damaged
 * or is of another kind counts as not there. A folder that cannot be used is said once and changes nothing.
 */
#ifndef WN_PIPE_TEXT_CACHE_H
#define WN_PIPE_TEXT_CACHE_H

#include "base/log.h"
#include "io/weights.h"

enum { WN_TEXT_CACHE_MIB = 256 }; /* what a folder may hold; past that, entries not used for longest go */

struct wn_text_cache {
    const char *folder;  /* made where it is not there */
    const char *maker;   /* build, device and instruction set: results of others may round differently */
    const char *encoder; /* digest of the encoder's weights, and its precision */
    size_t max_bytes;
    const struct wn_log *log;
    bool failed; /* a failure to write was told */
};

/* Rows [n, width] of the text with these tokens into new memory (wn_free). *rows NULL: not there. Fails for
 * lack of memory only. */
enum wan_status wn_text_cache_get(const struct wn_text_cache *c, const int32_t *ids, int64_t n, int64_t width,
                                  float **rows, struct wn_err *err);
/* Keep rows [n, width]. Fails for lack of memory only. */
enum wan_status wn_text_cache_put(struct wn_text_cache *c, const int32_t *ids, int64_t n, int64_t width,
                                  const float *rows, struct wn_err *err);

#endif
