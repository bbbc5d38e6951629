#include "text/charsmap.h"

#include <string.h>

#include <utf8proc.h>

enum { SHORT_CLUSTER = 6 };

static uint32_t u32_at(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* A unit: bit 31 marks a value; else bits 0..7 are the label, bit 8 says that a value hangs below,
 * bits 10..30 (times 256 when bit 9 is set) are what to XOR to the index to get to the children. */
static bool is_value(uint32_t unit)
{
    return unit >> 31;
}

static bool has_leaf(uint32_t unit)
{
    return unit >> 8 & 1;
}

static uint32_t offset(uint32_t unit)
{
    return (unit >> 10) << ((unit & 1u << 9) >> 6);
}

/* Children are at (index ^ offset ^ byte), the value at (index ^ offset): all must lie within. */
static bool trie_is_sound(const struct wn_charsmap *map)
{
    for (uint32_t i = 0; i < map->n_units; i++) {
        if (is_value(map->units[i])) continue;
        uint32_t base = i ^ offset(map->units[i]);
        if ((base | 0xff) >= map->n_units) return false;
        if (!has_leaf(map->units[i])) continue;
        uint32_t value = map->units[base] & 0x7fffffff;
        if (value >= map->n_text || ((uint8_t)map->text[value] & 0xc0) == 0x80) return false;
    }
    return map->n_units > 0;
}

enum wan_status wn_charsmap_open(struct wn_charsmap *map, const uint8_t *blob, size_t n, const char *what,
                                 struct wn_err *err)
{
    *map = (struct wn_charsmap){0};
    size_t trie = n < 4 ? 0 : u32_at(blob);
    if (n < 4 || trie % 4 || trie > n - 4 || n > INT32_MAX) {
        return wn_fail(err, WAN_EFORMAT,
                       "%s: the precompiled charsmap says that its trie has %zu of %zu bytes", what, trie, n);
    }
    map->n_units = trie / 4;
    map->n_text = n - 4 - trie;
    map->units = wn_alloc_n(map->n_units, sizeof *map->units);
    map->text = wn_alloc(map->n_text + 1);
    if (!map->units || !map->text) {
        wn_charsmap_close(map);
        return wn_fail_nomem(err, "a charsmap", n);
    }
    for (size_t i = 0; i < map->n_units; i++) map->units[i] = u32_at(blob + 4 + 4 * i);
    if (map->n_text) memcpy(map->text, blob + 4 + trie, map->n_text);
    map->text[map->n_text] = 0;
    bool ends = map->n_text && !map->text[map->n_text - 1];
    if (!ends || wn_utf8_check(map->text, map->n_text) < map->n_text || !trie_is_sound(map)) {
        wn_charsmap_close(map);
        return wn_fail(err, WAN_EFORMAT, "%s: the precompiled charsmap is damaged", what);
    }
    return WAN_OK;
}

void wn_charsmap_close(struct wn_charsmap *map)
{
    wn_free(map->units);
    wn_free(map->text);
    *map = (struct wn_charsmap){0};
}

/* Text of the shortest rule that begins s, NULL for none. */
static const char *find_rule(const struct wn_charsmap *map, const char *s, size_t n)
{
    uint32_t at = offset(map->units[0]);
    if (is_value(map->units[0])) return NULL;
    for (size_t i = 0; i < n && s[i]; i++) {
        at ^= (uint8_t)s[i];
        uint32_t unit = map->units[at];
        if (is_value(unit) || (unit & 0xff) != (uint8_t)s[i]) return NULL;
        at ^= offset(unit);
        if (has_leaf(unit)) return map->text + (map->units[at] & 0x7fffffff);
    }
    return NULL;
}

static bool put_rule(const struct wn_charsmap *map, const char *s, size_t n, struct wn_u32 *out)
{
    const char *to = find_rule(map, s, n);
    if (to) wn_utf8_decode(to, strlen(to), out);
    return to;
}

static void apply_cluster(const struct wn_charsmap *map, const int32_t *v, size_t n, struct wn_u32 *out)
{
    char s[SHORT_CLUSTER + 3], c[4];
    size_t bytes = 0;
    for (size_t i = 0; i < n && bytes < SHORT_CLUSTER; i++) bytes += wn_utf8_put(v[i], s + bytes);
    if (bytes < SHORT_CLUSTER && put_rule(map, s, bytes, out)) return;
    for (size_t i = 0; i < n; i++) {
        if (!put_rule(map, c, wn_utf8_put(v[i], c), out)) wn_u32_put(out, v[i]);
    }
}

void wn_charsmap_apply(const struct wn_charsmap *map, const struct wn_u32 *in, struct wn_u32 *out)
{
    utf8proc_int32_t state = 0;
    for (size_t i = 0, end; i < in->n; i = end) {
        for (end = i + 1;
             end < in->n && !utf8proc_grapheme_break_stateful(in->v[end - 1], in->v[end], &state);)
            end++;
        apply_cluster(map, in->v + i, end - i, out);
    }
}
