#include "pipe/text_cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/mem.h"

/* "text-0123456789abcdef.safetensors": tensors `ids` I32 [n] and `context` F32 [n, width], and in the
 * metadata what must be the same, with a digest of the rows. */
static const char name_start[] = "text-", name_end[] = ".safetensors";
#ifdef __APPLE__
#define st_mtim st_mtimespec
#endif
enum { STALE_SECONDS = 3600 }; /* a partial file this old belongs to no process any more */

static char *entry_path(const struct wn_text_cache *c, const int32_t *ids, int64_t n)
{
    struct wn_digest d = {0};
    char hex[17];
    wn_digest_add_text(&d, c->maker);
    wn_digest_add_text(&d, c->encoder);
    wn_digest_add(&d, ids, (size_t)n * sizeof *ids);
    wn_digest_hex(&d, hex);
    return wn_sprintf("%s/%s%s%s", c->folder, name_start, hex, name_end);
}

static void digest_of(const float *rows, size_t bytes, char hex[17])
{
    struct wn_digest d = {0};
    wn_digest_add(&d, rows, bytes);
    wn_digest_hex(&d, hex);
}

/* ---- reading ---- */

static bool says(const struct wn_weights *w, const char *key, const char *value)
{
    const char *text = wn_weights_metadata(w, key);
    return text && !strcmp(text, value);
}

/* The rows in an entry, or NULL where it is not the one that is looked for, or damaged. Points into `w`. */
static const struct wn_weight *rows_of(const struct wn_text_cache *c, const struct wn_weights *w,
                                       const int32_t *ids, int64_t n, int64_t width)
{
    const struct wn_weight *i = wn_weights_find(w, "ids"), *r = wn_weights_find(w, "context");
    char hex[17];
    if (!says(w, "maker", c->maker) || !says(w, "encoder", c->encoder)) return NULL;
    if (!i || i->type != WN_I32 || i->n_dims != 1 || i->dim[0] != n || memcmp(i->data, ids, i->bytes))
        return NULL;
    if (!r || r->type != WN_F32 || r->n_dims != 2 || r->dim[0] != n || r->dim[1] != width) return NULL;
    digest_of(r->data, r->bytes, hex);
    return says(w, "digest", hex) ? r : NULL;
}

enum wan_status wn_text_cache_get(const struct wn_text_cache *c, const int32_t *ids, int64_t n, int64_t width,
                                  float **rows, struct wn_err *err)
{
    struct wn_err why = {0};
    struct wn_weights *w = NULL;
    *rows = NULL;
    char *path = entry_path(c, ids, n);
    if (!path) return wn_fail_nomem(err, "a path", 0);
    if (wn_file_kind(path) == WN_FILE_REGULAR && !wn_weights_open(&w, path, &why)) {
        const struct wn_weight *r = rows_of(c, w, ids, n, width);
        if (r && (*rows = wn_alloc(r->bytes)))
            memcpy(*rows, r->data, r->bytes);
        else if (r)
            wn_fail_nomem(&why, "a text", r->bytes);
        else
            wn_fail(&why, WAN_EFORMAT, "%s: its contents are not those that it should have", path);
        wn_weights_close(w);
    }
    if (*rows)
        utimensat(AT_FDCWD, path, NULL, 0); /* used just now */
    else if (why.code == WAN_ENOMEM)
        wn_fail(err, why.code, "%s", why.text);
    else if (why.code && why.code != WAN_EIO) /* EIO: it went in between, or may not be read */
        wn_logf(c->log, WN_LOG_NOTICE, "the text is encoded anew: %s", why.text);
    wn_free(path);
    return err->code;
}

/* ---- writing ---- */

/* The folder and those above it, as far as they are not there. */
static enum wan_status make_folder(const char *folder, struct wn_err *err)
{
    char *path = wn_strdup(folder);
    if (!path) return wn_fail_nomem(err, "a path", strlen(folder));
    for (char *p = path + 1; *p; p++) {
        if (*p != '/') continue;
        *p = 0;
        mkdir(path, 0777); /* whether it worked, the last one shows */
        *p = '/';
    }
    if (mkdir(path, 0700) && errno != EEXIST)
        wn_fail(err, WAN_EIO, "%s: cannot make this folder: %s", folder, strerror(errno));
    wn_free(path);
    return err->code;
}

