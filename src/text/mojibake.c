/* The repair of mojibake. Its parts are those of ftfy 6.3.1: a heuristic that says whether text looks
 * misread, made of short sequences of kinds of characters; the codecs; three repairs of UTF-8 that lost
 * something on the way. tools/oracle/clean_diff.py compares the two on any number of strings. */
#include "text/mojibake.h"

#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "text/mojibake_tables.h"

enum {
    SUBSTITUTE = 0x1a, /* the byte that stands for U+FFFD in a sloppy codec */
    REPLACEMENT = 0xfffd,
    MAX_DEPTH = 64, /* of text within text; each level that succeeds at least halves it */
};

static int by_code_point(const void *key, const void *entry)
{
    int32_t a = *(const int32_t *)key, b = ((const struct wn_mojibake_char *)entry)->c;
    return (a > b) - (a < b);
}

/* c: above ASCII. NULL for the many that no codec and no rule knows. */
static const struct wn_mojibake_char *find_char(int32_t c)
{
    return bsearch(&c, wn_mojibake_chars, wn_n_mojibake_chars, sizeof *wn_mojibake_chars, by_code_point);
}

static uint8_t kind_of(int32_t c)
{
    if (c < 0x80) return wn_mojibake_ascii[c];
    const struct wn_mojibake_char *known = find_char(c);
    if (known) return known->kind;
    if (wn_is_space(c)) return WN_KIND_SPACE;
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO: return WN_KIND_WORD;
    default: return WN_KIND_OTHER;
    }
}

static uint8_t clues_of(int32_t c)
{
    if (c < 0x80) return c == ' ' ? WN_CLUE_CONTINUES : 0; /* it may have been a U+00A0 */
    const struct wn_mojibake_char *known = find_char(c);
    return known ? known->clues : 0;
}

/* All rules at once: bit r of at[i] says that rule r has taken i + 1 characters, the last one here. */
static bool looks_misread(const int32_t *v, size_t n)
{
    uint64_t at[WN_MOJIBAKE_DEPTH] = {0};
    for (size_t i = 0; i < n; i++) {
        uint8_t kind = kind_of(v[i]);
        uint64_t found = 0;
        for (int k = WN_MOJIBAKE_DEPTH - 1; k > 0; k--) {
            at[k] = at[k - 1] & wn_mojibake_rules[k][kind];
            found |= at[k] & wn_mojibake_ends[k];
        }
        at[0] = wn_mojibake_rules[0][kind] & ~(i ? wn_mojibake_anchored : 0);
        if (found | (at[0] & wn_mojibake_ends[0])) return true;
    }
    return false;
}

static bool is_ascii(const int32_t *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (v[i] >= 0x80) return false;
    }
    return true;
}

static bool is_sloppy(int codec)
{
    return codec >= WN_SLOPPY_1252 && codec <= WN_SLOPPY_1257;
}

/* The codecs that have all the characters, as bits. */
static unsigned possible_codecs(const int32_t *v, size_t n)
{
    unsigned all = (1u << WN_N_MOJIBAKE_CODECS) - 1, sloppy = 0;
    for (int k = 0; k < WN_N_MOJIBAKE_CODECS; k++) sloppy |= (unsigned)is_sloppy(k) << k;
    for (size_t i = 0; i < n && all; i++) {
        if (v[i] == SUBSTITUTE) all &= ~sloppy;
        if (v[i] < 0x80) continue;
        const struct wn_mojibake_char *known = find_char(v[i]);
        if (!known) return 0;
        for (int k = 0; k < WN_N_MOJIBAKE_CODECS; k++) {
            if (!known->bytes[k]) all &= ~(1u << k);
        }
    }
    return all;
}

/* Bytes under repair. A failed allocation sticks. */
struct bytes {
    struct wn_str s;
    bool failed;
};

static void put(struct bytes *out, const void *p, size_t n)
{
    out->failed = out->failed || wn_str_add(&out->s, p, n);
}

