#include "tensor/convert.h"

#include <string.h>

#include "base/half.h"

/* Element i of an array of T at any alignment. */
#define LOADER(T)                                                       \
    static inline T load_##T(const void *src, int64_t i)                \
    {                                                                   \
        T v;                                                            \
        memcpy(&v, (const char *)src + (size_t)i * sizeof v, sizeof v); \
        return v;                                                       \
    }
LOADER(uint16_t)
LOADER(int16_t)
LOADER(int32_t)
LOADER(uint32_t)
LOADER(int64_t)
LOADER(double)

void wn_to_f32(const void *src, enum wn_dtype type, float *dst, int64_t n)
{
    const uint8_t *u8 = src;
    switch (type) {
    case WN_F32: memcpy(dst, src, (size_t)n * sizeof *dst); break;
    case WN_BF16:
        for (int64_t i = 0; i < n; i++) dst[i] = wn_bf16_f32(load_uint16_t(src, i));
        break;
    case WN_F16:
        for (int64_t i = 0; i < n; i++) dst[i] = wn_f16_f32(load_uint16_t(src, i));
        break;
    case WN_F8_E4M3:
        for (int64_t i = 0; i < n; i++) dst[i] = wn_f8e4m3_f32(u8[i]);
        break;
    case WN_F8_E5M2:
        for (int64_t i = 0; i < n; i++) dst[i] = wn_f8e5m2_f32(u8[i]);
        break;
    case WN_F64:
        for (int64_t i = 0; i < n; i++) dst[i] = (float)load_double(src, i);
        break;
    case WN_I64:
        for (int64_t i = 0; i < n; i++) dst[i] = (float)load_int64_t(src, i);
        break;
    case WN_I32:
        for (int64_t i = 0; i < n; i++) dst[i] = (float)load_int32_t(src, i);
        break;
    case WN_U32:
        for (int64_t i = 0; i < n; i++) dst[i] = (float)load_uint32_t(src, i);
        break;
    case WN_I16:
        for (int64_t i = 0; i < n; i++) dst[i] = (float)load_int16_t(src, i);
        break;
    case WN_I8:
        for (int64_t i = 0; i < n; i++) dst[i] = (float)(int8_t)u8[i];
        break;
    case WN_U8:
    case WN_BOOL:
        for (int64_t i = 0; i < n; i++) dst[i] = (float)u8[i];
        break;
    case WN_NONE:
    case WN_DTYPE_COUNT: break;
    }
}

void wn_from_f32(const float *src, enum wn_dtype type, void *dst, int64_t n)
{
    uint8_t *u8 = dst;
    for (int64_t i = 0; i < n; i++) {
        uint16_t h;
        double d;
        switch (type) {
        case WN_F32: memcpy(u8 + 4 * i, src + i, 4); break;
        case WN_BF16:
            h = wn_f32_bf16(src[i]);
            memcpy(u8 + 2 * i, &h, 2);
            break;
        case WN_F16:
            h = wn_f32_f16(src[i]);
            memcpy(u8 + 2 * i, &h, 2);
            break;
        case WN_F8_E4M3: u8[i] = wn_f32_f8e4m3(src[i]); break;
        case WN_F8_E5M2: u8[i] = wn_f32_f8e5m2(src[i]); break;
        case WN_F64:
            d = src[i];
            memcpy(u8 + 8 * i, &d, 8);
            break;
        default: return;
        }
    }
}
