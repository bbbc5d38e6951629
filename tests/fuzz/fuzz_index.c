/* An index of shards: diffusion_pytorch_model.safetensors.index.json beside two files. */
#include <string.h>

#include "fuzz.h"
#include "fuzz_weights.h"

static void write_shard(const char *name, const char *header)
{
    uint8_t file[128] = {0};
    size_t n = strlen(header);
    file[0] = (uint8_t)n;
    memcpy(file + 8, header, n);
    fuzz_file(name, file, 8 + n + 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static int ready;
    fuzz_limit_memory(64 << 20);
    if (!ready) {
        write_shard("a.safetensors", "{\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}");
        write_shard("b.safetensors", "{\"y\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}");
        ready = 1;
    }
    fuzz_weights(fuzz_file("diffusion_pytorch_model.safetensors.index.json", data, n));
    FUZZ_CHECK_FREED();
    return 0;
}
