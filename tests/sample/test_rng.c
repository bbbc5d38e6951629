/* Random numbers: torch's CPU generator against torch, Philox against its authors' known answers, the CUDA
 * order against published output and against a literal walk through the kernel's loop. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/mem.h"
#include "base/rng.h"

static void cpu_agrees_with_torch(void **state)
{
    (void)state;
    json_error_t e;
    json_t *rows = json_load_file(GOLDEN_DIR "/sample/randn_cpu.json", 0, &e), *row;
    assert_non_null(rows);
    assert_true(json_array_size(rows) > 40);
    double worst = 0;
    size_t r;
    json_array_foreach(rows, r, row)
    {
        uint64_t seed = strtoull(json_string_value(json_object_get(row, "seed")), NULL, 10);
        int64_t n = json_integer_value(json_object_get(row, "n"));
        int64_t first = json_integer_value(json_object_get(row, "first"));
        json_t *values = json_object_get(row, "values"), *value;
        float *x = wn_alloc_n((size_t)n, sizeof *x);
        assert_non_null(x);
        wn_torch_randn(seed, x, n);
        size_t i;
        json_array_foreach(values, i, value)
        {
            float want = (float)json_number_value(value), got = x[first + (int64_t)i];
            if (n < 16 && memcmp(&want, &got, 4))
                fail_msg("seed %llu n %lld element %zu: %.9g, not %.9g", (unsigned long long)seed,
                         (long long)n, i, (double)got, (double)want);
            double d = fabs((double)got - (double)want);
            if (!(d <= worst)) worst = d;
        }
        wn_free(x);
    }
    json_decref(rows);
    print_message("largest difference from torch: %.3g\n", worst);
    assert_true(worst <= 1e-6);
}

/* Random123's kat_vectors for philox4x32, 10 rounds. */
static void philox_known_answers(void **state)
{
    (void)state;
    static const uint32_t t[3][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d, 0x41c83b0e,
         0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb,
         0x5001e420, 0x24126ea1},
    };
    for (int i = 0; i < 3; i++) {
        uint32_t out[4];
        wn_philox(t[i], t[i] + 4, out);
        assert_memory_equal(out, t[i] + 6, sizeof out);
    }
}

/* torch.manual_seed(0); torch.randn(8, 8, device="cuda") as printed by PyTorch 2.2 in public notebooks. */
static void cuda_agrees_with_published_output(void **state)
{
    (void)state;
    static const double want[64] = {
        -0.9247, -0.4253, -2.6438, 0.1452,  -0.1209, -0.5797, -0.6229, -0.3284, -1.0745, -0.3631, -1.6711,
        2.2655,  0.3117,  -0.1842, 1.2866,  1.1820,  -0.1271, 1.2169,  1.4353,  1.0605,  -0.4941, -1.4244,
        -0.7244, -1.2973, 0.0697,  -0.0074, 1.8969,  0.6878,  -0.0779, -0.8373, 1.3506,  -0.2879, -0.5965,
        -0.3283, -0.9086, -0.8059, -0.7407, -0.0504, 0.5435,  1.5150,  0.0141,  0.4532,  1.6349,  0.7124,
        -0.1806, 1.0252,  -1.4622, -0.7554, -0.1836, 0.3824,  0.3918,  -0.0830, 0.8971,  -1.1123, 0.1116,
        0.4863,  -0.5499, -0.3231, -0.5469, 0.9049,  0.2837,  0.1210,  0.4730,  -1.0823};
    float x[64];
    assert_int_equal(wn_torch_cuda_randn(0, x, 64, 132, 2048, NULL), WAN_OK);
    for (int i = 0; i < 64; i++) assert_true(fabs((double)x[i] - want[i]) < 5.1e-5);
}

