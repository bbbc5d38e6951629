/* The pickle inside an archive of torch.save. */
#include "fuzz.h"
#include "io/pickle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct wn_err err = {0};
    struct wn_pickle pickle = {0};
    fuzz_limit_memory(64 << 20);
    enum wan_status st = wn_pickle_read(&pickle, data, n, "input", &err);
    FUZZ_CHECK(st == err.code);
    FUZZ_CHECK(st || pickle.root);
    wn_pickle_release(&pickle);
    FUZZ_CHECK_FREED();
    return 0;
}
