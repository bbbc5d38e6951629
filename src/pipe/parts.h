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
    const struct wn_checkpoint *checkpoint; /* borrowed */
    struct wn_device *dev;                  /* borrowed */
    enum wn_part dit_part;                  /* which transformer */
    struct wn_tokenizer *tokenizer;
    struct wn_weights *t5_weights, *dit_weights, *vae_weights;
    struct wn_t5 *t5;
    struct wn_dit *dit;
    struct wn_vae *vae;
};

void wn_parts_init(struct wn_parts *parts, const struct wn_checkpoint *checkpoint, struct wn_device *dev);
void wn_parts_release(struct wn_parts *parts); /* fine on a zeroed struct */
/* Choose the transformer of a two-expert checkpoint, "high" or "low"; NULL for one that has a single
 * transformer. WAN_EINVAL where that does not fit. */
enum wan_status wn_parts_choose(struct wn_parts *parts, const char *expert, struct wn_err *err);

/* Open the part unless it is open already; a part that the checkpoint lacks is WAN_EFORMAT, naming what was
 * looked for. */
enum wan_status wn_parts_tokenizer(struct wn_parts *parts, struct wn_err *err);
enum wan_status wn_parts_t5(struct wn_parts *parts, struct wn_err *err);
enum wan_status wn_parts_dit(struct wn_parts *parts, struct wn_err *err);
enum wan_status wn_parts_vae(struct wn_parts *parts, struct wn_err *err);

#endif
