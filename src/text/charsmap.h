/* A sentencepiece "precompiled charsmap": rewrite rules as a double-array trie (of the darts-clone library)
 * over UTF-8 bytes, and the replacement texts it points into. */
#ifndef WN_TEXT_CHARSMAP_H
#define WN_TEXT_CHARSMAP_H

#include <stdbool.h>

#include "base/status.h"
#include "text/utf.h"

struct wn_charsmap {
    uint32_t *units;
    size_t n_units;
    char *text; /* UTF-8, each entry ends in NUL */
    size_t n_text;
};

/* `blob` [n bytes]: u32 bytes of the trie, the trie, the texts. Everything a lookup can reach is checked
 * here. `what` names the file in messages. */
enum wan_status wn_charsmap_open(struct wn_charsmap *map, const uint8_t *blob, size_t n, const char *what,
                                 struct wn_err *err);
void wn_charsmap_close(struct wn_charsmap *map); /* fine on a zeroed one */

/* Rewrite `in` the way Hugging Face tokenizers do, appending to `out`: grapheme clusters below 6 bytes by the
 * shortest rule that begins them (which drops the rest of the cluster), everything else one character at a
 * time. */
void wn_charsmap_apply(const struct wn_charsmap *map, const struct wn_u32 *in, struct wn_u32 *out);

#endif
