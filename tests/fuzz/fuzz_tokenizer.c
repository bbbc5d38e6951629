#include "fuzz_tokenizer.h"

#include <string.h>

#include "fuzz.h"
#include "text/text.h"

void fuzz_tokenizer(const char *path)
{
    static const char *const texts[] = {
        "", "a cat at the beach",
        "\xef\xbc\xa1\xef\xac\x81 e\xcc\x81 [TAG] </s> \xe7\x8c\xab ~~~ <0x41>\xe2\x80\x8b zq<pad>"};
    enum { MAX_IDS = 20 };
    struct wn_tokenizer *tok;
    struct wn_err err = {0};
    enum wan_status st = wn_tokenizer_open(&tok, path, &err);
    FUZZ_CHECK(st == err.code && !st == !!tok);
    for (size_t i = 0; !st && i < sizeof texts / sizeof *texts; i++) {
        int32_t *ids;
        size_t n;
        struct wn_err e = {0};
        if (wn_tokenizer_encode(tok, texts[i], strlen(texts[i]), MAX_IDS, &ids, &n, &e)) continue;
        FUZZ_CHECK(n <= MAX_IDS);
        for (size_t k = 0; k < n; k++) FUZZ_CHECK(ids[k] >= 0 && ids[k] < wn_tokenizer_vocab_size(tok));
        wn_free(ids);
    }
    wn_tokenizer_close(tok);
}
