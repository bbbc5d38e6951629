/* An archive of torch.save: zip, pickle and tensors. */
#include "fuzz.h"
#include "fuzz_weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static char name[] = "model.pth";
    fuzz_limit_memory(64 << 20);
    fuzz_weights_in_memory(name, data, n);
    FUZZ_CHECK_FREED();
    return 0;
}
