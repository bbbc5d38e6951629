/* wan_inspect: what a checkpoint is, as text or JSON; wan_inspect_forward: does it run. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "io/json.h"
#include "lib/lib.h"

/* What is known of one part after its weights were opened. */
struct part_report {
    bool present, opened;
    const char *path;
    size_t n_tensors, bytes;
    int64_t n_params;
    char types[96]; /* "BF16", "F32 120, BF16 705" by tensors, "BF16, 300 in 4-bit groups" */
};

struct report {
    struct wn_checkpoint ck;
    struct part_report part[WN_PART_COUNT];
    struct wn_problems problems; /* of the parts; those of the folder are in ck */
    struct wn_dit_config config;
    bool has_config;
};

static void describe_types(const struct wn_weights *w, char text[96])
{
    size_t count[WN_DTYPE_COUNT] = {0}, n = 0;
    int kinds = 0;
    for (size_t i = 0; i < wn_weights_count(w); i++) kinds += count[wn_weights_at(w, i)->type]++ == 0;
    text[0] = 0;
    for (int t = 0; t < WN_DTYPE_COUNT && n < 60; t++)
        if (count[t])
            n += (size_t)(kinds == 1 ? snprintf(text + n, 96 - n, "%s", wn_dtype_name((enum wn_dtype)t))
                                     : snprintf(text + n, 96 - n, "%s%s %zu", n ? ", " : "",
                                                wn_dtype_name((enum wn_dtype)t), count[t]));
    size_t groups[9] = {0}; /* by bits */
    for (size_t i = 0; i < wn_weights_count(w); i++) groups[wn_weight_bits(wn_weights_at(w, i))]++;
    for (int bits = 1; bits <= 8 && n < 70; bits++)
        if (groups[bits])
            n += (size_t)snprintf(text + n, 96 - n, ", %zu in %d-bit groups", groups[bits], bits);
}

static bool is_dit(enum wn_part part)
{
    return part < WN_N_DITS;
}

/* A sentence about a part that cannot be opened goes to the problems, and the report goes on. */
static enum wan_status note_problem(struct report *r, const struct wn_err *why, struct wn_err *err)
{
    if (why->code == WAN_ENOMEM) return wn_fail(err, why->code, "%s", why->text);
    struct wn_problems *p = &r->problems;
    if (p->n == WN_MAX_PROBLEMS) {
        p->n_more++;
        return WAN_OK;
    }
    if (!(p->text[p->n] = wn_strdup(why->text))) return wn_fail_nomem(err, "a report", strlen(why->text));
    p->n++;
    return WAN_OK;
}

static enum wan_status look_at(struct report *r, enum wn_part part, struct wn_err *err)
{
    struct part_report *p = &r->part[part];
    struct wn_weights *w;
    struct wn_err why = {0};
    p->present = wn_checkpoint_has(&r->ck, part);
    p->path = r->ck.part[part].path;
    if (!p->present || part == WN_PART_TOKENIZER) return WAN_OK;
    if (wn_checkpoint_weights(&r->ck, part, &w, &why)) return note_problem(r, &why, err);
    p->opened = true;
    p->n_tensors = wn_weights_count(w);
    p->n_params = wn_weights_n_elems(w);
    p->bytes = wn_weights_n_bytes(w);
    describe_types(w, p->types);
    struct wn_dit_config config;
    const struct wn_dit_config *shape = NULL;
    if (is_dit(part)) {
        if (wn_checkpoint_dit_config(&r->ck, part, w, &config, &why)) {
            wn_weights_close(w);
            return note_problem(r, &why, err);
        }
        r->config = config;
        r->has_config = true;
        shape = &config;
    }
    wn_part_check(part, w, shape, &r->problems, err);
    wn_weights_close(w);
    return err->code;
}

static int n_problems(const struct report *r)
{
    return r->ck.problems.n + r->ck.problems.n_more + r->problems.n + r->problems.n_more;
}

/* 1234567 -> "1,234,567" */
static const char *grouped(int64_t n, char text[32])
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRId64, n), k = 0;
    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0) text[k++] = ',';
        text[k++] = digits[i];
    }
    text[k] = 0;
    return text;
}

