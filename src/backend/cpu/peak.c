#include "backend/cpu/peak.h"

#include <string.h>

#include "backend/cpu/cpu.h"
#include "base/clock.h"
#include "base/mem.h"

typedef float vector __attribute__((vector_size(16)));
#define VECTOR vector
#define NAME wn_peak_f32_portable
#include "backend/cpu/peak_body.h"

enum { MAX_THREADS = 1024 };

struct job {
    wn_peak_fn *fn;
    int64_t rounds;
    double flops;     /* of one task */
    const float *mem; /* memory test: each task sums its own part */
    int64_t n;
    float sink[MAX_THREADS];
};

static void compute(void *arg, int64_t task, int thread)
{
    struct job *j = arg;
    (void)thread;
    float sink = 0;
    double flops = j->fn(j->rounds, &sink);
    if (task == 0) j->flops = flops;
    j->sink[task] = sink;
}

static void read_part(void *arg, int64_t task, int thread)
{
    struct job *j = arg;
    (void)thread;
    vector sum[8] = {{0}};
    const char *p = (const char *)(j->mem + task * j->n);
    for (int64_t i = 0; i + 32 <= j->n; i += 32, p += 128)
        for (int k = 0; k < 8; k++) {
            vector v;
            memcpy(&v, p + 16 * k, 16);
            sum[k] += v;
        }
    for (int k = 0; k < 8; k++) j->sink[task] += sum[k][0] + sum[k][3];
}

/* The best of several short runs on all threads: seconds; 0 after a failure. */
static double best_of(struct wn_cpu *cpu, struct job *j, void (*fn)(void *, int64_t, int), int runs,
                      struct wn_err *err)
{
    int n = wn_pool_n_threads(cpu->base.pool);
    double best = 1e30;
    for (int i = 0; i < runs; i++) {
        double start = wn_now();
        if (wn_cpu_run(cpu, n < MAX_THREADS ? n : MAX_THREADS, fn, j, err)) return 0;
        double t = wn_now() - start;
        best = t < best ? t : best;
    }
    return best;
}

static double compute_peak(struct wn_cpu *cpu, struct job *j, wn_peak_fn *fn, struct wn_err *err)
{
    j->fn = fn;
    j->rounds = 64;
    double t = best_of(cpu, j, compute, 1, err);
    while (t > 0 && t < 0.02 && j->rounds < (int64_t)1 << 40) {
        j->rounds *= 2;
        t = best_of(cpu, j, compute, 1, err);
    }
    if (t > 0) t = best_of(cpu, j, compute, 8, err);
    return t > 0 ? j->flops * wn_pool_n_threads(cpu->base.pool) / t : 0;
}

static enum wan_status read_peak(struct wn_cpu *cpu, struct job *j, struct wn_peak *peak, struct wn_err *err)
{
    int n = wn_pool_n_threads(cpu->base.pool);
    const size_t bytes = (size_t)256 << 20; /* past every cache */
    float *mem = wn_alloc(bytes);
    if (!mem) return wn_fail_nomem(err, "the memory bench", bytes);
    memset(mem, 1, bytes); /* touched: untouched pages would all be one page of zeros */
    j->mem = mem;
    j->n = (int64_t)(bytes / sizeof *mem) / n;
    double t = best_of(cpu, j, read_part, 5, err);
    peak->read_bytes = t > 0 ? (double)j->n * n * sizeof *mem / t : 0;
    wn_free(mem);
    return err->code;
}

enum wan_status wn_cpu_peak(struct wn_device *dev, struct wn_peak *peak, struct wn_err *err)
{
    struct wn_cpu *cpu = wn_cpu_of(dev);
    *peak = (struct wn_peak){0};
    struct job *j = wn_zalloc(sizeof *j);
    if (!j) return wn_fail_nomem(err, "the bench", sizeof *j);
    const struct wn_leaf *leaf = &cpu->leaf;
    peak->f32_flops = peak->f32x_flops = compute_peak(cpu, j, leaf->peak_f32, err);
    if (!err->code && leaf->peak_bf16) peak->bf16_flops = compute_peak(cpu, j, leaf->peak_bf16, err);
    if (leaf->gemm[WN_LEAF_F32X].block != leaf->gemm[WN_LEAF_F32].block)
        peak->f32x_flops = peak->bf16_flops / 3; /* three products for one */
    if (!err->code) read_peak(cpu, j, peak, err);
    wn_free(j);
    return err->code;
}
