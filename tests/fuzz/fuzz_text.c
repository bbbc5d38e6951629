/* The cleaning of prompts. */
#include <string.h>

#include "fuzz.h"
#include "text/text.h"
#include "text/utf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct wn_err err = {0};
    struct wn_str out = {0};
    const char *s = (const char *)data;
    bool valid = wn_utf8_check(s, n) == n;
    enum wan_status st = wn_text_clean(s, n, &out, &err);
    FUZZ_CHECK(st == err.code);
    FUZZ_CHECK(valid || st == WAN_EINVAL);
    if (!st) {
        FUZZ_CHECK(wn_utf8_check(out.data, out.n) == out.n);
        FUZZ_CHECK(!out.n || (out.data[0] != ' ' && out.data[out.n - 1] != ' '));
    }
    wn_str_release(&out);
    FUZZ_CHECK_FREED();
    return 0;
}