static int add_problems_text(struct wn_str *t, const struct wn_problems *p)
{
    int bad = 0;
    for (int i = 0; i < p->n; i++) bad |= wn_str_addf(t, "  - %s\n", p->text[i]);
    if (p->n_more) bad |= wn_str_addf(t, "  - and %d more\n", p->n_more);
    return bad;
}

static int write_text(const struct report *r, struct wn_str *t)
{
    char number[32];
    int bad = wn_str_addf(t, "%s\n%s\n", r->ck.name, r->ck.path);
    if (r->ck.told && r->ck.task) bad |= wn_str_addf(t, "told by %s\n", r->ck.told);
    bad |= wn_str_addf(t, "\n");
    unsigned missing = wn_checkpoint_missing(&r->ck);
    for (int i = 0; i < WN_PART_COUNT; i++) {
        const struct part_report *p = &r->part[i];
        if (p->opened)
            bad |= wn_str_addf(t, "%-24s %s parameters, %zu tensors, %s, %.2f GB\n%-24s %s\n",
                               wn_part_name(i), grouped(p->n_params, number), p->n_tensors, p->types,
                               (double)p->bytes * 1e-9, "", p->path);
        else if (p->present)
            bad |= wn_str_addf(t, "%-24s %s\n", wn_part_name(i), p->path);
        else if (missing >> i & 1)
            bad |= wn_str_addf(t, "%-24s missing\n", wn_part_name(i));
    }
    const struct wn_dit_config *c = &r->config;
    if (r->has_config)
        bad |= wn_str_addf(t,
                           "\ntransformer: %s, %" PRId64 " wide, %d heads of %" PRId64
                           ", feed-forward %" PRId64 ", %d blocks, latent channels %" PRId64 " in, %" PRId64
                           " out, text %" PRId64 " x %" PRId64 "\n",
                           c->model_type, c->dim, c->n_heads, c->dim / c->n_heads, c->ffn_dim, c->n_layers,
                           c->in_dim, c->out_dim, c->text_len, c->text_dim);
    int n_missing = 0;
    for (int i = 0; i < WN_PART_COUNT; i++) n_missing += (int)(missing >> i & 1);
    if (n_missing) bad |= wn_str_addf(t, "\nparts missing for generation: %d\n", n_missing);
    bad |= wn_str_addf(t, n_problems(r) ? "\nproblems: %d\n" : "\nno problems found\n", n_problems(r));
    return bad | add_problems_text(t, &r->ck.problems) | add_problems_text(t, &r->problems);
}

static int add_json(struct wn_str *t, const char *s)
{
    return wn_json_add_text(t, s, strlen(s));
}

static int add_problems_json(struct wn_str *t, const struct wn_problems *p, int *first)
{
    int bad = 0;
    for (int i = 0; i < p->n; i++) {
        bad |= wn_str_addf(t, *first ? "" : ", ") | add_json(t, p->text[i]);
        *first = 0;
    }
    return bad;
}

