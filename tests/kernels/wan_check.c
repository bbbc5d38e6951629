/* The checker: see check.h. Prints one line for each failure, with the command that repeats it, and ends with
 * the counts. Exit: 0 all passed, 1 a failure, 2 usage, 77 nothing could run here (meson's "skipped"). */
#if defined(__linux__)
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#endif
#include "check.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "tensor/convert.h"

#if !defined(MAP_ANONYMOUS)
#define MAP_ANONYMOUS MAP_ANON
#endif

enum { EXIT_SKIP = 77 };

static const struct ck_op *const op_table[WN_OP_COUNT] = {
#define WN_OP(ENUM, name, needs, summary) [WN_OP_##ENUM] = &ck_##name,
#include "backend/ops.def"
};

static struct {
    const char *op, *device, *isa;
    int only_case; /* -1: all */
    uint64_t seed;
    bool bench, list, verbose;
    int n_threads; /* of the bench */
} opt = {.device = "cpu", .only_case = -1, .seed = 1};

static int n_passed, n_failed, n_skipped;

/* ---- reporting ---- */

/* What runs now, for failures and for the signal handler. */
static char repeat_line[256];

static void set_repeat_line(const char *op, const char *isa, int i)
{
    snprintf(repeat_line, sizeof repeat_line, "wan-check --op %s --device %s%s%s --case %d --seed %llu", op,
             opt.device, isa[0] ? " --isa " : "", isa, i, (unsigned long long)opt.seed);
}

static bool failed_here; /* the current case has a failure already: one line each is enough */

static void fail(const struct ck_case *c, const char *fmt, ...) WN_PRINTF(2, 3);
static void fail(const struct ck_case *c, const char *fmt, ...)
{
    if (failed_here) return;
    failed_here = true;
    va_list ap;
    va_start(ap, fmt);
    printf("FAIL %s (%s): ", wn_op_name(c->op), c->text);
    vprintf(fmt, ap);
    printf("\n     %s\n", repeat_line);
    va_end(ap);
    fflush(stdout);
}

static void on_crash(int sig)
{
    static const char text[] = "FAIL: crash, or a read past the end of a weight\n     ";
    ssize_t n = write(STDOUT_FILENO, text, sizeof text - 1);
    n += write(STDOUT_FILENO, repeat_line, strlen(repeat_line));
    n += write(STDOUT_FILENO, "\n", 1);
    (void)n, (void)sig;
    _exit(1);
}

/* ---- guarded buffers ---- */

/* Buffers of devices in host memory get bytes on both sides, and both these and fresh memory hold 0xff, which
 * is NaN in every float type: reads of what was never written show in the output. */
enum { GUARD = 256, MAX_BUFS = 64, MAX_DEVICES = 4 };

struct device {
    struct wn_device *dev;
    struct wn_device_table table; /* the device's, with guarded buffers */
    const struct wn_device_table *original;
    struct wn_buf *live[MAX_BUFS];
};

static struct device devices[MAX_DEVICES]; /* 0 is ref */
static bool guard_broken;

static struct device *device_of(struct wn_device *dev)
{
    for (int i = 0; i < MAX_DEVICES; i++)
        if (devices[i].dev == dev) return &devices[i];
    return NULL;
}

static bool guards_whole(const struct wn_buf *buf)
{
    const uint8_t *front = (const uint8_t *)buf->host - GUARD,
                  *back = (const uint8_t *)buf->host + buf->bytes;
    for (int i = 0; i < GUARD; i++)
        if (front[i] != 0xff || back[i] != 0xff) return false;
    return true;
}

static enum wan_status guarded_alloc(struct wn_device *dev, struct wn_buf *buf, struct wn_err *err)
{
    struct device *d = device_of(dev);
    uint8_t *p = wn_alloc(wn_size_add(buf->bytes, 2 * GUARD));
    if (!p) return wn_fail_nomem(err, "a guarded buffer", buf->bytes);
    memset(p, 0xff, buf->bytes + 2 * GUARD);
    buf->handle = buf->host = p + GUARD;
    for (int i = 0; i < MAX_BUFS; i++)
        if (!d->live[i]) {
            d->live[i] = buf;
            return WAN_OK;
        }
    wn_free(p);
    return wn_fail(err, WAN_EINTERNAL, "more than %d buffers at once", MAX_BUFS);
}

