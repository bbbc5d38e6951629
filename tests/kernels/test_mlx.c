/* The device mlx beyond its operations: the self-test, threads, laziness, and what it refuses. */
#include <dirent.h>
#include <math.h>
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
#include "lib/session.h"
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

enum { MAX_NAMES = 64, MAX_EVALUATIONS = 64 };

/* What evaluations do, as far as scopes that end and downloads cause them. */
static struct {
    const struct wn_device_table *table;
    struct wn_device_table counting;
    int n_evaluations;                                       /* with anything to evaluate */
    int n_steps[MAX_EVALUATIONS], n_copies[MAX_EVALUATIONS]; /* views are no steps */
    int n_products;                                          /* with weights, of all evaluations */
    bool print;
    char name[MAX_NAMES][32]; /* of the evaluation that comes now */
    int n[MAX_NAMES], n_names;
} counts;

static void count_step(void *ctx, const char *name, bool view)
{
    (void)ctx;
    if (view) return;
    if (!strncmp(name, "Compiled", 8)) name = "Compiled";
    int i = 0;
    while (i < counts.n_names && strcmp(counts.name[i], name)) i++;
    if (i == MAX_NAMES) return;
    if (i == counts.n_names) snprintf(counts.name[counts.n_names++], sizeof counts.name[i], "%s", name);
    counts.n[i]++;
}

/* Elements moved and nothing else: by these steps where they are no views. */
static bool is_copy(const char *step)
{
    static const char *const moves[] = {"Contiguous", "Copy", "Reshape", "Transpose", "Slice", "Broadcast"};
    for (size_t i = 0; i < sizeof moves / sizeof *moves; i++)
        if (!strcmp(step, moves[i])) return true;
    return false;
}

static void count(struct wn_device *dev)
{
    counts.n_names = 0;
    memset(counts.n, 0, sizeof counts.n);
    wn_mlx_steps(dev, count_step, NULL);
    if (!counts.n_names || counts.n_evaluations == MAX_EVALUATIONS) return;
    int k = counts.n_evaluations++;
    counts.n_steps[k] = counts.n_copies[k] = 0;
    for (int i = 0; i < counts.n_names; i++) {
        counts.n_steps[k] += counts.n[i];
        if (is_copy(counts.name[i])) counts.n_copies[k] += counts.n[i];
        if (!strcmp(counts.name[i], "AddMM")) counts.n_products += counts.n[i];
        if (counts.print) printf("%d %s, ", counts.n[i], counts.name[i]);
    }
    if (counts.print) printf("%d in all\n", counts.n_steps[k]);
}

static enum wan_status counting_scope_end(struct wn_device *dev, struct wn_err *err)
{
    count(dev);
    return counts.table->scope_end(dev, err);
}

static enum wan_status counting_download(struct wn_device *dev, const struct wn_buf *buf, size_t offset,
                                         void *data, size_t bytes, struct wn_err *err)
{
    count(dev);
    return counts.table->download(dev, buf, offset, data, bytes, err);
}

static void start_counting(struct wn_device *dev)
{
    counts.counting = *(counts.table = dev->table);
    counts.counting.scope_end = counting_scope_end;
    counts.counting.download = counting_download;
    counts.n_evaluations = counts.n_products = 0;
    counts.print = getenv("WAN_COUNTS") != NULL;
    dev->table = &counts.counting;
}

static void stop_counting(struct wn_device *dev)
{
    dev->table = counts.table;
}

/* A form of the device, and what a block costs there. */
struct cost {
    const char *isa;
    int n_steps, n_copies;
};

static struct wan_context *open_context(const char *isa)
{
    struct wan_context *ctx;
    if (wan_context_new(&ctx, wan_context_params(.device = "mlx", .isa = isa)))
        fail_msg("%s", wan_error(ctx));
    return ctx;
}

/* The golden's transformer in a form of the device; *v [n] receives the result. */
static void run_dit(const char *isa, const char *precision, bool counted, float **v, int64_t *n)
{
    struct wan_context *ctx = open_context(isa);
    struct wan_tensors *in, *out;
    struct wan_array a;
    assert_int_equal(wan_tensors_read(ctx, &in, GOLDEN_DIR "/model/dit_main.safetensors"), 0);
    assert_int_equal(wan_tensors_new(ctx, &out), 0);
    if (counted) start_counting(ctx->dev);
    enum wan_status st = wan_part_run(
        ctx, "dit", wan_part_params(.model = GOLDEN_DIR "/model/tiny-t2v", .precision = precision), in, out,
        NULL);
    if (counted) stop_counting(ctx->dev);
    assert_int_equal(st, 0);
    assert_true(wan_tensors_find(out, "v", &a));
    *n = (int64_t)(a.bytes / sizeof **v);
    *v = malloc(a.bytes);
    assert_non_null(*v);
    memcpy(*v, a.data, a.bytes);
    wan_tensors_free(in);
    wan_tensors_free(out);
    wan_context_free(ctx);
}