struct entry {
    char *path;
    size_t bytes;
    time_t seconds; /* of its last use */
    long nanoseconds;
};

static int by_use(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->seconds != y->seconds) return x->seconds < y->seconds ? -1 : 1;
    return (x->nanoseconds > y->nanoseconds) - (x->nanoseconds < y->nanoseconds);
}

/* Is it an entry? A partial one that its process left is removed. */
static bool look_at(const char *name, struct entry *e)
{
    struct stat st;
    size_t n = strlen(name), end = strlen(name_end);
    if (strncmp(name, name_start, strlen(name_start)) || stat(e->path, &st) || !S_ISREG(st.st_mode))
        return false;
    if (strstr(name, ".part-")) {
        if (time(NULL) - st.st_mtim.tv_sec > STALE_SECONDS) unlink(e->path);
        return false;
    }
    e->bytes = (size_t)st.st_size;
    e->seconds = st.st_mtim.tv_sec;
    e->nanoseconds = st.st_mtim.tv_nsec;
    return n > end && !strcmp(name + n - end, name_end);
}

/* Remove entries, the one not used for longest first, until the others have room. */
static enum wan_status trim(const struct wn_text_cache *c, struct wn_err *err)
{
    char **names;
    size_t n, n_entries = 0, total = 0;
    if (wn_dir_list(c->folder, &names, &n, err)) return err->code;
    struct entry *e = wn_zalloc_n(n, sizeof *e);
    if (!e) wn_fail_nomem(err, "a folder listing", n * sizeof *e);
    for (size_t i = 0; i < n && !err->code; i++) {
        if (!(e[n_entries].path = wn_path_join(c->folder, names[i])))
            wn_fail_nomem(err, "a path", strlen(names[i]));
        else if (look_at(names[i], &e[n_entries]))
            total += e[n_entries++].bytes;
        else
            wn_free(e[n_entries].path);
    }
    if (n_entries) qsort(e, n_entries, sizeof *e, by_use);
    for (size_t i = 0; i < n_entries; i++) {
        if (!err->code && total > c->max_bytes) {
            unlink(e[i].path); /* another process may have done so: all the same */
            total -= e[i].bytes;
        }
        wn_free(e[i].path);
    }
    wn_free(e);
    wn_names_free(names, n);
    return err->code;
}

static enum wan_status write_entry(const struct wn_text_cache *c, const int32_t *ids, int64_t n,
                                   int64_t width, const float *rows, struct wn_err *err)
{
    const struct wn_weight tensor[2] = {{.name = "context",
                                         .type = WN_F32,
                                         .n_dims = 2,
                                         .dim = {n, width},
                                         .data = rows,
                                         .bytes = (size_t)(n * width) * sizeof *rows},
                                        {.name = "ids",
                                         .type = WN_I32,
                                         .n_dims = 1,
                                         .dim = {n},
                                         .data = ids,
                                         .bytes = (size_t)n * sizeof *ids}};
    char hex[17];
    digest_of(rows, tensor[0].bytes, hex);
    const char *const metadata[] = {"maker", c->maker, "encoder", c->encoder, "digest", hex, NULL};
    char *path = entry_path(c, ids, n);
    if (!path) return wn_fail_nomem(err, "a path", 0);
    wn_safetensors_write(path, tensor, 2, metadata, err);
    wn_free(path);
    return err->code;
}

enum wan_status wn_text_cache_put(struct wn_text_cache *c, const int32_t *ids, int64_t n, int64_t width,
                                  const float *rows, struct wn_err *err)
{
    struct wn_err why = {0};
    if (c->failed) return WAN_OK;
    if (!make_folder(c->folder, &why) && !write_entry(c, ids, n, width, rows, &why)) trim(c, &why);
    if (why.code == WAN_ENOMEM) return wn_fail(err, why.code, "%s", why.text);
    if (why.code) wn_logf(c->log, WN_LOG_NOTICE, "encoded texts are not kept: %s", why.text);
    c->failed = why.code != WAN_OK;
    return WAN_OK;
}
