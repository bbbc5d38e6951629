/* The reference device against torch: tools/oracle/kernels.py wrote the inputs and, from float64, the
 * outputs. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "io/weights.h"
#include "ops/ops.h"

static struct wn_weights *golden;
static struct wn_exec ex;
static struct wn_scope scope;

static int open_all(void **state)
{
    (void)state;
    struct wn_err err = {0};
    if (wn_weights_open(&golden, GOLDEN_DIR "/kernels/ops.safetensors", &err)) {
        print_error("%s\n", err.text);
        return -1;
    }
    return wn_device_open(&ex.dev, &(struct wn_device_params){.name = "ref"}, &err) ? -1 : 0;
}

static int close_all(void **state)
{
    (void)state;
    wn_device_close(ex.dev);
    wn_weights_close(golden);
    return wn_mem_used() == 0 ? 0 : -1;
}

static int begin(void **state)
{
    (void)state;
    ex = (struct wn_exec){.dev = ex.dev, .precision = WN_PREC_F32};
    wn_scope_begin(&ex, &scope);
    return 0;
}

static int end(void **state)
{
    (void)state;
    wn_scope_end(&ex, &scope);
    return 0;
}

static const struct wn_weight *find(const char *name)
{
    const struct wn_weight *w = wn_weights_find(golden, name);
    if (!w) fail_msg("no golden '%s'", name);
    return w;
}

/* A golden tensor on the device; I64 becomes the I32 that operations take. */
static struct wn_tensor in(const char *name)
{
    const struct wn_weight *w = find(name);
    struct wn_tensor shape = wn_shape(w->type, w->n_dims, w->dim);
    if (w->type != WN_I64) return wn_upload(&ex, shape, w->data);
    int32_t index[64];
    assert_true(wn_n_elems(shape) <= 64);
    for (int64_t i = 0; i < wn_n_elems(shape); i++) {
        int64_t v;
        memcpy(&v, (const char *)w->data + 8 * i, sizeof v);
        index[i] = (int32_t)v;
    }
    shape.type = WN_I32;
    return wn_upload(&ex, shape, index);
}

/* `t` is F32 and equals a golden: both were rounded to float32 once, from doubles summed in another order. */
static void expect(struct wn_tensor t, const char *name)
{
    if (!wn_ok(&ex)) fail_msg("%s: %s", name, ex.err.text);
    const struct wn_weight *w = find(name);
    assert_int_equal(t.type, WN_F32);
    assert_int_equal(wn_n_bytes(t), w->bytes);
    const float *got = wn_host(t);
    for (int64_t i = 0; i < wn_n_elems(t); i++) {
        float want;
        memcpy(&want, (const char *)w->data + 4 * i, sizeof want);
        if (!(fabs((double)got[i] - (double)want) <= 0x1p-23 * fabs((double)want) + 1e-13))
            fail_msg("%s: element %lld is %.9g, should be %.9g", name, (long long)i, (double)got[i],
                     (double)want);
    }
}

static void test_act(void **state)
{
    (void)state;
    struct wn_tensor x = in("act.x");
    expect(wn_unary(&ex, .x = x, .act = WN_ACT_SILU), "act.silu");
    expect(wn_unary(&ex, .x = x, .act = WN_ACT_GELU_TANH), "act.gelu_tanh");
    expect(wn_unary(&ex, .x = x, .act = WN_ACT_GELU_ERF), "act.gelu_erf");
}

