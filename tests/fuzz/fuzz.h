/* Fuzz targets: each fuzz_NAME.c hands one input to one reader. With libFuzzer (-Dfuzzing=true, clang) it is
 * a program that makes inputs; with replay.c it is one that replays files, as ./test.sh does with
 * corpus/NAME. What the reader says about the input is its business; a crash, a leak, a hang or a broken
 * promise is a finding. */
#ifndef WN_TESTS_FUZZ_H
#define WN_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Stop the process, saying what did not hold. */
void fuzz_fail(const char *file, int line, const char *what);
#define FUZZ_CHECK(x) ((x) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #x))

/* A file called `name` in a folder of this process, with these contents. The path lives until the next call.
 */
const char *fuzz_file(const char *name, const uint8_t *data, size_t n);
/* That folder. */
const char *fuzz_folder(void);

/* From now on, larger requests find no memory: an input that claims a huge image costs no time. */
void fuzz_limit_memory(size_t bytes);

/* Where to leave a result that nobody needs, so that it is computed. */
extern unsigned fuzz_sink;

/* Has everything been freed? Called at the end of each input. */
#define FUZZ_CHECK_FREED() FUZZ_CHECK(wn_mem_used() == 0)

#endif
