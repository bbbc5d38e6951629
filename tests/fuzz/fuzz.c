#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

unsigned fuzz_sink;

static char folder[128], path[256];

void fuzz_fail(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
    abort();
}

static void remove_folder(void)
{
    char command[160];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command)) fprintf(stderr, "%s is left behind\n", folder);
}

const char *fuzz_folder(void)
{
    if (*folder) return folder;
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/wan-fuzz-XXXXXX",
             tmp && strlen(tmp) < 100   ? tmp
             : access("/dev/shm", W_OK) ? "/tmp"
                                        : "/dev/shm");
    FUZZ_CHECK(mkdtemp(folder));
    atexit(remove_folder);
    return folder;
}

const char *fuzz_file(const char *name, const uint8_t *data, size_t n)
{
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    FILE *f = fopen(path, "wb");
    FUZZ_CHECK(f);
    FUZZ_CHECK(fwrite(data, 1, n, f) == n);
    FUZZ_CHECK(!fclose(f));
    return path;
}

static size_t limit;

static void *bounded_alloc(void *ctx, size_t bytes)
{
    (void)ctx;
    return bytes > limit ? NULL : malloc(bytes);
}

static void bounded_free(void *ctx, void *p)
{
    (void)ctx;
    free(p);
}

void fuzz_limit_memory(size_t bytes)
{
    static const struct wn_mem_hook hook = {.alloc = bounded_alloc, .free = bounded_free};
    if (limit) return;
    limit = bytes;
    wn_mem_set_hook(&hook);
}
