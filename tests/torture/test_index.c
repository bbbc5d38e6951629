/* An index outside its table is refused by every device and level before anything is read through it: the
 * table is mapped between pages that cannot be read. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "ops/ops.h"

enum { ENTRIES = 4, R = 2, D = 32, MAX_T = 40 };

/* The place of a tensor that ends where a page that cannot be read begins, after another such page. */
struct fenced {
    char *base;
    size_t page;
    struct wn_tensor t;
};

static struct fenced fence(struct wn_device *dev, struct wn_tensor shape)
{
    struct wn_err err = {0};
    struct fenced f = {.page = (size_t)sysconf(_SC_PAGESIZE)};
    size_t bytes = wn_n_bytes(shape);
    assert_true(bytes <= f.page);
    f.base = mmap(NULL, 3 * f.page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(f.base != MAP_FAILED);
    assert_int_equal(mprotect(f.base + f.page, f.page, PROT_READ | PROT_WRITE), 0);
    char *data = f.base + 2 * f.page - bytes;
    memset(data, 0x3c, bytes); /* 0.0115 */
    f.t = wn_map_tensor(dev, shape, data, &err);
    assert_int_equal(err.code, WAN_OK);
    return f;
}

static void unfence(struct fenced *f)
{
    wn_unmap(f->t);
    munmap(f->base, 3 * f->page);
}

static struct wn_tensor zeros(struct wn_exec *ex, int64_t rows, int64_t width)
{
    static const float x[MAX_T * D];
    assert_true(rows * width <= MAX_T * D);
    return wn_upload(ex, wn_shape_of(WN_F32, rows, width), x);
}

static struct wn_tensor run(struct wn_exec *ex, enum wn_op op, struct wn_tensor table, struct wn_tensor index)
{
    int64_t T = index.dim[0];
    switch (op) {
    case WN_OP_LINEAR:
        return wn_linear(ex, .x = zeros(ex, T, 8), .w = zeros(ex, D, 8), .gate = {table, index},
                         .gate_row = 1);
    case WN_OP_NORM:
        return wn_norm(ex, .x = zeros(ex, T, D), .kind = WN_NORM_LAYER, .eps = 1e-6f, .mod = {table, index},
                       .scale_row = 1);
    case WN_OP_QK_NORM_ROPE:
        return wn_qk_norm_rope(ex, .x = zeros(ex, T, R * D), .n_heads = 1,
                               .rope = wn_reshape_to(table, ENTRIES, R * D), .index = index);
    default: return wn_gather(ex, .table = wn_reshape_to(table, ENTRIES, R * D), .index = index);
    }
}

/* T indices, all 1 but for the one at `at`. */
static void expect(const struct wn_device_params *p, enum wn_op op, int64_t T, int64_t at, int32_t bad,
                   enum wan_status want)
{
    struct wn_exec ex = {0};
    struct wn_scope scope;
    int32_t index[MAX_T];
    assert_int_equal(wn_device_open(&ex.dev, p, &ex.err), WAN_OK);
    struct fenced f = fence(ex.dev, wn_shape_of(WN_F32, ENTRIES, R, D));
    wn_scope_begin(&ex, &scope);
    for (int64_t i = 0; i < T; i++) index[i] = i == at ? bad : 1;
    run(&ex, op, f.t, wn_upload(&ex, wn_shape_of(WN_I32, T), index));
    if (ex.err.code != want)
        fail_msg("%s %s, %s, index %d of %lld rows: %s (%s)", p->name, p->isa ? p->isa : "", wn_op_name(op),
                 bad, (long long)T, wan_status_name(ex.err.code), ex.err.text);
    if (want && strncmp(ex.err.text, wn_op_name(op), strlen(wn_op_name(op))))
        fail_msg("the message '%s' does not begin with '%s'", ex.err.text, wn_op_name(op));
    wn_scope_end(&ex, &scope);
    unfence(&f);
    wn_device_close(ex.dev);
}

static void check_device(const struct wn_device_params *p)
{
    static const enum wn_op ops[] = {WN_OP_LINEAR, WN_OP_NORM, WN_OP_QK_NORM_ROPE, WN_OP_GATHER};
    static const int32_t bad[] = {-1, ENTRIES, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        int64_t most = ops[i] == WN_OP_QK_NORM_ROPE ? 20 : MAX_T; /* linear: past the few-rows form */
        for (int64_t T = 3; T <= most; T += most - 3) {
            for (size_t b = 0; b < sizeof bad / sizeof *bad; b++)
                for (int64_t at = 0; at < T; at += T - 1) expect(p, ops[i], T, at, bad[b], WAN_EINVAL);
            expect(p, ops[i], T, 0, 0, WAN_OK);
            expect(p, ops[i], T, T - 1, ENTRIES - 1, WAN_OK);
        }
    }
}

static void on_ref(void **state)
{
    (void)state;
    check_device(&(struct wn_device_params){.name = "ref"});
}

static void on_mlx(void **state)
{
    (void)state;
    if (!wn_device_built("mlx")) skip();
    check_device(&(struct wn_device_params){.name = "mlx", .isa = "cpu"});
}

static void on_every_level(void **state)
{
    (void)state;
    int n;
    const char *const *isa = wn_cpu_isa_list(&n);
    for (int i = 0; i < n; i++)
        check_device(&(struct wn_device_params){.name = "cpu", .isa = isa[i], .n_threads = 2});
}

/* A table without entries cannot be indexed, nor taken from without an index. */
static void empty_tables(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct wn_exec ex = {0};
        struct wn_scope scope;
        size_t used = wn_mem_used();
        assert_int_equal(
            wn_device_open(&ex.dev, &(struct wn_device_params){.name = i & 1 ? "cpu" : "ref"}, &ex.err), 0);
        wn_scope_begin(&ex, &scope);
        struct wn_tensor table = wn_new(&ex, wn_shape_of(WN_F32, 0, R, D));
        if (i & 2)
            wn_linear(&ex, .x = zeros(&ex, 3, 8), .w = zeros(&ex, D, 8), .gate = {.table = table});
        else
            wn_norm(&ex, .x = zeros(&ex, 3, D), .eps = 1e-6f, .mod = {.table = table});
        assert_int_equal(ex.err.code, WAN_EINTERNAL); /* a wrong shape is the caller's bug */
        wn_scope_end(&ex, &scope);
        wn_device_close(ex.dev);
        assert_int_equal(wn_mem_used(), used); /* an empty buffer is given back as well */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(on_ref), cmocka_unit_test(on_every_level),
                                       cmocka_unit_test(on_mlx), cmocka_unit_test(empty_tables)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