static bool can_compile(void)
{
    return !system("command -v g++ >/dev/null 2>&1");
}

/* The transformer is evaluated once for each block, and docs/devices.md lists what a block does. */
static void a_block_is_one_evaluation(void **state)
{
    const struct cost *cost = *state;
    float *v;
    int64_t n;
    if (!strcmp(cost->isa, "cpu-compiled") && !can_compile()) skip();
    run_dit(cost->isa, "bf16", true, &v, &n);
    free(v);
    /* one for each layer's text keys, one for each block, and one for the head, which is downloaded */
    enum { N_LAYERS = 3 };
    assert_int_equal(counts.n_evaluations, 2 * N_LAYERS + 1);
    for (int i = N_LAYERS + 1; i < 2 * N_LAYERS; i++) { /* the first also computes what comes before it */
        assert_int_equal(counts.n_steps[i], cost->n_steps);
        assert_int_equal(counts.n_copies[i], cost->n_copies);
    }
}

/* Compiled steps give what the single ones do, but for the rounding of sums that are fused. */
static void compiled_is_the_same(void **state)
{
    (void)state;
    if (!can_compile()) skip();
    for (int bf16 = 0; bf16 < 2; bf16++) {
        const char *precision = bf16 ? "bf16" : "f32";
        float *a, *b;
        int64_t n, m;
        run_dit("cpu-as-gpu", precision, false, &a, &n);
        run_dit("cpu-compiled", precision, false, &b, &m);
        assert_int_equal(n, m);
        float most = 0, top = 0;
        for (int64_t i = 0; i < n; i++) {
            float d = fabsf(a[i] - b[i]);
            if (!(d <= most)) most = d;
            if (fabsf(a[i]) > top) top = fabsf(a[i]);
        }
        if (!(most <= (bf16 ? 1e-2f : 1e-5f) * top))
            fail_msg("%s: %g of %g apart", precision, (double)most, (double)top);
        free(a);
        free(b);
    }
}

/* Evaluations, steps and products of one denoising step. */
struct step_cost {
    int n_evaluations, n_steps, n_products;
};

static struct step_cost step_cost(struct wan_context *ctx, struct wan_session *s)
{
    struct step_cost c = {0};
    start_counting(ctx->dev);
    int64_t before = wn_mlx_n_evaluations(ctx->dev);
    enum wan_status st = wan_session_step(s);
    stop_counting(ctx->dev);
    if (st) fail_msg("%s", wan_error(ctx));
    c.n_evaluations = (int)(wn_mlx_n_evaluations(ctx->dev) - before);
    c.n_products = counts.n_products;
    for (int i = 0; i < counts.n_evaluations; i++) c.n_steps += counts.n_steps[i];
    return c;
}

static void steps_of_a_run(double guidance, struct step_cost cost[3])
{
    const char *file = GOLDEN_DIR "/model/pipeline_unipc.safetensors";
    struct wan_context *ctx = open_context("cpu-as-gpu");
    struct wan_model *model;
    struct wan_session *s;
    assert_int_equal(wan_model_open(&model, ctx, GOLDEN_DIR "/model/tiny-t2v"), 0);
    assert_int_equal(
        wan_session_new(&s, model,
                        wan_gen_params(.width = 48, .height = 32, .frames = 5, .steps = 3,
                                       .guidance_low = guidance, .noise_file = file, .context_file = file)),
        0);
    for (int i = 0; i < 3; i++) cost[i] = step_cost(ctx, s);
    wan_session_free(s);
    wan_model_free(model);
    wan_context_free(ctx);
}

/* Keys of the text are computed once for a prompt, both passes go as one, and no step does more than the one
 * before. */
