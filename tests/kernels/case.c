/* Making cases: random numbers, inputs, and what all bounds share. */
#include "check.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "tensor/convert.h"

uint64_t ck_u64(struct ck_rng *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

int64_t ck_below(struct ck_rng *r, int64_t n)
{
    return (int64_t)(ck_u64(r) % (uint64_t)n);
}

bool ck_chance(struct ck_rng *r, int percent)
{
    return ck_below(r, 100) < percent;
}

/* Uniform with variance size^2, and one in 64 six times larger, as activations have them. */
static void fill(struct ck_rng *r, float *x, int64_t n, double size)
{
    const double unit = size * 1.7320508 / 0x1p31;
    for (int64_t i = 0; i < n; i++) {
        uint64_t u = ck_u64(r);
        double v = unit * (double)(int32_t)(u >> 32);
        x[i] = (float)((u & 63) ? v : 6 * v);
    }
}

static struct ck_input *add(struct ck_case *c, size_t field, struct wn_tensor shape)
{
    struct ck_input *in = &c->in[c->n_in++];
    *in = (struct ck_input){.shape = shape, .field = field, .data = wn_alloc(wn_n_bytes(shape))};
    if (!in->data) c->no_memory = true;
    return in;
}

struct ck_input *ck_input(struct ck_case *c, size_t field, struct wn_tensor shape, enum ck_place place,
                          int align, double size)
{
    enum { STRIP = 4096 };
    struct ck_input *in = add(c, field, shape);
    in->place = place;
    in->align = align;
    int64_t n = in->data ? wn_n_elems(shape) : 0;
    for (int64_t i = 0; i < n; i += STRIP) {
        float x[STRIP];
        int64_t m = n - i < STRIP ? n - i : STRIP;
        fill(&c->rng, x, m, size);
        wn_from_f32(x, shape.type, (char *)in->data + (size_t)i * wn_dtype_size(shape.type), m);
    }
    return in;
}

struct ck_input *ck_index(struct ck_case *c, size_t field, int64_t n, int64_t limit)
{
    struct ck_input *in = add(c, field, wn_shape_of(WN_I32, n));
    int32_t *index = in->data;
    for (int64_t i = 0; i < n && index; i++) index[i] = (int32_t)ck_below(&c->rng, limit);
    return in;
}

const struct ck_input *ck_find(const struct ck_case *c, size_t field)
{
    for (int i = 0; i < c->n_in; i++)
        if (c->in[i].field == field) return &c->in[i];
    return NULL;
}

double ck_value(const struct ck_input *in, int64_t i)
{
    const char *p = (const char *)in->data + (size_t)i * wn_dtype_size(in->shape.type);
    if (in->shape.type == WN_F64) {
        double d;
        memcpy(&d, p, sizeof d);
        return d;
    }
    float f = 0;
    wn_to_f32(p, in->shape.type, &f, 1);
    return f;
}

int64_t ck_int(const struct ck_input *in, int64_t i)
{
    return ((const int32_t *)in->data)[i];
}

enum wn_dtype ck_weight_type(struct ck_rng *r)
{
    return (enum wn_dtype)CK_PICK(r, WN_F32, WN_BF16, WN_BF16, WN_F16, WN_F8_E4M3, WN_F8_E5M2);
}

enum wn_dtype ck_act_type(struct ck_rng *r)
{
    return ck_chance(r, 50) ? WN_F32 : WN_BF16;
}

int ck_align(struct ck_rng *r)
{
    return (int)CK_PICK(r, 0, 1, 2, 36, CK_TIGHT, CK_TIGHT);
}

enum ck_place ck_place(struct ck_rng *r)
{
    return ck_chance(r, 70) ? CK_PLAIN : CK_VIEW;
}

void ck_text(struct ck_case *c, const char *fmt, ...)
{
    size_t n = strlen(c->text);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(c->text + n, sizeof c->text - n, fmt, ap);
    va_end(ap);
}

const char *ck_act_name(enum wn_act act)
{
    static const char *const name[] = {"none", "silu", "gelu-tanh", "gelu-erf"};
    return name[act];
}

const char *ck_precision_name(enum wn_precision p)
{
    static const char *const name[] = {"default", "f32", "f32x", "bf16"};
    return name[p];
}

enum wn_dtype *ck_out_type(struct ck_case *c)
{
    switch (c->op) {
    case WN_OP_LINEAR: return &c->args.linear.out_type;
    case WN_OP_NORM: return &c->args.norm.out_type;
    case WN_OP_QK_NORM_ROPE: return &c->args.qk_norm_rope.out_type;
    case WN_OP_ATTENTION: return &c->args.attention.out_type;
    case WN_OP_CONV: return &c->args.conv.out_type;
    case WN_OP_UNARY: return &c->args.unary.out_type;
    case WN_OP_BINARY: return &c->args.binary.out_type;
    case WN_OP_GATHER: return &c->args.gather.out_type;
    case WN_OP_PERMUTE: return &c->args.permute.out_type;
    case WN_OP_CONCAT:
    case WN_OP_COUNT: break;
    }
    return NULL;
}

bool ck_absolute(struct ck_case *abs, const struct ck_case *c, const size_t *fields, int n_fields)
{
    *abs = *c;
    abs->n_in = 0;
    for (int i = 0; i < n_fields; i++) {
        const struct ck_input *from = ck_find(c, fields[i]);
        if (!from) continue;
        struct ck_input *in = add(abs, fields[i], from->shape);
        if (!in->data) break;
        size_t size = wn_dtype_size(in->shape.type);
        memcpy(in->data, from->data, wn_n_bytes(in->shape));
        /* Every float type has its sign in the top bit of its last byte. */
        for (size_t b = size - 1; b < wn_n_bytes(in->shape); b += size) ((uint8_t *)in->data)[b] &= 0x7f;
    }
    if (abs->no_memory) ck_release(abs);
    return !abs->no_memory;
}

void ck_release(struct ck_case *c)
{
    for (int i = 0; i < c->n_in; i++) wn_free(c->in[i].data);
    c->n_in = 0;
}

double ck_sum_error(int64_t n)
{
    return CK_EPS * (4 + sqrt((double)n) / 8);
}

double ck_product_error(enum wn_precision p, const struct ck_env *env, int64_t n)
{
    if (p == WN_PREC_BF16 && env->bf16_sums) return 0x1.8p-8;
    if (p != WN_PREC_F32X || !env->parts) return 0;
    return 3 * 0x1p-16 * fmin(1, 8 / sqrt((double)n));
}
