#include "pipe/parts.h"

#include <string.h>

void wn_parts_init(struct wn_parts *p, const struct wn_checkpoint *checkpoint, struct wn_device *dev)
{
    *p = (struct wn_parts){.checkpoint = checkpoint, .dev = dev, .dit_part = WN_PART_DIT};
}

void wn_parts_release(struct wn_parts *p)
{
    wn_t5_free(p->t5);
    wn_dit_free(p->dit);
    wn_vae_free(p->vae);
    wn_weights_close(p->t5_weights);
    wn_weights_close(p->dit_weights);
    wn_weights_close(p->vae_weights);
    wn_tokenizer_close(p->tokenizer);
    *p = (struct wn_parts){0};
}

enum wan_status wn_parts_choose(struct wn_parts *p, const char *expert, struct wn_err *err)
{
    const char *path = p->checkpoint->path;
    bool two = wn_checkpoint_has_experts(p->checkpoint);
    if (!expert && two)
        return wn_fail(err, WAN_EINVAL, "%s has two experts: say which with --expert high or --expert low",
                       path);
    if (!expert) return WAN_OK;
    if (!two) return wn_fail(err, WAN_EINVAL, "--expert %s: %s has one transformer", expert, path);
    if (strcmp(expert, "high") && strcmp(expert, "low"))
        return wn_fail(err, WAN_EINVAL, "--expert '%s': must be high or low", expert);
    p->dit_part = strcmp(expert, "high") ? WN_PART_DIT_LOW : WN_PART_DIT_HIGH;
    return WAN_OK;
}

enum wan_status wn_parts_tokenizer(struct wn_parts *p, struct wn_err *err)
{
    if (p->tokenizer) return WAN_OK;
    const struct wn_checkpoint *c = p->checkpoint;
    if (!wn_checkpoint_has(c, WN_PART_TOKENIZER))
        return wn_fail(err, WAN_EFORMAT,
                       "%s: no tokenizer (folder google/umt5-xxl with tokenizer.json or "
                       "spiece.model)",
                       c->path);
    return wn_tokenizer_open(&p->tokenizer, c->part[WN_PART_TOKENIZER].path, err);
}

enum wan_status wn_parts_t5(struct wn_parts *p, struct wn_err *err)
{
    if (p->t5) return WAN_OK;
    if (!p->t5_weights && wn_checkpoint_weights(p->checkpoint, WN_PART_T5, &p->t5_weights, err))
        return err->code;
    return wn_t5_new(&p->t5, p->dev, p->t5_weights, err);
}

enum wan_status wn_parts_dit(struct wn_parts *p, struct wn_err *err)
{
    struct wn_dit_config config;
    if (p->dit) return WAN_OK;
    if (!p->dit_weights && wn_checkpoint_weights(p->checkpoint, p->dit_part, &p->dit_weights, err))
        return err->code;
    if (wn_checkpoint_dit_config(p->checkpoint, p->dit_part, p->dit_weights, &config, err)) return err->code;
    return wn_dit_new(&p->dit, p->dev, p->dit_weights, &config, err);
}

enum wan_status wn_parts_vae(struct wn_parts *p, struct wn_err *err)
{
    if (p->vae) return WAN_OK;
    if (!p->vae_weights && wn_checkpoint_weights(p->checkpoint, WN_PART_VAE, &p->vae_weights, err))
        return err->code;
    return wn_vae_new(&p->vae, p->dev, p->vae_weights, err);
}
