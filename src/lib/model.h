/* A model as the public API's files see it. */
#ifndef WN_LIB_MODEL_H
#define WN_LIB_MODEL_H

#include "lib/lib.h"
#include "pipe/defaults.h"
#include "pipe/prompt.h"

struct wan_model {
    struct wan_context *ctx;
    struct wn_checkpoint checkpoint;
    struct wn_parts parts;
    struct wn_defaults defaults;
    bool has_defaults;     /* the transformer was asked what it was trained for */
    struct wn_texts texts; /* encoded before any session wanted them */
};

/* Bounds of every field that is set (options.c). */
enum wan_status wn_gen_check(const struct wan_gen_params *p, struct wn_err *err);
/* The value of an option as the program reads it, in new memory; NULL: no memory. */
char *wn_option_text(const struct wan_gen_params *p, const struct wan_option *o);
/* Nothing is set that a run from latents has no use for. */
enum wan_status wn_gen_check_decode(const struct wan_gen_params *p, struct wn_err *err);

#endif