static int write_json(const struct report *r, struct wn_str *t)
{
    int bad = wn_str_addf(t, "{\"name\": ") | add_json(t, r->ck.name) | wn_str_addf(t, ", \"path\": ") |
              add_json(t, r->ck.path) |
              wn_str_addf(t, ", \"task\": \"%s\", \"a14b\": %s, \"told_by\": ", wn_task_name(r->ck.task),
                          r->ck.a14b ? "true" : "false") |
              add_json(t, r->ck.told ? r->ck.told : "") | wn_str_addf(t, ", \"parts\": {");
    int first = 1;
    for (int i = 0; i < WN_PART_COUNT; i++) {
        const struct part_report *p = &r->part[i];
        if (!p->present) continue;
        bad |= wn_str_addf(t, first ? "" : ", ") | add_json(t, wn_part_name(i)) |
               wn_str_addf(t, ": {\"path\": ") | add_json(t, p->path ? p->path : "");
        if (p->opened)
            bad |= wn_str_addf(
                t, ", \"parameters\": %" PRId64 ", \"tensors\": %zu, \"bytes\": %zu, \"types\": \"%s\"",
                p->n_params, p->n_tensors, p->bytes, p->types);
        bad |= wn_str_addf(t, "}");
        first = 0;
    }
    bad |= wn_str_addf(t, "}, \"missing\": [");
    first = 1;
    for (int i = 0; i < WN_PART_COUNT; i++)
        if (wn_checkpoint_missing(&r->ck) >> i & 1) {
            bad |= wn_str_addf(t, first ? "" : ", ") | add_json(t, wn_part_name(i));
            first = 0;
        }
    const struct wn_dit_config *c = &r->config;
    bad |= wn_str_addf(t, "]");
    if (r->has_config)
        bad |=
            wn_str_addf(t, ", \"transformer\": {\"model_type\": ") | add_json(t, c->model_type) |
            wn_str_addf(t,
                        ", \"dim\": %" PRId64 ", \"ffn_dim\": %" PRId64
                        ", \"num_heads\": %d, \"num_layers\": %d, \"in_dim\": %" PRId64
                        ", \"out_dim\": %" PRId64 ", \"text_len\": %" PRId64 ", \"text_dim\": %" PRId64 "}",
                        c->dim, c->ffn_dim, c->n_heads, c->n_layers, c->in_dim, c->out_dim, c->text_len,
                        c->text_dim);
    bad |= wn_str_addf(t, ", \"problems\": [");
    first = 1;
    bad |= add_problems_json(t, &r->ck.problems, &first) | add_problems_json(t, &r->problems, &first);
    return bad | wn_str_addf(t, "]}\n");
}

enum wan_status wan_inspect(struct wan_context *ctx, const char *path, int json, char **text, int *n)
{
    struct wn_err *err = wn_enter(ctx);
    struct report *r = wn_zalloc(sizeof *r);
    struct wn_str t = {0};
    *text = NULL;
    *n = 0;
    if (!r) return wn_fail_nomem(err, "a report", sizeof *r);
    if (!wn_checkpoint_open(&r->ck, path, err)) {
        for (int i = 0; i < WN_PART_COUNT && !err->code; i++) look_at(r, (enum wn_part)i, err);
        if (!err->code && (json ? write_json(r, &t) : write_text(r, &t))) wn_fail_nomem(err, "a report", t.n);
        *n = n_problems(r);
    }
    if (err->code)
        wn_str_release(&t);
    else
        *text = t.data;
    wn_problems_release(&r->problems);
    wn_checkpoint_release(&r->ck);
    wn_free(r);
    return err->code;
}

/* ---- one forward ---- */

static void statistics(const float *v, int64_t n, double out[4])
{
    double lo = INFINITY, hi = -INFINITY, sum = 0, square = 0;
    for (int64_t i = 0; i < n; i++) {
        lo = v[i] < lo ? v[i] : lo;
        hi = v[i] > hi ? v[i] : hi;
        sum += v[i];
    }
    double mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++) square += (v[i] - mean) * (v[i] - mean);
    out[0] = lo;
    out[1] = hi;
    out[2] = mean;
    out[3] = sqrt(square / (double)n);
}

static int forward_text(struct wn_str *t, const int64_t d[4], const int64_t o[4], const double s[4])
{
    return wn_str_addf(t,
                       "forward of noise [%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64
                       "] at t = 500: output [%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64
                       "], from %.6g to %.6g, mean %.6g, standard deviation %.6g\n",
                       d[0], d[1], d[2], d[3], o[0], o[1], o[2], o[3], s[0], s[1], s[2], s[3]);
}

static int forward_json(struct wn_str *t, const int64_t d[4], const int64_t o[4], const double s[4])
{
    return wn_str_addf(t,
                       "{\"forward\": {\"input\": [%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64
                       "], \"output\": [%" PRId64 ", %" PRId64 ", %" PRId64 ", %" PRId64
                       "], \"min\": %.9g, \"max\": %.9g, \"mean\": %.9g, \"deviation\": %.9g}}\n",
                       d[0], d[1], d[2], d[3], o[0], o[1], o[2], o[3], s[0], s[1], s[2], s[3]);
}

