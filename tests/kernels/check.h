/* wan-check: every operation on a device against `ref`. A case is an operation's arguments with their data in
 * host memory; it is installed on a device, run, and its output compared within a bound derived from the
 * operands. Cases are numbered; (operation, number, seed) determines all of a case. */
#ifndef CHECK_H
#define CHECK_H

#include "backend/op.h"
#include "ops/ops.h"

/* splitmix64 */
struct ck_rng {
    uint64_t state;
};
uint64_t ck_u64(struct ck_rng *r);
int64_t ck_below(struct ck_rng *r, int64_t n); /* [0, n) */
bool ck_chance(struct ck_rng *r, int percent);
/* One of a list of int64_t. */
#define CK_PICK(r, ...) \
    ((const int64_t[]){__VA_ARGS__}[ck_below(r, (int64_t)(sizeof((int64_t[]){__VA_ARGS__}) / 8))])

enum ck_place {
    CK_PLAIN,  /* a buffer of its own */
    CK_VIEW,   /* one element behind the start of a buffer, as wn_rows makes them */
    CK_MAPPED, /* wn_map_tensor in pages that end in one that cannot be read */
};
enum { CK_TIGHT = -1 }; /* alignment of a mapped input: its last byte is the last that can be read */

struct ck_input {
    struct wn_tensor shape;
    void *data;
    size_t field; /* offset of the tensor in the argument struct */
    enum ck_place place;
    int align; /* of a mapped input: address modulo 64, or CK_TIGHT */
    bool consumed;
};

union ck_args {
#define WN_OP(ENUM, name, needs, summary) struct wn_##name##_args name;
#include "backend/ops.def"
};

enum { CK_MAX_INPUTS = 8, CK_MAX_SEGS = 8 };

struct ck_case {
    enum wn_op op;
    enum wn_precision precision; /* of the exec */
    union ck_args args;
    struct ck_input in[CK_MAX_INPUTS];
    int n_in;
    int64_t q_seg[CK_MAX_SEGS + 1], k_seg[CK_MAX_SEGS + 1];
    struct ck_rng rng;
    bool exact; /* nothing is computed: bits must agree */
    double flops;
    double bytes; /* read; 0: all of the inputs */
    char text[240];
    bool no_memory;
};

/* Give the argument at `field` a tensor with random data of the given size: neither zero nor constant. */
struct ck_input *ck_input(struct ck_case *c, size_t field, struct wn_tensor shape, enum ck_place place,
                          int align, double size);
struct ck_input *ck_index(struct ck_case *c, size_t field, int64_t n, int64_t limit);
const struct ck_input *ck_find(const struct ck_case *c, size_t field); /* NULL: absent */
double ck_value(const struct ck_input *in, int64_t i);
int64_t ck_int(const struct ck_input *in, int64_t i);
/* Any float type of a weight, F32 or BF16 of an activation; a placement for each. */
enum wn_dtype ck_weight_type(struct ck_rng *r);
enum wn_dtype ck_act_type(struct ck_rng *r);
int ck_align(struct ck_rng *r);
enum ck_place ck_place(struct ck_rng *r);
void ck_text(struct ck_case *c, const char *fmt, ...) WN_PRINTF(2, 3);
const char *ck_act_name(enum wn_act act);
const char *ck_precision_name(enum wn_precision p);
/* The operation's out_type; NULL where it has none. */
enum wn_dtype *ck_out_type(struct ck_case *c);

/* What a bound may use: the exact output in float32, the level under test, and ref itself. */
struct ck_env {
    const float *y;
    int64_t n;
    bool parts;     /* F32X products are sums of bf16 parts here */
    bool bf16_sums; /* BF16 products round bias and sums to BF16 */
    double
        sums; /* how many times ck_sum_error a norm may err: more than 1 where all terms are added in turn */
    /* Run a case on ref: out [n] f32. False: failed (already reported). */
    bool (*run_ref)(const struct ck_case *c, float *out, int64_t n);
};

/* A copy of c with only the listed inputs, their signs cleared; release with ck_release. */
bool ck_absolute(struct ck_case *abs, const struct ck_case *c, const size_t *fields, int n_fields);
void ck_release(struct ck_case *c);

/* Largest relative error of one rounding to float32, and of sums of n float32 terms, relative to the sum of
 * their magnitudes. Each of n additions errs by at most 2^-24 of the partial sum; errors of either sign add
 * up like a random walk, so for zero-mean terms a few units cover any order of summation, and sqrt(n) / 8
 * covers terms of one sign added one after another. A single dropped or doubled term is about 1/n of the
 * magnitudes: tens of times the bound for every n used here. */
#define CK_EPS 0x1p-24
double ck_sum_error(int64_t n);
/* Error of a sum of n products of the precision, relative to the sum of |x||w|: none in F32 and BF16 (ref
 * rounds the same operands). F32X by parts drops lo * lo and the rounding of both lo, up to 2^-16 of a
 * product each; n such errors of random sign add up to sqrt(n) of one, and 8 standard deviations are allowed.
 * Where sums are
 * rounded to BF16, so are a bias and their sum: three errors of 2^-9. */
double ck_product_error(enum wn_precision p, const struct ck_env *env, int64_t n);
/* exp by polynomial, the division and the argument's roundings: 8 units of the argument's magnitude. */
enum { CK_ACT_ULPS = 8 };
/* Largest slope of any activation (gelu: 1.129 at x = sqrt 2). */
#define CK_ACT_SLOPE 1.13

/* Each operation: how many cases, making one (false: no memory), its bound, and its bench cases. */
struct ck_op {
    int n_cases;
    void (*make)(struct ck_case *c, int i);
    bool (*bound)(const struct ck_case *c, const struct ck_env *env, double *tol);
    int n_bench;
    void (*make_bench)(struct ck_case *c, int i);
};
#define WN_OP(ENUM, name, needs, summary) extern const struct ck_op ck_##name;
#include "backend/ops.def"

#endif
