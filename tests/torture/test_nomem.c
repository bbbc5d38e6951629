/* No memory at the Nth request, for every N: each call says WAN_ENOMEM and nothing else happens. Nothing is
 * leaked, no partial file stays, and an output that was there is as it was.
 *
 * Jobs that ask thousands of times are failed at every Nth for small N and then at strides, with a budget of
 * runs for each job; WAN_TORTURE_ALL in the environment fails every one. */
#include "util.h"

#include "ops/ops.h"

static int all_of_them;

/* Where the failure goes after N: all the first ones, then so that about `runs` cover the rest. */
static int64_t next_n(int64_t n, int64_t total, int64_t runs)
{
    if (all_of_them || total <= runs) return n + 1;
    int64_t dense = runs / 2, stride = (total - dense) / (runs - dense) + 1;
    return n < dense ? n + 1 : n + stride;
}

/* ---- jobs of the public interface ---- */

static enum wan_status run_in_context(const struct job *job, char *why, size_t why_bytes)
{
    struct wan_context *ctx;
    enum wan_status st =
        wan_context_new(&ctx, wan_context_params(.device = job->device ? job->device : "cpu", .threads = 2));
    if (!st && job->run) st = job->run(ctx, job);
    snprintf(why, why_bytes, "%s", wan_error(ctx));
    wan_context_free(ctx);
    return st;
}

static void fail_job_at(const struct job *job, int64_t n, int64_t *asked)
{
    char why[1024], when[64];
    put_before(job);
    size_t used = wn_mem_used();
    int64_t start = wn_mem_n_requests();
    snprintf(when, sizeof when, "request %lld failed", (long long)n);
    wn_mem_fail_after(n);
    enum wan_status st = run_in_context(job, why, sizeof why);
    wn_mem_fail_after(-1);
    *asked = wn_mem_n_requests() - start;
    if (wn_mem_used() != used) fail_msg("%s, %s: %zu bytes leaked", job->name, when, wn_mem_used() - used);
    if (*asked <= n) {
        if (st) fail_msg("%s: %s: %s", job->name, wan_status_name(st), why);
        return;
    }
    if (st != WAN_ENOMEM) fail_msg("%s, %s: %s (%s)", job->name, when, wan_status_name(st), why);
    if (!strstr(why, "memory")) fail_msg("%s, %s: the message is '%s'", job->name, when, why);
    assert_untouched(job, when);
}

static void fail_each(const struct job *job, int64_t runs)
{
    int64_t total, asked, n = 0, n_runs = 0;
    fail_job_at(job, INT64_MAX, &total);
    for (;; n = next_n(n, total, runs), n_runs++) {
        fail_job_at(job, n, &asked);
        if (asked <= n) break; /* done before it fired */
    }
    assert_true(n >= total);
    print_message("             %lld requests, %lld of them failed\n", (long long)total, (long long)n_runs);
}

static void context_fails(void **state)
{
    (void)state;
    fail_each(&(struct job){.name = "context", .device = "cpu"}, 1000);
    fail_each(&(struct job){.name = "context", .device = "ref"}, 1000);
    if (!wn_device_built("mlx")) return;
    char why[1024]; /* its first use in a process is tested, later ones are not and ask for less */
    assert_int_equal(run_in_context(&(struct job){.device = "mlx"}, why, sizeof why), WAN_OK);
    fail_each(&(struct job){.name = "context", .device = "mlx"}, 1000);
}

static void job_fails(void **state)
{
    fail_each(*state, 60);
}

/* Every single request of the job in one session's worst case. */
static void job_fails_everywhere(void **state)
{
    fail_each(*state, 1 << 20);
}

/* A model's bench measures the machine first each time: with a budget of minutes only. */
static void bench_fails(void **state)
{
    (void)state;
    fail_each(&bench_machine, 1000);
    if (all_of_them) fail_each(&bench_model, 1);
}

/* ---- operations ---- */

static struct wn_tensor filled(struct wn_exec *ex, struct wn_tensor shape)
{
    int64_t n = wn_n_elems(shape);
    float x[4096];
    assert_true(n <= 4096);
    for (int64_t i = 0; i < n; i++) x[i] = (float)(i % 7) - 3;
    return wn_upload(ex, shape, x);
}
#define FILLED(...) filled(ex, wn_shape_of(WN_F32, __VA_ARGS__))

static void few_rows(struct wn_exec *ex)
{
    wn_linear(ex, .x = FILLED(3, 40), .w = FILLED(20, 40), .b = FILLED(20));
}

static void many_rows(struct wn_exec *ex)
{
    wn_linear(ex, .x = FILLED(40, 40), .w = FILLED(20, 40), .b = FILLED(20), .mul = FILLED(40, 20),
              .gate = {.table = FILLED(1, 2, 20)}, .gate_row = 1, .add = FILLED(40, 20));
}

static void norm(struct wn_exec *ex)
{
    wn_norm(ex, .x = FILLED(9, 33), .kind = WN_NORM_RMS, .eps = 1e-6f, .weight = FILLED(33));
}

static void qk_norm_rope(struct wn_exec *ex)
{
    wn_qk_norm_rope(ex, .x = FILLED(9, 32), .n_heads = 4, .eps = 1e-6f, .weight = FILLED(32),
                    .rope = FILLED(9, 8));
}