/* Noise through the transformer at t = 500 with a random context of 16 rows. */
static enum wan_status forward_once(struct wan_context *ctx, struct wn_parts *parts, const int64_t dim[4],
                                    enum wn_precision precision, int json, struct wn_str *t)
{
    struct wn_err *err = &ctx->err;
    struct wn_exec ex = {.dev = ctx->dev, .precision = precision, .log = &ctx->log};
    const struct wn_dit *dit = parts->dit[wn_checkpoint_dit(parts->checkpoint)];
    const struct wn_dit_config *c = wn_dit_config(dit);
    int64_t rows = c->text_len < 16 ? c->text_len : 16, n_in = dim[0] * dim[1] * dim[2] * dim[3];
    int64_t n_out = c->out_dim * dim[1] * (dim[2] / 2 * 2) * (dim[3] / 2 * 2);
    float *x = wn_alloc_n((size_t)n_in, sizeof *x),
          *context = wn_alloc_n((size_t)(rows * c->text_dim), sizeof *x);
    float *v = wn_alloc_n((size_t)n_out, sizeof *v);
    struct wn_dit_grid grid = {0};
    struct wn_dit_text *text = NULL;
    if (x && context && v) {
        const float *contexts[1] = {context};
        const double time = 500;
        const struct wn_dit_sequence seq = {.x = x, .t = &time, .n_t = 1};
        wn_torch_randn(0, x, n_in);
        wn_torch_randn(1, context, rows * c->text_dim);
        wn_dit_grid_init(&grid, &ex, dit, dim[1], dim[2], dim[3], 0);
        wn_dit_text_new(&text, &ex, dit, 1, contexts, &rows);
        wn_dit_forward(&ex, dit, &grid, text, dim[2], dim[3], &seq, 1, &v);
        if (ex.err.code) wn_fail(err, ex.err.code, "%s", ex.err.text);
    } else
        wn_fail_nomem(err, "a forward", (unsigned long long)(n_in + n_out) * sizeof *x);
    if (!err->code) {
        const int64_t out_dim[4] = {c->out_dim, dim[1], dim[2] / 2 * 2, dim[3] / 2 * 2};
        double s[4];
        statistics(v, n_out, s);
        if (!isfinite(s[3]))
            wn_fail(err, WAN_ENUMERIC, "the transformer's output holds NaN or infinity");
        else if ((json ? forward_json : forward_text)(t, dim, out_dim, s))
            wn_fail_nomem(err, "a report", 256);
    }
    wn_dit_text_free(text);
    wn_dit_grid_release(&grid);
    wn_free(x);
    wn_free(context);
    wn_free(v);
    return err->code;
}

enum wan_status wan_inspect_forward(struct wan_context *ctx, const char *path, const int64_t dims[4],
                                    const char *precision, int json, char **text)
{
    struct wn_err *err = wn_enter(ctx);
    struct wn_checkpoint ck;
    struct wn_parts parts;
    enum wn_precision prec;
    struct wn_str t = {0};
    *text = NULL;
    if (wn_precision_parse(precision, WN_PREC_BF16, "--precision", &prec, err) ||
        wn_checkpoint_open(&ck, path, err))
        return err->code;
    wn_parts_init(&parts, &ck, ctx->dev);
    enum wn_part which = wn_checkpoint_dit(&ck);
    if (which == WN_PART_COUNT) which = WN_PART_DIT; /* whose lack is then told */
    if (!wn_parts_dit(&parts, which, err)) {
        int64_t c = wn_dit_config(parts.dit[which])->in_dim;
        int64_t d[4] = {dims[0] ? dims[0] : c, dims[1] ? dims[1] : 1, dims[2] ? dims[2] : 16,
                        dims[3] ? dims[3] : 16};
        if (d[0] != c)
            wn_fail(err, WAN_EINVAL, "--forward: %" PRId64 " channels, the transformer takes %" PRId64, d[0],
                    c);
        else if (d[1] < 1 || d[2] < 2 || d[3] < 2 || d[1] > 1024 || d[2] > 2048 || d[3] > 2048)
            wn_fail(
                err, WAN_EINVAL,
                "--forward: extents must be C,F,H,W with 1 to 1024 frames and 2 to 2048 rows and columns");
        else
            forward_once(ctx, &parts, d, prec, json, &t);
    }
    wn_parts_release(&parts);
    wn_checkpoint_release(&ck);
    if (err->code)
        wn_str_release(&t);
    else
        *text = t.data;
    return err->code;
}