/* One thread of the kernel: its own stream of float4, one for each turn of the grid-stride loop. */
static void walk_thread(uint64_t seed, int64_t thread, int64_t lanes, int64_t n, float *out, uint8_t *hits)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    int64_t padded = ((n - 1) / (4 * lanes) + 1) * 4 * lanes;
    uint32_t turn = 0;
    for (int64_t at = thread; at < padded; at += 4 * lanes) {
        uint32_t b[4];
        wn_philox((const uint32_t[4]){turn++, 0, (uint32_t)thread, 0}, key, b);
        for (int ii = 0; ii < 4; ii++) {
            if (at + lanes * ii >= n) continue;
            double u = b[ii & 2] * 0x1p-32 + 0x1p-33, w = (b[ii | 1] * 0x1p-32 + 0x1p-33) * 6.283185307179586;
            double radius = sqrt(-2 * log(u));
            out[at + lanes * ii] = (float)(radius * (ii & 1 ? cos(w) : sin(w)));
            hits[at + lanes * ii]++;
        }
    }
}

static void cuda_order_past_the_grid(void **state)
{
    (void)state;
    static const struct {
        int64_t n;
        int sms, threads;
    } cases[] = {{1, 1, 256},    {255, 4, 1024}, {257, 1, 256},  {1024, 1, 256},
                 {1025, 1, 300}, {5000, 2, 512}, {9999, 3, 2047}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        int64_t n = cases[c].n, blocks = (n + 255) / 256, most = cases[c].sms * (cases[c].threads / 256);
        int64_t lanes = 256 * (blocks < most ? blocks : most);
        float *want = wn_zalloc_n((size_t)n, sizeof *want), *got = wn_zalloc_n((size_t)n, sizeof *got);
        uint8_t *hits = wn_zalloc((size_t)n);
        for (int64_t t = 0; t < lanes; t++) walk_thread(0x123456789abcdef0u, t, lanes, n, want, hits);
        assert_int_equal(
            wn_torch_cuda_randn(0x123456789abcdef0u, got, n, cases[c].sms, cases[c].threads, NULL), WAN_OK);
        for (int64_t i = 0; i < n; i++) {
            assert_int_equal(hits[i], 1);
            assert_true(fabsf(got[i] - want[i]) < 4e-6f);
        }
        wn_free(want);
        wn_free(got);
        wn_free(hits);
    }
}

static void cuda_refuses_nonsense(void **state)
{
    (void)state;
    float x[4] = {0};
    struct wn_err err = {0};
    assert_int_equal(wn_torch_cuda_randn(0, x, 4, 0, 2048, &err), WAN_EINVAL);
    assert_non_null(strstr(err.text, "multiprocessors"));
    assert_int_equal(wn_torch_cuda_randn(0, x, 4, 1, 255, NULL), WAN_EINVAL);
    assert_int_equal(wn_torch_cuda_randn(0, x, -1, 1, 256, NULL), WAN_EINVAL);
    assert_int_equal(wn_torch_cuda_randn(0, x, WN_TORCH_CUDA_MAX_ELEMS + 1, 1, 256, NULL), WAN_EINVAL);
    assert_int_equal(wn_torch_cuda_randn(0, x, 0, 1, 256, NULL), WAN_OK);
    wn_torch_randn(0, x, 0);
    wn_torch_randn(0, x, -3);
    for (int i = 0; i < 4; i++) assert_true(x[i] == 0);
}

/* splitmix64's first outputs from seed 1234567 (its author's test values), and the moments of the normals. */
static void small_generator(void **state)
{
    (void)state;
    struct wn_rng r = {1234567};
    assert_true(wn_rng_u64(&r) == 6457827717110365317u);
    assert_true(wn_rng_u64(&r) == 3203168211198807973u);
    double sum = 0, sum2 = 0;
    const int n = 20000;
    for (int i = 0; i < n; i++) {
        double z = (double)wn_rng_normal(&r);
        sum += z;
        sum2 += z * z;
        float u = wn_rng_uniform(&r);
        assert_true(u >= 0 && u < 1);
    }
    assert_true(fabs(sum / n) < 0.03 && fabs(sum2 / n - 1) < 0.04);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cpu_agrees_with_torch),
        cmocka_unit_test(philox_known_answers),
        cmocka_unit_test(cuda_agrees_with_published_output),
        cmocka_unit_test(cuda_order_past_the_grid),
        cmocka_unit_test(cuda_refuses_nonsense),
        cmocka_unit_test(small_generator),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
