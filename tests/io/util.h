/* Shared by the tests of src/io: files in a scratch folder, and writers of zip archives and pickles that can
 * lie. */
#ifndef WN_TESTS_IO_UTIL_H
#define WN_TESTS_IO_UTIL_H

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
#include "io/weights.h"

static char scratch[256]; /* folder of this run */

static inline int make_scratch(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(scratch, sizeof scratch, "%s/wan-io-XXXXXX", tmp && strlen(tmp) < 200 ? tmp : "/tmp");
    return mkdtemp(scratch) ? 0 : -1;
}

/* Remove the scratch folder and what is in it. */
static inline void remove_tree(const char *path)
{
    char **names;
    size_t n;
    if (wn_file_kind(path) != WN_FILE_DIR || wn_dir_list(path, &names, &n, NULL)) {
        unlink(path);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        char *inner = wn_path_join(path, names[i]);
        remove_tree(inner);
        wn_free(inner);
    }
    wn_names_free(names, n);
    rmdir(path);
}

static inline int remove_scratch(void **state)
{
    (void)state;
    remove_tree(scratch);
    return 0;
}

/* scratch/NAME, in one of a few buffers used in turn. */
static inline const char *in_scratch(const char *name)
{
    static char path[8][512];
    static int turn;
    char *p = path[turn++ % 8];
    snprintf(p, 512, "%s/%s", scratch, name);
    return p;
}

static inline void write_file(const char *path, const void *data, size_t n)
{
    unlink(path); /* writing over a file makes some file systems flush it */
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static inline void write_text(const char *path, const char *text)
{
    write_file(path, text, strlen(text));
}

static inline void read_file(const char *path, char **data, size_t *n)
{
    assert_int_equal(wn_file_read(path, 64 << 20, data, n, NULL), WAN_OK);
}

/* Read every byte of every tensor, so that one outside of its file is found out. */
static inline unsigned touch_all(const struct wn_weights *w)
{
    unsigned sum = 0;
    for (size_t i = 0; i < wn_weights_count(w); i++) {
        const struct wn_weight *t = wn_weights_at(w, i);
        for (size_t k = 0; k < t->bytes; k++) sum += ((const uint8_t *)t->data)[k];
        assert_ptr_equal(wn_weights_find(w, t->name), t);
    }
    return sum;
}

/* Open: either whole and readable, or a failure with a sentence that names the path. Nothing may stay
 * allocated. */
static inline enum wan_status open_either_way(const char *path)
{
    size_t before = wn_mem_used();
    struct wn_err err = {0};
    struct wn_weights *w;
    enum wan_status st = wn_weights_open(&w, path, &err);
    if (st) {
        assert_null(w);
        assert_int_equal(err.code, st);
        assert_true(strlen(err.text) > 10);
    } else {
        assert_int_equal(err.code, WAN_OK);
        touch_all(w);
        wn_weights_close(w);
    }
    assert_int_equal(wn_mem_used(), before);
    return st;
}

/* Open must fail with this code and a sentence that has `word` in it. */
static inline void expect_failure(const char *path, enum wan_status code, const char *word)
{
    size_t before = wn_mem_used();
    struct wn_err err = {0};
    struct wn_weights *w;
    enum wan_status st = wn_weights_open(&w, path, &err);
    if (st != code || !strstr(err.text, word))
        fail_msg("%s: got %s \"%s\", expected %s with \"%s\"", path, wan_status_name(st), err.text,
                 wan_status_name(code), word);
    assert_int_equal(wn_mem_used(), before);
}

/* Run `job` with the Nth allocation failing, for every N: it must say so and leave nothing behind. */
static inline void fail_every_allocation(enum wan_status (*job)(void *ctx, struct wn_err *err), void *ctx)
{
    struct wn_err err = {0};
    assert_int_equal(job(ctx, &err), WAN_OK); /* and whatever is made once is made now */
    const size_t before = wn_mem_used();
    int64_t n = wn_mem_n_requests();
    assert_int_equal(job(ctx, &err), WAN_OK);
    n = wn_mem_n_requests() - n;
    assert_true(n > 3);
    for (int64_t i = 0; i < n; i++) {
        err = (struct wn_err){0};
        wn_mem_fail_after(i);
        enum wan_status st = job(ctx, &err);
        wn_mem_fail_after(-1);
        if (st != WAN_ENOMEM || err.code != WAN_ENOMEM)
            fail_msg("allocation %lld of %lld failed: got %s \"%s\"", (long long)i, (long long)n,
                     wan_status_name(st), err.text);
        assert_int_equal(wn_mem_used(), before);
    }
}

/* ---- zip archives ---- */

struct zip_writer {
    struct wn_str body, directory;
    int n;
    int zip64; /* sizes and offsets in zip64 records */
};

static inline void put(struct wn_str *s, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        uint8_t b = (uint8_t)(v >> 8 * i);
        assert_int_equal(wn_str_add(s, &b, 1), 0);
    }
}

