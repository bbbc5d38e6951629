/* The device mlx beyond its operations: the self-test, threads, laziness, and what it refuses. */
#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/mlx/mlx.h"
#include "backend/ref/ref.h"
#include "backend/selftest.h"
#include "base/mem.h"
#include "lib/lib.h"
#include "ops/ops.h"
#include "wan/parts.h"

static struct wn_device *open_named(const char *name)
{
    struct wn_err err = {0};
    struct wn_device *dev;
    struct wn_device_params p = {.name = name};
    if (!strcmp(name, "mlx")) p.isa = "cpu";
    if (wn_device_open(&dev, &p, &err)) fail_msg("%s", err.text);
    return dev;
}

/* ---- the self-test ---- */

static enum wan_status throws(struct wn_device *dev, const void *args, struct wn_err *err)
{
    (void)dev, (void)args;
    return wn_fail(err, WAN_EINTERNAL, "norm: something is thrown");
}

/* y = x: no activation */
static enum wan_status wrong(struct wn_device *dev, const void *args, struct wn_err *err)
{
    struct wn_unary_args a = *(const struct wn_unary_args *)args;
    a.act = WN_ACT_NONE;
    return wn_ref_unary(dev, &a, err);
}

/* Replaces one operation of ref and tests it against ref. */
static void selftest_says(enum wn_op op,
                          enum wan_status (*fn)(struct wn_device *, const void *, struct wn_err *),
                          const char *text)
{
    struct wn_err err = {0};
    struct wn_device *dev = open_named("ref");
    const struct wn_device_table *table = dev->table;
    struct wn_device_table broken = *table;
    enum wan_status (*run[WN_OP_COUNT])(struct wn_device *, const void *, struct wn_err *);
    memcpy(run, table->run, sizeof run);
    if (fn) run[op] = fn;
    broken.run = run;
    dev->table = &broken;
    assert_int_equal(wn_selftest(dev, &err), fn ? WAN_EUNSUPPORTED : WAN_OK);
    if (fn && !strstr(err.text, text)) fail_msg("'%s' says nothing of '%s'", err.text, text);
    dev->table = table;
    wn_device_close(dev);
}

static void selftest_names_what_fails(void **state)
{
    (void)state;
    selftest_says(WN_OP_NORM, NULL, NULL);
    selftest_says(WN_OP_NORM, throws, "device ref fails its self-test: norm: something is thrown");
    selftest_says(WN_OP_UNARY, wrong, "unary in f32 is off by");
}

/* ---- threads ---- */

struct sum {
    struct wn_device *dev;
    float out[64];
    struct wn_err err;
};

/* out = w w + w, some times over, in scopes */
static void *compute(void *arg)
{
    struct sum *s = arg;
    struct wn_exec ex = {.dev = s->dev};
    struct wn_scope outer;
    float w[64];
    for (int i = 0; i < 64; i++) w[i] = (float)(i % 5) - 2;
    wn_scope_begin(&ex, &outer);
    struct wn_tensor a = wn_upload(&ex, wn_shape_of(WN_F32, 8, 8), w), x = a;
    for (int i = 0; i < 30; i++) {
        struct wn_scope scope;
        wn_scope_begin(&ex, &scope);
        struct wn_tensor y = wn_linear(&ex, .x = a, .w = x, .precision = WN_PREC_F32);
        x = wn_keep(&ex, wn_norm(&ex, .x = y, .kind = WN_NORM_RMS, .eps = 1e-6f));
        wn_scope_end(&ex, &scope);
    }
    wn_download(&ex, x, s->out);
    wn_scope_end(&ex, &outer);
    s->err = ex.err;
    return NULL;
}

static void compute_in_thread(pthread_t *thread, struct sum *s)
{
    assert_int_equal(pthread_create(thread, NULL, compute, s), 0);
}

/* A device is used by one thread at a time, but not always the same; two devices by two at once. */
static void any_thread_may_use_it(void **state)
{
    (void)state;
    struct sum want = {.dev = open_named("ref")}, a = {.dev = open_named("mlx")},
               b = {.dev = open_named("mlx")};
    compute(&want);
    assert_int_equal(want.err.code, WAN_OK);
    for (int i = 0; i < 20; i++) {
        pthread_t ta, tb;
        compute_in_thread(&ta, &a);
        compute_in_thread(&tb, &b);
        pthread_join(ta, NULL);
        pthread_join(tb, NULL);
        if (a.err.code || b.err.code) fail_msg("%s%s", a.err.text, b.err.text);
        for (int k = 0; k < 64; k++) assert_float_equal(a.out[k], want.out[k], 1e-4);
        assert_memory_equal(a.out, b.out, sizeof a.out);
        memset(a.out, 0, sizeof a.out);
        compute(&a); /* and here */
        assert_memory_equal(a.out, b.out, sizeof a.out);
    }
    wn_device_close(want.dev);
    wn_device_close(a.dev);
    wn_device_close(b.dev);
}

