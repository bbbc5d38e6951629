/* replay FILE|FOLDER...: hand each file to the fuzz target that this is linked with. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

static size_t n_files;

static void replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    FUZZ_CHECK(f);
    FUZZ_CHECK(!fseek(f, 0, SEEK_END));
    long size = ftell(f);
    FUZZ_CHECK(size >= 0);
    rewind(f);
    uint8_t *data = malloc((size_t)size + !size);
    FUZZ_CHECK(data);
    FUZZ_CHECK(fread(data, 1, (size_t)size, f) == (size_t)size);
    fclose(f);
    LLVMFuzzerTestOneInput(data, (size_t)size);
    free(data);
    n_files++;
}

static void replay(const char *path)
{
    struct stat st;
    FUZZ_CHECK(!stat(path, &st));
    if (!S_ISDIR(st.st_mode)) {
        replay_file(path);
        return;
    }
    DIR *d = opendir(path);
    FUZZ_CHECK(d);
    for (struct dirent *e; (e = readdir(d));) {
        char inner[4096];
        if (*e->d_name == '.') continue;
        snprintf(inner, sizeof inner, "%s/%s", path, e->d_name);
        replay(inner);
    }
    closedir(d);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) replay(argv[i]);
    printf("%zu inputs\n", n_files);
    return n_files ? 0 : 1;
}
