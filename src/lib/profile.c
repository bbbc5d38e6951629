#include "lib/profile.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"

enum { MAX_STAGES = 16, MAX_ROWS = 256, WHAT_BYTES = 56 };

/* What is added up: an operation of one kind and size of weight, within a stage. */
struct row {
    int stage;
    enum wn_op op;
    enum wn_precision precision; /* of products; DEFAULT for others */
    char what[WHAT_BYTES];       /* "linear 1536 -> 8960" */
    int64_t calls;
    double seconds, flops;
};

struct event {
    int row;
    double start, seconds;
    int64_t rows; /* of the result */
};

struct stage {
    const char *name;
    double start, end;
};

struct wn_profile {
    double start;
    struct stage stage[MAX_STAGES];
    int n_stages;
    bool open; /* the last stage goes on */
    struct row row[MAX_ROWS];
    int n_rows;
    struct event *event;
    size_t n_events, cap;
    bool lost; /* there were more than there was memory for */
};

struct wn_profile *wn_profile_new(void)
{
    struct wn_profile *p = wn_zalloc(sizeof *p);
    if (p) p->start = wn_now();
    return p;
}

void wn_profile_free(struct wn_profile *p)
{
    if (!p) return;
    wn_free(p->event);
    wn_free(p);
}

void wn_profile_stage(struct wn_profile *p, const char *name)
{
    if (!p) return;
    double now = wn_now();
    if (p->open) p->stage[p->n_stages - 1].end = now;
    p->open = name && p->n_stages < MAX_STAGES;
    if (p->open) p->stage[p->n_stages++] = (struct stage){name, now, now};
}

/* ---- what an operation is called ---- */

static void name_linear(const struct wn_linear_args *a, char *text)
{
    int64_t n = a->w.dim[0];
    snprintf(text, WHAT_BYTES, "linear %lld -> %lld", (long long)(wn_n_elems(a->w) / n), (long long)n);
}

static void name_conv(const struct wn_conv_args *a, char *text)
{
    const int64_t *d = a->w.dim;
    bool in_time = a->w.n_dims == 5;
    snprintf(text, WHAT_BYTES, "conv %lldx%lldx%lld %lld -> %lld%s", in_time ? (long long)d[2] : 1LL,
             (long long)d[a->w.n_dims - 2], (long long)d[a->w.n_dims - 1], (long long)d[1], (long long)d[0],
             a->upsample > 1 ? " upsampling" : "");
}

static void name_attention(const struct wn_attention_args *a, char *text)
{
    int n = a->k_seg ? a->n_seg : 1;
    snprintf(text, WHAT_BYTES, "attention %lld x %lld, %lld keys", (long long)a->q.dim[1],
             (long long)a->q.dim[2], (long long)(a->k.dim[0] / (n > 0 ? n : 1)));
}

static void describe(struct row *r, const void *args)
{
    switch (r->op) {
    case WN_OP_LINEAR:
        name_linear(args, r->what);
        r->precision = ((const struct wn_linear_args *)args)->precision;
        return;
    case WN_OP_CONV:
        name_conv(args, r->what);
        r->precision = ((const struct wn_conv_args *)args)->precision;
        return;
    case WN_OP_ATTENTION:
        name_attention(args, r->what);
        r->precision = ((const struct wn_attention_args *)args)->precision;
        return;
    default: snprintf(r->what, WHAT_BYTES, "%s", wn_op_name(r->op));
    }
}

/* The row for it, made where it is the first of its kind; -1: no room. */
static int find_row(struct wn_profile *p, enum wn_op op, const void *args)
{
    struct row r = {.stage = p->n_stages - 1, .op = op};
    describe(&r, args);
    for (int i = p->n_rows - 1; i >= 0 && p->row[i].stage == r.stage; i--)
        if (p->row[i].op == op && p->row[i].precision == r.precision && !strcmp(p->row[i].what, r.what))
            return i;
    if (p->n_rows == MAX_ROWS) return -1;
    p->row[p->n_rows] = r;
    return p->n_rows++;
}

static bool room_for_event(struct wn_profile *p)
{
    if (p->n_events < p->cap) return true;
    size_t cap = p->cap ? 2 * p->cap : 1024;
    struct event *e = wn_realloc(p->event, cap * sizeof *e);
    if (!e) return false;
    p->event = e;
    p->cap = cap;
    return true;
}

