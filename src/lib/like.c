/* The parameters of a run in the metadata of its files, and back. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "lib/session.h"
#include "media/remark.h"
#include "text/utf.h"

/* A line of fields, "wan 0.1.0; model NAME; weights DIGEST; steps 50; …; negative TEXT": the names are those
 * of the options, and a negative prompt, which may hold anything, is the last. Files go by name alone:
 * folders are the maker's own business. */

/* ---- out ---- */

static const char *const files[] = {"image", "noise", "context"};
enum { N_FILES = sizeof files / sizeof *files };

static bool is_file(const char *option)
{
    for (int i = 0; i < N_FILES; i++)
        if (!strcmp(option, files[i])) return true;
    return false;
}

/* Options of which nothing is told here: they stand elsewhere or do not change the video. */
static bool is_left_out(const struct wan_gen_params *p, const char *option)
{
    static const char *const out[] = {"prompt", "negative", "save-latents", "resume-from",
                                      "strict", "cache",    "from-latents"};
    for (size_t i = 0; i < sizeof out / sizeof *out; i++)
        if (!strcmp(option, out[i])) return true;
    return p->noise_file && (!strcmp(option, "seed") || !strcmp(option, "rng"));
}

/* A file's name without what would end the field. */
static int add_name(struct wn_str *t, const char *path)
{
    int bad = 0;
    for (const char *c = wn_path_base(path); *c; c++)
        bad |= *c == ';' || *c == '%' ? wn_str_addf(t, "%%%02x", (unsigned)*c) : wn_str_add(t, c, 1);
    return bad;
}

static int add_option(struct wn_str *t, const struct wan_gen_params *p, const struct wan_option *o)
{
    if (is_left_out(p, o->name)) return 0;
    if (o->type == WAN_OPT_STRING) {
        const char *s = *(const char *const *)((const char *)p + o->offset);
        if (!s) return 0;
        if (!is_file(o->name)) return wn_str_addf(t, "; %s %s", o->name, s);
        return wn_str_addf(t, "; %s ", o->name) || add_name(t, s);
    }
    char *text = wn_option_text(p, o);
    int bad = !text || wn_str_addf(t, "; %s %s", o->name, text);
    wn_free(text);
    return bad;
}

/* The digest of all weights that the run needs. */
static enum wan_status digest_weights(struct wan_session *s, char hex[17], struct wn_err *err)
{
    struct wn_parts *parts = &s->model->parts;
    struct wn_digest d = {0};
    for (int part = 0; part < WN_PART_COUNT; part++) {
        bool used = part < WN_N_DITS || part == WN_PART_VAE || (part == WN_PART_T5 && !s->p.context_file);
        if (!used || !wn_checkpoint_has(parts->checkpoint, (enum wn_part)part)) continue;
        if (wn_parts_weights(parts, (enum wn_part)part, err)) return err->code;
        uint64_t v = wn_weights_fingerprint(parts->weights[part]);
        wn_digest_add(&d, &v, sizeof v);
    }
    wn_digest_hex(&d, hex);
    return WAN_OK;
}

/* The digest of what was read from files; "" without any. */
static void digest_inputs(const struct wan_session *s, char hex[17])
{
    struct wn_digest d = {0};
    *hex = 0;
    if (!s->p.noise_file && !s->p.context_file && !s->image.pixels) return;
    if (s->p.noise_file) wn_digest_add(&d, &s->noise, sizeof s->noise);
    if (s->p.context_file) wn_digest_add(&d, &s->context, sizeof s->context);
    if (s->image.pixels)
        wn_digest_add(&d, s->image.pixels, 3 * sizeof(float) * (size_t)s->p.width * (size_t)s->p.height);
    wn_digest_hex(&d, hex);
}

/* A run of the decoder alone: what the latents' own file says follows. */
static int describe_decoding(const struct wan_session *s, struct wn_str *t)
{
    const struct wan_gen_params *p = &s->p;
    int bad = wn_str_addf(t, "wan %s; decoded from %s; size %dx%d; frames %d; vae %s; device %s",
                          wan_version(), wn_path_base(p->from_latents_file), p->width, p->height, p->frames,
                          p->vae_precision, s->model->ctx->dev->table->name);
    return bad | (s->origin ? wn_str_addf(t, "; latents of %s", s->origin) : 0);
}

static int describe_run(struct wan_session *s, struct wn_str *t, struct wn_err *err)
{
    const struct wan_gen_params *p = &s->p;
    char weights[17], inputs[17];
    size_t n;
    const struct wan_option *o = wan_gen_options(&n);
    if (digest_weights(s, weights, err)) return -1;
    digest_inputs(s, inputs);
    int bad =
        wn_str_addf(t, "wan %s; model %s; weights %s", wan_version(), s->model->checkpoint.name, weights);
    for (size_t i = 0; i < n && !bad; i++) bad = add_option(t, p, &o[i]);
    if (!bad && *inputs) bad = wn_str_addf(t, "; inputs %s", inputs);
    if (!bad) bad = wn_str_addf(t, "; device %s", s->model->ctx->dev->table->name);
    if (!bad && strcmp(p->negative, s->model->defaults.negative))
        bad = wn_str_addf(t, "; negative %s", p->negative);
    return bad;
}

char *wn_session_describe(struct wan_session *s, struct wn_err *err)
{
    struct wn_str t = {0};
    if (s->p.from_latents_file ? describe_decoding(s, &t) : describe_run(s, &t, err)) {
        wn_str_release(&t);
        wn_fail_nomem(err, "metadata", 1024); /* where nothing else failed */
        return NULL;
    }
    wn_utf8_repair(t.data);
    return t.data;
}

