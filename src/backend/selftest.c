#include "backend/selftest.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "tensor/convert.h"

enum { MAX_BUFS = 16, MAX_ELEMS = 1 << 13 };

/* One operation on one device. */
struct probe {
    struct wn_device *dev;
    struct wn_err *err;
    enum wn_precision precision;
    uint32_t seed;
    struct wn_buf *buf[MAX_BUFS];
    int n_bufs;
    float *out; /* [MAX_ELEMS]: the result */
    int64_t n_out;
};

static struct wn_tensor place(struct probe *p, struct wn_tensor t)
{
    if (p->err->code) return t;
    if (p->n_bufs == MAX_BUFS || wn_n_elems(t) > MAX_ELEMS)
        wn_fail(p->err, WAN_EINTERNAL, "a self-test is too large");
    else if (!wn_buf_new(&t.buf, p->dev, wn_n_bytes(t), p->err))
        p->buf[p->n_bufs++] = t.buf;
    return t;
}
#define ROOM(type, ...) place(p, wn_shape_of(type, __VA_ARGS__))

/* A tensor of numbers in [-size, size), the same on every device. */
static struct wn_tensor given(struct probe *p, float size, struct wn_tensor t)
{
    float x[1024];
    uint8_t bytes[sizeof x];
    t = place(p, t);
    int64_t n = wn_n_elems(t);
    if (!p->err->code && n > 1024) wn_fail(p->err, WAN_EINTERNAL, "a self-test is too large");
    if (p->err->code) return t;
    for (int64_t i = 0; i < n; i++) {
        p->seed = p->seed * 1664525u + 1013904223u;
        x[i] = size * ((float)(p->seed >> 8) * 0x1p-23f - 1);
    }
    wn_from_f32(x, t.type, bytes, n);
    p->dev->table->upload(p->dev, t.buf, 0, bytes, wn_n_bytes(t), p->err);
    return t;
}
#define GIVEN(type, ...) given(p, 1, wn_shape_of(type, __VA_ARGS__))

static struct wn_tensor index_of(struct probe *p, int64_t n, int32_t limit)
{
    int32_t index[64];
    struct wn_tensor t = ROOM(WN_I32, n);
    for (int64_t i = 0; i < n; i++) index[i] = (int32_t)(7 * i % limit);
    if (!p->err->code) p->dev->table->upload(p->dev, t.buf, 0, index, wn_n_bytes(t), p->err);
    return t;
}

static void run(struct probe *p, enum wn_op op, const void *args, struct wn_tensor out)
{
    uint8_t bytes[MAX_ELEMS * sizeof(float)];
    const struct wn_device_table *table = p->dev->table;
    if (p->err->code || table->run[op](p->dev, args, p->err) ||
        table->download(p->dev, out.buf, 0, bytes, wn_n_bytes(out), p->err))
        return;
    p->n_out = wn_n_elems(out);
    wn_to_f32(bytes, out.type, p->out, p->n_out);
}

/* ---- the operations ---- */

static void linear(struct probe *p)
{
    struct wn_linear_args a = {.x = GIVEN(WN_F32, 5, 64),
                               .w = GIVEN(WN_BF16, 12, 64),
                               .b = GIVEN(WN_F32, 12),
                               .act = WN_ACT_GELU_TANH,
                               .mul = GIVEN(WN_F32, 5, 12),
                               .gate = {GIVEN(WN_F32, 3, 2, 12), index_of(p, 5, 3)},
                               .gate_row = 1,
                               .add = GIVEN(WN_F32, 5, 12),
                               .out_type = WN_F32,
                               .precision = p->precision};
    a.out = a.add;
    run(p, WN_OP_LINEAR, &a, a.out);
}

static void norm(struct probe *p, enum wn_norm_kind kind)
{
    struct wn_norm_args a = {.x = GIVEN(WN_F32, 5, 48),
                             .kind = kind,
                             .eps = kind == WN_NORM_L2 ? 1e-12f : 1e-6f,
                             .weight = GIVEN(WN_F16, 48),
                             .bias = GIVEN(WN_F8_E4M3, 48),
                             .mod = {GIVEN(WN_F32, 2, 3, 48), index_of(p, 5, 2)},
                             .shift_row = 1,
                             .scale_row = 2,
                             .act = WN_ACT_SILU,
                             .out_type = WN_F32,
                             .out = ROOM(WN_F32, 5, 48)};
    run(p, WN_OP_NORM, &a, a.out);
}

static void norm_layer(struct probe *p)
{
    norm(p, WN_NORM_LAYER);
}

