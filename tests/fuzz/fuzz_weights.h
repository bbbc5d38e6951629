#ifndef WN_TESTS_FUZZ_WEIGHTS_H
#define WN_TESTS_FUZZ_WEIGHTS_H

#include <stddef.h>
#include <stdint.h>

/* Open a weight file; if that works, read all its tensors and ask everything that opening a checkpoint asks.
 */
void fuzz_weights(const char *path);
void fuzz_weights_in_memory(char *name, const uint8_t *data, size_t n);

#endif