static void guarded_free(struct wn_device *dev, struct wn_buf *buf)
{
    struct device *d = device_of(dev);
    if (buf->mapped) {
        d->original->buf_free(dev, buf);
        return;
    }
    if (!guards_whole(buf)) guard_broken = true;
    for (int i = 0; i < MAX_BUFS; i++)
        if (d->live[i] == buf) d->live[i] = NULL;
    wn_free((uint8_t *)buf->host - GUARD);
}

static bool all_guards_whole(const struct device *d)
{
    bool whole = !guard_broken;
    for (int i = 0; i < MAX_BUFS; i++)
        if (d->live[i] && !guards_whole(d->live[i])) whole = false;
    return whole;
}

static enum wan_status open_device(struct device *d, const char *name, const char *isa, int n_threads,
                                   struct wn_err *err)
{
    const struct wn_device_params params = {.name = name, .isa = isa, .n_threads = n_threads};
    *d = (struct device){0};
    if (wn_device_open(&d->dev, &params, err)) return err->code;
    d->original = d->dev->table;
    d->table = *d->original;
    struct wn_buf *probe;
    if (wn_buf_new(&probe, d->dev, 4, err)) return err->code;
    bool on_host = probe->host;
    wn_buf_release(probe);
    if (on_host) {
        d->table.buf_alloc = guarded_alloc;
        d->table.buf_free = guarded_free;
    }
    d->dev->table = &d->table;
    return WAN_OK;
}

static void close_device(struct device *d)
{
    if (!d->dev) return;
    d->dev->table = d->original;
    wn_device_close(d->dev);
    *d = (struct device){0};
}

/* ---- mapped inputs ---- */

/* Pages that end in one that cannot be read, as a mapped file may. */
struct pages {
    uint8_t *base, *data;
    size_t bytes; /* readable ones */
};

static bool map_pages(struct pages *p, const struct ck_input *in)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), n = wn_n_bytes(in->shape);
    p->bytes = (n + 2 * WN_ALIGN + page - 1) / page * page;
    void *at = mmap(NULL, p->bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) return false;
    p->base = at;
    memset(p->base, 0xff, p->bytes);
    mprotect(p->base + p->bytes, page, PROT_NONE);
    size_t start = p->bytes - n;
    if (in->align != CK_TIGHT) start = start / WN_ALIGN * WN_ALIGN - WN_ALIGN + (size_t)in->align;
    p->data = p->base + start;
    memcpy(p->data, in->data, n);
    mprotect(p->base, p->bytes, PROT_READ);
    return true;
}

static void unmap_pages(struct pages *p)
{
    if (p->base) munmap(p->base, p->bytes + (size_t)sysconf(_SC_PAGESIZE));
    p->base = NULL;
}

/* ---- running a case ---- */

struct placed {
    struct wn_tensor t;
    struct pages pages;
};

static struct wn_tensor place(struct wn_exec *ex, const struct ck_input *in, struct pages *pages)
{
    struct wn_tensor t = {0};
    if (in->place == CK_MAPPED) {
        if (!map_pages(pages, in)) wn_exec_fail(ex, WAN_ENOMEM, "cannot map pages for an input");
        return wn_ok(ex) ? wn_map_tensor(ex->dev, in->shape, pages->data, &ex->err) : t;
    }
    if (in->place == CK_PLAIN) return wn_upload(ex, in->shape, in->data);
    /* One element of 0xff, then the data. */
    size_t size = wn_dtype_size(in->shape.type), n = wn_n_bytes(in->shape);
    uint8_t *longer = wn_alloc(n + size);
    if (!longer) {
        wn_fail_nomem(&ex->err, "an input", n + size);
        return t;
    }
    memset(longer, 0xff, size);
    memcpy(longer + size, in->data, n);
    t = wn_rows(wn_upload(ex, wn_shape_of(in->shape.type, wn_n_elems(in->shape) + 1), longer), 1,
                wn_n_elems(in->shape) + 1);
    wn_free(longer);
    return wn_ok(ex) ? wn_reshape(t, in->shape.n_dims, in->shape.dim) : t;
}

