/* The parts of one checkpoint, opened when first asked for and shared by the jobs of a model. */
#ifndef WN_PIPE_PARTS_H
#define WN_PIPE_PARTS_H

#include "backend/device.h"
#include "io/checkpoint.h"
#include "model/dit.h"
#include "model/t5.h"
#include "model/vae.h"
#include "text/text.h"

struct wn_parts {
    const struct wn_checkpoint *checkpoint;    /* borrowed */
    struct wn_device *dev;                     /* borrowed */
    struct wn_weights *weights[WN_PART_COUNT]; /* of the parts that are open */
    struct wn_tokenizer *tokenizer;
    struct wn_t5 *t5;
    struct wn_dit *dit[WN_N_DITS]; /* by enum wn_part */
    struct wn_vae *vae;
};

void wn_parts_init(struct wn_parts *parts, const struct wn_checkpoint *checkpoint, struct wn_device *dev);
void wn_parts_release(struct wn_parts *parts); /* fine on a zeroed struct */
/* The transformer called `expert` of a two-expert checkpoint, "high" or "low"; NULL for the transformer of
 * one that has a single. WAN_EINVAL where that does not fit. */
enum wan_status wn_parts_choose(const struct wn_parts *parts, const char *expert, enum wn_part *which,
                                struct wn_err *err);

/* Map the weights of a part unless they are mapped already. */
enum wan_status wn_parts_weights(struct wn_parts *parts, enum wn_part part, struct wn_err *err);
/* Open the part unless it is open already; a part that the checkpoint lacks is WAN_EFORMAT, naming what was
 * looked for. */
enum wan_status wn_parts_tokenizer(struct wn_parts *parts, struct wn_err *err);
enum wan_status wn_parts_t5(struct wn_parts *parts, struct wn_err *err);
enum wan_status wn_parts_dit(struct wn_parts *parts, enum wn_part which, struct wn_err *err);
enum wan_status wn_parts_vae(struct wn_parts *parts, struct wn_err *err);

/* A part is not needed for a while: its pages and what the device made of them go (it stays open), and so
 * does the device's idle memory. */
void wn_parts_rest(struct wn_parts *parts, enum wn_part part);

#endif
