/* Prompts to the rows that the transformer attends to. */
#ifndef WN_PIPE_PROMPT_H
#define WN_PIPE_PROMPT_H

#include "pipe/parts.h"
#include "pipe/text_cache.h"

enum { WN_MAX_PROMPTS = 2 }; /* conditional, unconditional */

/* Rows of each prompt, [n, width] f32 host memory. */
struct wn_contexts {
    float *rows[WN_MAX_PROMPTS];
    int64_t n[WN_MAX_PROMPTS];
    int64_t width;
};
void wn_contexts_release(struct wn_contexts *c); /* fine on a zeroed struct */
enum wan_status wn_contexts_copy(struct wn_contexts *out, const struct wn_contexts *in, struct wn_err *err);

/* One text: tokens [n] and rows [n, width] in memory of its own. */
struct wn_text {
    int32_t *ids;
    float *rows;
    int64_t n, width;
    enum wn_precision precision; /* that it was encoded in */
};
/* Texts in memory, for the runs of one model to share. Zero-initialise. */
struct wn_texts {
    struct wn_text *item;
    size_t n, cap;
};
void wn_texts_release(struct wn_texts *t);

/* What texts become rows by. */
struct wn_text_encoder {
    struct wn_parts *parts;
    int64_t text_len, width; /* most tokens of a text, and width of its rows, as the transformer takes them */
    const struct wn_texts *known; /* looked into first; NULL: none */
    const char *cache_folder;     /* then this one (text_cache.h); NULL: none */
    const char *maker;            /* of its entries */
    struct wn_t5_listener listener;
};
/* Clean and tokenise texts [n], and add those that are not there yet to *out with their rows, from where they
 * are known, else from the text encoder: each as if alone, all in one sweep, after which the encoder's pages
 * are given back. It is opened only when it is needed, and its weights are mapped only for it or the cache.
 * index[i] is where text i is in *out. On failure *out is as it was. */
enum wan_status wn_encode_texts(struct wn_exec *ex, const struct wn_text_encoder *e, const char *const *text,
                                size_t n, struct wn_texts *out, size_t *index);

#endif