/* Threads of this process; 0 where the system does not tell. */
static int n_threads(void)
{
    DIR *d = opendir("/proc/self/task");
    int n = 0;
    while (d && readdir(d)) n++;
    if (d) closedir(d);
    return n;
}

static void devices_leave_no_threads(void **state)
{
    (void)state;
    wn_device_close(open_named("mlx"));
    int before = n_threads();
    for (int i = 0; i < 50; i++) {
        struct sum s = {.dev = open_named("mlx")};
        compute(&s);
        assert_int_equal(s.err.code, WAN_OK);
        wn_device_close(s.dev);
    }
    assert_int_equal(n_threads(), before);
}

/* ---- buffers ---- */

static void what_was_not_written_is_not_read(void **state)
{
    (void)state;
    struct wn_exec ex = {.dev = open_named("mlx")};
    struct wn_scope scope;
    wn_scope_begin(&ex, &scope);
    wn_unary(&ex, .x = wn_new(&ex, wn_shape_of(WN_F32, 4)), .act = WN_ACT_SILU);
    assert_int_equal(ex.err.code, WAN_EINTERNAL);
    assert_string_equal(ex.err.text, "unary: a tensor is read before anything was written to it");
    wn_scope_end(&ex, &scope);
    wn_device_close(ex.dev);
}

/* A consumed tensor that is a view: the rest of its buffer stays. */
static void a_view_is_written_alone(void **state)
{
    (void)state;
    struct wn_exec ex = {.dev = open_named("mlx")};
    struct wn_scope scope;
    float x[4] = {1, 2, 3, 4}, out[6], rows[6] = {10, 20, 30, 40, 50, 60};
    wn_scope_begin(&ex, &scope);
    struct wn_tensor all = wn_upload(&ex, wn_shape_of(WN_F32, 3, 2), rows);
    wn_linear(&ex, .x = wn_upload(&ex, wn_shape_of(WN_F32, 1, 2), x),
              .w = wn_upload(&ex, wn_shape_of(WN_F32, 2, 2), x), .add = wn_rows(all, 1, 2),
              .precision = WN_PREC_F32);
    assert_int_equal(wn_download(&ex, all, out), WAN_OK);
    const float want[6] = {10, 20, 30 + 5, 40 + 11, 50, 60};
    assert_memory_equal(out, want, sizeof want);
    wn_scope_end(&ex, &scope);
    wn_device_close(ex.dev);
}

/* More operations than are recorded without an evaluation, and no scope that would cause one. */
static void long_chains_are_computed(void **state)
{
    (void)state;
    struct wn_exec ex = {.dev = open_named("mlx")};
    struct wn_scope scope;
    float one = 1, out;
    wn_scope_begin(&ex, &scope);
    struct wn_tensor a = wn_upload(&ex, wn_shape_of(WN_F32, 1), &one), x = a;
    for (int i = 0; i < 3000; i++) {
        struct wn_tensor y = wn_binary(&ex, .kind = WN_ADD, .a = x, .b = a);
        if (i) wn_drop(&ex, x);
        x = y;
    }
    assert_int_equal(wn_download(&ex, x, &out), WAN_OK);
    assert_true(out == 3001);
    wn_scope_end(&ex, &scope);
    wn_device_close(ex.dev);
}

/* Not at the first ask, which comes before anything is computed. */
static int stop(void *ctx)
{
    return ++*(int *)ctx > 1;
}

/* The owner's stop while something long is computed: at once, and the device can be closed. */
static void long_work_is_stopped(void **state)
{
    (void)state;
    struct wn_exec ex = {.dev = open_named("mlx")};
    struct wn_scope scope;
    enum { N = 1200 };
    float *w = wn_zalloc_n(N * N, sizeof *w);
    wn_scope_begin(&ex, &scope);
    struct wn_tensor a = wn_upload(&ex, wn_shape_of(WN_F32, N, N), w), x = a;
    for (int i = 0; i < 3; i++) x = wn_linear(&ex, .x = x, .w = a, .precision = WN_PREC_F32);
    int asked = 0;
    ex.dev->cancelled = stop;
    ex.dev->cancel_ctx = &asked;
    assert_int_equal(wn_download(&ex, x, w), WAN_ECANCELED);
    ex.dev->cancelled = NULL;
    wn_scope_end(&ex, &scope);
    wn_device_close(ex.dev);
    wn_free(w);
}

