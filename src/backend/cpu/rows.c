#include "backend/cpu/rows.h"

#include <string.h>

#include "backend/cpu/cpu.h"
#include "base/half.h"
#include "base/mem.h"
#include "tensor/convert.h"

/* Bytes (or f32 elements times four) that one task handles: enough to forget the cost of taking it, few
 * enough that threads finish together. */
enum { TASK_BYTES = 1 << 16 };

static const struct wn_rows *rows_of(struct wn_device *dev)
{
    return wn_cpu_of(dev)->leaf.rows;
}

static const char *at(struct wn_tensor t, int64_t i)
{
    return (const char *)wn_host(t) + (size_t)i * wn_dtype_size(t.type);
}

/* Rows of D elements that one task takes. */
static int64_t task_rows(int64_t D)
{
    return wn_max64(1, TASK_BYTES / 4 / wn_max64(D, 1));
}

static int32_t index_at(struct wn_tensor index, int64_t t)
{
    int32_t i;
    memcpy(&i, at(index, t), sizeof i);
    return i;
}

static enum wan_status check_index(enum wn_op op, struct wn_tensor index, int64_t n, struct wn_err *err)
{
    int64_t T = wn_has(index) ? wn_n_elems(index) : 0;
    for (int64_t t = 0; t < T; t++) {
        int32_t i = index_at(index, t);
        if (i < 0 || i >= n)
            return wn_fail(err, WAN_EINVAL, "%s: index %d of row %lld is outside its table of %lld rows",
                           wn_op_name(op), i, (long long)t, (long long)n);
    }
    return WAN_OK;
}

/* A weight vector as aligned float32; *out stays NULL when there is none. */
static enum wan_status load_vector(float **out, struct wn_tensor t, struct wn_err *err)
{
    *out = NULL;
    if (!wn_has(t)) return WAN_OK;
    int64_t n = wn_n_elems(t);
    *out = wn_alloc_n((size_t)n, sizeof **out);
    if (!*out) return wn_fail_nomem(err, "a norm's weights", (unsigned long long)n * sizeof **out);
    wn_to_f32(wn_host(t), t.type, *out, n);
    return WAN_OK;
}

/* ---- norms ---- */

struct norm_job {
    const struct wn_rows *rows;
    const struct wn_norm_args *a;
    struct wn_norm_row row; /* what all rows have in common */
    int64_t T, per_task;
};

static void norm_task(void *arg, int64_t task, int thread)
{
    (void)thread;
    const struct norm_job *job = arg;
    const struct wn_norm_args *a = job->a;
    int64_t begin = task * job->per_task, end = wn_min64(begin + job->per_task, job->T), D = job->row.n;
    for (int64_t t = begin; t < end; t++) {
        struct wn_norm_row r = job->row;
        r.x = at(a->x, t * D);
        r.out = (char *)wn_host(a->out) + (size_t)(t * D) * wn_dtype_size(a->out.type);
        if (wn_has(a->mod.table)) {
            int64_t first = (wn_has(a->mod.index) ? index_at(a->mod.index, t) : 0) * a->mod.table.dim[1];
            r.scale = at(a->mod.table, (first + a->scale_row) * D);
            r.shift = at(a->mod.table, (first + a->shift_row) * D);
        }
        job->rows->norm(&r);
    }
}

enum wan_status wn_cpu_norm(struct wn_device *dev, const void *args, struct wn_err *err)
{
    const struct wn_norm_args *a = args;
    int64_t D = wn_last_dim(a->x);
    float *weight = NULL, *bias = NULL;
    enum wan_status st = load_vector(&weight, a->weight, err);
    if (!st) st = load_vector(&bias, a->bias, err);
    if (!st && wn_has(a->mod.table)) st = check_index(WN_OP_NORM, a->mod.index, a->mod.table.dim[0], err);
    struct norm_job job = {.rows = rows_of(dev), .a = a, .T = wn_n_rows(a->x), .per_task = task_rows(D)};
    job.row = (struct wn_norm_row){.n = D,
                                   .x_type = a->x.type,
                                   .out_type = a->out.type,
                                   .kind = a->kind,
                                   .eps = a->eps,
                                   .weight = weight,
                                   .bias = bias,
                                   .act = a->act};
    if (!st) st = wn_cpu_run(wn_cpu_of(dev), wn_div_up(job.T, job.per_task), norm_task, &job, err);
    wn_free(weight);
    wn_free(bias);
    return st;
}

struct qk_job {
    const struct wn_rows *rows;
    const struct wn_qk_norm_rope_args *a;
    struct wn_qk_row row;
    int64_t T, per_task;
};