static void a_run_repeats_nothing(void **state)
{
    (void)state;
    enum { N_LAYERS = 3 };
    struct step_cost guided[3], plain[3];
    steps_of_a_run(5, guided);
    steps_of_a_run(1, plain);
    assert_int_equal(guided[0].n_evaluations, guided[1].n_evaluations + N_LAYERS);
    assert_int_equal(guided[1].n_evaluations, N_LAYERS + 2); /* and each pass's result is downloaded */
    assert_int_equal(plain[1].n_evaluations, N_LAYERS + 1);
    assert_memory_equal(&guided[1], &guided[2], sizeof guided[1]);
    assert_memory_equal(&plain[1], &plain[2], sizeof plain[1]);
    assert_int_equal(guided[1].n_products, plain[1].n_products);
    if (counts.print)
        printf("a step: %d evaluations, %d steps of MLX; without guidance %d and %d\n",
               guided[1].n_evaluations, guided[1].n_steps, plain[1].n_evaluations, plain[1].n_steps);
}

/* ---- memory ---- */

#define SHAPES SOURCE_DIR "/models/shapes-t2v"

static struct wan_model *open_model(struct wan_context *ctx, const char *path)
{
    struct wan_model *model;
    if (wan_model_open(&model, ctx, path)) fail_msg("%s", wan_error(ctx));
    return model;
}

enum { TEXT, STEP, DECODE, N_STAGES };

/* The peak of each stage of a run on a device, real or dry. */
static void stage_peaks(struct wan_model *model, struct wn_device *dev, const struct wan_gen_params *params,
                        size_t peak[N_STAGES])
{
    struct wn_err err = {0};
    struct wan_session *s;
    struct wan_context ctx = {.dev = dev, .params = model->ctx->params};
    struct wan_model twin = {.ctx = &ctx, .checkpoint = model->checkpoint, .defaults = model->defaults};
    wn_parts_init(&twin.parts, &twin.checkpoint, dev);
    if (wn_session_new(&s, &twin, params, (struct wn_job_strips){1, 1})) fail_msg("%s", ctx.err.text);
    for (int i = 0; i < N_STAGES && !err.code; i++) {
        wn_device_reset_peak(dev);
        if (i == TEXT) wn_job_encode_text(s->job, &err);
        if (i == STEP) wn_job_step(s->job, &err);
        if (i == DECODE) wn_job_decode(s->job, NULL, NULL, &err);
        peak[i] = wn_device_memory(dev).peak;
    }
    if (err.code) fail_msg("%s", err.text);
    wan_session_free(s);
    wn_parts_release(&twin.parts);
}

/* What a dry device counts is within 15 % of what MLX takes, stage by stage. */
static void a_plan_is_right(void **state)
{
    (void)state;
    static const char *const name[] = {"text", "step", "decode"};
    static const int sizes[][2] = {{32, 32}, {64, 64}, {96, 64}};
    struct wan_context *ctx = open_context("cpu-as-gpu");
    struct wan_model *model = open_model(ctx, SHAPES);
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        size_t planned[N_STAGES], taken[N_STAGES];
        struct wn_err err = {0};
        struct wn_device *dry;
        struct wn_device_params dp = {.name = "mlx", .isa = "cpu-as-gpu", .dry = true};
        struct wan_gen_params p = *wan_gen_params(.prompt = "a red circle", .seed = 1, .width = sizes[k][0],
                                                  .height = sizes[k][1], .frames = 5, .steps = 2);
        if (wn_device_open(&dry, &dp, &err)) fail_msg("%s", err.text);
        stage_peaks(model, dry, &p, planned);
        wn_device_close(dry);
        stage_peaks(model, ctx->dev, &p, taken);
        for (int i = 0; i < N_STAGES; i++) {
            double ratio = (double)planned[i] / (double)taken[i];
            if (getenv("WAN_COUNTS"))
                printf("%dx%d, %s: planned %.2f MB, taken %.2f MB\n", sizes[k][0], sizes[k][1], name[i],
                       (double)planned[i] * 1e-6, (double)taken[i] * 1e-6);
            if (!(ratio > 0.85 && ratio < 1.15))
                fail_msg("%dx%d, %s: planned %zu, taken %zu", sizes[k][0], sizes[k][1], name[i], planned[i],
                         taken[i]);
        }
    }
    wan_model_free(model);
    wan_context_free(ctx);
}

/* Of MLX alone, without the library's own memory. */
static struct wn_memory arrays_of(struct wan_context *ctx)
{
    struct wn_memory m = {0};
    wn_mlx_memory(ctx->dev, &m);
    return m;
}

/* What was copied of the text encoder is gone before the transformer is used, and of the first expert before
 * the second. */