#define WN_OP(ENUM, name, needs, summary)                                              \
    static struct wn_tensor call_##name(struct wn_exec *ex, const union ck_args *args) \
    {                                                                                  \
        return wn_##name##_op(ex, args->name);                                         \
    }
#include "backend/ops.def"

static struct wn_tensor (*const call[WN_OP_COUNT])(struct wn_exec *, const union ck_args *) = {
#define WN_OP(ENUM, name, needs, summary) [WN_OP_##ENUM] = call_##name,
#include "backend/ops.def"
};

static void check_inputs(struct wn_exec *ex, const struct ck_case *c, const struct placed *placed)
{
    for (int i = 0; i < c->n_in; i++) {
        const struct ck_input *in = &c->in[i];
        size_t n = wn_n_bytes(in->shape);
        if (in->consumed || in->place == CK_MAPPED) continue; /* mapped pages cannot be written */
        void *now = wn_alloc(n);
        if (now && wn_download(ex, placed[i].t, now) == WAN_OK && memcmp(now, in->data, n))
            fail(c, "input %d was changed", i);
        wn_free(now);
    }
}

/* Run the case on a device: its output's shape, and its bytes in *out (wn_free). */
static bool run_case(struct device *d, const struct ck_case *c, struct wn_tensor *shape, void **out)
{
    struct wn_exec ex = {.dev = d->dev, .precision = c->precision};
    struct placed placed[CK_MAX_INPUTS] = {0};
    union ck_args args = c->args;
    struct wn_scope scope;
    wn_scope_begin(&ex, &scope);
    for (int i = 0; i < c->n_in && wn_ok(&ex); i++) {
        placed[i].t = place(&ex, &c->in[i], &placed[i].pages);
        memcpy((char *)&args + c->in[i].field, &placed[i].t, sizeof placed[i].t);
    }
    if (c->op == WN_OP_ATTENTION) {
        args.attention.q_seg = c->q_seg;
        args.attention.k_seg = c->k_seg;
    }
    guard_broken = false;
    *shape = call[c->op](&ex, &args);
    *out = wn_ok(&ex) ? wn_alloc(wn_n_bytes(*shape)) : NULL;
    if (*out) wn_download(&ex, *shape, *out);
    if (wn_ok(&ex)) check_inputs(&ex, c, placed);
    if (!all_guards_whole(d)) fail(c, "wrote outside a buffer on %s", d->original->name);
    wn_scope_end(&ex, &scope);
    for (int i = 0; i < c->n_in; i++) {
        if (c->in[i].place == CK_MAPPED && wn_has(placed[i].t)) wn_unmap(placed[i].t);
        unmap_pages(&placed[i].pages);
    }
    if (!wn_ok(&ex)) fail(c, "%s: %s", d->original->name, ex.err.text);
    if (wn_ok(&ex) && *out) return true;
    wn_free(*out);
    *out = NULL;
    return false;
}

/* On ref, with the output in float32. */
static bool run_ref(const struct ck_case *c, float *out, int64_t n)
{
    struct ck_case f32 = *c;
    enum wn_dtype *type = ck_out_type(&f32);
    if (type) *type = WN_F32;
    /* A consumed addend in BF16 forces the output's type; its values are exact in float32. */
    float *add = NULL;
    for (int i = 0; i < f32.n_in; i++) {
        struct ck_input *in = &f32.in[i];
        if (!in->consumed || in->shape.type == WN_F32) continue;
        int64_t m = wn_n_elems(in->shape);
        add = wn_alloc_n((size_t)m, sizeof *add);
        if (!add) return false;
        wn_to_f32(in->data, in->shape.type, add, m);
        in->data = add;
        in->shape.type = WN_F32;
    }
    struct wn_tensor shape;
    void *got = NULL;
    bool ok = run_case(&devices[0], &f32, &shape, &got) && shape.type == WN_F32 && wn_n_elems(shape) == n;
    if (ok) memcpy(out, got, (size_t)n * sizeof *out);
    wn_free(got);
    wn_free(add);
    return ok;
}

