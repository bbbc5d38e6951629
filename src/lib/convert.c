/* wan_convert: a checkpoint in another layout, beside the one that it is made from. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "io/json.h"
#include "lib/convert.h"
#include "lib/lib.h"
#include "pipe/defaults.h"

enum { MAX_CONFIG = 1 << 20, MAX_METADATA = 16, KEEP_BYTES = 64 << 20 /* of the source in memory */ };

struct part_out {
    struct wn_weights *w;
    struct wn_part_file *file;
    char name[64]; /* in the folder */
};

struct conversion {
    struct wan_context *ctx;
    const struct wan_convert_params *p;
    struct wn_checkpoint ck;
    struct wn_store store;
    struct wn_new_folder folder;
    struct part_out part[WN_PART_COUNT];
    /* progress */
    enum wn_part now;
    double start;
    size_t done, all; /* bytes */
    size_t touched;   /* of them, since the pages of the source were given back */
    struct wn_err *err;
};

/* ---- what is asked for ---- */

static enum wan_status parse_type(const char *name, enum wn_dtype *type, struct wn_err *err)
{
    static const struct {
        const char *name;
        enum wn_dtype type;
    } types[] = {{"bf16", WN_BF16}, {"f16", WN_F16}, {"f32", WN_F32}};
    *type = WN_NONE;
    if (!name) return WAN_OK;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!strcmp(name, types[i].name)) *type = types[i].type;
    return *type ? WAN_OK : wn_fail(err, WAN_EINVAL, "--type '%s': must be bf16, f16 or f32", name);
}

static enum wan_status parse(struct conversion *c)
{
    const struct wan_convert_params *p = c->p;
    struct wn_err *err = c->err;
    const char *to = p->to ? p->to : "";
    if (!strcmp(to, "mlx"))
        c->store.dialect = WN_DIALECT_MLX;
    else if (!strcmp(to, "mlx-video"))
        c->store.dialect = WN_DIALECT_MLX_VIDEO;
    else
        return wn_fail(err, WAN_EINVAL, "--to '%s': must be mlx or mlx-video", to);
    if (p->bits && p->bits != 4 && p->bits != 8)
        return wn_fail(err, WAN_EINVAL, "--quantize %d: must be 4 or 8", p->bits);
    c->store.bits = p->bits;
    c->store.group = p->group_size ? p->group_size : 64;
    if (c->store.group != 32 && c->store.group != 64 && c->store.group != 128)
        return wn_fail(err, WAN_EINVAL, "--group-size %d: must be 32, 64 or 128", c->store.group);
    return parse_type(p->type, &c->store.type, err);
}

/* ---- where it goes ---- */

static bool is_video(const struct conversion *c)
{
    return c->store.dialect == WN_DIALECT_MLX_VIDEO;
}

/* The file of a part; "" where the layout has no place for it. */
static const char *file_name(const struct conversion *c, enum wn_part part)
{
    static const char *const mlx[WN_PART_COUNT] = {
        [WN_PART_DIT] = "wan_model_mlx.safetensors",
        [WN_PART_DIT_HIGH] = "high_noise_model/wan_model_mlx.safetensors",
        [WN_PART_DIT_LOW] = "low_noise_model/wan_model_mlx.safetensors",
        [WN_PART_T5] = "t5_encoder_mlx.safetensors",
        [WN_PART_VAE] = "vae_mlx.safetensors"};
    static const char *const video[WN_PART_COUNT] = {[WN_PART_DIT] = "model.safetensors",
                                                     [WN_PART_DIT_HIGH] = "high_noise_model.safetensors",
                                                     [WN_PART_DIT_LOW] = "low_noise_model.safetensors",
                                                     [WN_PART_T5] = "t5_encoder.safetensors",
                                                     [WN_PART_VAE] = "vae.safetensors"};
    const char *name = (is_video(c) ? video : mlx)[part];
    return name ? name : "";
}

static enum wan_status open_part(struct conversion *c, enum wn_part part)
{
    struct part_out *o = &c->part[part];
    if (!wn_checkpoint_has(&c->ck, part) || part == WN_PART_TOKENIZER) return WAN_OK;
    snprintf(o->name, sizeof o->name, "%s", file_name(c, part));
    if (!o->name[0]) {
        wn_logf(&c->ctx->log, WN_LOG_WARN, "the %s is left out: this layout has no place for it",
                wn_part_name(part));
        return WAN_OK;
    }
    if (wn_checkpoint_weights(&c->ck, part, &o->w, c->err) ||
        wn_part_file_new(&o->file, o->w, part, &c->store, c->err))
        return c->err->code;
    c->all += wn_part_file_bytes(o->file);
    return WAN_OK;
}

