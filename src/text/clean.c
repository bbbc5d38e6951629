/* The cleaning that the official pipelines apply to prompts. The steps are those of ftfy 6.3.1's fix_text
 * with default settings and of Python's html.unescape; the rules are restated here from their documented
 * behaviour, and tests/golden/text holds what the originals make of hard strings. */
#include "text/text.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "text/mojibake.h"
#include "text/tables.h"
#include "text/utf.h"

enum {
    MAX_BYTES = 1 << 20, /* of a prompt */
    /* Code points that all passes together may read. Only text that nests thousands of entities or
     * misreadings in a long line needs more. */
    MAX_WORK = 1 << 26,
    MAX_SEGMENT = 1000000, /* code points that ftfy treats at once */
    MAX_FTFY_NAME = 24,    /* letters of an entity that ftfy looks at; the longest in HTML5 has 31 */
    MAX_HTML_NAME = 32,
};

static bool is_digit(int32_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(int32_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int hex_value(int32_t c)
{
    return is_digit(c)            ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static int by_name(const void *key, const void *entity)
{
    return strcmp(key, ((const struct wn_entity *)entity)->name);
}

static const struct wn_entity *find_entity(const struct wn_entity *table, size_t n, const char *name)
{
    return bsearch(name, table, n, sizeof *table, by_name);
}

static void put_all(struct wn_u32 *out, const int32_t to[3])
{
    for (int i = 0; i < 3 && to[i]; i++) wn_u32_put(out, to[i]);
}

/* What HTML5 makes of a numeric reference: a code point, or -1 for nothing at all. */
static int32_t numeric_char(uint32_t num)
{
    if (num == 0 || num > 0x10ffff || (num >= 0xd800 && num <= 0xdfff)) return 0xfffd;
    if (num >= 0x80 && num <= 0x9f) return wn_c1_as_1252((int32_t)num);
    bool control = (num < 0x20 && num != '\t' && num != '\n' && num != '\f' && num != '\r') || num == 0x7f;
    if (control || (num >= 0xfdd0 && num <= 0xfdef) || (num & 0xfffe) == 0xfffe) return -1;
    return (int32_t)num;
}

/* v[0] is '&' and v[1] is '#': a numeric reference's length without its semicolon, 0 for none. */
static size_t scan_numeric(const int32_t *v, size_t n, int32_t *c)
{
    bool hex = n > 2 && (v[2] == 'x' || v[2] == 'X');
    size_t start = hex ? 3 : 2, i = start;
    uint32_t num = 0;
    for (; i < n && (hex ? hex_value(v[i]) >= 0 : is_digit(v[i])); i++) {
        num = num * (hex ? 16 : 10) + (uint32_t)hex_value(v[i]);
        if (num > 0x110000) num = 0x110000; /* saturates: past the last code point is all the same */
    }
    *c = numeric_char(num);
    return i > start ? i : 0;
}

/* ftfy's entities: only whole ones with their semicolon, in HTML5's spelling or in all capitals. Returns how
 * many code points were taken, 0 when this '&' is just that. */
static size_t ftfy_entity(const int32_t *v, size_t n, struct wn_u32 *out)
{
    size_t name = 1 + (n > 1 && v[1] == '#'), end = name;
    while (end < n && end - name < MAX_FTFY_NAME && (is_digit(v[end]) || is_letter(v[end]))) end++;
    if (end == name || end == n || v[end] != ';') return 0;
    if (v[1] == '#') {
        int32_t c;
        /* a reference to the semicolon itself looks undecoded to ftfy, which leaves it */
        if (scan_numeric(v, n, &c) != end || c == ';') return 0;
        if (c >= 0) wn_u32_put(out, c);
        return end + 1;
    }
    char key[MAX_FTFY_NAME + 2];
    for (size_t i = 1; i <= end; i++) key[i - 1] = (char)v[i];
    key[end] = 0;
    const struct wn_entity *e = find_entity(wn_html5_entities, wn_n_html5_entities, key);
    if (!e) e = find_entity(wn_upper_entities, wn_n_upper_entities, key);
    if (!e) return 0;
    put_all(out, e->to);
    return end + 1;
}

static bool ends_name(int32_t c)
{
    return c == '\t' || c == '\n' || c == '\f' || c == ' ' || c == '<' || c == '&' || c == '#' || c == ';';
}

/* HTML5's: the semicolon may be missing, and the longest known name that begins the text counts. */
static size_t html_entity(const int32_t *v, size_t n, struct wn_u32 *out)
{
    if (n > 1 && v[1] == '#') {
        int32_t c;
        size_t len = scan_numeric(v, n, &c);
        if (len && c >= 0) wn_u32_put(out, c);
        return len + (len && len < n && v[len] == ';');
    }
    char key[MAX_HTML_NAME + 2];
    size_t len = 0; /* of the part in ASCII; no name goes past that */
    while (len + 1 < n && len < MAX_HTML_NAME && !ends_name(v[len + 1]) && v[len + 1] < 0x80) {
        key[len] = (char)v[len + 1];
        if (!key[len]) break; /* a NUL would end the key */
        len++;
    }
    if (len + 1 < n && v[len + 1] == ';') key[len++] = ';';
    for (; len > 1; len--) {
        key[len] = 0;
        const struct wn_entity *e = find_entity(wn_html5_entities, wn_n_html5_entities, key);
        if (!e) continue;
        put_all(out, e->to);
        return len + 1;
    }
    return 0;
}

/* A pass takes `in` and appends to `out`, which is empty. */
static void decode_entities(const struct wn_u32 *in, struct wn_u32 *out,
                            size_t (*entity)(const int32_t *v, size_t n, struct wn_u32 *out))
{
    for (size_t i = 0, len; i < in->n; i += len) {
        len = in->v[i] == '&' ? entity(in->v + i, in->n - i, out) : 0;
        if (!len) wn_u32_put(out, in->v[i]);
        len += !len;
    }
}

static int by_code_point(const void *key, const void *fix)
{
    int32_t a = *(const int32_t *)key, b = ((const struct wn_char_fix *)fix)->from;
    return (a > b) - (a < b);
}

/* C1 controls, ligatures, width, quotes, line breaks. */
static void fix_characters(const struct wn_u32 *in, struct wn_u32 *out)
{
    for (size_t i = 0; i < in->n; i++) {
        int32_t c = in->v[i];
        const struct wn_char_fix *fix =
            c < 0x80 ? NULL : bsearch(&c, wn_char_fixes, wn_n_char_fixes, sizeof *fix, by_code_point);
        if (fix)
            put_all(out, fix->to);
        else if (c == '\r' && i + 1 < in->n && in->v[i + 1] == '\n')
            continue; /* the LF follows */
        else
            wn_u32_put(out, c == '\r' || c == 0x2028 || c == 0x2029 ? '\n' : c);
    }
}

/* Length of ESC [ digits and semicolons, letter: 0 for none. Digits of any script count. */
static size_t scan_escape(const int32_t *v, size_t n)
{
    if (n < 3 || v[0] != 0x1b || v[1] != '[') return 0;
    size_t i = 2;
    while (i < n && (v[i] == ';' || utf8proc_category(v[i]) == UTF8PROC_CATEGORY_ND)) i++;
    return i < n && is_letter(v[i]) ? i + 1 : 0;
}

static bool is_unwanted(int32_t c)
{
    return c <= 8 || c == 0x0b || (c >= 0x0e && c <= 0x1f) || c == 0x7f || (c >= 0x206a && c <= 0x206f) ||
           c == 0xfeff || (c >= 0xfff9 && c <= 0xfffc);
}

/* Terminal escapes, then control characters. */
static void drop_controls(const struct wn_u32 *in, struct wn_u32 *out)
{
    for (size_t i = 0, len; i < in->n; i += len) {
        len = scan_escape(in->v + i, in->n - i);
        if (!len && !is_unwanted(in->v[i])) wn_u32_put(out, in->v[i]);
        len += !len;
    }
}

static void swap(struct wn_u32 *a, struct wn_u32 *b)
{
    struct wn_u32 t = *a;
    *a = *b;
    *b = t;
    b->n = 0;
    a->failed = b->failed = a->failed || b->failed;
}

/* One segment through all steps until they change nothing. False when *budget is spent. */
static bool fix_segment(const int32_t *v, size_t n, bool unescape, size_t *budget, struct wn_u32 *out)
{
    struct wn_u32 text = {0}, next = {0}, before = {0};
    bool within_budget = true;
    wn_u32_add(&text, v, n);
    do {
        within_budget = text.n <= *budget;
        if (!within_budget) break;
        *budget -= text.n;
        before.n = 0;
        wn_u32_add(&before, text.v, text.n);
        if (unescape) {
            decode_entities(&text, &next, ftfy_entity);
            swap(&text, &next);
        }
        within_budget = wn_mojibake_repair(&text, budget);
        fix_characters(&text, &next);
        swap(&text, &next);
        drop_controls(&text, &next);
        swap(&text, &next);
        wn_normal_form(&text, WN_NFC);
        out->failed |= text.failed || before.failed;
    } while (!out->failed && within_budget &&
             (text.n != before.n || (text.n && memcmp(text.v, before.v, text.n * sizeof *text.v))));
    wn_u32_add(out, text.v, text.n);
    wn_u32_release(&text);
    wn_u32_release(&next);
    wn_u32_release(&before);
    return within_budget;
}

/* False when the text would take too long. */
static bool fix_text(const struct wn_u32 *in, struct wn_u32 *out)
{
    size_t budget = MAX_WORK;
    bool unescape = true; /* until a '<' shows up: then this may be HTML that is meant as such */
    for (size_t i = 0, end; i < in->n; i = end) {
        for (end = i; end < in->n && in->v[end] != '\n'; end++) {
        }
        end += end < in->n;
        if (end - i > MAX_SEGMENT) end = i + MAX_SEGMENT;
        for (size_t k = i; k < end; k++) unescape &= in->v[k] != '<';
        if (!fix_segment(in->v + i, end - i, unescape, &budget, out)) return false;
    }
    return true;
}

/* Runs of white space to one space, none at the ends. (Python's strip takes U+001C..1F for white space as
 * well, but none is left by the steps before.) */
static void squeeze(const struct wn_u32 *in, struct wn_u32 *out)
{
    bool space = false;
    for (size_t i = 0; i < in->n; i++) {
        if (wn_is_space(in->v[i])) {
            space = true;
            continue;
        }
        if (space && out->n) wn_u32_put(out, ' ');
        space = false;
        wn_u32_put(out, in->v[i]);
    }
}

enum wan_status wn_text_clean(const char *utf8, size_t n, struct wn_str *out, struct wn_err *err)
{
    if (n > MAX_BYTES) {
        return wn_fail(err, WAN_EINVAL, "text of %zu bytes: the most is %d", n, MAX_BYTES);
    }
    size_t bad = wn_utf8_check(utf8, n);
    if (bad < n) return wn_fail(err, WAN_EINVAL, "text is not UTF-8 at byte offset %zu", bad);

    struct wn_u32 a = {0}, b = {0};
    wn_utf8_decode(utf8, n, &a);
    bool within_budget = fix_text(&a, &b);
    swap(&a, &b);
    for (int i = 0; i < 2; i++) {
        decode_entities(&a, &b, html_entity);
        swap(&a, &b);
    }
    squeeze(&a, &b);

    size_t before = out->n;
    bool failed = a.failed || b.failed || wn_utf8_add(out, b.v, b.n);
    wn_u32_release(&a);
    wn_u32_release(&b);
    if (!failed && within_budget) return WAN_OK;
    out->n = before;
    if (out->data) out->data[before] = 0;
    if (!failed) {
        return wn_fail(err, WAN_EINVAL, "text of %zu bytes nests entities or misread characters too deeply",
                       n);
    }
    return wn_fail_nomem(err, "cleaned text", n);
}