/* ---- comparing ---- */

/* Half a unit in the last place of a type, relative, and below its normal numbers. */
static void rounding(enum wn_dtype type, double *relative, double *absolute)
{
    *relative = 0x1p-24;
    *absolute = 1e-37; /* tiny float32 may be flushed to zero */
    switch (type) {
    case WN_BF16: *relative = 0x1p-8; break;
    case WN_F16: *relative = 0x1p-11, *absolute = 0x1p-25; break;
    case WN_F8_E4M3: *relative = 0x1p-4, *absolute = 0x1p-10; break;
    case WN_F8_E5M2: *relative = 0x1p-3, *absolute = 0x1p-17; break;
    default: break;
    }
}

static void compare(const struct ck_case *c, struct wn_tensor shape, const void *out, const float *y,
                    const double *tol)
{
    const struct ck_input got = {.shape = shape, .data = (void *)(uintptr_t)out};
    double relative, absolute, worst = 0;
    rounding(shape.type, &relative, &absolute);
    for (int64_t i = 0; i < wn_n_elems(shape); i++) {
        double v = ck_value(&got, i), want = (double)y[i];
        double most = tol[i] * (1 + relative) + relative * fabs(want) + absolute;
        double off = fabs(v - want) / most;
        if (!(off <= 1)) {
            fail(c, "element %lld is %.9g, should be %.9g +- %.3g", (long long)i, v, want, most);
            return;
        }
        worst = off > worst ? off : worst;
    }
    if (opt.verbose) printf("%s (%s): %.3f of the bound\n", wn_op_name(c->op), c->text, worst);
}

/* `out` against ref: to the bit where nothing is computed, else within the operation's bound. */
static void check_values(const struct ck_case *c, const char *isa, struct wn_tensor shape, const void *out)
{
    struct ck_env env = {.n = wn_n_elems(shape), .run_ref = run_ref};
    bool mlx = !strcmp(opt.device, "mlx"), gpu = !strcmp(isa, "gpu");
    env.bf16_sums = mlx && strcmp(isa, "cpu");
    env.sums = mlx && !gpu && env.bf16_sums ? 8 : 1;
    env.parts = !strcmp(opt.device, "cpu") && (!strcmp(isa, "amx") || !strcmp(isa, "neonbf16"));
    if (c->exact) {
        struct wn_tensor want_shape;
        void *want;
        if (!run_case(&devices[0], c, &want_shape, &want)) return;
        if (want_shape.type != shape.type || !wn_same_shape(want_shape, shape) ||
            memcmp(want, out, wn_n_bytes(shape)))
            fail(c, "differs from ref, and nothing is to be computed");
        wn_free(want);
        return;
    }
    float *y = wn_alloc_n((size_t)env.n, sizeof *y);
    double *tol = wn_alloc_n((size_t)env.n, sizeof *tol);
    env.y = y;
    if (y && tol && run_ref(c, y, env.n) && op_table[c->op]->bound(c, &env, tol))
        compare(c, shape, out, y, tol);
    else
        fail(c, "no reference value");
    wn_free(y);
    wn_free(tol);
}

/* The same bits again, and from every other thread count. */
static void check_repeat(const struct ck_case *c, struct wn_tensor shape, const void *out)
{
    for (int i = 1; i < MAX_DEVICES && !failed_here; i++) {
        struct wn_tensor s;
        void *again;
        if (!devices[i].dev || !run_case(&devices[i], c, &s, &again)) continue;
        if (memcmp(out, again, wn_n_bytes(shape)))
            fail(c, "a second run gave other bits (with %d threads)", i);
        wn_free(again);
    }
}

static struct ck_case *make_case(enum wn_op op, int i, bool bench)
{
    struct ck_case *c = wn_zalloc(sizeof *c);
    if (!c) return NULL;
    *c = (struct ck_case){.op = op, .precision = WN_PREC_F32};
    c->rng.state = opt.seed * 0x9e3779b97f4a7c15u + (uint64_t)op * 1000003 + (uint64_t)i;
    ck_u64(&c->rng);
    if (bench)
        op_table[op]->make_bench(c, i);
    else
        op_table[op]->make(c, i);
    return c;
}

