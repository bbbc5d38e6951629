/* safetensors: 8-byte little-endian header length, JSON header {name: {dtype, shape, data_offsets}}, tensor
 * bytes. As in the official reader, the tensors must fill the rest of the file without holes or overlap. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "io/json.h"
#include "io/set.h"

enum { MAX_HEADER = 100 * 1000 * 1000 /* the official reader's limit */, PREFIX = 8 };

/* What the members of a header are read with. */
struct reader {
    struct wn_weights *w;
    const struct wn_map *map;
    const uint8_t *data; /* first tensor byte */
    size_t data_bytes;
    struct wn_err *err;
};

static uint64_t get_u64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 7; i >= 0; i--) v = v << 8 | p[i];
    return v;
}

/* ---- reading ---- */

static enum wan_status bad(const struct reader *r, const char *name, const char *what)
{
    return wn_fail(r->err, WAN_EFORMAT, "%s: tensor '%s': %s", r->map->path, name, what);
}

static enum wan_status read_shape(const struct reader *r, struct wn_weight *t, const json_t *shape)
{
    if (!json_is_array(shape)) return bad(r, t->name, "no shape");
    size_t n = json_array_size(shape);
    if (n > WN_MAX_DIMS)
        return wn_fail(r->err, WAN_EUNSUPPORTED,
                       "%s: tensor '%s' has %zu dimensions; at most %d are supported", r->map->path, t->name,
                       n, WN_MAX_DIMS);
    t->n_dims = (int)n;
    for (size_t i = 0; i < n; i++) {
        const json_t *d = json_array_get(shape, i);
        if (!json_is_integer(d) || json_integer_value(d) < 0)
            return bad(r, t->name, "an extent of its shape is not a whole number");
        t->dim[i] = json_integer_value(d);
    }
    if (!wn_shape_bytes(t->type, t->n_dims, t->dim, &t->bytes))
        return bad(r, t->name, "its shape is too large");
    return WAN_OK;
}

static enum wan_status read_offsets(const struct reader *r, struct wn_weight *t, const json_t *offsets)
{
    const json_t *a = json_array_get(offsets, 0), *b = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(a) || !json_is_integer(b))
        return bad(r, t->name, "data_offsets is not a pair of whole numbers");
    int64_t begin = json_integer_value(a), end = json_integer_value(b);
    if (begin < 0 || end < begin || (uint64_t)end > r->data_bytes)
        return wn_fail(
            r->err, WAN_EFORMAT,
            "%s: tensor '%s': bytes %lld to %lld are outside of the file's %zu data bytes (is the file "
            "complete?)",
            r->map->path, t->name, (long long)begin, (long long)end, r->data_bytes);
    if ((uint64_t)(end - begin) != t->bytes)
        return wn_fail(r->err, WAN_EFORMAT,
                       "%s: tensor '%s': its shape and type need %zu bytes, data_offsets give %lld",
                       r->map->path, t->name, t->bytes, (long long)(end - begin));
    t->data = r->data + begin;
    return WAN_OK;
}

static enum wan_status read_tensor(const struct reader *r, const char *name, const json_t *entry)
{
    struct wn_weight t = {.file = r->map->path};
    const char *type = json_string_value(json_object_get(entry, "dtype"));
    if (!type) return bad(r, name, "no dtype");
    if ((t.type = wn_dtype_parse(type)) == WN_NONE)
        return wn_fail(r->err, WAN_EUNSUPPORTED, "%s: tensor '%s': unknown dtype '%s'", r->map->path, name,
                       type);
    if (!(t.name = wn_set_name(r->w, name, strlen(name), r->err))) return WAN_ENOMEM;
    enum wan_status st = read_shape(r, &t, json_object_get(entry, "shape"));
    if (!st) st = read_offsets(r, &t, json_object_get(entry, "data_offsets"));
    return st ? st : wn_set_add(r->w, &t, r->err);
}

static enum wan_status read_metadata(const struct reader *r, json_t *meta)
{
    if (!json_is_object(meta))
        return wn_fail(r->err, WAN_EFORMAT, "%s: __metadata__ is not an object", r->map->path);
    const char *key;
    json_t *value;
    json_object_foreach(meta, key, value)
    {
        const char *s = json_string_value(value);
        if (!s)
            return wn_fail(r->err, WAN_EFORMAT, "%s: __metadata__ '%s' is not a string", r->map->path, key);
        enum wan_status st = wn_set_metadata(r->w, key, s, r->err);
        if (st) return st;
    }
    return WAN_OK;
}

