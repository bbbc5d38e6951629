#include "pipe/tripwire.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "tensor/convert.h"

bool wn_all_finite(const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(x[i])) return false;
    return true;
}

static bool all_zero(const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (x[i] != 0) return false;
    return true;
}

static void describe(struct wn_tripwire *t, const char *name)
{
    int block;
    if (t->n_blocks && sscanf(name, "block.%d", &block) == 1)
        snprintf(t->where, sizeof t->where, "%s, block %d of %d", t->part, block + 1, t->n_blocks);
    else
        snprintf(t->where, sizeof t->where, "%s, %s", t->part, name);
}

static void look(void *ctx, struct wn_exec *ex, const char *name, struct wn_tensor x)
{
    struct wn_tripwire *t = ctx;
    int64_t n = wn_n_elems(x);
    if (t->where[0] || !wn_ok(ex)) return;
    void *raw = wn_alloc(wn_n_bytes(x));
    float *f = wn_alloc_n((size_t)n, sizeof *f);
    if (raw && f && !wn_download(ex, x, raw)) {
        wn_to_f32(raw, x.type, f, n);
        if (t->what == WN_BAD_ALL_ZERO ? all_zero(f, n) : !wn_all_finite(f, n)) {
            describe(t, name);
            wn_exec_fail(ex, WAN_ENUMERIC, "%s", t->where);
        }
    }
    wn_free(raw);
    wn_free(f);
}

void wn_tripwire_set(struct wn_exec *ex, struct wn_tripwire *t)
{
    t->where[0] = 0;
    ex->on_named = look;
    ex->on_named_ctx = t;
}

enum wan_status wn_tripwire_fail(const struct wn_tripwire *t, struct wn_err *err, const char *fmt, ...)
{
    char what[160];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    const char *bad = t->what == WN_BAD_ALL_ZERO ? "all zero" : "not a finite number";
    if (t->where[0]) return wn_fail(err, WAN_ENUMERIC, "%s %s; it begins in the %s", what, bad, t->where);
    return wn_fail(err, WAN_ENUMERIC, "%s %s, though every block of the %s was right", what, bad, t->part);
}
