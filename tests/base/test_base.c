/* Known answers for src/base. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/half.h"
#include "base/mem.h"
#include "base/thread.h"
#include "tensor/tensor.h"

/* Every code of each narrow type must survive a round trip through float32. */
static void halves_round_trip(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 65536; i++) {
        float f = wn_f16_f32((uint16_t)i);
        if (!isnan(f)) assert_int_equal(wn_f32_f16(f), i);
        float b = wn_bf16_f32((uint16_t)i);
        if (!isnan(b)) assert_int_equal(wn_f32_bf16(b), i);
    }
    for (uint32_t i = 0; i < 256; i++) {
        float f = wn_f8e4m3_f32((uint8_t)i);
        if (!isnan(f)) assert_int_equal(wn_f32_f8e4m3(f), i);
        f = wn_f8e5m2_f32((uint8_t)i);
        if (!isnan(f)) assert_int_equal(wn_f32_f8e5m2(f), i);
    }
}

static void halves_round_to_even(void **state)
{
    (void)state;
    assert_int_equal(wn_f32_bf16(1.00390625f), 0x3f80);  /* halfway between 1 and 1 + 2^-7: to even */
    assert_int_equal(wn_f32_bf16(1.01171875f), 0x3f82);
    assert_int_equal(wn_f32_bf16(3.4e38f), 0x7f80);
    assert_int_equal(wn_f32_f16(65519.0f), 0x7bff);
    assert_int_equal(wn_f32_f16(65520.0f), 0x7c00);
    assert_int_equal(wn_f32_f16(5.9604645e-8f), 0x0001); /* smallest subnormal */
    assert_int_equal(wn_f32_f16(2.9802322e-8f), 0x0000); /* half of it: to even */
    assert_int_equal(wn_f32_f16(1.0f + 0.00048828125f), 0x3c00);
    assert_int_equal(wn_f32_f16(-0.0f), 0x8000);
    assert_int_equal(wn_f32_f8e4m3(1e9f), 0x7e);
    assert_true(isnan(wn_bf16_f32(wn_f32_bf16(NAN))));
    assert_true(isnan(wn_f16_f32(wn_f32_f16(NAN))));
    assert_true(isnan(wn_f8e4m3_f32(wn_f32_f8e4m3(NAN))));
}

static void mem_counts_and_fails(void **state)
{
    (void)state;
    size_t before = wn_mem_used();
    void *p = wn_alloc(1000);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % WN_ALIGN, 0);
    assert_int_equal(wn_mem_used(), before + 1000);
    memset(p, 7, 1000);
    p = wn_realloc(p, 2000);
    assert_int_equal(((char *)p)[999], 7);
    wn_mem_fail_after(1);
    void *q = wn_alloc(1);
    assert_non_null(q);
    assert_null(wn_alloc(1));
    void *r = wn_alloc(1);
    assert_non_null(r);
    wn_mem_fail_after(-1);
    assert_null(wn_alloc_n(SIZE_MAX / 2, 3));
    wn_free(p);
    wn_free(q);
    wn_free(r);
    assert_int_equal(wn_mem_used(), before);
}

static void str_has_a_ceiling(void **state)
{
    (void)state;
    struct wn_str s = {.max = 10};
    assert_int_equal(wn_str_add(&s, "12345", 5), 0);
    assert_int_equal(wn_str_addf(&s, "%d", 67890), 0);
    assert_int_equal(wn_str_add(&s, "x", 1), -1);
    assert_string_equal(s.data, "1234567890");
    wn_str_release(&s);
}

