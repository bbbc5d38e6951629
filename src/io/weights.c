/* Opening weight files of any kind: recognise each by its content, read it, and put all tensors in name
 * order. */
#include "io/weights.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/digest.h"
#include "base/mem.h"
#include "io/json.h"
#include "io/packed.h"
#include "io/set.h"

enum { MAX_INDEX = 64 << 20, MAX_FILES = 4096 };
static const char index_ext[] = ".safetensors.index.json";

/* ---- one file ---- */

enum kind { KIND_SAFETENSORS, KIND_ZIP, KIND_LEGACY_TORCH, KIND_GGUF, KIND_LFS, KIND_JSON, KIND_OTHER };

static bool starts(const struct wn_map *m, const void *magic, size_t n)
{
    return m->size >= n && !memcmp(m->data, magic, n);
}

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), k = strlen(tail);
    return n >= k && !strcmp(s + n - k, tail);
}

/* The header length of a safetensors file is far below 2^32: bytes 4 to 7 are 0, which no text has. */
static bool looks_like_safetensors(const struct wn_map *m)
{
    static const uint8_t zeros[4];
    return m->size > 8 && !memcmp(m->data + 4, zeros, 4) && m->data[8] == '{';
}

static enum kind kind_of(const struct wn_map *m)
{
    if (starts(m, "PK\3\4", 4) || starts(m, "PK\5\6", 4)) return KIND_ZIP;
    if (starts(m, "GGUF", 4)) return KIND_GGUF;
    if (starts(m, "version https://git-lfs", 23)) return KIND_LFS;
    if (looks_like_safetensors(m)) return KIND_SAFETENSORS;
    /* A pickle of protocol 2 to 5 on its own: torch.save before 1.6. */
    if (m->size >= 2 && m->data[0] == 0x80 && m->data[1] >= 2 && m->data[1] <= 5) return KIND_LEGACY_TORCH;
    if (ends_with(m->path, ".safetensors")) return KIND_SAFETENSORS; /* damaged: its reader says how */
    size_t i = 0;
    while (i < m->size && strchr(" \t\r\n", m->data[i]) && m->data[i]) i++;
    return i < m->size && m->data[i] == '{' ? KIND_JSON : KIND_OTHER;
}

static enum wan_status load_map(struct wn_weights *w, const struct wn_map *m, struct wn_err *err)
{
    switch (kind_of(m)) {
    case KIND_SAFETENSORS: return wn_safetensors_load(w, m, err);
    case KIND_ZIP: return wn_pth_load(w, m, err);
    case KIND_LEGACY_TORCH:
        return wn_fail(
            err, WAN_EUNSUPPORTED,
            "%s: written by torch.save in its old format (before PyTorch 1.6); load it in PyTorch and save "
            "it again, or as safetensors",
            m->path);
    case KIND_GGUF: return wn_fail(err, WAN_EUNSUPPORTED, "%s: GGUF files cannot be read yet", m->path);
    case KIND_LFS:
        return wn_fail(err, WAN_EFORMAT,
                       "%s: a Git LFS pointer, not the file itself; download it with 'git lfs pull'",
                       m->path);
    default: break;
    }
    return wn_fail(err, WAN_EFORMAT, "%s: neither a safetensors file nor a torch.save archive", m->path);
}

static enum wan_status map_file(struct wn_weights *w, const char *path, struct wn_err *err)
{
    if (w->n_maps >= MAX_FILES)
        return wn_fail(err, WAN_EFORMAT, "%s: more than %d files", w->path, MAX_FILES);
    if (!wn_grow((void **)&w->map, w->n_maps, &w->cap_maps, sizeof *w->map))
        return wn_fail_nomem(err, path, w->n_maps * sizeof *w->map);
    enum wan_status st = wn_map_open(&w->map[w->n_maps], path, err);
    if (!st) w->n_maps++;
    return st;
}

static enum wan_status load_file(struct wn_weights *w, const char *path, struct wn_err *err)
{
    enum wan_status st = map_file(w, path, err);
    return st ? st : load_map(w, &w->map[w->n_maps - 1], err);
}

/* ---- name order ---- */

static int by_name(const void *a, const void *b)
{
    const struct wn_weight *x = a, *y = b;
    return strcmp(x->name, y->name);
}