/* ---- what a block costs ---- */

enum { MAX_NAMES = 64, MAX_SCOPES = 64 };

static struct {
    const struct wn_device_table *table;
    int n_scopes;                                  /* with anything to evaluate */
    int n_steps[MAX_SCOPES], n_copies[MAX_SCOPES]; /* views are no steps */
    bool print;
    char name[MAX_NAMES][32]; /* of the scope that ends now */
    int n[MAX_NAMES], n_names;
} counts;

static void count_step(void *ctx, const char *name)
{
    (void)ctx;
    int i = 0;
    while (i < counts.n_names && strcmp(counts.name[i], name)) i++;
    if (i == MAX_NAMES) return;
    if (i == counts.n_names) snprintf(counts.name[counts.n_names++], sizeof counts.name[i], "%s", name);
    counts.n[i]++;
}

/* Another look at the same memory. */
static bool is_view(const char *step)
{
    static const char *const views[] = {"Reshape",    "Broadcast", "Transpose", "Slice",  "View",
                                        "ExpandDims", "Squeeze",   "Unflatten", "Flatten"};
    for (size_t i = 0; i < sizeof views / sizeof *views; i++)
        if (!strncmp(step, views[i], strlen(views[i]))) return true;
    return false;
}

static enum wan_status counting_scope_end(struct wn_device *dev, struct wn_err *err)
{
    counts.n_names = 0;
    memset(counts.n, 0, sizeof counts.n);
    wn_mlx_steps(dev, count_step, NULL);
    if (counts.n_names && counts.n_scopes < MAX_SCOPES) {
        int k = counts.n_scopes++;
        for (int i = 0; i < counts.n_names; i++) {
            if (is_view(counts.name[i])) continue;
            counts.n_steps[k] += counts.n[i];
            bool copy = !strcmp(counts.name[i], "Contiguous") || !strcmp(counts.name[i], "Copy");
            counts.n_copies[k] += copy ? counts.n[i] : 0;
            if (counts.print) printf("%d %s, ", counts.n[i], counts.name[i]);
        }
        if (counts.print) printf("%d in all\n", counts.n_steps[k]);
    }
    return counts.table->scope_end(dev, err);
}

/* The transformer is evaluated once for each block, and docs/devices.md lists what a block does. */
static void a_block_is_one_evaluation(void **state)
{
    (void)state;
    struct wan_context *ctx;
    struct wan_tensors *in, *out;
    assert_int_equal(wan_context_new(&ctx, wan_context_params(.device = "mlx", .isa = "cpu-as-gpu")), 0);
    assert_int_equal(wan_tensors_read(ctx, &in, GOLDEN_DIR "/model/dit_main.safetensors"), 0);
    assert_int_equal(wan_tensors_new(ctx, &out), 0);
    struct wn_device_table counting = *(counts.table = ctx->dev->table);
    counting.scope_end = counting_scope_end;
    ctx->dev->table = &counting;
    counts.print = getenv("WAN_COUNTS") != NULL;
    enum wan_status st =
        wan_part_run(ctx, "dit", wan_part_params(.model = GOLDEN_DIR "/model/tiny-t2v", .precision = "bf16"),
                     in, out, NULL);
    ctx->dev->table = counts.table;
    assert_int_equal(st, 0);
    /* one scope for each layer's text keys, and one for each block; what follows is downloaded */
    enum { N_LAYERS = 3 };
    assert_int_equal(counts.n_scopes, 2 * N_LAYERS);
    for (int i = N_LAYERS + 1; i < 2 * N_LAYERS; i++) { /* the first also computes what comes before it */
        assert_int_equal(counts.n_steps[i], 121);
        assert_int_equal(counts.n_copies[i], 0);
    }
    wan_tensors_free(in);
    wan_tensors_free(out);
    wan_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(selftest_names_what_fails), cmocka_unit_test(any_thread_may_use_it),
        cmocka_unit_test(devices_leave_no_threads),  cmocka_unit_test(what_was_not_written_is_not_read),
        cmocka_unit_test(a_view_is_written_alone),   cmocka_unit_test(long_chains_are_computed),
        cmocka_unit_test(long_work_is_stopped),      cmocka_unit_test(a_block_is_one_evaluation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