static void norm_rms(struct probe *p)
{
    norm(p, WN_NORM_RMS);
}

static void norm_l2(struct probe *p)
{
    norm(p, WN_NORM_L2);
}

static void qk_norm_rope(struct probe *p)
{
    struct wn_qk_norm_rope_args a = {.x = GIVEN(WN_F32, 5, 3 * 16),
                                     .weight = GIVEN(WN_F32, 3 * 16),
                                     .eps = 1e-6f,
                                     .n_heads = 3,
                                     .rope = GIVEN(WN_F32, 4, 16),
                                     .index = index_of(p, 5, 4),
                                     .out_type = WN_F32,
                                     .out = ROOM(WN_F32, 5, 3, 16)};
    run(p, WN_OP_QK_NORM_ROPE, &a, a.out);
}

/* As self attention: nothing masked, a head width that libraries have kernels for. */
static void attention(struct probe *p)
{
    static const int64_t seg[] = {0, 7, 14};
    struct wn_attention_args a = {.q = GIVEN(WN_F32, 14, 1, 64),
                                  .k = GIVEN(WN_F32, 14, 1, 64),
                                  .v = GIVEN(WN_F32, 14, 1, 64),
                                  .q_seg = seg,
                                  .k_seg = seg,
                                  .n_seg = 2,
                                  .out_type = WN_F32,
                                  .precision = p->precision,
                                  .out = ROOM(WN_F32, 14, 1, 64)};
    run(p, WN_OP_ATTENTION, &a, a.out);
}

/* Every mask at once; the first rows of the second segment see nothing. */
static void attention_masked(struct probe *p)
{
    static const int64_t q_seg[] = {0, 4, 10}, k_seg[] = {0, 6, 9};
    struct wn_attention_args a = {.q = GIVEN(WN_F32, 10, 2, 16),
                                  .k = GIVEN(WN_F32, 9, 2, 16),
                                  .v = GIVEN(WN_F32, 9, 2, 16),
                                  .scale = 1,
                                  .causal = true,
                                  .windowed = true,
                                  .window_left = 3,
                                  .window_right = -1,
                                  .q_seg = q_seg,
                                  .k_seg = k_seg,
                                  .n_seg = 2,
                                  .key_log_weight = GIVEN(WN_F32, 9),
                                  .rel_bias = GIVEN(WN_F32, 2, 13),
                                  .out_type = WN_F32,
                                  .precision = p->precision,
                                  .out = ROOM(WN_F32, 10, 2, 16)};
    run(p, WN_OP_ATTENTION, &a, a.out);
}

static void conv(struct probe *p)
{
    struct wn_conv_args a = {.x = GIVEN(WN_F32, 2, 4, 5, 8),
                             .cache = GIVEN(WN_F32, 1, 4, 5, 8),
                             .w = given(p, 0.3f, wn_shape_of(WN_F32, 4, 8, 3, 3, 3)),
                             .b = GIVEN(WN_F32, 4),
                             .pad_front = 1,
                             .pad_h = {1, 1},
                             .pad_w = {0, 1},
                             .stride = {1, 1, 1},
                             .upsample = 1,
                             .out_type = WN_F32,
                             .precision = p->precision,
                             .out = ROOM(WN_F32, 2, 4, 4, 4)};
    run(p, WN_OP_CONV, &a, a.out);
}

static void conv_frames(struct probe *p)
{
    struct wn_conv_args a = {.x = GIVEN(WN_F32, 2, 4, 5, 8),
                             .w = given(p, 0.3f, wn_shape_of(WN_BF16, 4, 8, 1, 3, 3)),
                             .pad_h = {0, 1},
                             .pad_w = {1, 0},
                             .stride = {1, 2, 2},
                             .upsample = 2,
                             .out_type = WN_F32,
                             .precision = p->precision,
                             .out = ROOM(WN_F32, 2, 4, 5, 4)};
    run(p, WN_OP_CONV, &a, a.out);
}

static void unary(struct probe *p)
{
    struct wn_unary_args a = {
        .x = GIVEN(WN_F32, 100), .act = WN_ACT_GELU_ERF, .out_type = WN_BF16, .out = ROOM(WN_BF16, 100)};
    run(p, WN_OP_UNARY, &a, a.out);
}

static void binary(struct probe *p)
{
    struct wn_binary_args a = {.kind = WN_SUB,
                               .a = GIVEN(WN_F32, 6, 10),
                               .b = GIVEN(WN_BF16, 10),
                               .out_type = WN_F32,
                               .out = ROOM(WN_F32, 6, 10)};
    run(p, WN_OP_BINARY, &a, a.out);
}