static enum wan_status read_header(const struct reader *r, json_t *root)
{
    if (!json_is_object(root))
        return wn_fail(r->err, WAN_EFORMAT, "%s: the header is not an object", r->map->path);
    const char *name;
    json_t *entry;
    json_object_foreach(root, name, entry)
    {
        enum wan_status st =
            strcmp(name, "__metadata__") ? read_tensor(r, name, entry) : read_metadata(r, entry);
        if (st) return st;
    }
    return WAN_OK;
}

static int by_place(const void *a, const void *b)
{
    const struct wn_weight *x = a, *y = b;
    if (x->data != y->data) return (const uint8_t *)x->data < (const uint8_t *)y->data ? -1 : 1;
    return x->bytes < y->bytes ? -1
                               : x->bytes > y->bytes; /* empty tensors before the one that starts there */
}

/* item[n]: the tensors of this file. */
static enum wan_status check_cover(const struct reader *r, struct wn_weight *item, size_t n)
{
    const uint8_t *at = r->data;
    if (n) qsort(item, n, sizeof *item, by_place);
    for (size_t i = 0; i < n; i++) {
        const uint8_t *begin = item[i].data;
        if (begin < at) return bad(r, item[i].name, "it overlaps another tensor");
        if (begin > at) return bad(r, item[i].name, "bytes before it belong to no tensor");
        at = begin + item[i].bytes;
    }
    if ((size_t)(at - r->data) != r->data_bytes)
        return wn_fail(r->err, WAN_EFORMAT, "%s: %zu bytes after the last tensor", r->map->path,
                       r->data_bytes - (size_t)(at - r->data));
    return WAN_OK;
}

enum wan_status wn_safetensors_load(struct wn_weights *w, const struct wn_map *map, struct wn_err *err)
{
    if (map->size < PREFIX)
        return wn_fail(err, WAN_EFORMAT, "%s: too short for a safetensors file", map->path);
    uint64_t n = get_u64(map->data);
    if (n > MAX_HEADER)
        return wn_fail(err, WAN_EFORMAT, "%s: not a safetensors file (a header of %llu bytes)", map->path,
                       (unsigned long long)n);
    if (n > map->size - PREFIX)
        return wn_fail(err, WAN_EFORMAT, "%s: the header is cut short (%llu bytes of %llu)", map->path,
                       (unsigned long long)(map->size - PREFIX), (unsigned long long)n);
    if (!n || map->data[PREFIX] != '{')
        return wn_fail(err, WAN_EFORMAT, "%s: not a safetensors file (the header is not JSON)", map->path);
    struct reader r = {w, map, map->data + PREFIX + n, map->size - PREFIX - (size_t)n, err};
    size_t first = w->n;
    json_t *root;
    enum wan_status st = wn_json_parse(&root, (const char *)map->data + PREFIX, (size_t)n, 0, map->path, err);
    if (!st) st = read_header(&r, root);
    json_decref(root);
    return st ? st : check_cover(&r, w->item + first, w->n - first);
}

/* ---- writing ---- */

static int add_json_string(struct wn_str *s, const char *text)
{
    int bad = wn_str_add(s, "\"", 1);
    for (const unsigned char *p = (const unsigned char *)text; *p && !bad; p++) {
        if (*p == '"' || *p == '\\')
            bad = wn_str_addf(s, "\\%c", *p);
        else if (*p < 0x20)
            bad = wn_str_addf(s, "\\u%04x", *p);
        else
            bad = wn_str_add(s, p, 1);
    }
    return bad || wn_str_add(s, "\"", 1);
}

static int add_metadata(struct wn_str *s, const char *const *metadata)
{
    if (!metadata || !metadata[0]) return 0;
    int bad = wn_str_addf(s, "\"__metadata__\":{");
    for (size_t i = 0; metadata[i] && !bad; i += 2)
        bad = (i && wn_str_add(s, ",", 1)) || add_json_string(s, metadata[i]) || wn_str_add(s, ":", 1) ||
              add_json_string(s, metadata[i + 1]);
    return bad || wn_str_add(s, "}", 1);
}