static void encode(const int32_t *v, size_t n, int codec, struct bytes *out)
{
    for (size_t i = 0; i < n; i++) {
        uint8_t byte = v[i] < 0x80 ? (uint8_t)v[i] : find_char(v[i])->bytes[codec];
        put(out, &byte, 1);
    }
}

static bool within(uint8_t b, uint8_t first, uint8_t last)
{
    return b >= first && b <= last;
}

static bool continues(uint8_t b)
{
    return within(b, 0x80, 0xbf);
}

/* What follows the first byte of three when that is to be believed with a space in it. 0x85 is left out: it
 * is more often an ellipsis than a part of these characters. */
static bool continues_a0(uint8_t b)
{
    return continues(b) && b != 0x85 && b != 0xa0;
}

/* Length of a UTF-8 sequence in which one byte A0 became a space; 0 for none. Only the first bytes for which
 * that makes a likely character. */
static size_t spaced_sequence(const uint8_t *p, size_t n)
{
    if (n < 2) return 0;
    switch (p[0]) {
    case 0xc2:
    case 0xc3:
    case 0xc5:
    case 0xce:
    case 0xd0:
    case 0xd9: return p[1] == ' ' ? 2 : 0;
    case 0xe2:
    case 0xe3:
        if (n > 2 && p[1] == ' ' && continues_a0(p[2])) return 3;
        return n > 2 && continues_a0(p[1]) && p[2] == ' ' ? 3 : 0;
    case 0xe0:
    case 0xe1: return n > 2 && continues_a0(p[1]) && p[2] == ' ' ? 3 : 0;
    case 0xf0: {
        if (n < 4) return 0;
        int spaces = 0;
        for (int i = 1; i < 4; i++) {
            if (p[i] != ' ' && !continues(p[i])) return 0;
            spaces += p[i] == ' ';
        }
        return spaces == 1 ? 4 : 0;
    }
    default: return 0;
    }
}

static bool starts_with(const uint8_t *p, size_t n, const char *word)
{
    size_t len = strlen(word);
    return n >= len && !memcmp(p, word, len);
}

/* C3 and one space is mostly the French word "\u00e0", or the Portuguese one that is not the beginning of
 * another. */
static bool is_a_grave_word(const uint8_t *p, size_t n)
{
    static const char *const joined[] = {"quele", "quela", "quilo", "s "};
    if (n < 2 || p[0] != 0xc3 || p[1] != ' ') return false;
    if (n > 2 && p[2] == ' ') return false;
    for (size_t i = 0; i < sizeof joined / sizeof *joined; i++) {
        if (starts_with(p + 2, n - 2, joined[i])) return false;
    }
    return true;
}

static bool has_spaced_sequence(const struct wn_str *s)
{
    const uint8_t *p = (const uint8_t *)s->data;
    for (size_t i = 0; i < s->n; i++) {
        if (spaced_sequence(p + i, s->n - i)) return true;
    }
    return false;
}

/* Put back the bytes A0 that became spaces. */
static void restore_a0(const struct wn_str *in, struct bytes *out)
{
    const uint8_t *p = (const uint8_t *)in->data;
    for (size_t i = 0, len; i < in->n; i += len) {
        if (is_a_grave_word(p + i, in->n - i)) {
            put(out, "\xc3\xa0 ", 3); /* the space stays as well */
            len = 2;
            continue;
        }
        len = spaced_sequence(p + i, in->n - i);
        for (size_t k = 0; k < len; k++) put(out, p[i + k] == ' ' ? "\xa0" : (const char *)p + i + k, 1);
        if (!len) put(out, p + i, len = 1);
    }
}

static bool is_lost(uint8_t b)
{
    return b == SUBSTITUTE || b == '?';
}

/* n bytes that continue a sequence, known or lost; a question mark may stand for one of them, and one at
 * least is not known. */
static bool lossy_rest(const uint8_t *p, size_t n)
{
    size_t lost = 0, questions = 0;
    for (size_t i = 0; i < n; i++) {
        if (!continues(p[i]) && !is_lost(p[i])) return false;
        lost += is_lost(p[i]);
        questions += p[i] == '?';
    }
    return lost > 0 && questions <= 1;
}