/* ---- and back ---- */

struct wan_like {
    char *path;
    struct wn_remarks remarks; /* what the strings of `p` point into */
    struct wan_gen_params p;
    const char *model, *weights, *inputs; /* NULL: not told */
};

static bool ends(const char *end, const char *value)
{
    return end > value && !*end;
}

/* A value as wn_option_text writes it. */
static bool read_value(struct wan_gen_params *p, const struct wan_option *o, char *value)
{
    char *field = (char *)p + o->offset, *end = value;
    switch (o->type) {
    case WAN_OPT_STRING: *(const char **)field = value; return *value;
    case WAN_OPT_INT:
    case WAN_OPT_FLAG: {
        long v = strtol(value, &end, 10);
        *(int *)field = v > INT32_MIN && v <= INT32_MAX ? (int)v : -1;
        return ends(end, value);
    }
    case WAN_OPT_I64: *(int64_t *)field = strtoll(value, &end, 10); return ends(end, value);
    case WAN_OPT_FLOAT: *(double *)field = strtod(value, &end); return ends(end, value);
    case WAN_OPT_SIZE: {
        int got = 0;
        return sscanf(value, "%6dx%6d%n", (int *)field, (int *)field + 1, &got) == 2 && !value[got];
    }
    case WAN_OPT_PAIR:
        ((double *)field)[0] = ((double *)field)[1] = strtod(value, &end);
        if (end > value && *end == ',') ((double *)field)[1] = strtod(value = end + 1, &end);
        return ends(end, value);
    }
    return false;
}

/* %3b back to what it stands for. */
static void decode_name(char *s)
{
    char *to = s;
    for (; *s; s++) {
        unsigned c;
        if (*s == '%' && sscanf(s + 1, "%2x", &c) == 1 && (c == ';' || c == '%'))
            *to++ = (char)c, s += 2;
        else
            *to++ = *s;
    }
    *to = 0;
}

static enum wan_status take_field(struct wan_like *like, char *name, char *value, struct wn_err *err)
{
    size_t n;
    const struct wan_option *o = wan_gen_options(&n);
    const char **own = !strcmp(name, "model")     ? &like->model
                       : !strcmp(name, "weights") ? &like->weights
                       : !strcmp(name, "inputs")  ? &like->inputs
                                                  : NULL;
    if (own) *own = value;
    for (size_t i = 0; i < n && !own; i++) {
        if (strcmp(name, o[i].name)) continue;
        if (is_left_out(&like->p, name) && strcmp(name, "negative")) break;
        if (is_file(name)) decode_name(value);
        if (!read_value(&like->p, &o[i], value))
            return wn_fail(err, WAN_EFORMAT, "%s: its metadata says '%s' of --%s", like->path, value, name);
    }
    return WAN_OK; /* of a later version, perhaps */
}

static enum wan_status take_fields(struct wan_like *like, char *text, struct wn_err *err)
{
    if (!text || strncmp(text, "wan ", 4))
        return wn_fail(err, WAN_EFORMAT, "%s: its metadata holds no parameters of this program", like->path);
    for (char *field = strstr(text, "; "); field && !err->code;) {
        char *name = field + 2;
        field = strncmp(name, "negative ", 9) ? strstr(name, "; ") : NULL;
        if (field) *field = 0;
        char *value = strchr(name, ' ');
        if (!value) continue;
        *value++ = 0;
        take_field(like, name, value, err);
    }
    if (!err->code && wn_gen_check(&like->p, err)) wn_err_prefix(err, "%s", like->path);
    return err->code;
}

enum wan_status wan_like_open(struct wan_like **out, struct wan_context *ctx, const char *path)
{
    struct wn_err *err = wn_enter(ctx);
    *out = NULL;
    struct wan_like *like = wn_zalloc(sizeof *like);
    if (!like || !(like->path = wn_strdup(path))) {
        wan_like_free(like);
        return wn_fail_nomem(err, "the parameters of a file", sizeof *like);
    }
    like->p = *wan_gen_params(.prompt = NULL);
    if (wn_remarks_read(&like->remarks, path, err) ||
        take_fields(like, like->remarks.value[WN_REMARK_COMMENT], err)) {
        wan_like_free(like);
        return err->code;
    }
    like->p.prompt = like->remarks.value[WN_REMARK_DESCRIPTION];
    *out = like;
    return WAN_OK;
}

void wan_like_free(struct wan_like *like)
{
    if (!like) return;
    wn_remarks_release(&like->remarks);
    wn_free(like->path);
    wn_free(like);
}

const struct wan_gen_params *wan_like_params(const struct wan_like *like)
{
    return &like->p;
}

const char *wan_like_model(const struct wan_like *like)
{
    return like->model ? like->model : "";
}

enum wan_status wan_like_check(const struct wan_like *like, struct wan_session *s)
{
    struct wan_context *ctx = s->model->ctx;
    struct wn_err *err = wn_enter(ctx);
    char weights[17], inputs[17];
    if (digest_weights(s, weights, err)) return err->code;
    digest_inputs(s, inputs);
    if (like->weights && strcmp(like->weights, weights))
        wn_logf(&ctx->log, WN_LOG_WARN, "%s was made with other weights (%s): the video will not be the same",
                like->path, wan_like_model(like));
    if (strcmp(like->inputs ? like->inputs : "", inputs))
        wn_logf(&ctx->log, WN_LOG_WARN,
                "%s was made from another image, noise or context: the video will not be the same",
                like->path);
    return WAN_OK;
}
