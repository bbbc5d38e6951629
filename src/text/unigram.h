/* The Unigram model: a text is cut into the pieces whose scores add up to the most. */
#ifndef WN_TEXT_UNIGRAM_H
#define WN_TEXT_UNIGRAM_H

#include <stdbool.h>

#include "base/status.h"
#include "text/trie.h"
#include "text/utf.h"

struct wn_unigram {
    struct wn_trie trie; /* piece to id; of pieces written twice, the last */
    double *score;       /* [n] */
    size_t n;
    double unk_score;     /* of a character that is no piece */
    int32_t unk;          /* its id; -1: the file names none, and such a character is an error */
    bool byte_fallback;   /* runs of such characters become bytes, where the vocabulary has them all */
    int32_t byte_id[256]; /* of "<0x00>".. or -1 */
};

/* keys[i].value is i, scores[n] becomes the model's (also on failure). */
enum wan_status wn_unigram_build(struct wn_unigram *m, const struct wn_key *keys, double *scores, size_t n,
                                 struct wn_err *err);
void wn_unigram_release(struct wn_unigram *m);

/* Append the ids of `s` [n bytes of UTF-8] to `ids`. */
enum wan_status wn_unigram_encode(const struct wn_unigram *m, const char *s, size_t n, struct wn_u32 *ids,
                                  struct wn_err *err);

#endif