/* Two surrogates in three bytes each, where the last byte of one or both is lost. */
static bool is_lossy_pair(const uint8_t *p, size_t n)
{
    return n >= 6 && p[0] == 0xed && within(p[1], 0xa0, 0xaf) && p[3] == 0xed && within(p[4], 0xb0, 0xbf) &&
           (is_lost(p[2]) || continues(p[2])) && (is_lost(p[5]) || continues(p[5])) &&
           (is_lost(p[2]) || is_lost(p[5]));
}

/* Length of a UTF-8 or CESU-8 sequence with lost bytes; 0 for none. */
static size_t lossy_sequence(const uint8_t *p, size_t n)
{
    if (is_lossy_pair(p, n)) return 6;
    if (n >= 2 && within(p[0], 0xc2, 0xdf) && (p[1] == SUBSTITUTE || (p[0] <= 0xc3 && p[1] == '?'))) return 2;
    if (n >= 3 && within(p[0], 0xe0, 0xef) && lossy_rest(p + 1, 2)) return 3;
    if (n >= 4 && within(p[0], 0xf0, 0xf4) && lossy_rest(p + 1, 3)) return 4;
    return p[0] == SUBSTITUTE;
}

/* What lost a byte becomes U+FFFD. */
static void replace_lossy(const struct wn_str *in, struct bytes *out)
{
    const uint8_t *p = (const uint8_t *)in->data;
    for (size_t i = 0, len; i < in->n; i += len) {
        len = lossy_sequence(p + i, in->n - i);
        if (len) {
            put(out, "\xef\xbf\xbd", 3);
        } else {
            put(out, p + i, len = 1);
        }
    }
}

/* UTF-8 with Java's NUL and with surrogates in pairs: the code point at p, or -1. A final line feed completes
 * a sequence at its first or last place: ftfy's expressions take it for the end. */
static int32_t get_variant(const uint8_t *p, size_t n, size_t *len)
{
    bool lf2 = n == 2 && p[1] == '\n', lf6 = n == 6 && p[5] == '\n';
    if (p[0] == 0xc0 && n > 1 && (p[1] == 0x80 || lf2)) {
        *len = 2;
        return 0;
    }
    if (p[0] == 0xed && n >= 6 && within(p[1], 0xa0, 0xaf) && continues(p[2]) && p[3] == 0xed &&
        within(p[4], 0xb0, 0xbf) && (continues(p[5]) || lf6)) {
        *len = 6;
        return 0x10000 + ((p[1] & 15) << 16 | (p[2] & 63) << 10 | (p[4] & 15) << 6 | (p[5] & 63));
    }
    return wn_utf8_get((const char *)p, n, len);
}

/* Append the text that the bytes are as UTF-8; false, and nothing appended, where they are not. */
static bool decode(const struct wn_str *s, struct wn_u32 *out)
{
    const uint8_t *p = (const uint8_t *)s->data;
    bool variants = memchr(p, 0xed, s->n) || memchr(p, 0xc0, s->n);
    size_t before = out->n;
    for (size_t i = 0, len; i < s->n; i += len) {
        int32_t c = variants ? get_variant(p + i, s->n - i, &len) : wn_utf8_get(s->data + i, s->n - i, &len);
        if (c < 0) {
            out->n = before;
            return false;
        }
        wn_u32_put(out, c);
    }
    return true;
}

static void swap_bytes(struct bytes *a, struct bytes *b)
{
    struct bytes t = *a;
    *a = *b;
    *b = t;
    wn_str_clear(&b->s);
    a->failed = b->failed = a->failed || b->failed;
}

