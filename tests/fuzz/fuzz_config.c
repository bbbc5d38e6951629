/* A config.json of a transformer. */
#include "fuzz.h"
#include "io/config.h"
#include "io/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct wn_dit_config c;
    struct wn_err err = {0};
    fuzz_limit_memory(64 << 20);
    enum wan_status st = wn_dit_config_read(&c, fuzz_file("config.json", data, n), &err);
    FUZZ_CHECK(st == err.code);
    if (!st) {
        FUZZ_CHECK(c.n_layers > 0 && c.n_layers <= WN_MAX_LAYERS && c.n_vace_layers <= WN_MAX_LAYERS);
        FUZZ_CHECK(c.dim > 0 && c.n_heads > 0);
        FUZZ_CHECK(wn_dit_n_params(&c) > 0);
    }
    FUZZ_CHECK_FREED();
    return 0;
}