static int add_tensor(struct wn_str *s, const struct wn_weight *t, uint64_t offset)
{
    int bad = add_json_string(s, t->name) ||
              wn_str_addf(s, ":{\"dtype\":\"%s\",\"shape\":[", wn_dtype_name(t->type));
    for (int i = 0; i < t->n_dims && !bad; i++)
        bad = wn_str_addf(s, "%s%lld", i ? "," : "", (long long)t->dim[i]);
    return bad || wn_str_addf(s, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)offset,
                              (unsigned long long)(offset + t->bytes));
}

/* Header bytes into *s: padded with spaces so that the data starts at a multiple of 64. */
static int build_header(struct wn_str *s, const struct wn_weight *const *order, size_t n,
                        const char *const *metadata)
{
    uint64_t offset = 0;
    int bad = wn_str_add(s, "{", 1) || add_metadata(s, metadata);
    for (size_t i = 0; i < n && !bad; i++) {
        bad = (s->n > 1 && wn_str_add(s, ",", 1)) || add_tensor(s, order[i], offset);
        offset += order[i]->bytes;
    }
    bad = bad || wn_str_add(s, "}", 1);
    while (!bad && (PREFIX + s->n) % 64) bad = wn_str_add(s, " ", 1);
    return bad;
}

static enum wan_status check_tensor(const char *path, const struct wn_weight *t, bool made,
                                    struct wn_err *err)
{
    size_t bytes;
    if (!wn_is_utf8(t->name) || !strcmp(t->name, "__metadata__"))
        return wn_fail(err, WAN_EINVAL, "%s: '%s' cannot be the name of a tensor", path, t->name);
    if (!wn_dtype_size(t->type) || t->n_dims < 0 || t->n_dims > WN_MAX_DIMS ||
        !wn_shape_bytes(t->type, t->n_dims, t->dim, &bytes) || bytes != t->bytes ||
        (bytes && !made && !t->data))
        return wn_fail(err, WAN_EINVAL, "%s: tensor '%s': shape, type and bytes do not agree", path, t->name);
    return WAN_OK;
}

