/* Folders and files for the media tests. */
#ifndef TEST_MEDIA_UTIL_H
#define TEST_MEDIA_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"

static char test_dir[64];

static inline int make_dir(void **state)
{
    (void)state;
    strcpy(test_dir, "/tmp/wan-media-XXXXXX");
    return mkdtemp(test_dir) ? 0 : -1;
}

static inline const char *in_dir(const char *name)
{
    static char path[4][256];
    static int turn;
    char *p = path[turn = (turn + 1) % 4];
    snprintf(p, sizeof path[0], "%s/%s", test_dir, name);
    return p;
}

static inline int remove_dir(void **state)
{
    (void)state;
    char **names;
    size_t n;
    if (wn_dir_list(test_dir, &names, &n, NULL)) return -1;
    for (size_t i = 0; i < n; i++) unlink(in_dir(names[i]));
    wn_names_free(names, n);
    return rmdir(test_dir);
}

static inline size_t n_files(void)
{
    char **names;
    size_t n;
    assert_int_equal(wn_dir_list(test_dir, &names, &n, NULL), 0);
    wn_names_free(names, n);
    return n;
}

static inline void put_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static inline void assert_text(const char *path, const char *text)
{
    char *data;
    size_t n;
    assert_int_equal(wn_file_read(path, 1 << 26, &data, &n, NULL), 0);
    assert_string_equal(data, text);
    wn_free(data);
}

#endif