static void check_case(enum wn_op op, int i, const char *isa)
{
    set_repeat_line(wn_op_name(op), isa, i);
    failed_here = false;
    struct ck_case *c = make_case(op, i, false);
    if (!c || c->no_memory) {
        printf("FAIL: no memory\n     %s\n", repeat_line);
        failed_here = true;
    } else if (opt.list) {
        printf("%s %d: %s\n", wn_op_name(op), i, c->text);
    } else {
        struct wn_tensor shape;
        void *out;
        if (run_case(&devices[2], c, &shape, &out)) {
            check_values(c, isa, shape, out);
            check_repeat(c, shape, out);
            wn_free(out);
        }
    }
    if (failed_here)
        n_failed++;
    else
        n_passed += !opt.list;
    if (c) ck_release(c);
    wn_free(c);
}

/* ---- bench ---- */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double op_seconds;
static void on_op(void *ctx, int op, const void *args, struct wn_tensor out, double seconds)
{
    (void)ctx, (void)op, (void)args, (void)out;
    op_seconds = seconds;
}

/* Best time of one case: at least 3 runs, at most about a second. */
static double time_case(struct device *d, const struct ck_case *c, struct wn_tensor *shape)
{
    struct wn_exec ex = {.dev = d->dev, .precision = c->precision, .on_op = on_op};
    struct placed placed[CK_MAX_INPUTS] = {0};
    union ck_args args = c->args;
    struct wn_scope scope, inner;
    wn_scope_begin(&ex, &scope);
    for (int i = 0; i < c->n_in && wn_ok(&ex); i++) {
        placed[i].t = place(&ex, &c->in[i], &placed[i].pages);
        memcpy((char *)&args + c->in[i].field, &placed[i].t, sizeof placed[i].t);
    }
    if (c->op == WN_OP_ATTENTION) {
        args.attention.q_seg = c->q_seg;
        args.attention.k_seg = c->k_seg;
    }
    double best = INFINITY, start = now();
    for (int n = 0; wn_ok(&ex) && (n < 3 || now() - start < 1); n++) {
        wn_scope_begin(&ex, &inner);
        *shape = call[c->op](&ex, &args);
        wn_scope_end(&ex, &inner);
        best = op_seconds < best ? op_seconds : best;
    }
    wn_scope_end(&ex, &scope);
    for (int i = 0; i < c->n_in; i++) {
        if (c->in[i].place == CK_MAPPED && wn_has(placed[i].t)) wn_unmap(placed[i].t);
        unmap_pages(&placed[i].pages);
    }
    if (wn_ok(&ex)) return best;
    fail(c, "%s", ex.err.text);
    return 0;
}

static void bench_case(struct device *d, enum wn_op op, int i)
{
    set_repeat_line(wn_op_name(op), d->dev->isa, i);
    failed_here = false;
    struct ck_case *c = make_case(op, i, true);
    struct wn_tensor shape = {0};
    double seconds = c && !c->no_memory ? time_case(d, c, &shape) : 0;
    if (seconds > 0) {
        double bytes = (double)wn_n_bytes(shape);
        for (int j = 0; j < c->n_in && !c->bytes; j++) bytes += (double)wn_n_bytes(c->in[j].shape);
        bytes += c->bytes;
        printf("%-13s %-9s %10.3f ms %9.1f GFLOP/s %7.1f GB/s  %s\n", wn_op_name(op), d->dev->isa,
               seconds * 1e3, c->flops / seconds * 1e-9, bytes / seconds * 1e-9, c->text);
        n_passed++;
    } else
        n_failed++;
    if (c) ck_release(c);
    wn_free(c);
    fflush(stdout);
}

/* ---- the program ---- */

static void run_ops(const char *isa)
{
    for (int op = 0; op < WN_OP_COUNT; op++) {
        if (opt.op && strcmp(opt.op, wn_op_name((enum wn_op)op))) continue;
        int n = opt.bench ? op_table[op]->n_bench : op_table[op]->n_cases;
        for (int i = 0; i < n; i++) {
            if (opt.only_case >= 0 && i != opt.only_case) continue;
            if (opt.bench)
                bench_case(&devices[2], (enum wn_op)op, i);
            else
                check_case((enum wn_op)op, i, isa);
        }
    }
}

