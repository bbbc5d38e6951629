#ifndef WN_TESTS_FUZZ_TOKENIZER_H
#define WN_TESTS_FUZZ_TOKENIZER_H

/* Open a tokenizer; if that works, encode a few texts with it. */
void fuzz_tokenizer(const char *path);

#endif
