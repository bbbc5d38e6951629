#define _GNU_SOURCE /* madvise */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/mem.h"

enum wan_status wn_map_open(struct wn_map *map, const char *path, struct wn_err *err)
{
    *map = (struct wn_map){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return wn_fail(err, WAN_EIO, "%s: cannot open: %s", path, strerror(errno));
    struct stat st;
    if (fstat(fd, &st)) {
        wn_fail(err, WAN_EIO, "%s: cannot stat: %s", path, strerror(errno));
        goto fail;
    }
    if (!S_ISREG(st.st_mode)) {
        wn_fail(err, WAN_EIO, "%s: not a regular file", path);
        goto fail;
    }
    if (!(map->path = wn_strdup(path))) {
        wn_fail_nomem(err, "a path", strlen(path));
        goto fail;
    }
    map->size = (size_t)st.st_size;
    if (map->size) {
        void *p = mmap(NULL, map->size, PROT_READ, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED) {
            wn_fail(err, WAN_EIO, "%s: cannot map %zu bytes: %s", path, map->size, strerror(errno));
            goto fail;
        }
        map->data = p;
    }
    close(fd);
    return WAN_OK;
fail:
    close(fd);
    wn_free(map->path);
    *map = (struct wn_map){0};
    return err ? err->code : WAN_EIO;
}

void wn_map_close(struct wn_map *map)
{
    if (map->data) munmap((void *)map->data, map->size);
    wn_free(map->path);
    *map = (struct wn_map){0};
}

void wn_map_release_pages(const struct wn_map *map, size_t offset, size_t bytes)
{
    if (!map->data || offset >= map->size) return;
    if (bytes > map->size - offset) bytes = map->size - offset;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t first = offset / page * page;
    madvise((void *)(map->data + first), offset + bytes - first, MADV_DONTNEED);
}

enum wan_status wn_file_read(const char *path, size_t max, char **data, size_t *n, struct wn_err *err)
{
    *data = NULL;
    *n = 0;
    struct wn_map map;
    enum wan_status st = wn_map_open(&map, path, err);
    if (st) return st;
    if (map.size > max)
        st = wn_fail(err, WAN_EFORMAT, "%s: %zu bytes, more than the %zu this kind of file may have", path,
                     map.size, max);
    else if (!(*data = wn_alloc(map.size + 1)))
        st = wn_fail_nomem(err, path, map.size);
    else {
        if (map.size) memcpy(*data, map.data, map.size);
        (*data)[map.size] = 0;
        *n = map.size;
    }
    wn_map_close(&map);
    return st;
}

enum wn_file_kind wn_file_kind(const char *path)
{
    struct stat st;
    if (stat(path, &st)) return WN_FILE_NONE;
    return S_ISREG(st.st_mode) ? WN_FILE_REGULAR : S_ISDIR(st.st_mode) ? WN_FILE_DIR : WN_FILE_OTHER;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

enum wan_status wn_dir_list(const char *path, char ***names, size_t *n, struct wn_err *err)
{
    *names = NULL;
    *n = 0;
    DIR *d = opendir(path);
    if (!d) return wn_fail(err, WAN_EIO, "%s: cannot open folder: %s", path, strerror(errno));
    size_t cap = 0;
    for (struct dirent *e; (e = readdir(d));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        if (*n == cap) {
            char **grown = wn_realloc(*names, (cap = cap ? 2 * cap : 32) * sizeof **names);
            if (!grown) goto nomem;
            *names = grown;
        }
        if (!((*names)[*n] = wn_strdup(e->d_name))) goto nomem;
        ++*n;
    }
    closedir(d);
    if (*n) qsort(*names, *n, sizeof **names, by_name);
    return WAN_OK;
nomem:
    closedir(d);
    wn_names_free(*names, *n);
    *names = NULL;
    *n = 0;
    return wn_fail_nomem(err, "a folder listing", cap);
}

void wn_names_free(char **names, size_t n)
{
    for (size_t i = 0; i < n; i++) wn_free(names[i]);
    wn_free(names);
}

char *wn_path_join(const char *a, const char *b)
{
    size_t n = strlen(a);
    return wn_sprintf(n && a[n - 1] == '/' ? "%s%s" : "%s/%s", a, b);
}

const char *wn_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

const char *wn_path_ext(const char *path)
{
    const char *base = wn_path_base(path), *dot = strrchr(base, '.');
    return dot && dot != base ? dot : base + strlen(base);
}

enum wan_status wn_place_check(const char *path, struct wn_err *err)
{
    const char *base = wn_path_base(path);
    if (!*base || wn_file_kind(path) == WN_FILE_DIR)
        return wn_fail(err, WAN_EINVAL, "%s is a folder; give the name of a file", path);
    char *folder = base == path ? wn_strdup(".") : wn_strndup(path, (size_t)(base - path));
    if (!folder) return wn_fail_nomem(err, "a path", strlen(path));
    if (access(folder, W_OK | X_OK))
        wn_fail(err, WAN_EIO, "cannot write into %s: %s", folder, strerror(errno));
    wn_free(folder);
    return err->code;
}

char *wn_tmp_name(const char *path)
{
    static atomic_uint n; /* threads may write files of the same name at once */
    return wn_sprintf("%s.part-%ld-%u", path, (long)getpid(), atomic_fetch_add(&n, 1));
}

enum wan_status wn_new_file_open(struct wn_new_file *nf, const char *path, struct wn_err *err)
{
    *nf = (struct wn_new_file){.path = wn_strdup(path), .tmp = wn_tmp_name(path)};
    if (!nf->path || !nf->tmp) {
        wn_new_file_abort(nf);
        return wn_fail_nomem(err, "a path", strlen(path));
    }
    nf->f = fopen(nf->tmp, "wb");
    if (nf->f) return WAN_OK;
    enum wan_status st = wn_fail(err, WAN_EIO, "%s: cannot write: %s", path, strerror(errno));
    wn_free(nf->tmp);
    nf->tmp = NULL; /* nothing to remove */
    wn_new_file_abort(nf);
    return st;
}

enum wan_status wn_new_file_commit(struct wn_new_file *nf, struct wn_err *err)
{
    enum wan_status st = WAN_OK;
    int bad = ferror(nf->f) || fflush(nf->f) || fsync(fileno(nf->f));
    int why = errno;
    if (fclose(nf->f) && !bad) {
        bad = 1;
        why = errno;
    }
    nf->f = NULL;
    if (!bad && rename(nf->tmp, nf->path)) {
        bad = 1;
        why = errno;
    }
    if (bad)
        st = wn_fail(err, WAN_EIO, "%s: cannot write: %s", nf->path, strerror(why));
    else {
        wn_free(nf->tmp);
        nf->tmp = NULL;
    }
    wn_new_file_abort(nf);
    return st;
}

void wn_new_file_abort(struct wn_new_file *nf)
{
    if (nf->f) fclose(nf->f);
    if (nf->tmp) unlink(nf->tmp);
    wn_free(nf->tmp);
    wn_free(nf->path);
    *nf = (struct wn_new_file){0};
}

/* ---- folders ---- */

uint64_t wn_disk_free(const char *folder)
{
    struct statvfs v;
    return statvfs(folder, &v) ? UINT64_MAX : (uint64_t)v.f_bavail * v.f_frsize;
}

enum wan_status wn_folder_make(const char *path, struct wn_err *err)
{
    if (!mkdir(path, 0777) || errno == EEXIST) return WAN_OK;
    return wn_fail(err, WAN_EIO, "%s: cannot make this folder: %s", path, strerror(errno));
}

/* Has a folder anything in it? What is no folder counts as something. */
static enum wan_status check_empty(const char *path, struct wn_err *err)
{
    char **names;
    size_t n;
    const enum wn_file_kind kind = wn_file_kind(path);
    if (kind == WN_FILE_NONE) return WAN_OK;
    if (kind != WN_FILE_DIR) return wn_fail(err, WAN_EIO, "%s is there already, and no folder", path);
    enum wan_status st = wn_dir_list(path, &names, &n, err);
    if (st) return st;
    wn_names_free(names, n);
    return n ? wn_fail(err, WAN_EIO, "%s is there already; name a new folder", path) : WAN_OK;
}

enum wan_status wn_new_folder_open(struct wn_new_folder *nf, const char *path, struct wn_err *err)
{
    *nf = (struct wn_new_folder){0};
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    nf->path = wn_strndup(path, n);
    nf->tmp = nf->path ? wn_tmp_name(nf->path) : NULL;
    enum wan_status st = nf->tmp ? check_empty(nf->path, err) : wn_fail_nomem(err, "a path", n);
    if (!st && mkdir(nf->tmp, 0777))
        st = wn_fail(err, WAN_EIO, "%s: cannot write: %s", path, strerror(errno));
    if (!st) return WAN_OK;
    wn_free(nf->tmp);
    nf->tmp = NULL; /* nothing to remove */
    wn_new_folder_abort(nf);
    return st;
}

/* The folder's entries are on the disk. */
static int sync_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    int bad = fsync(fd);
    close(fd);
    return bad;
}

enum wan_status wn_new_folder_commit(struct wn_new_folder *nf, struct wn_err *err)
{
    enum wan_status st = WAN_OK;
    if (sync_folder(nf->tmp) || rename(nf->tmp, nf->path))
        st = wn_fail(err, WAN_EIO, "%s: cannot write: %s", nf->path, strerror(errno));
    else {
        wn_free(nf->tmp);
        nf->tmp = NULL;
    }
    wn_new_folder_abort(nf);
    return st;
}

/* A folder of ours and what is in it. Links are not followed. */
static void remove_all(const char *path)
{
    struct wn_err unused = {0};
    char **names = NULL;
    size_t n = 0;
    if (!wn_dir_list(path, &names, &n, &unused)) {
        for (size_t i = 0; i < n; i++) {
            char *inside = wn_path_join(path, names[i]);
            if (inside && unlink(inside)) remove_all(inside);
            wn_free(inside);
        }
        wn_names_free(names, n);
    }
    rmdir(path);
}

void wn_new_folder_abort(struct wn_new_folder *nf)
{
    if (nf->tmp) remove_all(nf->tmp);
    wn_free(nf->tmp);
    wn_free(nf->path);
    *nf = (struct wn_new_folder){0};
}
