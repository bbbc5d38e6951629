/* Counter-based numbers that C and the oracle scripts make alike. Definition: tools/oracle/README.md,
 * "Generator"; Python side: tools/oracle/gen.py. Compile without fused multiply-add (-ffp-contract=off) for
 * equal bits. */
#ifndef WN_TESTS_MODEL_GEN_H
#define WN_TESTS_MODEL_GEN_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* FNV-1a, 64 bits: the stream of a name. */
static inline uint64_t gen_stream(const char *name)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (; *name != '\0'; name++) h = (h ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    return h;
}

/* Element i of a stream: in [-1, 1), a multiple of 2^-23. */
static inline float gen_unit(uint64_t stream, uint64_t i)
{
    uint64_t z = stream + (i + 1) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    return ((float)(z >> 40) - 8388608.0f) * (1.0f / 8388608.0f);
}

/* offset + scale * u, both operations rounded to float32. */
static inline float gen_value(uint64_t stream, uint64_t i, float scale, float offset)
{
    float v = gen_unit(stream, i) * scale;
    return offset != 0.0f ? v + offset : v;
}

/* The nearest bfloat16, ties to even, of a finite number. */
static inline uint16_t gen_bf16(float x)
{
    uint32_t b;
    memcpy(&b, &x, sizeof b);
    return (uint16_t)((b + 0x7fffu + ((b >> 16) & 1)) >> 16);
}

/* Elements 0 to n-1 of the stream called `name`. */
static inline void gen_fill_f32(float *dst, size_t n, const char *name, float scale, float offset)
{
    uint64_t stream = gen_stream(name);
    for (size_t i = 0; i < n; i++) dst[i] = gen_value(stream, i, scale, offset);
}

static inline void gen_fill_bf16(uint16_t *dst, size_t n, const char *name, float scale, float offset)
{
    uint64_t stream = gen_stream(name);
    for (size_t i = 0; i < n; i++) dst[i] = gen_bf16(gen_value(stream, i, scale, offset));
}

/* Place k of a sample of a tensor of n elements. */
static inline size_t gen_sample(size_t k, size_t n)
{
    return (size_t)((uint64_t)k * UINT64_C(2654435761) % n);
}

#endif