static void err_keeps_the_first(void **state)
{
    (void)state;
    struct wn_err err = {0};
    assert_int_equal(wn_fail(&err, WAN_EIO, "a%cb", '\n'), WAN_EIO);
    assert_int_equal(wn_fail(&err, WAN_ENOMEM, "later"), WAN_EIO);
    assert_string_equal(err.text, "a?b");
    wn_err_prefix(&err, "in %s", "x");
    assert_string_equal(err.text, "in x: a?b");
    struct wn_err cut = {0};
    char big[2000];
    memset(big, 'a', sizeof big);
    memcpy(big + WN_ERR_TEXT_BYTES - 2, "\xe4\xb8\xad", 3); /* the limit falls inside this character */
    big[sizeof big - 1] = 0;
    wn_fail(&cut, WAN_EIO, "%s", big);
    assert_int_equal(strlen(cut.text), WN_ERR_TEXT_BYTES - 2);
}

struct sum {
    atomic_llong total, runs;
    int cancel_after;
};

static void add_task(void *arg, int64_t task, int thread)
{
    struct sum *s = arg;
    (void)thread;
    atomic_fetch_add(&s->total, task);
    atomic_fetch_add(&s->runs, 1);
}

static int cancel_now(void *ctx)
{
    struct sum *s = ctx;
    return s->cancel_after-- <= 0;
}

static void pool_runs_each_task_once(void **state)
{
    (void)state;
    struct wn_err err = {0};
    struct wn_pool *pool;
    assert_int_equal(wn_pool_new(&pool, 4, &err), WAN_OK);
    for (int round = 0; round < 200; round++) {
        struct sum s = {0};
        assert_true(wn_pool_run(pool, 100, add_task, &s));
        assert_int_equal(s.total, 4950);
        assert_int_equal(s.runs, 100);
    }
    struct sum s = {.cancel_after = 3};
    wn_pool_set_cancel(pool, cancel_now, &s);
    assert_false(wn_pool_run(pool, 1000000000, add_task, &s));
    wn_pool_free(pool);
}

static void new_files_appear_whole(void **state)
{
    (void)state;
    char dir[] = "/tmp/wan-test-XXXXXX";
    assert_non_null(mkdtemp(dir));
    char *path = wn_path_join(dir, "out.bin");
    struct wn_err err = {0};
    struct wn_new_file nf;
    assert_int_equal(wn_new_file_open(&nf, path, &err), WAN_OK);
    fputs("half", nf.f);
    wn_new_file_abort(&nf);
    assert_int_equal(wn_file_kind(path), WN_FILE_NONE);
    assert_int_equal(wn_new_file_open(&nf, path, &err), WAN_OK);
    fputs("whole", nf.f);
    assert_int_equal(wn_new_file_commit(&nf, &err), WAN_OK);
    char *data;
    size_t n;
    assert_int_equal(wn_file_read(path, 100, &data, &n, &err), WAN_OK);
    assert_string_equal(data, "whole");
    wn_free(data);
    assert_int_equal(wn_file_read(path, 4, &data, &n, &err), WAN_EFORMAT);
    char **names;
    assert_int_equal(wn_dir_list(dir, &names, &n, NULL), WAN_OK);
    assert_int_equal(n, 1);
    assert_string_equal(names[0], "out.bin");
    wn_names_free(names, n);
    unlink(path);
    rmdir(dir);
    wn_free(path);
}

static void tensor_views(void **state)
{
    (void)state;
    struct wn_tensor t = wn_shape_of(WN_BF16, 6, 4, 2);
    assert_int_equal(wn_n_bytes(t), 96);
    struct wn_tensor r = wn_rows(t, 2, 5);
    assert_int_equal(r.offset, 32);
    assert_int_equal(r.dim[0], 3);
    char text[WN_SHAPE_TEXT];
    assert_string_equal(wn_shape_text(r, text), "[3, 4, 2] BF16");
    assert_int_equal(wn_dtype_parse("F8_E4M3"), WN_F8_E4M3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halves_round_trip),   cmocka_unit_test(halves_round_to_even),
        cmocka_unit_test(mem_counts_and_fails), cmocka_unit_test(str_has_a_ceiling),
        cmocka_unit_test(err_keeps_the_first), cmocka_unit_test(pool_runs_each_task_once),
        cmocka_unit_test(new_files_appear_whole), cmocka_unit_test(tensor_views),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