/* The whole text, misread in one codec. */
static bool decode_as(int codec, const int32_t *v, size_t n, struct wn_u32 *out)
{
    struct bytes b = {0}, next = {0};
    encode(v, n, codec, &b);
    /* A dash and a space are too common in MacRoman. */
    if (!b.failed && codec != WN_MACROMAN && has_spaced_sequence(&b.s)) {
        restore_a0(&b.s, &next);
        swap_bytes(&b, &next);
    }
    if (!b.failed && is_sloppy(codec)) {
        replace_lossy(&b.s, &next);
        swap_bytes(&b, &next);
    }
    bool done = !b.failed && decode(&b.s, out);
    out->failed |= b.failed;
    wn_str_release(&b.s);
    wn_str_release(&next.s);
    return done;
}

/* Length of the sequences that look like UTF-8, one after another. */
static size_t clue_run(const int32_t *v, size_t n)
{
    size_t i = 0;
    while (i < n) {
        uint8_t clues = clues_of(v[i]);
        size_t len = clues & WN_CLUE_FIRST_OF_2   ? 2
                     : clues & WN_CLUE_FIRST_OF_3 ? 3
                     : clues & WN_CLUE_FIRST_OF_4 ? 4
                                                  : 0;
        if (!len || len > n - i) break;
        size_t k = 1;
        while (k < len && clues_of(v[i + k]) & WN_CLUE_CONTINUES) k++;
        if (k < len) break;
        i += len;
    }
    return i;
}

static bool repair(struct wn_u32 *text, size_t *budget, int depth);

/* Sequences that look like UTF-8 amid other text, each for itself. Not after a character that would only
 * continue one: that would repair the end of something worse. */
static bool repair_runs(const int32_t *v, size_t n, size_t *budget, int depth, struct wn_u32 *out)
{
    bool within_budget = true;
    for (size_t i = 0, len; i < n; i += len) {
        len = i && clues_of(v[i - 1]) & WN_CLUE_CONTINUES_ONLY ? 0 : clue_run(v + i, n - i);
        if (!len || len == n || !looks_misread(v + i, len)) {
            len += !len;
            wn_u32_add(out, v + i, len);
            continue;
        }
        struct wn_u32 run = {0};
        wn_u32_add(&run, v + i, len);
        within_budget = repair(&run, budget, depth + 1) && within_budget;
        wn_u32_add(out, run.v, run.n);
        out->failed |= run.failed;
        wn_u32_release(&run);
    }
    return within_budget;
}

static bool same(const struct wn_u32 *a, const int32_t *v, size_t n)
{
    return a->n == n && !memcmp(a->v, v, n * sizeof *v);
}

/* One step: *out, which is empty, gets the text with one repair. */
static bool repair_once(const int32_t *v, size_t n, size_t *budget, int depth, struct wn_u32 *out)
{
    if (is_ascii(v, n) || !looks_misread(v, n)) {
        wn_u32_add(out, v, n);
        return true;
    }
    unsigned possible = possible_codecs(v, n);
    for (int k = 0; k < WN_N_MOJIBAKE_CODECS; k++) {
        if (possible & 1u << k && decode_as(k, v, n, out)) return true;
    }
    bool within_budget = repair_runs(v, n, budget, depth, out);
    if (out->failed || !same(out, v, n)) return within_budget;
    for (size_t i = 0; i < n; i++) out->v[i] = wn_c1_as_1252(v[i]);
    return within_budget;
}

static bool repair(struct wn_u32 *text, size_t *budget, int depth)
{
    if (depth > MAX_DEPTH) return true;
    struct wn_u32 next = {0};
    for (bool more = text->n > 0; more && !text->failed;) {
        if (*budget < text->n) {
            wn_u32_release(&next);
            return false;
        }
        *budget -= text->n;
        next.n = 0;
        bool within_budget = repair_once(text->v, text->n, budget, depth, &next);
        more = within_budget && !next.failed && !same(&next, text->v, text->n);
        struct wn_u32 t = *text;
        *text = next;
        next = t;
        text->failed |= next.failed;
        if (!within_budget) {
            wn_u32_release(&next);
            return false;
        }
    }
    wn_u32_release(&next);
    return true;
}

bool wn_mojibake_repair(struct wn_u32 *text, size_t *budget)
{
    return repair(text, budget, 0);
}