static enum wan_status open_parts(struct conversion *c)
{
    for (int i = 0; i < WN_PART_COUNT; i++)
        if (open_part(c, (enum wn_part)i)) return c->err->code;
    if (!c->all) return wn_fail(c->err, WAN_EINVAL, "%s: nothing in it can be converted", c->ck.path);
    if (c->store.bits && wn_checkpoint_dit(&c->ck) == WN_PART_COUNT)
        return wn_fail(c->err, WAN_EINVAL, "--quantize: %s has no transformer, the part that is quantised",
                       c->ck.path);
    return WAN_OK;
}

static enum wan_status check_space(const struct conversion *c, const char *folder)
{
    const uint64_t free_bytes = wn_disk_free(c->folder.tmp);
    if (free_bytes >= c->all) return WAN_OK;
    return wn_fail(c->err, WAN_EIO, "%s: %.2f GB are needed, and the disk has %.2f GB left", folder,
                   (double)c->all * 1e-9, (double)free_bytes * 1e-9);
}

/* ---- weights ---- */

static enum wan_status tick(void *ctx, size_t tensor, size_t bytes, struct wn_err *err)
{
    struct conversion *c = ctx;
    const struct wn_device *dev = c->ctx->dev;
    if (dev->cancelled && dev->cancelled(dev->cancel_ctx)) return wn_fail(err, WAN_ECANCELED, "canceled");
    const double seconds = wn_now() - c->start;
    c->done += bytes;
    c->touched += bytes;
    if (c->touched > KEEP_BYTES) {
        wn_weights_release_pages(c->part[c->now].w);
        c->touched = 0;
    }
    if (!c->p->progress) return WAN_OK;
    const struct wan_progress p = {.stage = wn_part_name(c->now),
                                   .step = (int)tensor + 1,
                                   .n_steps = (int)wn_part_file_n_tensors(c->part[c->now].file),
                                   .seconds = seconds,
                                   .seconds_left =
                                       seconds > 0 ? seconds * ((double)c->all / (double)c->done - 1) : -1,
                                   .memory = wn_mem_used()};
    c->p->progress(c->p->user, &p);
    return WAN_OK;
}

/* What tools say of a model goes along; `format` is whose axes and types these are. */
static void collect_metadata(const struct conversion *c, const struct wn_weights *w,
                             const char *out[2 * MAX_METADATA + 1])
{
    static const char *const keys[] = {"wan.size",  "wan.frames",      "wan.fps",
                                       "wan.steps", "wan.shift",       "wan.guidance",
                                       "wan.model", "modelspec.title", "modelspec.architecture"};
    int n = 0;
    out[n++] = "format";
    out[n++] = "mlx";
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const char *value = wn_weights_metadata(w, keys[i]);
        if (!value && !strcmp(keys[i], "wan.model") && c->now < WN_N_DITS) value = c->ck.name;
        if (!value) continue;
        out[n++] = keys[i];
        out[n++] = value;
    }
    out[n] = NULL;
}

/* A path in the new folder; NULL: recorded. */
static char *inside(struct conversion *c, const char *name)
{
    char *path = wn_path_join(c->folder.tmp, name);
    if (!path) wn_fail_nomem(c->err, name, strlen(name));
    return path;
}

/* The folder that a file of the new folder is in. */
static enum wan_status make_parent(struct conversion *c, const char *path)
{
    char *parent = wn_strndup(path, (size_t)(wn_path_base(path) - path));
    if (!parent) return wn_fail_nomem(c->err, path, strlen(path));
    wn_folder_make(parent, c->err);
    wn_free(parent);
    return c->err->code;
}

static enum wan_status write_part(struct conversion *c, enum wn_part part)
{
    struct part_out *o = &c->part[part];
    const char *metadata[2 * MAX_METADATA + 1];
    if (!o->file) return WAN_OK;
    c->now = part;
    char *path = inside(c, o->name);
    if (!path) return c->err->code;
    collect_metadata(c, o->w, metadata);
    if (!make_parent(c, path)) wn_part_file_write(o->file, path, metadata, tick, c, c->err);
    wn_weights_release_pages(o->w);
    wn_free(path);
    return c->err->code;
}

/* ---- config.json ---- */

static void put(json_t *o, const char *key, json_t *value, bool *bad)
{
    if (json_object_set_new(o, key, value)) *bad = true;
}

static void put_pair(json_t *o, const char *key, double a, double b, bool *bad)
{
    put(o, key, a == b ? json_real(a) : json_pack("[f, f]", a, b), bad);
}

