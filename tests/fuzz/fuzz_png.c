/* PNG images. Only inputs that begin like one get past the first look: it is put there. Where the input's
 * first byte is odd, the checksums of the chunks are put right too. */
#define FUZZ_MAGIC MAGIC_PNG
#define FUZZ_FIX fix_checksums
#include "fuzz_image.h"

static uint32_t get32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t crc32(const uint8_t *p, size_t n)
{
    uint32_t c = 0xffffffff;
    for (size_t i = 0; i < n; i++) {
        c ^= p[i];
        for (int k = 0; k < 8; k++) c = c >> 1 ^ (c & 1 ? 0xedb88320 : 0);
    }
    return ~c;
}

static void fix_checksums(uint8_t *file, size_t n)
{
    for (size_t i = 8; n - i >= 12;) {
        uint32_t len = get32(file + i);
        if (len > n - i - 12) return;
        uint32_t crc = crc32(file + i + 4, len + 4);
        for (int k = 0; k < 4; k++) file[i + 8 + len + (size_t)k] = (uint8_t)(crc >> (24 - 8 * k));
        i += 12 + (size_t)len;
    }
}