static void qk_task(void *arg, int64_t task, int thread)
{
    (void)thread;
    const struct qk_job *job = arg;
    const struct wn_qk_norm_rope_args *a = job->a;
    int64_t begin = task * job->per_task, end = wn_min64(begin + job->per_task, job->T), W = job->row.n;
    for (int64_t t = begin; t < end; t++) {
        struct wn_qk_row r = job->row;
        r.x = at(a->x, t * W);
        r.out = (char *)wn_host(a->out) + (size_t)(t * W) * wn_dtype_size(a->out.type);
        if (wn_has(a->rope)) {
            int64_t p = wn_has(a->index) ? index_at(a->index, t) : t % a->rope.dim[0];
            r.rope = at(a->rope, p * r.hd);
        }
        job->rows->qk(&r);
    }
}

enum wan_status wn_cpu_qk_norm_rope(struct wn_device *dev, const void *args, struct wn_err *err)
{
    const struct wn_qk_norm_rope_args *a = args;
    int64_t T = a->x.dim[0], W = wn_n_elems(a->x) / T;
    float *weight = NULL;
    enum wan_status st = load_vector(&weight, a->weight, err);
    if (!st && wn_has(a->rope)) st = check_index(WN_OP_QK_NORM_ROPE, a->index, a->rope.dim[0], err);
    struct qk_job job = {.rows = rows_of(dev), .a = a, .T = T, .per_task = task_rows(W)};
    job.row = (struct wn_qk_row){.n = W,
                                 .hd = W / a->n_heads,
                                 .x_type = a->x.type,
                                 .out_type = a->out.type,
                                 .eps = a->eps,
                                 .weight = weight};
    if (!st) st = wn_cpu_run(wn_cpu_of(dev), wn_div_up(T, job.per_task), qk_task, &job, err);
    wn_free(weight);
    return st;
}

/* ---- elements ---- */

struct copy_job {
    const char *src;
    char *dst;
    size_t bytes;
};

static void copy_task(void *arg, int64_t task, int thread)
{
    (void)thread;
    const struct copy_job *job = arg;
    size_t begin = (size_t)task * TASK_BYTES, left = job->bytes - begin;
    memcpy(job->dst + begin, job->src + begin, left < TASK_BYTES ? left : TASK_BYTES);
}

static enum wan_status copy(struct wn_device *dev, void *dst, const void *src, size_t bytes,
                            struct wn_err *err)
{
    struct copy_job job = {.src = src, .dst = dst, .bytes = bytes};
    return wn_cpu_run(wn_cpu_of(dev), wn_div_up((int64_t)bytes, TASK_BYTES), copy_task, &job, err);
}

struct act_job {
    const struct wn_rows *rows;
    const struct wn_unary_args *a;
    int64_t n;
};

enum { TASK_ELEMS = TASK_BYTES / 4 };

static void act_task(void *arg, int64_t task, int thread)
{
    (void)thread;
    const struct act_job *job = arg;
    const struct wn_unary_args *a = job->a;
    int64_t i = task * TASK_ELEMS;
    job->rows->act((char *)wn_host(a->out) + (size_t)i * wn_dtype_size(a->out.type), a->out.type, at(a->x, i),
                   a->x.type, a->act, wn_min64(TASK_ELEMS, job->n - i));
}

enum wan_status wn_cpu_unary(struct wn_device *dev, const void *args, struct wn_err *err)
{
    const struct wn_unary_args *a = args;
    if (a->act == WN_ACT_NONE && a->out.type == a->x.type)
        return copy(dev, wn_host(a->out), wn_host(a->x), wn_n_bytes(a->x), err);
    struct act_job job = {.rows = rows_of(dev), .a = a, .n = wn_n_elems(a->x)};
    return wn_cpu_run(wn_cpu_of(dev), wn_div_up(job.n, TASK_ELEMS), act_task, &job, err);
}

struct binary_job {
    const struct wn_rows *rows;
    const struct wn_binary_args *a;
    const void *b;
    enum wn_dtype b_type;
    int64_t n, period; /* elements of a, and after how many b begins again */
};

static void binary_task(void *arg, int64_t task, int thread)
{
    (void)thread;
    const struct binary_job *job = arg;
    const struct wn_binary_args *a = job->a;
    int64_t begin = task * TASK_ELEMS, end = wn_min64(begin + TASK_ELEMS, job->n);
    for (int64_t i = begin; i < end;) {
        int64_t in_b = i % job->period, n = wn_min64(job->period - in_b, end - i);
        job->rows->binary((char *)wn_host(a->out) + (size_t)i * wn_dtype_size(a->out.type), a->out.type,
                          at(a->a, i), a->a.type,
                          (const char *)job->b + (size_t)in_b * wn_dtype_size(job->b_type), job->b_type,
                          a->kind, n);
        i += n;
    }
}