enum wan_status wn_set_sort(struct wn_weights *w, struct wn_err *err)
{
    if (w->n) qsort(w->item, w->n, sizeof *w->item, by_name);
    for (size_t i = 1; i < w->n; i++)
        if (!strcmp(w->item[i - 1].name, w->item[i].name))
            return wn_fail(err, WAN_EFORMAT, "%s: tensor '%s' is there twice (also in %s)", w->item[i].file,
                           w->item[i].name, wn_path_base(w->item[i - 1].file));
    return WAN_OK;
}

/* ---- several files ---- */

static bool is_plain_name(const char *name)
{
    return *name && strcmp(name, ".") && strcmp(name, "..") && !strpbrk(name, "/\\");
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The folder of `path` joined with `name`; NULL: out of memory. */
static char *beside(const char *path, const char *name)
{
    return wn_sprintf("%.*s%s", (int)(wn_path_base(path) - path), path, name);
}

/* Every file named by weight_map, once, sorted: borrowed strings in *names, freed by the caller. */
static enum wan_status shard_names(json_t *weight_map, const char *path, const char ***names, size_t *n,
                                   struct wn_err *err)
{
    size_t count = 0, n_all = json_object_size(weight_map);
    if (!(*names = wn_alloc_n(n_all, sizeof **names)))
        return wn_fail_nomem(err, path, n_all * sizeof **names);
    const char *tensor;
    json_t *file;
    json_object_foreach(weight_map, tensor, file)
    {
        const char *s = json_string_value(file);
        if (!s || !is_plain_name(s))
            return wn_fail(err, WAN_EFORMAT, "%s: weight_map '%s' does not name a file beside the index",
                           path, tensor);
        (*names)[count++] = s;
    }
    if (count) qsort(*names, count, sizeof **names, by_text);
    *n = 0;
    for (size_t i = 0; i < count; i++)
        if (!*n || strcmp((*names)[*n - 1], (*names)[i])) (*names)[(*n)++] = (*names)[i];
    return WAN_OK;
}

static enum wan_status load_shards(struct wn_weights *w, const char *index, const char *const *names,
                                   size_t n, struct wn_err *err)
{
    enum wan_status st = WAN_OK;
    for (size_t i = 0; i < n && !st; i++) {
        char *path = beside(index, names[i]);
        if (!path) return wn_fail_nomem(err, names[i], 0);
        st = load_file(w, path, err);
        wn_free(path);
    }
    return st ? st : wn_set_sort(w, err);
}

static enum wan_status check_places(const struct wn_weights *w, const char *path, json_t *weight_map,
                                    struct wn_err *err)
{
    const char *name;
    json_t *file;
    json_object_foreach(weight_map, name, file)
    {
        const struct wn_weight *t = wn_weights_find(w, name);
        if (!t || strcmp(wn_path_base(t->file), json_string_value(file)))
            return wn_fail(err, WAN_EFORMAT, "%s: tensor '%s' is not in %s, where the index says it is", path,
                           name, json_string_value(file));
    }
    return WAN_OK;
}

static enum wan_status load_index(struct wn_weights *w, const char *path, struct wn_err *err)
{
    json_t *root;
    const char **names = NULL;
    size_t n = 0;
    enum wan_status st = wn_json_read(&root, path, MAX_INDEX, 0, err);
    if (st) return st;
    json_t *weight_map = json_object_get(root, "weight_map");
    if (!json_object_size(weight_map))
        st = wn_fail(err, WAN_EFORMAT, "%s: no weight_map: not an index of safetensors files", path);
    if (!st) st = shard_names(weight_map, path, &names, &n, err);
    if (!st) st = load_shards(w, path, names, n, err);
    if (!st) st = check_places(w, path, weight_map, err);
    wn_free(names);
    json_decref(root);
    return st;
}

/* Load every file of `folder` whose name ends in `tail`; an index counts alone. *found is how many there
 * were. */
static enum wan_status load_matching(struct wn_weights *w, const char *folder, char *const *names, size_t n,
                                     const char *tail, size_t *found, struct wn_err *err)
{
    bool index = tail == index_ext;
    enum wan_status st = WAN_OK;
    *found = 0;
    for (size_t i = 0; i < n && !st; i++) {
        if (!ends_with(names[i], tail)) continue;
        if (index && ++*found > 1)
            return wn_fail(err, WAN_EFORMAT, "%s: more than one index of safetensors files; name one of them",
                           folder);
        char *path = wn_path_join(folder, names[i]);
        if (!path) return wn_fail_nomem(err, folder, 0);
        st = index ? load_index(w, path, err) : load_file(w, path, err);
        wn_free(path);
        if (!index) ++*found;
    }
    return st;
}

static enum wan_status load_folder(struct wn_weights *w, const char *path, struct wn_err *err)
{
    char **names;
    size_t n, found;
    enum wan_status st = wn_dir_list(path, &names, &n, err);
    if (st) return st;
    st = load_matching(w, path, names, n, index_ext, &found, err);
    if (!st && !found) {
        st = load_matching(w, path, names, n, ".safetensors", &found, err);
        if (!st && !found) st = wn_fail(err, WAN_EFORMAT, "%s: no .safetensors file in this folder", path);
        if (!st) st = wn_set_sort(w, err);
    }
    wn_names_free(names, n);
    return st;
}

/* ---- the interface ---- */

static struct wn_weights *new_set(const char *path, struct wn_err *err)
{
    struct wn_weights *w = wn_zalloc(sizeof *w);
    if (w && (w->path = wn_strdup(path))) return w;
    wn_free(w);
    wn_fail_nomem(err, path, sizeof *w);
    return NULL;
}

static enum wan_status finish(struct wn_weights **out, struct wn_weights *w, enum wan_status st)
{
    if (st)
        wn_weights_close(w);
    else
        *out = w;
    return st;
}

/* A lone file may be an index, which only shows once it is mapped. */
static enum wan_status load_any_file(struct wn_weights *w, const char *path, struct wn_err *err)
{
    enum wan_status st = map_file(w, path, err);
    if (st) return st;
    const struct wn_map *m = &w->map[0];
    if (kind_of(m) != KIND_JSON) {
        st = load_map(w, m, err);
        return st ? st : wn_set_sort(w, err);
    }
    wn_map_close(&w->map[0]);
    w->n_maps = 0;
    return load_index(w, path, err);
}

enum wan_status wn_weights_open(struct wn_weights **out, const char *path, struct wn_err *err)
{
    *out = NULL;
    struct wn_weights *w = new_set(path, err);
    if (!w) return WAN_ENOMEM;
    bool folder = wn_file_kind(path) == WN_FILE_DIR;
    return finish(out, w, folder ? load_folder(w, path, err) : load_any_file(w, path, err));
}

enum wan_status wn_set_open_map(struct wn_weights **out, const struct wn_map *map, struct wn_err *err)
{
    *out = NULL;
    struct wn_weights *w = new_set(map->path, err);
    if (!w) return WAN_ENOMEM;
    enum wan_status st = load_map(w, map, err);
    return finish(out, w, st ? st : wn_set_sort(w, err));
}

enum wan_status wn_weights_open_files(struct wn_weights **out, const char *path, const char *const *files,
                                      size_t n, struct wn_err *err)
{
    *out = NULL;
    struct wn_weights *w = new_set(path, err);
    if (!w) return WAN_ENOMEM;
    enum wan_status st = WAN_OK;
    for (size_t i = 0; i < n && !st; i++) st = load_file(w, files[i], err);
    if (!st) st = wn_set_sort(w, err);
    return finish(out, w, st);
}

void wn_weights_close(struct wn_weights *w)
{
    if (!w) return;
    for (size_t i = 0; i < w->n_maps; i++) wn_map_close(&w->map[i]);
    for (size_t i = 0; i < w->n_owned; i++) wn_free(w->owned[i]);
    wn_free(w->map);
    wn_free(w->owned);
    wn_free(w->meta);
    wn_free(w->item);
    wn_free(w->path);
    wn_free(w);
}

void wn_weights_strip_prefix(struct wn_weights *w, const char *prefix)
{
    size_t len = strlen(prefix), kept = 0;
    for (size_t i = 0; i < w->n; i++) {
        if (strncmp(w->item[i].name, prefix, len)) continue;
        w->item[kept] = w->item[i];
        w->item[kept++].name += len;
    }
    w->n = kept; /* a common prefix: still in order */
}

size_t wn_weights_count(const struct wn_weights *w)
{
    return w->n;
}

const struct wn_weight *wn_weights_at(const struct wn_weights *w, size_t i)
{
    return &w->item[i];
}

const struct wn_weight *wn_weights_find(const struct wn_weights *w, const char *name)
{
    size_t lo = 0, hi = w->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int order = strcmp(name, w->item[mid].name);
        if (!order) return &w->item[mid];
        if (order < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

const char *wn_weights_path(const struct wn_weights *w)
{
    return w->path;
}

const char *wn_weights_metadata(const struct wn_weights *w, const char *key)
{
    for (size_t i = 0; i < w->n_meta; i += 2)
        if (!strcmp(w->meta[i], key)) return w->meta[i + 1];
    return NULL;
}

int64_t wn_weights_n_elems(const struct wn_weights *w)
{
    size_t n = 0;
    for (size_t i = 0; i < w->n; i++) n += w->item[i].bytes / wn_dtype_size(w->item[i].type);
    return (int64_t)n;
}

size_t wn_weights_n_bytes(const struct wn_weights *w)
{
    size_t n = 0;
    for (size_t i = 0; i < w->n; i++) n += wn_weight_stored_bytes(&w->item[i]);
    return n;
}

size_t wn_weights_n_packed(const struct wn_weights *w)
{
    size_t n = 0;
    for (size_t i = 0; i < w->n; i++) n += w->item[i].packed ? w->item[i].bytes : 0;
    return n;
}

void wn_weights_release_pages(const struct wn_weights *w)
{
    for (size_t i = 0; i < w->n_maps; i++) wn_map_release_pages(&w->map[i], 0, w->map[i].size);
}

enum { WINDOW = 64, N_WINDOWS = 3, MAX_PIECES = 3 };

/* Stored bytes that a tensor is made from. */
struct piece {
    const char *data;
    size_t bytes;
};

static int pieces_of(const struct wn_weight *t, struct piece p[MAX_PIECES])
{
    const struct wn_packed *q = t->packed;
    p[0] = q ? (struct piece){q->data, q->bytes} : (struct piece){t->data, t->bytes};
    if (!q || !q->group_bytes) return 1;
    p[1] = (struct piece){q->scales, q->group_bytes};
    p[2] = (struct piece){q->biases, q->group_bytes};
    return 3;
}

/* Where they are looked at: begin, middle, end. */
static const char *window_of(struct piece p, int i)
{
    return p.data + (p.bytes - WINDOW) / (N_WINDOWS - 1) * (size_t)i;
}

/* Let the system fetch all windows at once instead of one after the other as they are touched. */
static void fetch_windows(const struct wn_weights *w)
{
    struct piece p[MAX_PIECES];
    for (size_t i = 0; i < w->n; i++)
        for (int j = 0, n = pieces_of(&w->item[i], p); j < n; j++)
            for (int k = 0; k < N_WINDOWS && p[j].bytes > N_WINDOWS * WINDOW; k++) {
                uintptr_t at = (uintptr_t)window_of(p[j], k), page = at & ~(uintptr_t)4095;
                posix_madvise((void *)page, at - page + WINDOW, POSIX_MADV_WILLNEED);
            }
}

static void add_piece(struct wn_digest *d, struct piece p)
{
    if (p.bytes <= N_WINDOWS * WINDOW)
        wn_digest_add(d, p.data, p.bytes);
    else
        for (int k = 0; k < N_WINDOWS; k++) wn_digest_add(d, window_of(p, k), WINDOW);
}

uint64_t wn_weights_fingerprint(const struct wn_weights *w)
{
    struct wn_digest d = {0};
    struct piece p[MAX_PIECES];
    fetch_windows(w);
    for (size_t i = 0; i < w->n; i++) {
        const struct wn_weight *t = &w->item[i];
        wn_digest_add_text(&d, t->name);
        wn_digest_add_text(&d, wn_dtype_name(t->type));
        wn_digest_add(&d, t->dim, (size_t)t->n_dims * sizeof *t->dim);
        for (int j = 0, n = pieces_of(t, p); j < n; j++) add_piece(&d, p[j]);
    }
    return d.value;
}
