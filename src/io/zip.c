/* Layouts: PKWARE APPNOTE 6.3: 4.3.7 local header, 4.3.12 central directory, 4.3.14 to 4.3.16 its end, 4.5.3
 * zip64. */
#include "io/zip.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum {
    LOCAL_SIG = 0x04034b50,
    CENTRAL_SIG = 0x02014b50,
    END_SIG = 0x06054b50,
    END64_SIG = 0x06064b50,
    LOCATOR_SIG = 0x07064b50,
    LOCAL_BYTES = 30,
    CENTRAL_BYTES = 46,
    END_BYTES = 22,
    END64_BYTES = 56,
    LOCATOR_BYTES = 20,
    MAX_COMMENT = 0xffff,
    EXTRA_ZIP64 = 1,
    FLAG_ENCRYPTED = 1,
    MAX_ENTRIES = 1 << 20
};

static uint32_t u16(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8;
}

static uint32_t u32(const uint8_t *p)
{
    return u16(p) | u16(p + 2) << 16;
}

static uint64_t u64(const uint8_t *p)
{
    return u32(p) | (uint64_t)u32(p + 4) << 32;
}

/* Where the central directory is. */
struct directory {
    uint64_t offset, bytes, n;
};

/* An entry as the central directory describes it. */
struct record {
    struct wn_zip_entry entry;
    uint64_t packed, unpacked, local;
    uint32_t flags;
};

static enum wan_status bad(const struct wn_zip *z, struct wn_err *err, const char *what)
{
    return wn_fail(err, WAN_EFORMAT, "%s: damaged zip archive: %s", z->map->path, what);
}

/* ---- the end of the archive ---- */

/* The end record: the last place where its signature stands and its comment reaches exactly to the end of the
 * file. */
static const uint8_t *find_end(const struct wn_map *m)
{
    if (m->size < END_BYTES) return NULL;
    size_t last = m->size - END_BYTES, first = last > MAX_COMMENT ? last - MAX_COMMENT : 0;
    for (size_t i = last + 1; i-- > first;)
        if (u32(m->data + i) == END_SIG && u16(m->data + i + 20) == last - i) return m->data + i;
    return NULL;
}

static enum wan_status read_end64(const struct wn_zip *z, const uint8_t *locator, struct directory *d,
                                  struct wn_err *err)
{
    uint64_t at = u64(locator + 8), limit = (uint64_t)(locator - z->map->data);
    if (at > limit || limit - at < END64_BYTES)
        return bad(z, err, "its zip64 end record is outside of the file");
    const uint8_t *p = z->map->data + at;
    if (u32(p) != END64_SIG) return bad(z, err, "no zip64 end record where one should be");
    if (u32(p + 16) || u32(p + 20) || u64(p + 24) != u64(p + 32))
        return bad(z, err, "it spans several disks");
    *d = (struct directory){.n = u64(p + 32), .bytes = u64(p + 40), .offset = u64(p + 48)};
    return d->offset > at || d->bytes > at - d->offset ? bad(z, err, "its directory is outside of the file")
                                                       : WAN_OK;
}

static enum wan_status read_end(const struct wn_zip *z, struct directory *d, struct wn_err *err)
{
    const uint8_t *end = find_end(z->map);
    if (!end)
        return wn_fail(err, WAN_EFORMAT, "%s: the end of this zip archive is missing (is the file complete?)",
                       z->map->path);
    size_t at = (size_t)(end - z->map->data);
    if (at >= LOCATOR_BYTES && u32(end - LOCATOR_BYTES) == LOCATOR_SIG)
        return read_end64(z, end - LOCATOR_BYTES, d, err);
    if (u16(end + 4) || u16(end + 6) || u16(end + 8) != u16(end + 10))
        return bad(z, err, "it spans several disks");
    *d = (struct directory){.n = u16(end + 10), .bytes = u32(end + 12), .offset = u32(end + 16)};
    return d->offset > at || d->bytes > at - d->offset ? bad(z, err, "its directory is outside of the file")
                                                       : WAN_OK;
}

/* ---- entries ---- */

/* Fields that are all ones in the record stand in the zip64 extra field, in this order. */
static bool read_zip64(struct record *r, const uint8_t *extra, size_t n)
{
    uint64_t *field[3] = {&r->unpacked, &r->packed, &r->local};
    bool wanted = false;
    for (int i = 0; i < 3; i++) wanted |= *field[i] == UINT32_MAX;
    if (!wanted) return true;
    while (n >= 4) {
        size_t bytes = u16(extra + 2);
        if (bytes > n - 4) return false;
        if (u16(extra) == EXTRA_ZIP64) {
            const uint8_t *p = extra + 4, *stop = p + bytes;
            for (int i = 0; i < 3; i++) {
                if (*field[i] != UINT32_MAX) continue;
                if (stop - p < 8) return false;
                *field[i] = u64(p);
                p += 8;
            }
            return true;
        }
        extra += 4 + bytes;
        n -= 4 + bytes;
    }
    return false;
}

