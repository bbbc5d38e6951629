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

/* Below U+0300 nothing combines; and below U+00A0 nothing has a compatibility form either. */
static bool is_normal(const struct wn_u32 *s, enum wn_norm_form form)
{
    int32_t limit = form == WN_NFC ? 0x300 : 0xa0;
    for (size_t i = 0; i < s->n; i++) {
        if (s->v[i] >= limit) return false;
    }
    return true;
}

void wn_normal_form(struct wn_u32 *s, enum wn_norm_form form)
{
    if (s->failed || is_normal(s, form)) return;
    bool compat = form == WN_NFKC || form == WN_NFKD, compose = form == WN_NFC || form == WN_NFKC;
    int options =
        UTF8PROC_STABLE | (compose ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) | (compat ? UTF8PROC_COMPAT : 0);
    struct wn_str utf8 = {.max = SIZE_MAX / 2};
    struct wn_u32 out = {0};
    utf8proc_ssize_t n = -1;
    if (!wn_utf8_add(&utf8, s->v, s->n)) {
        const utf8proc_uint8_t *in = (const utf8proc_uint8_t *)utf8.data;
        n = utf8proc_decompose(in, (utf8proc_ssize_t)utf8.n, NULL, 0, (utf8proc_option_t)options);
        /* one more: there may be none */
        if (n >= 0 && grow(&out, (size_t)n + 1)) {
            n = utf8proc_decompose(in, (utf8proc_ssize_t)utf8.n, out.v, n, (utf8proc_option_t)options);
        } else {
            n = -1;
        }
        if (n >= 0) n = utf8proc_normalize_utf32(out.v, n, (utf8proc_option_t)options);
    }
    wn_str_release(&utf8);
    if (n < 0) {
        wn_u32_release(&out);
        s->failed = true;
        return;
    }
    out.n = (size_t)n;
    wn_u32_release(s);
    *s = out;
}