static int by_name(const void *a, const void *b)
{
    const struct wn_weight *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* Wide types first, so that every tensor is aligned to its type; names in order within a width. */
static int by_width(const void *a, const void *b)
{
    const struct wn_weight *const *x = a, *const *y = b;
    size_t p = wn_dtype_size((*x)->type), q = wn_dtype_size((*y)->type);
    return p != q ? (p > q ? -1 : 1) : by_name(a, b);
}

static enum wan_status check_input(const char *path, const struct wn_weight **order,
                                   const struct wn_weight *tensors, size_t n, const char *const *metadata,
                                   bool made, struct wn_err *err)
{
    enum wan_status st;
    for (size_t i = 0; i < n; i++) {
        order[i] = &tensors[i];
        if ((st = check_tensor(path, &tensors[i], made, err))) return st;
    }
    if (n) qsort(order, n, sizeof *order, by_name);
    for (size_t i = 1; i < n; i++)
        if (!strcmp(order[i - 1]->name, order[i]->name))
            return wn_fail(err, WAN_EINVAL, "%s: two tensors named '%s'", path, order[i]->name);
    if (n) qsort(order, n, sizeof *order, by_width);
    for (size_t i = 0; metadata && metadata[i]; i++) {
        if (i % 2 == 0 && !metadata[i + 1])
            return wn_fail(err, WAN_EINVAL, "%s: metadata '%s' has no value", path, metadata[i]);
        if (!wn_is_utf8(metadata[i])) return wn_fail(err, WAN_EINVAL, "%s: metadata is not UTF-8", path);
        for (size_t j = 0; i % 2 == 0 && j < i; j += 2)
            if (!strcmp(metadata[i], metadata[j]))
                return wn_fail(err, WAN_EINVAL, "%s: metadata '%s' given twice", path, metadata[i]);
    }
    return WAN_OK;
}

/* A file being written: `order` points into tensors. */
struct writer {
    const char *path;
    const struct wn_weight *tensors, **order;
    size_t n;
    const struct wn_row_source *source; /* NULL: the tensors have their data */
    struct wn_err *err;
};

/* Short writes show in ferror, which the commit looks at. */
static void write_header(const struct wn_str *header, FILE *f)
{
    uint8_t prefix[PREFIX];
    for (int i = 0; i < PREFIX; i++) prefix[i] = (uint8_t)((uint64_t)header->n >> 8 * i);
    fwrite(prefix, 1, PREFIX, f);
    fwrite(header->data, 1, header->n, f);
}

static int64_t rows_in_panel(const struct wn_weight *t)
{
    const int64_t rows = wn_weight_n_rows(t);
    const size_t row_bytes = rows ? t->bytes / (size_t)rows : 0;
    if (!row_bytes) return rows;
    return row_bytes < WN_PANEL_BYTES ? (int64_t)(WN_PANEL_BYTES / row_bytes) : 1;
}

static enum wan_status write_rows(const struct writer *w, const struct wn_weight *t, void *panel, FILE *f)
{
    const int64_t rows = wn_weight_n_rows(t), each = rows_in_panel(t);
    const size_t row_bytes = rows ? t->bytes / (size_t)rows : 0;
    enum wan_status st = WAN_OK;
    for (int64_t r = 0; r < rows && t->bytes && !st && !ferror(f); r += each) {
        const int64_t n = rows - r < each ? rows - r : each;
        st = w->source->rows(w->source->ctx, (size_t)(t - w->tensors), r, n, panel, w->err);
        if (!st) fwrite(panel, row_bytes, (size_t)n, f);
    }
    return st;
}

static size_t panel_bytes(const struct writer *w)
{
    size_t most = WN_PANEL_BYTES;
    for (size_t i = 0; i < w->n; i++) {
        const int64_t rows = wn_weight_n_rows(&w->tensors[i]);
        const size_t row_bytes = rows ? w->tensors[i].bytes / (size_t)rows : 0;
        if (row_bytes > most) most = row_bytes;
    }
    return most;
}

static enum wan_status write_tensors(const struct writer *w, FILE *f)
{
    enum wan_status st = WAN_OK;
    void *panel = w->source ? wn_alloc(panel_bytes(w)) : NULL;
    if (w->source && !panel) return wn_fail_nomem(w->err, w->path, panel_bytes(w));
    for (size_t i = 0; i < w->n && !st && !ferror(f); i++) {
        const struct wn_weight *t = w->order[i];
        if (w->source)
            st = write_rows(w, t, panel, f);
        else if (t->bytes)
            fwrite(t->data, 1, t->bytes, f);
    }
    wn_free(panel);
    return st;
}

static enum wan_status write_file(const struct writer *w, const struct wn_str *header)
{
    struct wn_new_file nf;
    enum wan_status st = wn_new_file_open(&nf, w->path, w->err);
    if (st) return st;
    write_header(header, nf.f);
    if (!(st = write_tensors(w, nf.f))) return wn_new_file_commit(&nf, w->err);
    wn_new_file_abort(&nf);
    return st;
}

static enum wan_status write_safetensors(struct writer *w, const char *const *metadata)
{
    if (!(w->order = wn_alloc_n(w->n, sizeof *w->order)))
        return wn_fail_nomem(w->err, w->path, w->n * sizeof *w->order);
    struct wn_str header = {.max = MAX_HEADER};
    enum wan_status st =
        check_input(w->path, w->order, w->tensors, w->n, metadata, w->source != NULL, w->err);
    if (!st && build_header(&header, w->order, w->n, metadata)) st = wn_fail_nomem(w->err, w->path, header.n);
    if (!st) st = write_file(w, &header);
    wn_str_release(&header);
    wn_free(w->order);
    return st;
}

enum wan_status wn_safetensors_write(const char *path, const struct wn_weight *tensors, size_t n,
                                     const char *const *metadata, struct wn_err *err)
{
    struct writer w = {.path = path, .tensors = tensors, .n = n, .err = err};
    return write_safetensors(&w, metadata);
}

enum wan_status wn_safetensors_stream(const char *path, const struct wn_weight *tensors, size_t n,
                                      const char *const *metadata, const struct wn_row_source *source,
                                      struct wn_err *err)
{
    struct writer w = {.path = path, .tensors = tensors, .n = n, .source = source, .err = err};
    return write_safetensors(&w, metadata);
}