static void attention(struct wn_exec *ex)
{
    static const int64_t seg[3] = {0, 4, 9};
    wn_attention(ex, .q = FILLED(9, 2, 16), .k = FILLED(9, 2, 16), .v = FILLED(9, 2, 16), .q_seg = seg,
                 .k_seg = seg, .n_seg = 2);
}

static void conv(struct wn_exec *ex)
{
    wn_conv(ex, .x = FILLED(2, 5, 4, 3), .w = FILLED(6, 3, 3, 3, 3), .b = FILLED(6), .pad_front = 2,
            .pad_h = {1, 1}, .pad_w = {1, 1});
}

static void direct_conv(struct wn_exec *ex)
{
    wn_conv(ex, .x = FILLED(1, 4, 4, 32), .w = FILLED(3, 32, 3, 3), .pad_h = {1, 1}, .pad_w = {1, 1},
            .upsample = 2);
}

static void unary(struct wn_exec *ex)
{
    wn_unary(ex, .x = FILLED(9, 33), .act = WN_ACT_SILU, .out_type = WN_BF16);
}

static void binary(struct wn_exec *ex)
{
    wn_binary(ex, .kind = WN_MUL, .a = FILLED(9, 33), .b = FILLED(33));
}

static void concat(struct wn_exec *ex)
{
    wn_concat(ex, .a = FILLED(9, 33), .b = FILLED(2, 33));
}

static void gather(struct wn_exec *ex)
{
    static const int32_t rows[3] = {2, 0, 2};
    wn_gather(ex, .table = FILLED(3, 33), .index = wn_upload(ex, wn_shape_of(WN_I32, 3), rows));
}

static void permute(struct wn_exec *ex)
{
    wn_permute(ex, .x = FILLED(4, 5, 6), .axis = {2, 0, 1});
}

static const struct op_case {
    const char *name;
    enum wn_op op;
    void (*run)(struct wn_exec *ex);
} op_cases[] = {
    {"linear, few rows", WN_OP_LINEAR, few_rows},
    {"linear, many rows", WN_OP_LINEAR, many_rows},
    {"norm", WN_OP_NORM, norm},
    {"qk_norm_rope", WN_OP_QK_NORM_ROPE, qk_norm_rope},
    {"attention", WN_OP_ATTENTION, attention},
    {"conv", WN_OP_CONV, conv},
    {"direct conv", WN_OP_CONV, direct_conv},
    {"unary", WN_OP_UNARY, unary},
    {"binary", WN_OP_BINARY, binary},
    {"concat", WN_OP_CONCAT, concat},
    {"gather", WN_OP_GATHER, gather},
    {"permute", WN_OP_PERMUTE, permute},
};
enum { N_OP_CASES = sizeof op_cases / sizeof *op_cases };

/* The requests made; the device is new, so that no scratch or idle block is there. */
static int64_t fail_op_at(const char *device, const struct op_case *c, int64_t n)
{
    struct wn_err err = {0};
    struct wn_device *dev;
    struct wn_scope scope;
    size_t used = wn_mem_used();
    assert_int_equal(wn_device_open(&dev, &(struct wn_device_params){.name = device, .n_threads = 2}, &err),
                     0);
    struct wn_exec ex = {.dev = dev};
    int64_t start = wn_mem_n_requests();
    wn_mem_fail_after(n);
    wn_scope_begin(&ex, &scope);
    c->run(&ex);
    wn_scope_end(&ex, &scope);
    wn_mem_fail_after(-1);
    int64_t asked = wn_mem_n_requests() - start;
    enum wan_status want = asked > n ? WAN_ENOMEM : WAN_OK;
    if (ex.err.code != want)
        fail_msg("%s, %s, request %lld failed: %s (%s)", device, c->name, (long long)n,
                 wan_status_name(ex.err.code), ex.err.text);
    wn_device_close(dev);
    if (wn_mem_used() != used)
        fail_msg("%s, %s, request %lld failed: %zu bytes leaked", device, c->name, (long long)n,
                 wn_mem_used() - used);
    return asked;
}

static void operations_fail(void **state)
{
    const char *device = *state;
    bool seen[WN_OP_COUNT] = {0};
    for (int i = 0; i < N_OP_CASES; i++) {
        seen[op_cases[i].op] = true;
        for (int64_t n = 0; fail_op_at(device, &op_cases[i], n) > n;) n++;
    }
    for (int op = 0; op < WN_OP_COUNT; op++)
        if (!seen[op]) fail_msg("no case of the operation %s", wn_op_name((enum wn_op)op));
}

int main(void)
{
    struct CMUnitTest tests[5 + N_JOBS] = {
        cmocka_unit_test(context_fails),
        cmocka_unit_test(bench_fails),
        {"operations on cpu", operations_fail, NULL, NULL, "cpu"},
        {"operations on ref", operations_fail, NULL, NULL, "ref"},
    };
    size_t n = 4;
    if (wn_device_built("mlx"))
        tests[n++] = (struct CMUnitTest){"operations on mlx", operations_fail, NULL, NULL, "mlx"};
    all_of_them = getenv("WAN_TORTURE_ALL") != NULL;
    for (int i = 0; i < N_JOBS; i++) {
        bool everywhere = jobs[i].run == run_generate || jobs[i].run == run_texts;
        tests[n++] = (struct CMUnitTest){jobs[i].name, everywhere ? job_fails_everywhere : job_fails, NULL,
                                         NULL, (void *)(uintptr_t)&jobs[i]};
    }
    return _cmocka_run_group_tests("nomem", tests, n, make_dir, remove_dir);
}
