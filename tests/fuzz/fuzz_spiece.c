/* spiece.model. */
#include "fuzz.h"
#include "fuzz_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    fuzz_limit_memory(64 << 20);
    fuzz_tokenizer(fuzz_file("spiece.model", data, n));
    FUZZ_CHECK_FREED();
    return 0;
}