/* The official keys. */
static void put_dimensions(json_t *o, const struct wn_dit_config *d, bool *bad)
{
    put(o, "model_type", json_string(d->model_type), bad);
    put(o, "text_len", json_integer(d->text_len), bad);
    put(o, "in_dim", json_integer(d->in_dim), bad);
    put(o, "dim", json_integer(d->dim), bad);
    put(o, "ffn_dim", json_integer(d->ffn_dim), bad);
    put(o, "freq_dim", json_integer(d->freq_dim), bad);
    put(o, "out_dim", json_integer(d->out_dim), bad);
    put(o, "num_heads", json_integer(d->n_heads), bad);
    put(o, "num_layers", json_integer(d->n_layers), bad);
    put(o, "eps", json_real(d->eps), bad);
}

/* What mlx_video reads beside them, which else are those of Wan2.2 T2V A14B there. */
static void put_video_keys(json_t *o, const struct conversion *c, const struct wn_dit_config *d, bool *bad)
{
    struct wn_defaults f;
    wn_defaults_for(&f, &c->ck);
    const bool two = wn_checkpoint_has_experts(&c->ck), vae22 = c->ck.vae_kind == WN_VAE_22;
    put(o, "model_version", json_string(two || c->ck.a14b || vae22 ? "2.2" : "2.1"), bad);
    put(o, "patch_size", json_pack("[i, i, i]", 1, 2, 2), bad);
    put(o, "text_dim", json_integer(d->text_dim), bad);
    put(o, "window_size", json_pack("[i, i]", -1, -1), bad);
    put(o, "qk_norm", json_true(), bad);
    put(o, "cross_attn_norm", json_true(), bad);
    put(o, "vae_stride", vae22 ? json_pack("[i, i, i]", 4, 16, 16) : json_pack("[i, i, i]", 4, 8, 8), bad);
    put(o, "vae_z_dim", json_integer(d->out_dim), bad);
    put(o, "dual_model", json_boolean(two), bad);
    put(o, "boundary", json_real(two ? f.boundary : 0), bad);
    put(o, "sample_shift", json_real(f.shift), bad);
    put(o, "sample_steps", json_integer(f.steps), bad);
    put_pair(o, "sample_guide_scale", f.guidance_low, f.guidance_high, bad);
    put(o, "num_train_timesteps", json_integer(1000), bad);
    put(o, "sample_fps", json_integer((int)f.fps), bad);
    put(o, "frame_num", json_integer(f.frames), bad);
    put(o, "sample_neg_prompt", json_string(f.negative), bad);
    put(o, "max_area", json_integer(vae22 || c->ck.task == WN_TASK_I2V ? 704 * 1280 : 0), bad);
}

/* The text encoder's sizes, for a reader that does not see them in the shapes. */
static void put_text_keys(json_t *o, const struct wn_weights *t5, bool *bad)
{
    static const struct {
        const char *key, *tensor;
        int axis;
    } keys[] = {{"t5_vocab_size", "token_embedding.weight", 0},
                {"t5_dim", "token_embedding.weight", 1},
                {"t5_dim_attn", "blocks.0.attn.q.weight", 0},
                {"t5_dim_ffn", "blocks.0.ffn.fc1.weight", 0},
                {"t5_num_buckets", "blocks.0.pos_embedding.embedding.weight", 0},
                {"t5_num_heads", "blocks.0.pos_embedding.embedding.weight", 1}};
    char name[64];
    int layers = 0;
    for (size_t i = 0; t5 && i < sizeof keys / sizeof *keys; i++) {
        const struct wn_weight *t = wn_weights_find(t5, keys[i].tensor);
        if (t && t->n_dims == 2) put(o, keys[i].key, json_integer(t->dim[keys[i].axis]), bad);
    }
    for (; t5 && layers < WN_MAX_LAYERS; layers++) {
        snprintf(name, sizeof name, "blocks.%d.attn.q.weight", layers);
        if (!wn_weights_find(t5, name)) break;
    }
    if (layers) put(o, "t5_num_layers", json_integer(layers), bad);
}

static enum wan_status write_json(struct conversion *c, const char *name, const json_t *root)
{
    struct wn_new_file nf;
    char *path = inside(c, name), *text = NULL;
    if (path && !wn_json_text(root, &text, c->err) && !make_parent(c, path) &&
        !wn_new_file_open(&nf, path, c->err)) {
        fprintf(nf.f, "%s\n", text);
        wn_new_file_commit(&nf, c->err);
    }
    wn_free(text);
    wn_free(path);
    return c->err->code;
}