static void test_linear(void **state)
{
    (void)state;
    struct wn_tensor x = in("linear.x"), w = in("linear.w"), b = in("linear.b"), table = in("linear.table");
    expect(wn_linear(&ex, .x = x, .w = w, .b = b), "linear.none");
    expect(wn_linear(&ex, .x = x, .w = w, .b = b, .precision = WN_PREC_F32X), "linear.none");
    expect(wn_linear(&ex, .x = x, .w = w, .b = b, .act = WN_ACT_SILU), "linear.silu");
    expect(wn_linear(&ex, .x = x, .w = w, .b = b, .act = WN_ACT_GELU_TANH), "linear.gelu_tanh");
    expect(wn_linear(&ex, .x = x, .w = w, .b = b, .act = WN_ACT_GELU_ERF), "linear.gelu_erf");
    expect(wn_linear(&ex, .x = x, .w = w, .b = b, .precision = WN_PREC_BF16, .out_type = WN_F32),
           "linear.bf16");
    expect(wn_linear(&ex, .x = x, .w = w, .b = b, .act = WN_ACT_GELU_TANH, .mul = in("linear.mul"),
                     .gate = {table, in("linear.index")}, .gate_row = 2, .add = in("linear.add")),
           "linear.all");
    expect(wn_linear(&ex, .x = x, .w = w, .gate = {.table = table}, .gate_row = 3), "linear.gate");
}

static void test_norm(void **state)
{
    (void)state;
    struct wn_tensor x = in("norm.x"), w = in("norm.w"), b = in("norm.b");
    expect(wn_norm(&ex, .x = x, .kind = WN_NORM_LAYER, .eps = 1e-6f, .weight = w, .bias = b), "norm.layer");
    expect(wn_norm(&ex, .x = x, .kind = WN_NORM_LAYER, .eps = 1e-6f,
                   .mod = {in("norm.table"), in("norm.index")}, .shift_row = 3, .scale_row = 4),
           "norm.layer_mod");
    expect(wn_norm(&ex, .x = x, .kind = WN_NORM_RMS, .eps = 1e-5f, .weight = w), "norm.rms");
    expect(
        wn_norm(&ex, .x = x, .kind = WN_NORM_L2, .eps = 1e-12f, .weight = w, .bias = b, .act = WN_ACT_SILU),
        "norm.l2");
    const float zeros[21] = {0};
    expect(wn_norm(&ex, .x = wn_upload(&ex, wn_shape_of(WN_F32, 1, 21), zeros), .kind = WN_NORM_L2,
                   .eps = 1e-12f),
           "norm.zero");
}

static void test_qk_norm_rope(void **state)
{
    (void)state;
    struct wn_tensor x = in("qk.x"), w = in("qk.w"), rope = in("qk.rope");
    expect(wn_qk_norm_rope(&ex, .x = x, .weight = w, .eps = 1e-6f, .n_heads = 3), "qk.norm");
    expect(wn_qk_norm_rope(&ex, .x = x, .weight = w, .eps = 1e-6f, .n_heads = 3, .rope = rope,
                           .index = in("qk.index")),
           "qk.indexed");
    expect(wn_qk_norm_rope(&ex, .x = x, .n_heads = 3, .rope = rope), "qk.cyclic");
}

static void test_attention(void **state)
{
    (void)state;
    struct wn_tensor q = in("attention.q"), k = in("attention.k"), v = in("attention.v");
    expect(wn_attention(&ex, .q = q, .k = k, .v = v), "attention.plain");
    expect(wn_attention(&ex, .q = q, .k = k, .v = v, .scale = 0.75f), "attention.scale");
    expect(wn_attention(&ex, .q = q, .k = k, .v = v, .precision = WN_PREC_BF16), "attention.bf16");
    expect(wn_attention(&ex, .q = q, .k = k, .v = v, .causal = true), "attention.causal");
    expect(wn_attention(&ex, .q = q, .k = k, .v = v, .windowed = true, .window_left = 3, .window_right = 1),
           "attention.window");
    expect(wn_attention(&ex, .q = q, .k = wn_rows(k, 0, 3), .v = wn_rows(v, 0, 3), .causal = true),
           "attention.no_key");
    expect(wn_attention(&ex, .q = q, .k = k, .v = v, .rel_bias = in("attention.bias")), "attention.biased");
    const int64_t q_seg[] = {0, 3, 3, 7}, k_seg[] = {0, 5, 7, 11};
    expect(wn_attention(&ex, .q = q, .k = k, .v = v, .q_seg = q_seg, .k_seg = k_seg, .n_seg = 3),
           "attention.segments");
}