/* A short b is repeated into a longer one, so that the leaf gets runs worth calling it for. */
static enum wan_status repeat_short(struct binary_job *job, float **room, struct wn_err *err)
{
    enum { SHORT = 512 };
    int64_t n = job->period, times = wn_div_up(SHORT, n);
    if (n >= SHORT || n == job->n) return WAN_OK;
    *room = wn_alloc_n((size_t)(n * times), sizeof **room);
    if (!*room)
        return wn_fail_nomem(err, "a repeated operand", (unsigned long long)(n * times) * sizeof **room);
    wn_to_f32(job->b, job->b_type, *room, n);
    for (int64_t i = n; i < n * times; i++) (*room)[i] = (*room)[i - n];
    job->b = *room;
    job->b_type = WN_F32;
    job->period = n * times;
    return WAN_OK;
}

enum wan_status wn_cpu_binary(struct wn_device *dev, const void *args, struct wn_err *err)
{
    const struct wn_binary_args *a = args;
    float *room = NULL;
    struct binary_job job = {.rows = rows_of(dev),
                             .a = a,
                             .b = wn_host(a->b),
                             .b_type = a->b.type,
                             .n = wn_n_elems(a->a),
                             .period = wn_n_elems(a->b)};
    enum wan_status st = repeat_short(&job, &room, err);
    if (!st) st = wn_cpu_run(wn_cpu_of(dev), wn_div_up(job.n, TASK_ELEMS), binary_task, &job, err);
    wn_free(room);
    return st;
}

enum wan_status wn_cpu_concat(struct wn_device *dev, const void *args, struct wn_err *err)
{
    const struct wn_concat_args *a = args;
    enum wan_status st = copy(dev, wn_host(a->out), wn_host(a->a), wn_n_bytes(a->a), err);
    if (st) return st;
    return copy(dev, (char *)wn_host(a->out) + wn_n_bytes(a->a), wn_host(a->b), wn_n_bytes(a->b), err);
}

struct gather_job {
    const struct wn_rows *rows;
    const struct wn_gather_args *a;
    int64_t per_task;
};

static void gather_task(void *arg, int64_t task, int thread)
{
    (void)thread;
    const struct gather_job *job = arg;
    const struct wn_gather_args *a = job->a;
    int64_t D = a->table.dim[1], begin = task * job->per_task;
    int64_t end = wn_min64(begin + job->per_task, a->index.dim[0]);
    for (int64_t t = begin; t < end; t++)
        job->rows->act((char *)wn_host(a->out) + (size_t)(t * D) * wn_dtype_size(a->out.type), a->out.type,
                       at(a->table, index_at(a->index, t) * D), a->table.type, WN_ACT_NONE, D);
}

enum wan_status wn_cpu_gather(struct wn_device *dev, const void *args, struct wn_err *err)
{
    const struct wn_gather_args *a = args;
    enum wan_status st = check_index(WN_OP_GATHER, a->index, a->table.dim[0], err);
    if (st) return st;
    struct gather_job job = {.rows = rows_of(dev), .a = a, .per_task = task_rows(a->table.dim[1])};
    return wn_cpu_run(wn_cpu_of(dev), wn_div_up(a->index.dim[0], job.per_task), gather_task, &job, err);
}

/* ---- permute ---- */

/* Axes in the output's order, neighbours that stay together merged. The last axis runs along the output; the
 * `other` axis runs along x (stride 1 there) when the last does not. */
struct permute_job {
    const struct wn_rows *rows;
    const struct wn_permute_args *a;
    int n_dims;
    int64_t dim[WN_MAX_DIMS], from[WN_MAX_DIMS], to[WN_MAX_DIMS]; /* extents; strides in x and in out */
    int other;                                                    /* -1: the last axis is contiguous in x */
    int64_t n_tasks, slices; /* a task is one slice of `other` (or of rows) at one place of the axes left */
    size_t x_size, out_size;
};

static void merge_axes(struct permute_job *job)
{
    const struct wn_permute_args *a = job->a;
    int64_t stride[WN_MAX_DIMS], step = 1;
    for (int i = a->x.n_dims - 1; i >= 0; i--) {
        stride[i] = step;
        step *= a->x.dim[i];
    }
    for (int i = 0; i < a->x.n_dims; i++) {
        int64_t n = a->out.dim[i], s = stride[a->axis[i]];
        if (n == 1) continue;
        int last = job->n_dims - 1;
        if (last >= 0 && job->from[last] == n * s) {
            job->dim[last] *= n;
            job->from[last] = s;
        } else {
            job->dim[job->n_dims] = n;
            job->from[job->n_dims++] = s;
        }
    }
    if (!job->n_dims) {
        job->dim[0] = job->from[0] = 1;
        job->n_dims = 1;
    }
    step = 1;
    for (int i = job->n_dims - 1; i >= 0; i--) {
        job->to[i] = step;
        step *= job->dim[i];
    }
}

