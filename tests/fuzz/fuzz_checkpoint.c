/* A checkpoint folder: config.json and the transformer's tensors, which have to agree. An input is the length
 * of the first in two bytes, then one after the other. */
#include "fuzz.h"
#include "io/checkpoint.h"

static void check_part(const struct wn_checkpoint *ck, enum wn_part part)
{
    static struct wn_dit_config config;
    struct wn_problems problems = {0};
    struct wn_weights *w = NULL;
    struct wn_err err = {0};
    if (wn_checkpoint_weights(ck, part, &w, &err)) {
        FUZZ_CHECK(!w && err.text[0]);
        return;
    }
    if (!wn_checkpoint_dit_config(ck, part, w, &config, &err)) {
        FUZZ_CHECK(config.n_layers > 0 && config.text_dim > 0);
        wn_part_check(part, w, &config, &problems, &err);
    }
    wn_problems_release(&problems);
    wn_weights_close(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct wn_err err = {0};
    struct wn_checkpoint ck = {0};
    if (n < 2) return 0;
    size_t n_config = data[0] | (size_t)data[1] << 8;
    if (n_config > n - 2) n_config = n - 2;
    fuzz_limit_memory(64 << 20);
    fuzz_file("config.json", data + 2, n_config);
    fuzz_file("diffusion_pytorch_model.safetensors", data + 2 + n_config, n - 2 - n_config);
    enum wan_status st = wn_checkpoint_open(&ck, fuzz_folder(), &err);
    FUZZ_CHECK(st == err.code);
    if (!st) {
        wn_checkpoint_missing(&ck);
        for (enum wn_part part = WN_PART_DIT; part <= WN_PART_DIT_LOW; part++)
            if (wn_checkpoint_has(&ck, part)) check_part(&ck, part);
    }
    wn_checkpoint_release(&ck);
    FUZZ_CHECK_FREED();
    return 0;
}