/* Reads the record at *p (up to `end`) and moves *p past it. */
static enum wan_status read_record(const struct wn_zip *z, const uint8_t **p, const uint8_t *end,
                                   struct record *r, struct wn_err *err)
{
    const uint8_t *c = *p;
    if (end - c < CENTRAL_BYTES || u32(c) != CENTRAL_SIG) return bad(z, err, "its directory is malformed");
    size_t name = u16(c + 28), extra = u16(c + 30), comment = u16(c + 32);
    if ((size_t)(end - c) - CENTRAL_BYTES < name + extra + comment)
        return bad(z, err, "its directory is cut short");
    *r = (struct record){
        .flags = u16(c + 8), .packed = u32(c + 20), .unpacked = u32(c + 24), .local = u32(c + 42)};
    r->entry.name = (const char *)c + CENTRAL_BYTES;
    r->entry.name_len = name;
    r->entry.method = (int)u16(c + 10);
    if (!read_zip64(r, c + CENTRAL_BYTES + name, extra)) return bad(z, err, "an entry lacks its zip64 sizes");
    *p = c + CENTRAL_BYTES + name + extra + comment;
    return WAN_OK;
}

/* Find the entry's bytes, which must lie before the directory. */
static enum wan_status locate(const struct wn_zip *z, struct record *r, uint64_t limit, struct wn_err *err)
{
    struct wn_zip_entry *e = &r->entry;
    if (r->flags & FLAG_ENCRYPTED)
        return wn_fail(err, WAN_EUNSUPPORTED, "%s: the entries of this zip archive are encrypted",
                       z->map->path);
    if (!e->method && r->packed != r->unpacked) return bad(z, err, "a stored entry has two different sizes");
    if (r->local > limit || limit - r->local < LOCAL_BYTES)
        return bad(z, err, "an entry starts outside of the file");
    const uint8_t *l = z->map->data + r->local;
    if (u32(l) != LOCAL_SIG) return bad(z, err, "no entry where its directory says one starts");
    uint64_t head = LOCAL_BYTES + (uint64_t)u16(l + 26) + u16(l + 28), room = limit - r->local;
    if (head > room || r->packed > room - head) return bad(z, err, "an entry reaches past its end");
    if (u16(l + 26) != e->name_len || memcmp(l + LOCAL_BYTES, e->name, e->name_len) ||
        (int)u16(l + 8) != e->method)
        return bad(z, err, "an entry and its directory disagree");
    e->data = l + head;
    e->size = (size_t)r->packed;
    return WAN_OK;
}

static int compare(const char *a, size_t na, const char *b, size_t nb)
{
    int order = memcmp(a, b, na < nb ? na : nb);
    return order ? order : na < nb ? -1 : na > nb;
}

static int by_name(const void *a, const void *b)
{
    const struct wn_zip_entry *x = a, *y = b;
    return compare(x->name, x->name_len, y->name, y->name_len);
}

static int by_place(const void *a, const void *b)
{
    const struct wn_zip_entry *x = a, *y = b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return x->size < y->size ? -1 : x->size > y->size;
}

static enum wan_status check_and_sort(struct wn_zip *z, struct wn_err *err)
{
    if (!z->n) return WAN_OK;
    qsort(z->entry, z->n, sizeof *z->entry, by_place);
    for (size_t i = 1; i < z->n; i++)
        if (z->entry[i - 1].data + z->entry[i - 1].size > z->entry[i].data)
            return bad(z, err, "entries overlap");
    qsort(z->entry, z->n, sizeof *z->entry, by_name);
    for (size_t i = 1; i < z->n; i++)
        if (!by_name(&z->entry[i - 1], &z->entry[i])) return bad(z, err, "two entries have the same name");
    return WAN_OK;
}

static enum wan_status read_entries(struct wn_zip *z, const struct directory *d, struct wn_err *err)
{
    if (d->n > MAX_ENTRIES || d->n > d->bytes / CENTRAL_BYTES) return bad(z, err, "too many entries");
    if (!(z->entry = wn_zalloc_n((size_t)d->n, sizeof *z->entry)))
        return wn_fail_nomem(err, z->map->path, (size_t)d->n * sizeof *z->entry);
    const uint8_t *p = z->map->data + d->offset, *end = p + d->bytes;
    for (uint64_t i = 0; i < d->n; i++) {
        struct record r;
        enum wan_status st = read_record(z, &p, end, &r, err);
        if (!st) st = locate(z, &r, d->offset, err);
        if (st) return st;
        z->entry[z->n++] = r.entry;
    }
    return p == end ? check_and_sort(z, err) : bad(z, err, "its directory is longer than it says");
}

enum wan_status wn_zip_open(struct wn_zip *z, const struct wn_map *map, struct wn_err *err)
{
    *z = (struct wn_zip){.map = map};
    struct directory d = {0};
    enum wan_status st = read_end(z, &d, err);
    if (!st) st = read_entries(z, &d, err);
    if (st) wn_zip_close(z);
    return st;
}

void wn_zip_close(struct wn_zip *z)
{
    wn_free(z->entry);
    *z = (struct wn_zip){0};
}

const struct wn_zip_entry *wn_zip_find(const struct wn_zip *z, const char *name, size_t name_len)
{
    size_t lo = 0, hi = z->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int order = compare(name, name_len, z->entry[mid].name, z->entry[mid].name_len);
        if (!order) return &z->entry[mid];
        if (order < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}