static void concat(struct probe *p)
{
    struct wn_concat_args a = {
        .a = GIVEN(WN_F32, 3, 10), .b = GIVEN(WN_F32, 2, 10), .out = ROOM(WN_F32, 5, 10)};
    run(p, WN_OP_CONCAT, &a, a.out);
}

static void gather(struct probe *p)
{
    struct wn_gather_args a = {.table = GIVEN(WN_F8_E5M2, 11, 10),
                               .index = index_of(p, 6, 11),
                               .out_type = WN_F32,
                               .out = ROOM(WN_F32, 6, 10)};
    run(p, WN_OP_GATHER, &a, a.out);
}

static void permute(struct probe *p)
{
    struct wn_permute_args a = {
        .x = GIVEN(WN_F32, 3, 4, 5), .axis = {2, 0, 1}, .out_type = WN_F32, .out = ROOM(WN_F32, 5, 3, 4)};
    run(p, WN_OP_PERMUTE, &a, a.out);
}

static const struct {
    enum wn_op op;
    void (*run)(struct probe *p);
} cases[] = {
    {WN_OP_LINEAR, linear},
    {WN_OP_NORM, norm_layer},
    {WN_OP_NORM, norm_rms},
    {WN_OP_NORM, norm_l2},
    {WN_OP_QK_NORM_ROPE, qk_norm_rope},
    {WN_OP_ATTENTION, attention},
    {WN_OP_ATTENTION, attention_masked},
    {WN_OP_CONV, conv},
    {WN_OP_CONV, conv_frames},
    {WN_OP_UNARY, unary},
    {WN_OP_BINARY, binary},
    {WN_OP_CONCAT, concat},
    {WN_OP_GATHER, gather},
    {WN_OP_PERMUTE, permute},
};

/* ---- comparing ---- */

static void run_on(struct wn_device *dev, size_t i, enum wn_precision precision, struct probe *p)
{
    p->dev = dev;
    p->precision = precision;
    p->seed = 1;
    p->n_bufs = 0;
    cases[i].run(p);
    while (p->n_bufs) wn_buf_release(p->buf[--p->n_bufs]);
}

/* The largest difference relative to the largest value; NaN sticks. */
static double difference(const float *a, const float *b, int64_t n)
{
    double worst = 0, top = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - b[i]);
        if (!(d <= worst)) worst = d;
        top = fmax(top, fabs(b[i]));
    }
    return worst / (top > 0 ? top : 1);
}

/* float32 to a few roundings of sums as short as these; where anything is rounded to BF16, to a few of those.
 */
static void compare(struct wn_device *dev, struct wn_device *ref, size_t i, enum wn_precision precision,
                    struct probe *got, struct probe *want)
{
    bool bf16 = precision == WN_PREC_BF16 || cases[i].op == WN_OP_UNARY;
    const char *name = wn_op_name(cases[i].op);
    run_on(ref, i, precision, want);
    run_on(dev, i, precision, got);
    struct wn_err *err = got->err;
    if (err->code == WAN_EINTERNAL || err->code == WAN_EUNSUPPORTED) {
        struct wn_err cause = *err;
        *err = (struct wn_err){0};
        wn_fail(err, WAN_EUNSUPPORTED, "device %s fails its self-test: %s", dev->table->name, cause.text);
    }
    if (err->code) return;
    double off = difference(got->out, want->out, want->n_out);
    if (!(off <= (bf16 ? 2e-2 : 2e-5)))
        wn_fail(err, WAN_EUNSUPPORTED, "device %s fails its self-test: %s in %s is off by %.2g",
                dev->table->name, name, precision == WN_PREC_BF16 ? "bf16" : "f32", off);
}

enum wan_status wn_selftest(struct wn_device *dev, struct wn_err *err)
{
    struct wn_device *ref;
    if (wn_ref_open(&ref, &(struct wn_device_params){0}, err)) return err->code;
    float *out = wn_alloc_n(2 * MAX_ELEMS, sizeof *out);
    if (!out) wn_fail_nomem(err, "a self-test", 2 * MAX_ELEMS * sizeof *out);
    struct probe got = {.err = err, .out = out}, want = {.err = err, .out = out + MAX_ELEMS};
    for (size_t i = 0; i < sizeof cases / sizeof *cases && !err->code; i++) {
        compare(dev, ref, i, WN_PREC_F32, &got, &want);
        if (!err->code) compare(dev, ref, i, WN_PREC_BF16, &got, &want);
    }
    wn_free(out);
    wn_device_close(ref);
    return err->code;
}
