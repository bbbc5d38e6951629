/* One still-image format; FUZZ_MAGIC is what its files begin with. */
#include <string.h>

#include "fuzz.h"
#include "media/image.h"

#define MAGIC_PNG "\x89PNG\r\n\x1a\n"
#define MAGIC_JPEG "\xff\xd8\xff"
#define MAGIC_WEBP "RIFF"

#ifdef FUZZ_FIX
static void FUZZ_FIX(uint8_t *file, size_t n);
#else
#define FUZZ_FIX(file, n) ((void)0)
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    enum { MAX_INPUT = 1 << 16, MAX_MEMORY = 4 << 20 };
    static uint8_t file[MAX_INPUT];
    const size_t magic = sizeof FUZZ_MAGIC - 1;
    struct wn_err err = {0};
    struct wn_image img;
    fuzz_limit_memory(MAX_MEMORY);
    if (n > MAX_INPUT || n < magic) return 0;
    memcpy(file, data, n);
    memcpy(file, FUZZ_MAGIC, magic);
    if (data[0] & 1) FUZZ_FIX(file, n);
    enum wan_status st = wn_image_decode("input", file, n, &img, &err);
    FUZZ_CHECK(st == err.code);
    FUZZ_CHECK(st ? !img.rgb : img.rgb && img.w > 0 && img.h > 0);
    unsigned sum = 0;
    if (!st) {
        for (size_t i = 0; i < (size_t)img.w * (size_t)img.h * 3; i++) sum += img.rgb[i];
    }
    fuzz_sink = sum;
    wn_image_release(&img);
    FUZZ_CHECK_FREED();
    return 0;
}