static void parts_take_turns(void **state)
{
    (void)state;
    struct wan_context *ctx = open_context("cpu");
    struct wan_model *model = open_model(ctx, GOLDEN_DIR "/model/tiny-t2v-a14b");
    const struct wn_parts *parts = &model->parts;
    struct wan_session *s;
    assert_int_equal(wan_session_new(&s, model,
                                     wan_gen_params(.prompt = "a red circle", .seed = 1, .width = 32,
                                                    .height = 32, .frames = 1, .steps = 4)),
                     0);
    struct wn_memory before = arrays_of(ctx), after;
    wn_device_reset_peak(ctx->dev);
    assert_int_equal(wan_session_encode_text(s), 0);
    after = arrays_of(ctx);
    size_t t5 = wn_weights_n_bytes(parts->weights[WN_PART_T5]);
    assert_true(after.peak > before.used + t5 / 2);
    assert_true(after.used < before.used + t5 / 8);
    before = after;
    for (int i = 0; i < 4; i++) assert_int_equal(wan_session_step(s), 0);
    assert_non_null(parts->dit[WN_PART_DIT_HIGH]);
    assert_non_null(parts->dit[WN_PART_DIT_LOW]);
    size_t dit = wn_weights_n_bytes(parts->weights[WN_PART_DIT_LOW]);
    after = arrays_of(ctx);
    assert_true(after.used > before.used + dit * 3 / 4);
    assert_true(after.used < before.used + dit * 3 / 2);
    wan_session_free(s);
    wan_model_free(model);
    wan_context_free(ctx);
}

static enum wan_status open_session(struct wan_model *model, int frames)
{
    struct wan_session *s;
    enum wan_status st = wan_session_new(&s, model,
                                         wan_gen_params(.prompt = "a red circle", .seed = 1, .width = 64,
                                                        .height = 64, .frames = frames, .steps = 2));
    wan_session_free(s);
    return st;
}

/* More than a limit allows is refused before anything is computed, with what would fit. */
static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    enum { LIMIT = 64 << 20, FRAMES = 1601 };
    struct wan_context *ctx;
    int frames = 0;
    assert_int_equal(
        wan_context_new(&ctx, wan_context_params(.device = "mlx", .isa = "cpu", .max_memory = LIMIT)), 0);
    assert_int_equal(wn_device_memory(ctx->dev).limit, LIMIT);
    struct wan_model *model = open_model(ctx, SHAPES);
    int64_t evaluations = wn_mlx_n_evaluations(ctx->dev);
    assert_int_equal(open_session(model, FRAMES), WAN_ENOMEM);
    assert_int_equal(wn_mlx_n_evaluations(ctx->dev), evaluations);
    const char *text = wan_error(ctx), *fit = strstr(text, "64x64 with ");
    if (!strstr(text, "--max-memory 64.0 MiB: this run needs at least ") || !fit ||
        sscanf(fit, "64x64 with %d frames would fit", &frames) != 1)
        fail_msg("'%s'", text);
    assert_in_range(frames, 5, FRAMES - 4);
    assert_int_equal(open_session(model, frames / 2),
                     WAN_OK); /* what else the process holds changes a little */
    wan_model_free(model);
    wan_context_free(ctx);
    assert_int_equal(
        wan_context_new(&ctx, wan_context_params(.device = "mlx", .isa = "cpu", .max_memory = 1 << 20)), 0);
    model = open_model(ctx, SHAPES);
    assert_int_equal(open_session(model, 5), WAN_ENOMEM);
    if (!strstr(wan_error(ctx), "no size of video would fit")) fail_msg("'%s'", wan_error(ctx));
    wan_model_free(model);
    wan_context_free(ctx);
}

int main(int argc, char **argv)
{
    static struct cost eager = {"cpu-as-gpu", 123, 2}, compiled = {"cpu-compiled", 104, 2};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(selftest_names_what_fails),
        cmocka_unit_test(any_thread_may_use_it),
        cmocka_unit_test(devices_leave_no_threads),
        cmocka_unit_test(what_was_not_written_is_not_read),
        cmocka_unit_test(a_view_is_written_alone),
        cmocka_unit_test(long_chains_are_computed),
        cmocka_unit_test(long_work_is_stopped),
        {"a block is one evaluation", a_block_is_one_evaluation, NULL, NULL, &eager},
        {"a block is one evaluation, compiled", a_block_is_one_evaluation, NULL, NULL, &compiled},
        cmocka_unit_test(compiled_is_the_same),
        cmocka_unit_test(a_run_repeats_nothing),
        cmocka_unit_test(a_plan_is_right),
        cmocka_unit_test(parts_take_turns),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