enum { TILE = 32 };

/* dst[j * dst_stride + i] = src[i * src_stride + j] in tiles that fit the first cache. */
#define TRANSPOSE(name, Tin, Tout, CONVERT)                                                           \
    static void name(char *dst, int64_t dst_stride, const char *src, int64_t src_stride, int64_t n_i, \
                     int64_t n_j)                                                                     \
    {                                                                                                 \
        for (int64_t i0 = 0; i0 < n_i; i0 += TILE)                                                    \
            for (int64_t j = 0; j < n_j; j++)                                                         \
                for (int64_t i = i0; i < wn_min64(i0 + TILE, n_i); i++) {                             \
                    Tin v;                                                                            \
                    memcpy(&v, src + (size_t)(i * src_stride + j) * sizeof v, sizeof v);              \
                    Tout w = CONVERT(v);                                                              \
                    memcpy(dst + (size_t)(j * dst_stride + i) * sizeof w, &w, sizeof w);              \
                }                                                                                     \
    }
#define SAME(v) (v)
TRANSPOSE(transpose_1, uint8_t, uint8_t, SAME)
TRANSPOSE(transpose_2, uint16_t, uint16_t, SAME)
TRANSPOSE(transpose_4, uint32_t, uint32_t, SAME)
TRANSPOSE(transpose_8, uint64_t, uint64_t, SAME)
TRANSPOSE(transpose_narrow, float, uint16_t, wn_f32_bf16)
TRANSPOSE(transpose_widen, uint16_t, float, wn_bf16_f32)

static void transpose(const struct wn_permute_args *a, char *dst, int64_t dst_stride, const char *src,
                      int64_t src_stride, int64_t n_i, int64_t n_j)
{
    void (*f)(char *, int64_t, const char *, int64_t, int64_t, int64_t);
    if (a->x.type != a->out.type)
        f = a->x.type == WN_F32 ? transpose_narrow : transpose_widen;
    else
        switch (wn_dtype_size(a->x.type)) {
        case 1: f = transpose_1; break;
        case 2: f = transpose_2; break;
        case 4: f = transpose_4; break;
        default: f = transpose_8; break;
        }
    f(dst, dst_stride, src, src_stride, n_i, n_j);
}

static void permute_task(void *arg, int64_t task, int thread)
{
    (void)thread;
    const struct permute_job *job = arg;
    const struct wn_permute_args *a = job->a;
    int last = job->n_dims - 1;
    int64_t n = job->dim[last], slice = task % job->slices, left = task / job->slices, from = 0, to = 0;
    for (int i = last - 1; i >= 0; i--) {
        if (i == job->other) continue;
        from += left % job->dim[i] * job->from[i];
        to += left % job->dim[i] * job->to[i];
        left /= job->dim[i];
    }
    const char *src = wn_host(a->x);
    char *dst = wn_host(a->out);
    if (job->other >= 0) {
        int64_t j = slice * TILE, n_j = wn_min64(TILE, job->dim[job->other] - j);
        to += j * job->to[job->other];
        transpose(a, dst + (size_t)to * job->out_size, job->to[job->other],
                  src + (size_t)(from + j) * job->x_size, job->from[last], n, n_j);
        return;
    }
    int64_t j = slice * TASK_ELEMS;
    n = wn_min64(TASK_ELEMS, n - j);
    src += (size_t)(from + j) * job->x_size;
    dst += (size_t)(to + j) * job->out_size;
    if (a->x.type == a->out.type)
        memcpy(dst, src, (size_t)n * job->x_size);
    else
        job->rows->act(dst, a->out.type, src, a->x.type, WN_ACT_NONE, n);
}

enum wan_status wn_cpu_permute(struct wn_device *dev, const void *args, struct wn_err *err)
{
    const struct wn_permute_args *a = args;
    struct permute_job job = {.rows = rows_of(dev),
                              .a = a,
                              .other = -1,
                              .x_size = wn_dtype_size(a->x.type),
                              .out_size = wn_dtype_size(a->out.type)};
    merge_axes(&job);
    int last = job.n_dims - 1;
    if (job.from[last] != 1)
        for (int i = 0; i < last; i++)
            if (job.from[i] == 1) job.other = i;
    job.slices = job.other >= 0 ? wn_div_up(job.dim[job.other], TILE) : wn_div_up(job.dim[last], TASK_ELEMS);
    job.n_tasks = job.slices;
    for (int i = 0; i < last; i++)
        if (i != job.other) job.n_tasks *= job.dim[i];
    return wn_cpu_run(wn_cpu_of(dev), job.n_tasks, permute_task, &job, err);
}