/* Devices 1 to 3 have that many threads. */
static bool run_level(const char *isa)
{
    struct wn_err err = {0};
    bool ok = !open_device(&devices[0], "ref", NULL, 1, &err);
    for (int i = 1; i < MAX_DEVICES && ok; i++) {
        if (opt.bench && i != 2) continue;
        ok = !open_device(&devices[i], opt.device, isa, opt.bench ? opt.n_threads : i, &err);
    }
    if (ok)
        run_ops(devices[2].dev->isa);
    else
        printf("cannot open device %s%s%s: %s\n", opt.device, isa ? " " : "", isa ? isa : "", err.text);
    for (int i = 0; i < MAX_DEVICES; i++) close_device(&devices[i]);
    return ok;
}

static int run_cpu(void)
{
    int n;
    const char *const *isa = wn_cpu_isa_list(&n);
    bool found = false;
    for (int i = 0; i < n; i++) {
        if (opt.isa && strcmp(opt.isa, isa[i])) continue;
        found = true;
        if (!run_level(isa[i])) return 1;
        if (opt.list) break;
    }
    if (found) return 0;
    printf("instruction set '%s' is not on this machine, which has up to '%s'\n", opt.isa, isa[n - 1]);
    n_skipped++;
    return EXIT_SKIP;
}

static int usage(const char *what)
{
    fprintf(stderr,
            "wan-check: %s\n"
            "usage: wan-check [--op NAME] [--device cpu|ref|...] [--isa "
            "portable|avx2|avx512|avx512bf16|amx|neon|...]\n"
            "                 [--case N] [--seed S] [--bench [--threads N]] [--list] [--verbose]\n",
            what);
    return 2;
}

static bool known_op(const char *name)
{
    for (int op = 0; op < WN_OP_COUNT; op++)
        if (!strcmp(name, wn_op_name((enum wn_op)op))) return true;
    return false;
}

static bool parse(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
        bool takes = true;
        if (!strcmp(name, "--bench"))
            opt.bench = true, takes = false;
        else if (!strcmp(name, "--list"))
            opt.list = true, takes = false;
        else if (!strcmp(name, "--verbose"))
            opt.verbose = true, takes = false;
        else if (!value)
            return false;
        else if (!strcmp(name, "--op"))
            opt.op = value;
        else if (!strcmp(name, "--device"))
            opt.device = value;
        else if (!strcmp(name, "--isa"))
            opt.isa = value;
        else if (!strcmp(name, "--case"))
            opt.only_case = atoi(value);
        else if (!strcmp(name, "--threads"))
            opt.n_threads = atoi(value);
        else if (!strcmp(name, "--seed"))
            opt.seed = strtoull(value, NULL, 10);
        else
            return false;
        i += takes;
    }
    return true;
}

static bool known_isa(const char *isa)
{
    static const char *const known[] = {"portable", "avx2", "avx512", "avx512bf16", "amx",         "neon",
                                        "neonbf16", "cpu",  "gpu",    "cpu-as-gpu", "cpu-compiled"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(isa, known[i])) return true;
    return false;
}

int main(int argc, char **argv)
{
    if (!parse(argc, argv)) return usage("an option is unknown or lacks its value");
    if (opt.op && !known_op(opt.op)) return usage("no operation of that name");
    if (opt.isa && !known_isa(opt.isa)) return usage("no instruction set of that name");
    signal(SIGSEGV, on_crash);
    signal(SIGBUS, on_crash);
    signal(SIGFPE, on_crash);
    signal(SIGILL, on_crash);
    int code = !strcmp(opt.device, "cpu") ? run_cpu() : run_level(opt.isa) ? 0 : 1;
    if (!opt.list) printf("%d passed, %d failed, %d skipped\n", n_passed, n_failed, n_skipped);
    if (!code && !opt.list && !n_passed && !n_failed) return usage("no such case");
    return n_failed ? 1 : code;
}