void wn_profile_op(void *ctx, int op, const void *args, struct wn_tensor out, double seconds)
{
    struct wn_profile *p = ctx;
    if (!p->open) return;
    int i = find_row(p, (enum wn_op)op, args);
    if (i < 0 || !room_for_event(p)) {
        p->lost = true;
        return;
    }
    struct row *r = &p->row[i];
    r->calls++;
    r->seconds += seconds;
    r->flops += wn_op_flops((enum wn_op)op, args);
    p->event[p->n_events++] = (struct event){i, wn_now() - seconds, seconds, wn_n_rows(out)};
}

/* ---- table ---- */

static double stage_seconds(const struct wn_profile *p, int i)
{
    bool open = p->open && i == p->n_stages - 1;
    return (open ? wn_now() : p->stage[i].end) - p->stage[i].start;
}

/* Rows of a stage, those that took longest first: their indices in order[], how many there are returned. */
static int sort_rows(const struct wn_profile *p, int stage, int order[MAX_ROWS])
{
    int n = 0;
    for (int i = 0; i < p->n_rows; i++) {
        if (p->row[i].stage != stage) continue;
        int k = n++;
        for (; k > 0 && p->row[order[k - 1]].seconds < p->row[i].seconds; k--) order[k] = order[k - 1];
        order[k] = i;
    }
    return n;
}

static int add_row(const struct row *r, double whole, const struct wn_peak *peak, struct wn_str *t)
{
    static const char *const precision[] = {[WN_PREC_DEFAULT] = "",
                                            [WN_PREC_F32] = ", f32",
                                            [WN_PREC_F32X] = ", f32x",
                                            [WN_PREC_BF16] = ", bf16"};
    char what[WHAT_BYTES + 8];
    snprintf(what, sizeof what, "%s%s", r->what, precision[r->precision]);
    int bad = wn_str_addf(t, "  %-40s %8lld %10.3f s %5.1f %%", what, (long long)r->calls, r->seconds,
                          100 * r->seconds / whole);
    if (r->flops > 0) {
        double most = wn_peak_flops(peak, r->precision), rate = r->flops / r->seconds;
        bad |= wn_str_addf(t, " %9.1f", rate * 1e-9);
        if (most > 0) bad |= wn_str_addf(t, " %5.0f %%", 100 * rate / most);
    }
    return bad | wn_str_add(t, "\n", 1);
}

static int add_stage(const struct wn_profile *p, int stage, const struct wn_peak *peak, struct wn_str *t)
{
    int order[MAX_ROWS], n = sort_rows(p, stage, order);
    double whole = stage_seconds(p, stage), between = whole;
    int bad = wn_str_addf(t, "%-42s %8s %12s %7s %9s %7s\n", p->stage[stage].name, "calls", "time", "share",
                          "GFLOP/s", "of peak");
    for (int i = 0; i < n; i++) {
        between -= p->row[order[i]].seconds;
        bad |= add_row(&p->row[order[i]], whole, peak, t);
    }
    return bad | wn_str_addf(t, "  %-40s %8s %10.3f s %5.1f %%\n", "everything else", "", between,
                             100 * between / whole);
}

int wn_profile_table(const struct wn_profile *p, const struct wn_peak *peak, struct wn_str *t)
{
    int bad = 0;
    for (int i = 0; i < p->n_stages; i++) bad |= add_stage(p, i, peak, t);
    if (p->lost) bad |= wn_str_addf(t, "operations are missing: there was no memory to remember them\n");
    return bad;
}

/* ---- trace ---- */

static int add_event(struct wn_str *t, const char *name, const char *stage, int thread, double start,
                     double seconds)
{
    return wn_str_addf(t,
                       "%s\n{\"name\": \"%s\", \"cat\": \"%s\", \"ph\": \"X\", \"pid\": 1, \"tid\": %d, "
                       "\"ts\": %.3f, \"dur\": %.3f",
                       t->data[t->n - 1] == '[' ? "" : ",", name, stage, thread, start * 1e6, seconds * 1e6);
}

int wn_profile_trace(const struct wn_profile *p, struct wn_str *t)
{
    int bad = wn_str_addf(t, "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [");
    if (bad) return bad;
    for (int i = 0; i < p->n_stages; i++) {
        const struct stage *s = &p->stage[i];
        bad |= add_event(t, s->name, s->name, 1, s->start - p->start, stage_seconds(p, i));
        bad |= wn_str_addf(t, "}");
    }
    for (size_t i = 0; i < p->n_events && !bad; i++) {
        const struct event *e = &p->event[i];
        const struct row *r = &p->row[e->row];
        bad |= add_event(t, r->what, p->stage[r->stage].name, 2, e->start - p->start, e->seconds);
        bad |= wn_str_addf(t, ", \"args\": {\"rows\": %lld}}", (long long)e->rows);
    }
    return bad | wn_str_addf(t, "\n]}\n");
}
