/* What the official program does when an option is not given, by model (spec/wan.md 1). */
#ifndef WN_PIPE_DEFAULTS_H
#define WN_PIPE_DEFAULTS_H

#include "io/checkpoint.h"

struct wn_defaults {
    int width, height, frames, steps;
    double fps, shift;
    double guidance_low, guidance_high; /* the same where there is one transformer */
    double boundary;                    /* noise level of the switch between experts; 0: one transformer */
    const char *negative;
    int size_multiple; /* pixels: VAE stride times patch */
};

/* Official values for the checkpoint's kind and size. */
void wn_defaults_for(struct wn_defaults *d, const struct wn_checkpoint *checkpoint);

/* A model of no official size may say what it was trained for, in its transformer's safetensors metadata:
 * keys "wan.size" (WxH), "wan.frames", "wan.fps", "wan.steps", "wan.shift", "wan.guidance". Values out of
 * bounds are WAN_EFORMAT. */
enum wan_status wn_defaults_from_metadata(struct wn_defaults *d, const struct wn_weights *dit,
                                          struct wn_err *err);

#endif