/* A key of log weight log m counts as m equal keys, up to the rounding of log m to float32. */
static void test_attention_weights(void **state)
{
    (void)state;
    struct wn_tensor weight = in("attention.log_weight");
    struct wn_tensor y = wn_attention(&ex, .q = in("attention.q"), .k = in("attention.k"),
                                      .v = in("attention.v"), .key_log_weight = weight);
    expect(y, "attention.weighted");
    const struct wn_weight *repeated = find("attention.repeated");
    for (int64_t i = 0; i < wn_n_elems(y); i++) {
        float want;
        memcpy(&want, (const char *)repeated->data + 4 * i, sizeof want);
        assert_true(fabsf(((float *)wn_host(y))[i] - want) < 2e-6f);
    }
}

static void test_conv(void **state)
{
    (void)state;
    struct wn_tensor x = in("conv.x"), cache = in("conv.cache"), w = in("conv.w"), b = in("conv.b");
    struct wn_tensor w2 = in("conv.w2");
    expect(wn_conv(&ex, .x = x, .w = w, .b = b, .pad_front = 2, .pad_h = {1, 1}, .pad_w = {1, 1}),
           "conv.causal");
    expect(wn_conv(&ex, .x = x, .cache = cache, .w = w, .b = b, .pad_h = {1, 1}, .pad_w = {1, 1},
                   .add = in("conv.add")),
           "conv.cached_add");
    expect(wn_conv(&ex, .x = x, .cache = cache, .w = w, .b = b, .pad_h = {1, 1}, .pad_w = {1, 1},
                   .precision = WN_PREC_BF16),
           "conv.bf16");
    expect(wn_conv(&ex, .x = x, .cache = wn_rows(cache, 0, 1), .w = w, .pad_front = 1, .pad_h = {1, 1},
                   .pad_w = {1, 1}),
           "conv.front_and_cache");
    expect(wn_conv(&ex, .x = x, .w = w2, .b = b, .pad_h = {0, 1}, .pad_w = {0, 1}, .stride = {1, 2, 2}),
           "conv.down");
    expect(wn_conv(&ex, .x = x, .w = w2, .b = b, .pad_h = {1, 1}, .pad_w = {1, 1}, .upsample = 2), "conv.up");
    expect(wn_conv(&ex, .x = x, .cache = cache, .w = in("conv.wt"), .b = b, .stride = {2, 1, 1}),
           "conv.time");
    expect(wn_conv(&ex, .x = x, .w = w, .pad_h = {2, 2}, .pad_w = {1, 1}, .stride = {1, 2, 3}),
           "conv.wide_stride");
}

static void test_elements(void **state)
{
    (void)state;
    struct wn_tensor a = in("binary.a"), b = in("binary.b");
    expect(wn_binary(&ex, .kind = WN_ADD, .a = a, .b = b), "binary.add");
    expect(wn_binary(&ex, .kind = WN_SUB, .a = a, .b = b), "binary.sub");
    expect(wn_binary(&ex, .kind = WN_MUL, .a = a, .b = b), "binary.mul");
    expect(wn_permute(&ex, .x = a, .axis = {2, 0, 1}), "permute.out");
    expect(wn_concat(&ex, .a = a, .b = wn_rows(a, 1, 4)), "concat.out");
    expect(wn_gather(&ex, .table = wn_reshape_to(a, 4, 15), .index = in("gather.index")), "gather.out");
}

/* To every narrow type and back, as torch rounds. */
static void test_convert(void **state)
{
    (void)state;
    static const struct {
        enum wn_dtype type;
        const char *name;
    } to[] = {{WN_BF16, "convert.bf16"},
              {WN_F16, "convert.f16"},
              {WN_F8_E4M3, "convert.e4m3"},
              {WN_F8_E5M2, "convert.e5m2"}};
    struct wn_tensor x = in("convert.x");
    for (int i = 0; i < 4; i++) {
        struct wn_tensor y = wn_unary(&ex, .x = x, .out_type = to[i].type);
        y = wn_unary(&ex, .x = y, .out_type = WN_F32);
        assert_true(wn_ok(&ex));
        assert_memory_equal(wn_host(y), find(to[i].name)->data, find(to[i].name)->bytes);
    }
}

