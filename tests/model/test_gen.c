/* gen.h against values that tools/oracle/gen.py gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "gen.h"

static uint32_t bits(float x)
{
    uint32_t b;
    memcpy(&b, &x, sizeof b);
    return b;
}

static void known_values(void **state)
{
    static const uint32_t unit[] = {0xbee554a8, 0x3f42cf0c, 0x3f5eac16, 0xbea6c884};
    static const uint32_t scaled[] = {0x3faeccda, 0x3fdd38a8, 0x3fe1669d, 0x3fb37dc3}; /* 1.5 + 0.3 u */
    static const uint16_t half[] = {0x3faf, 0x3fdd, 0x3fe1, 0x3fb3};
    float f[4], g[4];
    uint16_t h[4];
    (void)state;
    assert_true(gen_stream("test") == UINT64_C(0xf9e6e6ef197c2b25));
    gen_fill_f32(f, 4, "test", 1.0f, 0.0f);
    gen_fill_f32(g, 4, "test", 0.3f, 1.5f);
    gen_fill_bf16(h, 4, "test", 0.3f, 1.5f);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(bits(f[i]), unit[i]);
        assert_int_equal(bits(g[i]), scaled[i]);
        assert_int_equal(h[i], half[i]);
    }
    /* past 32 bits */
    assert_int_equal(bits(gen_unit(gen_stream("blocks.0.ffn.0.weight"), UINT64_C(5000000000))), 0xbe92c6e8);
}

static void sample_places(void **state)
{
    (void)state;
    assert_int_equal(gen_sample(0, 10240000), 0);
    assert_int_equal(gen_sample(1, 10240000), 2275761);
    assert_int_equal(gen_sample(2, 10240000), 4551522);
    assert_int_equal(gen_sample(2047, 10240000), 9522767);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(known_values), cmocka_unit_test(sample_places)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
