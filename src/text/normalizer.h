/* The "normalizer" of a tokenizer.json: steps that rewrite text before it is cut up. */
#ifndef WN_TEXT_NORMALIZER_H
#define WN_TEXT_NORMALIZER_H

#include <jansson.h>

#include "text/charsmap.h"

enum wn_norm_kind {
    WN_NORM_CHARSMAP,
    WN_NORM_FORM,
    WN_NORM_NMT,
    WN_NORM_STRIP,
    WN_NORM_REPLACE,
    WN_NORM_PREPEND
};

struct wn_norm_step {
    enum wn_norm_kind kind;
    struct wn_charsmap map; /* CHARSMAP */
    enum wn_norm_form form; /* FORM */
    bool left, right;       /* STRIP */
    struct wn_u32 find;     /* REPLACE: this text, */
    size_t min_run;         /* or, where not 0, a run of at least so many of its one character */
    struct wn_u32 put;      /* REPLACE, PREPEND */
};
struct wn_normalizer {
    struct wn_norm_step *steps;
    size_t n;
};

/* `json` is the value of "normalizer" (null: no steps); `path` names the file in messages. */
enum wan_status wn_normalizer_read(struct wn_normalizer *norm, const json_t *json, const char *path,
                                   struct wn_err *err);
void wn_normalizer_release(struct wn_normalizer *norm);

/* Rewrite *s (s->failed: out of memory). *cut becomes true when what is now in front did not begin the text.
 */
void wn_normalizer_apply(const struct wn_normalizer *norm, struct wn_u32 *s, bool *cut);

#endif