/* 1 + 2^-8 lies halfway between two bf16 numbers; a little more or less must decide, though float32 rounds it
 * away. Likewise at the top of the range. */
static void test_one_rounding(void **state)
{
    (void)state;
    const double x[] = {1 + 0x1p-8 + 0x1p-40,     1 + 0x1p-8, 1 + 0x1p-8 - 0x1p-40, -(1 + 0x3p-8 - 0x1p-40),
                        0x1p-140 * (1 + 0x1p-30), 1e300};
    const uint16_t want[] = {0x3f81, 0x3f80, 0x3f80, 0xbf81, 0x0000, 0x7f80};
    struct wn_tensor t = wn_upload(&ex, wn_shape_of(WN_F64, 6), x);
    t = wn_unary(&ex, .x = t, .out_type = WN_BF16);
    assert_true(wn_ok(&ex));
    for (int i = 0; i < 6; i++) assert_int_equal(((uint16_t *)wn_host(t))[i], want[i]);
}

/* Weights in place at odd addresses. */
static void test_unaligned(void **state)
{
    (void)state;
    const struct wn_weight *w = find("linear.w");
    char room[1024];
    assert_true(w->bytes < sizeof room);
    memcpy(room + 1, w->data, w->bytes);
    struct wn_tensor mapped = wn_map_tensor(ex.dev, wn_shape_of(WN_F32, 7, 19), room + 1, &ex.err);
    expect(wn_linear(&ex, .x = in("linear.x"), .w = mapped, .b = in("linear.b")), "linear.none");
    wn_unmap(mapped);
}

static void test_bad_index(void **state)
{
    (void)state;
    const int32_t past[] = {0, 4}, below[] = {-1, 0};
    struct wn_tensor table = wn_reshape_to(in("binary.a"), 4, 15);
    wn_gather(&ex, .table = table, .index = wn_upload(&ex, wn_shape_of(WN_I32, 2), past));
    assert_int_equal(ex.err.code, WAN_EINVAL);
    ex.err = (struct wn_err){0};
    wn_gather(&ex, .table = table, .index = wn_upload(&ex, wn_shape_of(WN_I32, 2), below));
    assert_int_equal(ex.err.code, WAN_EINVAL);
}

static int always(void *ctx)
{
    (void)ctx;
    return 1;
}

static void test_cancel(void **state)
{
    (void)state;
    struct wn_tensor x = in("linear.x"), w = in("linear.w");
    ex.dev->cancelled = always;
    wn_linear(&ex, .x = x, .w = w);
    ex.dev->cancelled = NULL;
    assert_int_equal(ex.err.code, WAN_ECANCELED);
}

/* Whichever allocation fails, the operation says so and nothing leaks (close_all looks). */
static void test_no_memory(void **state)
{
    (void)state;
    struct wn_tensor q = in("attention.q"), k = in("attention.k"), v = in("attention.v"), x = in("conv.x");
    struct wn_tensor w = in("conv.w"), lx = in("linear.x"), lw = in("linear.w"), qx = in("qk.x"),
                     qw = in("qk.w");
    for (int64_t n = 0;; n++) {
        wn_mem_fail_after(n);
        wn_attention(&ex, .q = q, .k = k, .v = v);
        wn_conv(&ex, .x = x, .w = w);
        wn_linear(&ex, .x = lx, .w = lw);
        wn_qk_norm_rope(&ex, .x = qx, .weight = qw, .eps = 1e-6f, .n_heads = 3);
        wn_mem_fail_after(-1);
        if (wn_ok(&ex)) {
            assert_true(n > 8);
            return;
        }
        assert_int_equal(ex.err.code, WAN_ENOMEM);
        ex.err = (struct wn_err){0};
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_act),          TEST(test_linear),    TEST(test_norm),
        TEST(test_qk_norm_rope), TEST(test_attention), TEST(test_attention_weights),
        TEST(test_conv),         TEST(test_elements),  TEST(test_convert),
        TEST(test_one_rounding), TEST(test_unaligned), TEST(test_bad_index),
        TEST(test_cancel),       TEST(test_no_memory),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