/* The source's config.json, or what would stand in it. */
static enum wan_status make_config(struct conversion *c, enum wn_part part, json_t **root)
{
    struct wn_dit_config d;
    bool bad = false;
    const char *path = c->ck.part[part].config_path;
    *root = NULL;
    if (wn_checkpoint_dit_config(&c->ck, part, c->part[part].w, &d, c->err)) return c->err->code;
    if (!is_video(c) && path) {
        wn_json_read(root, path, MAX_CONFIG, 0, c->err);
        json_object_del(*root, "quantization");
        json_object_del(*root, "quantization_config");
    } else if (!(*root = json_object()))
        return wn_fail_nomem(c->err, "config.json", 0);
    if (c->err->code) return c->err->code;
    if (is_video(c) || !path) put_dimensions(*root, &d, &bad);
    if (!is_video(c) && !path) put(*root, "_class_name", json_string("WanModel"), &bad);
    if (is_video(c)) {
        put_video_keys(*root, c, &d, &bad);
        put_text_keys(*root, c->part[WN_PART_T5].w, &bad);
    }
    if (c->store.bits)
        put(*root, "quantization",
            json_pack("{s: i, s: i}", "group_size", c->store.group, "bits", c->store.bits), &bad);
    return bad ? wn_fail_nomem(c->err, "config.json", 0) : WAN_OK;
}

static enum wan_status write_configs(struct conversion *c)
{
    static const char *const names[WN_N_DITS] = {"config.json", "high_noise_model/config.json",
                                                 "low_noise_model/config.json"};
    for (int i = 0; i < WN_N_DITS && !c->err->code; i++) {
        json_t *root = NULL;
        if (!c->part[i].file) continue;
        if (!make_config(c, (enum wn_part)i, &root)) write_json(c, is_video(c) ? names[0] : names[i], root);
        json_decref(root);
        if (is_video(c)) break; /* one for both */
    }
    return c->err->code;
}

/* ---- tokenizer ---- */

static enum wan_status copy_file(struct conversion *c, const char *from, const char *name)
{
    struct wn_map map;
    struct wn_new_file nf;
    if (wn_file_kind(from) != WN_FILE_REGULAR) return WAN_OK;
    char *path = inside(c, name);
    if (!path || wn_map_open(&map, from, c->err)) {
        wn_free(path);
        return c->err->code;
    }
    if (!wn_new_file_open(&nf, path, c->err)) {
        if (map.size) fwrite(map.data, 1, map.size, nf.f);
        wn_new_file_commit(&nf, c->err);
    }
    wn_map_close(&map);
    wn_free(path);
    return c->err->code;
}

static enum wan_status copy_tokenizer(struct conversion *c)
{
    static const char *const files[] = {"tokenizer.json", "spiece.model", "tokenizer_config.json",
                                        "special_tokens_map.json"};
    const char *from = c->ck.part[WN_PART_TOKENIZER].path;
    if (!from) return WAN_OK;
    const bool folder = wn_file_kind(from) == WN_FILE_DIR;
    static const char *const folders[] = {"google", "google/umt5-xxl"};
    for (int i = 0; i < 2; i++) {
        char *path = inside(c, folders[i]);
        if (path) wn_folder_make(path, c->err);
        wn_free(path);
    }
    for (size_t i = 0; i < sizeof files / sizeof *files && !c->err->code; i++) {
        char name[64];
        snprintf(name, sizeof name, "google/umt5-xxl/%s", files[i]);
        const bool is_it = !strcmp(wn_path_ext(from), wn_path_ext(files[i])) && i < 2;
        char *path = folder ? wn_path_join(from, files[i]) : is_it ? wn_strdup(from) : NULL;
        if (folder && !path) return wn_fail_nomem(c->err, from, 0);
        if (path) copy_file(c, path, name);
        wn_free(path);
    }
    return c->err->code;
}

/* ---- all of it ---- */

static enum wan_status write_all(struct conversion *c, const char *folder)
{
    if (wn_new_folder_open(&c->folder, folder, c->err) || check_space(c, folder)) return c->err->code;
    for (int i = 0; i < WN_PART_COUNT; i++)
        if (write_part(c, (enum wn_part)i)) return c->err->code;
    if (write_configs(c) || copy_tokenizer(c)) return c->err->code;
    return wn_new_folder_commit(&c->folder, c->err);
}

static void release(struct conversion *c)
{
    wn_new_folder_abort(&c->folder);
    for (int i = 0; i < WN_PART_COUNT; i++) {
        wn_part_file_free(c->part[i].file);
        wn_weights_close(c->part[i].w);
    }
    wn_checkpoint_release(&c->ck);
}

enum wan_status wan_convert(struct wan_context *ctx, const char *path, const char *folder,
                            const struct wan_convert_params *params)
{
    struct wn_err *err = wn_enter(ctx);
    if (params->size != sizeof *params)
        return wn_fail(err, WAN_EINVAL, "wan_convert: params are not of this version of the library");
    struct conversion *c = wn_zalloc(sizeof *c);
    if (!c) return wn_fail_nomem(err, "a conversion", sizeof *c);
    c->ctx = ctx;
    c->p = params;
    c->err = err;
    c->start = wn_now();
    if (!parse(c) && !wn_checkpoint_open(&c->ck, path, err) && !open_parts(c)) write_all(c, folder);
    release(c);
    wn_free(c);
    return err->code;
}
