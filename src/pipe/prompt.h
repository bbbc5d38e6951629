/* Prompts to the rows that the transformer attends to. */
#ifndef WN_PIPE_PROMPT_H
#define WN_PIPE_PROMPT_H

#include "pipe/parts.h"

enum { WN_MAX_PROMPTS = 2 }; /* conditional, unconditional */

/* Rows of each prompt, [n, width] f32 host memory. */
struct wn_contexts {
    float *rows[WN_MAX_PROMPTS];
    int64_t n[WN_MAX_PROMPTS];
    int64_t width;
};
void wn_contexts_release(struct wn_contexts *c); /* fine on a zeroed struct */
enum wan_status wn_contexts_copy(struct wn_contexts *out, const struct wn_contexts *in, struct wn_err *err);

/* Clean, tokenise (at most `text_len` tokens each) and encode `n` prompts in one pass of the text encoder,
 * whose pages are given back after. Opens tokenizer and text encoder. On failure *out is zeroed. */
enum wan_status wn_encode_prompts(struct wn_exec *ex, struct wn_contexts *out, struct wn_parts *parts,
                                  const char *const *prompt, int n, int64_t text_len);

#endif
