#include "pipe/parts.h"

#include <string.h>

#include "base/pages.h"

void wn_parts_init(struct wn_parts *p, const struct wn_checkpoint *checkpoint, struct wn_device *dev)
{
    *p = (struct wn_parts){.checkpoint = checkpoint, .dev = dev};
}

void wn_parts_release(struct wn_parts *p)
{
    wn_t5_free(p->t5);
    for (int i = 0; i < WN_N_DITS; i++) wn_dit_free(p->dit[i]);
    wn_vae_free(p->vae);
    for (int i = 0; i < WN_PART_COUNT; i++) wn_weights_close(p->weights[i]);
    wn_tokenizer_close(p->tokenizer);
    *p = (struct wn_parts){0};
}

enum wan_status wn_parts_choose(const struct wn_parts *p, const char *expert, enum wn_part *which,
                                struct wn_err *err)
{
    const char *path = p->checkpoint->path;
    bool two = wn_checkpoint_has_experts(p->checkpoint);
    *which = WN_PART_DIT;
    if (!expert && two)
        return wn_fail(err, WAN_EINVAL, "%s has two experts: say which with --expert high or --expert low",
                       path);
    if (!expert) return WAN_OK;
    if (!two) return wn_fail(err, WAN_EINVAL, "--expert %s: %s has one transformer", expert, path);
    if (strcmp(expert, "high") && strcmp(expert, "low"))
        return wn_fail(err, WAN_EINVAL, "--expert '%s': must be high or low", expert);
    *which = strcmp(expert, "high") ? WN_PART_DIT_LOW : WN_PART_DIT_HIGH;
    return WAN_OK;
}

/* Quantised matrices are used as what they stand for, which takes memory that the file does not tell of. */
static void say_unpacked(const struct wn_parts *p, enum wn_part part)
{
    const struct wn_weights *w = p->weights[part];
    bool quantised = false;
    for (size_t i = 0; i < wn_weights_count(w); i++) quantised |= wn_weight_bits(wn_weights_at(w, i)) != 0;
    if (quantised)
        wn_logf(&p->dev->log, WN_LOG_NOTICE, "the %s is quantised; unpacked it takes %.2f GB of memory",
                wn_part_name(part), (double)wn_weights_n_packed(w) * 1e-9);
}

enum wan_status wn_parts_weights(struct wn_parts *p, enum wn_part part, struct wn_err *err)
{
    if (p->weights[part]) return WAN_OK;
    if (!wn_checkpoint_weights(p->checkpoint, part, &p->weights[part], err)) say_unpacked(p, part);
    return err->code;
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
    if (wn_parts_weights(p, WN_PART_T5, err)) return err->code;
    return wn_t5_new(&p->t5, p->dev, p->weights[WN_PART_T5], err);
}

/* How many of a transformer's blocks stay in memory between steps: all where three quarters of it hold them.
 */
static int resident_blocks(const struct wn_weights *weights, int n_blocks)
{
    double keep = 0.75 * (double)wn_machine_memory(), all = (double)wn_weights_n_bytes(weights);
    return keep == 0 || all <= keep ? n_blocks : (int)(n_blocks * keep / all);
}

enum wan_status wn_parts_dit(struct wn_parts *p, enum wn_part which, struct wn_err *err)
{
    struct wn_dit_config config;
    if (p->dit[which]) return WAN_OK;
    if (wn_parts_weights(p, which, err) ||
        wn_checkpoint_dit_config(p->checkpoint, which, p->weights[which], &config, err))
        return err->code;
    if (wn_dit_new(&p->dit[which], p->dev, p->weights[which], &config, err)) return err->code;
    wn_dit_set_resident(p->dit[which], resident_blocks(p->weights[which], config.n_layers));
    return WAN_OK;
}

enum wan_status wn_parts_vae(struct wn_parts *p, struct wn_err *err)
{
    if (p->vae) return WAN_OK;
    if (wn_parts_weights(p, WN_PART_VAE, err)) return err->code;
    return wn_vae_new(&p->vae, p->dev, p->weights[WN_PART_VAE], err);
}

void wn_parts_rest(struct wn_parts *p, enum wn_part part)
{
    if (part == WN_PART_T5 && p->t5) wn_t5_rest(p->t5);
    if (part < WN_N_DITS && p->dit[part]) wn_dit_rest(p->dit[part]);
    if (part == WN_PART_VAE && p->vae) wn_vae_rest(p->vae);
    if (p->weights[part]) wn_weights_release_pages(p->weights[part]);
    p->dev->table->trim(p->dev);
}
