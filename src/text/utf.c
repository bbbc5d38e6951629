#include "text/utf.h"

#include <string.h>

#include <utf8proc.h>

static bool grow(struct wn_u32 *s, size_t n)
{
    if (s->failed || n > SIZE_MAX / sizeof *s->v - s->n) s->failed = true;
    if (s->failed || s->n + n <= s->cap) return !s->failed;
    size_t cap = s->cap ? 2 * s->cap : 64;
    if (cap < s->n + n) cap = s->n + n;
    int32_t *v = wn_realloc(s->v, wn_size_mul(cap, sizeof *v));
    if (!v) {
        s->failed = true;
        return false;
    }
    s->v = v;
    s->cap = cap;
    return true;
}

void wn_u32_put(struct wn_u32 *s, int32_t c)
{
    if (grow(s, 1)) s->v[s->n++] = c;
}

void wn_u32_add(struct wn_u32 *s, const int32_t *v, size_t n)
{
    if (!n || !grow(s, n)) return;
    memcpy(s->v + s->n, v, n * sizeof *v);
    s->n += n;
}

void wn_u32_release(struct wn_u32 *s)
{
    wn_free(s->v);
    *s = (struct wn_u32){0};
}

int32_t wn_utf8_get(const char *s, size_t n, size_t *len)
{
    const uint8_t *p = (const uint8_t *)s;
    *len = 1;
    if (p[0] < 0x80) return p[0];
    if (p[0] < 0xc2 || p[0] > 0xf4) return -1;
    size_t need = wn_utf8_len(s[0]);
    if (n < need) return -1;
    int32_t c = p[0] & (0xff >> (need + 1));
    for (size_t i = 1; i < need; i++) {
        if ((p[i] & 0xc0) != 0x80) return -1;
        c = c << 6 | (p[i] & 0x3f);
    }
    if ((need == 3 && c < 0x800) || (need == 4 && c < 0x10000) || c > 0x10ffff || (c & 0x1ff800) == 0xd800) {
        return -1;
    }
    *len = need;
    return c;
}

size_t wn_utf8_check(const char *s, size_t n)
{
    for (size_t i = 0, len; i < n; i += len) {
        if (wn_utf8_get(s + i, n - i, &len) < 0) return i;
    }
    return n;
}

void wn_utf8_repair(char *s)
{
    for (size_t n = strlen(s), i; (i = wn_utf8_check(s, n)) < n; s += i, n -= i) s[i] = '?';
}

size_t wn_utf8_len(char first)
{
    uint8_t b = (uint8_t)first;
    return b < 0xc0 ? 1 : b < 0xe0 ? 2 : b < 0xf0 ? 3 : 4;
}

size_t wn_utf8_put(int32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (c & 0x3f));
        c >>= 6;
    }
    out[0] = (char)((0xf00 >> n) | c);
    return n;
}

int wn_utf8_add(struct wn_str *s, const int32_t *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char b[4];
        if (wn_str_add(s, b, wn_utf8_put(v[i], b))) return -1;
    }
    return wn_str_add(s, "", 0);
}

void wn_utf8_decode(const char *s, size_t n, struct wn_u32 *out)
{
    for (size_t i = 0, len; i < n; i += len) wn_u32_put(out, wn_utf8_get(s + i, n - i, &len));
}

bool wn_is_space(int32_t c)
{
    if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13);
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

int32_t wn_c1_as_1252(int32_t c)
{
    static const uint16_t c1[32] = {0x20ac, 0x81,   0x201a, 0x192,  0x201e, 0x2026, 0x2020, 0x2021,
                                    0x2c6,  0x2030, 0x160,  0x2039, 0x152,  0x8d,   0x17d,  0x8f,
                                    0x90,   0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014,
                                    0x2dc,  0x2122, 0x161,  0x203a, 0x153,  0x9d,   0x17e,  0x178};
    return c >= 0x80 && c <= 0x9f ? c1[c - 0x80] : c;
}

/* Below U+0300 nothing combines; and below U+00A0 nothing has a compatibility form either. */
static bool is_normal(const struct wn_u32 *s, enum wn_norm_form form)
{
    int32_t limit = form == WN_NFC ? 0x300 : 0xa0;
    for (size_t i = 0; i < s->n; i++) {
        if (s->v[i] >= limit) return false;
    }
    return true;
}

static int mark_class(int32_t c)
{
    return utf8proc_get_property(c)->combining_class;
}

/* Sort v[n], marks without a base among them, by class and within one class as they were. By counting:
 * hostile text may be nothing but marks. */
static bool order_marks(int32_t *v, size_t n)
{
    bool sorted = true;
    for (size_t i = 1; i < n; i++) sorted = sorted && mark_class(v[i - 1]) <= mark_class(v[i]);
    if (sorted) return true;
    int32_t *in = wn_alloc_n(n, sizeof *in);
    if (!in) return false;
    memcpy(in, v, n * sizeof *in);
    size_t at[257] = {0};
    for (size_t i = 0; i < n; i++) at[mark_class(in[i]) + 1]++;
    for (int k = 1; k < 257; k++) at[k] += at[k - 1];
    for (size_t i = 0; i < n; i++) v[at[mark_class(in[i])]++] = in[i];
    wn_free(in);
    return true;
}

/* *out, which is empty: the decomposition, in canonical order. (utf8proc_decompose would take time in the
 * square of the number of marks.) */
static void decompose(const struct wn_u32 *s, utf8proc_option_t options, struct wn_u32 *out)
{
    for (size_t i = 0; i < s->n; i++) {
        int32_t parts[32]; /* at most 18 in Unicode */
        int unused = 0;
        utf8proc_ssize_t n =
            utf8proc_decompose_char(s->v[i], parts, sizeof parts / sizeof *parts, options, &unused);
        if (n < 0 || (size_t)n > sizeof parts / sizeof *parts) {
            out->failed = true;
            return;
        }
        wn_u32_add(out, parts, (size_t)n);
    }
    for (size_t i = 0, end; i < out->n; i = end + 1) {
        for (end = i; end < out->n && mark_class(out->v[end]); end++) {
        }
        if (end > i + 1 && !order_marks(out->v + i, end - i)) out->failed = true;
    }
}

void wn_normal_form(struct wn_u32 *s, enum wn_norm_form form)
{
    if (s->failed || is_normal(s, form)) return;
    bool compat = form == WN_NFKC || form == WN_NFKD, compose = form == WN_NFC || form == WN_NFKC;
    int options =
        UTF8PROC_STABLE | (compose ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) | (compat ? UTF8PROC_COMPAT : 0);
    struct wn_u32 out = {0};
    decompose(s, (utf8proc_option_t)options, &out);
    utf8proc_ssize_t n = -1;
    if (!out.failed) {
        n = utf8proc_normalize_utf32(out.v, (utf8proc_ssize_t)out.n, (utf8proc_option_t)options);
    }
    if (n < 0) {
        wn_u32_release(&out);
        s->failed = true;
        return;
    }
    out.n = (size_t)n;
    wn_u32_release(s);
    *s = out;
}