/* `base`: where body[0] lies in the file, beyond what is in memory (a sparse file). */
static inline void zip_entry_at(struct zip_writer *z, const char *name, uint64_t size, int method,
                                uint64_t at)
{
    const int big = z->zip64;
    struct wn_str *d = &z->directory;
    put(d, 0x02014b50, 4);
    put(d, 45, 2), put(d, 45, 2), put(d, 0, 2), put(d, (unsigned)method, 2), put(d, 0, 4), put(d, 0, 4);
    put(d, big ? UINT32_MAX : size, 4), put(d, big ? UINT32_MAX : size, 4);
    put(d, strlen(name), 2), put(d, big ? 28 + 5 : 0, 2), put(d, 0, 2), put(d, 0, 2), put(d, 0, 2),
        put(d, 0, 4);
    put(d, big ? UINT32_MAX : at, 4);
    assert_int_equal(wn_str_add(d, name, strlen(name)), 0);
    if (big) {
        put(d, 0x7777, 2), put(d, 1, 2), put(d, 0, 1); /* some other field first */
        put(d, 1, 2), put(d, 24, 2), put(d, size, 8), put(d, size, 8), put(d, at, 8);
    }
    z->n++;
}

static inline void zip_local(struct wn_str *s, const char *name, int method)
{
    put(s, 0x04034b50, 4);
    put(s, 45, 2), put(s, 0, 2), put(s, (unsigned)method, 2), put(s, 0, 4), put(s, 0, 4), put(s, 0, 8);
    put(s, strlen(name), 2), put(s, 0, 2);
    assert_int_equal(wn_str_add(s, name, strlen(name)), 0);
}

static inline void zip_add(struct zip_writer *z, const char *name, const void *data, size_t n)
{
    zip_entry_at(z, name, n, 0, z->body.n);
    zip_local(&z->body, name, 0);
    assert_int_equal(wn_str_add(&z->body, data, n), 0);
}

/* What follows the entries; `at`: where it will lie. */
static inline void zip_end(struct zip_writer *z, uint64_t at, struct wn_str *out)
{
    assert_int_equal(wn_str_add(out, z->directory.data, z->directory.n), 0);
    const uint64_t bytes = z->directory.n, end = at + bytes;
    if (z->zip64) {
        put(out, 0x06064b50, 4), put(out, 44, 8), put(out, 45, 2), put(out, 45, 2), put(out, 0, 4),
            put(out, 0, 4);
        put(out, (unsigned)z->n, 8), put(out, (unsigned)z->n, 8), put(out, bytes, 8), put(out, at, 8);
        put(out, 0x07064b50, 4), put(out, 0, 4), put(out, end, 8), put(out, 1, 4);
    }
    put(out, 0x06054b50, 4), put(out, 0, 4);
    put(out, z->zip64 ? 0xffff : (unsigned)z->n, 2), put(out, z->zip64 ? 0xffff : (unsigned)z->n, 2);
    put(out, z->zip64 ? UINT32_MAX : bytes, 4), put(out, z->zip64 ? UINT32_MAX : at, 4), put(out, 0, 2);
}

static inline void zip_write(struct zip_writer *z, const char *path)
{
    uint64_t at = z->body.n;
    zip_end(z, at, &z->body);
    write_file(path, z->body.data, z->body.n);
    wn_str_release(&z->body);
    wn_str_release(&z->directory);
}

/* ---- pickles ---- */

static inline void pk(struct wn_str *s, const char *bytes, size_t n)
{
    assert_int_equal(wn_str_add(s, bytes, n), 0);
}
#define PK(s, literal) pk(s, literal, sizeof literal - 1)

static inline void pk_text(struct wn_str *s, const char *text)
{
    PK(s, "X");
    put(s, strlen(text), 4);
    pk(s, text, strlen(text));
}

static inline void pk_int(struct wn_str *s, int64_t v)
{
    PK(s, "\x8a\x08");
    put(s, (uint64_t)v, 8);
}

static inline void pk_tuple(struct wn_str *s, const int64_t *v, int n)
{
    PK(s, "(");
    for (int i = 0; i < n; i++) pk_int(s, v[i]);
    PK(s, "t");
}

struct fake_tensor {
    const char *storage; /* "FloatStorage" */
    int64_t numel, offset;
    int n_dims, n_strides;
    int64_t dim[10], stride[10];
};

static inline void pk_tensor(struct wn_str *s, const struct fake_tensor *t)
{
    PK(s, "ctorch._utils\n_rebuild_tensor_v2\n((");
    pk_text(s, "storage");
    PK(s, "ctorch\n");
    pk(s, t->storage, strlen(t->storage));
    PK(s, "\n");
    pk_text(s, "0");
    pk_text(s, "cpu");
    pk_int(s, t->numel);
    PK(s, "tQ");
    pk_int(s, t->offset);
    pk_tuple(s, t->dim, t->n_dims);
    pk_tuple(s, t->stride, t->n_strides);
    PK(s, "\x89"
          "ccollections\nOrderedDict\n)RtR");
}

/* An archive with this pickle and 64 bytes of storage "0". */
static inline const char *write_pth(const char *name, struct wn_str *pickle)
{
    static const char zeros[64];
    const char *path = in_scratch(name);
    struct zip_writer z = {0};
    zip_add(&z, "x/data.pkl", pickle->data, pickle->n);
    zip_add(&z, "x/byteorder", "little", 6);
    zip_add(&z, "x/data/0", zeros, sizeof zeros);
    zip_write(&z, path);
    wn_str_release(pickle);
    return path;
}

#endif
