#include "text/normalizer.h"

#include <string.h>

#include "io/json.h"

enum { MAX_STEPS = 64, MAX_DEPTH = 8 };

static int base64_value(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *p = c ? strchr(digits, c) : NULL;
    return p ? (int)(p - digits) : -1;
}

/* Standard base64 with its padding. Returns the bytes (wn_free), *n of them; NULL with *n == SIZE_MAX when it
 * is not that, NULL else when out of memory. */
static uint8_t *decode_base64(const char *s, size_t len, size_t *n)
{
    *n = SIZE_MAX;
    if (len % 4) return NULL;
    size_t pad = len && s[len - 1] == '=' ? 1 + (s[len - 2] == '=') : 0;
    uint8_t *out = wn_alloc(len / 4 * 3 + 3);
    if (!out) {
        *n = 0;
        return NULL;
    }
    uint32_t bits = 0;
    size_t got = 0;
    for (size_t i = 0; i < len; i++) {
        int v = i < len - pad ? base64_value(s[i]) : 0;
        if (v < 0) {
            wn_free(out);
            return NULL;
        }
        bits = bits << 6 | (uint32_t)v;
        if (i % 4 != 3) continue;
        out[got++] = (uint8_t)(bits >> 16);
        out[got++] = (uint8_t)(bits >> 8);
        out[got++] = (uint8_t)bits;
    }
    *n = got - pad;
    return out;
}

static enum wan_status read_charsmap(struct wn_norm_step *step, const json_t *json, const char *path,
                                     struct wn_err *err)
{
    const json_t *text;
    enum wan_status st = wn_json_get(json, "precompiled_charsmap", JSON_STRING, &text, path, err);
    if (st) return st;
    size_t n;
    uint8_t *blob = decode_base64(json_string_value(text), json_string_length(text), &n);
    if (!blob && n) return wn_fail(err, WAN_EFORMAT, "%s: precompiled_charsmap is not base64", path);
    if (!blob) return wn_fail_nomem(err, "a charsmap", json_string_length(text));
    st = wn_charsmap_open(&step->map, blob, n, path, err);
    wn_free(blob);
    return st;
}

static enum wan_status read_text(struct wn_u32 *out, const json_t *json, struct wn_err *err)
{
    wn_utf8_decode(json_string_value(json), json_string_length(json), out);
    return out->failed ? wn_fail_nomem(err, "a normalizer", json_string_length(json)) : WAN_OK;
}

/* Of regular expressions, a plain text and one plain character followed by "+" or "{n,}". */
static bool read_regex(struct wn_norm_step *step)
{
    struct wn_u32 *f = &step->find;
    size_t plain = 0;
    while (plain < f->n && (f->v[plain] >= 0x80 || !strchr("\\^$.|?*+()[]{}", f->v[plain]))) plain++;
    if (plain == f->n) return plain > 0;
    if (plain != 1) return false;
    size_t i = 2;
    size_t min = 0;
    if (f->v[1] == '+') {
        min = 1;
    } else if (f->v[1] == '{') {
        for (; i < f->n && i < 6 && f->v[i] >= '0' && f->v[i] <= '9'; i++)
            min = 10 * min + (size_t)(f->v[i] - '0');
        if (i + 1 >= f->n || f->v[i] != ',' || f->v[i + 1] != '}') return false;
        i += 2;
    }
    if (i != f->n || !min) return false;
    step->min_run = min;
    f->n = 1;
    return true;
}

static enum wan_status read_replace(struct wn_norm_step *step, const json_t *json, const char *path,
                                    struct wn_err *err)
{
    const json_t *pattern, *content;
    enum wan_status st = wn_json_get(json, "pattern", JSON_OBJECT, &pattern, path, err);
    if (!st) st = wn_json_get(json, "content", JSON_STRING, &content, path, err);
    if (st) return st;
    const json_t *text = json_object_get(pattern, "String"), *regex = json_object_get(pattern, "Regex");
    if (json_object_size(pattern) != 1 || !json_is_string(text ? text : regex)) {
        return wn_fail(err, WAN_EFORMAT,
                       "%s: the pattern of a Replace normalizer is neither String nor Regex", path);
    }
    if ((st = read_text(&step->put, content, err)) || (st = read_text(&step->find, text ? text : regex, err)))
        return st;
    if (text ? step->find.n > 0 : read_regex(step)) return WAN_OK;
    return wn_fail(err, WAN_EUNSUPPORTED, "%s: Replace normalizer with pattern \"%s\" is not supported", path,
                   json_string_value(text ? text : regex));
}

static enum wan_status read_strip(struct wn_norm_step *step, const json_t *json, const char *path,
                                  struct wn_err *err)
{
    enum wan_status st = wn_json_get_bool(json, "strip_left", &step->left, path, err);
    return st ? st : wn_json_get_bool(json, "strip_right", &step->right, path, err);
}

static enum wan_status read_prepend(struct wn_norm_step *step, const json_t *json, const char *path,
                                    struct wn_err *err)
{
    const json_t *text;
    enum wan_status st = wn_json_get(json, "prepend", JSON_STRING, &text, path, err);
    return st ? st : read_text(&step->put, text, err);
}

static enum wan_status read_nothing(struct wn_norm_step *step, const json_t *json, const char *path,
                                    struct wn_err *err)
{
    (void)step, (void)json, (void)path, (void)err;
    return WAN_OK;
}

static const struct step_type {
    const char *name;
    enum wn_norm_kind kind;
    enum wn_norm_form form;
    enum wan_status (*read)(struct wn_norm_step *step, const json_t *json, const char *path,
                            struct wn_err *err);
} step_types[] = {
    {"Precompiled", WN_NORM_CHARSMAP, WN_NFC, read_charsmap},
    {"NFC", WN_NORM_FORM, WN_NFC, read_nothing},
    {"NFD", WN_NORM_FORM, WN_NFD, read_nothing},
    {"NFKC", WN_NORM_FORM, WN_NFKC, read_nothing},
    {"NFKD", WN_NORM_FORM, WN_NFKD, read_nothing},
    {"Nmt", WN_NORM_NMT, WN_NFC, read_nothing},
    {"Strip", WN_NORM_STRIP, WN_NFC, read_strip},
    {"Replace", WN_NORM_REPLACE, WN_NFC, read_replace},
    {"Prepend", WN_NORM_PREPEND, WN_NFC, read_prepend},
};

static enum wan_status read_steps(struct wn_normalizer *norm, const json_t *json, int depth, const char *path,
                                  struct wn_err *err);

static enum wan_status read_sequence(struct wn_normalizer *norm, const json_t *json, int depth,
                                     const char *path, struct wn_err *err)
{
    const json_t *list;
    enum wan_status st = wn_json_get(json, "normalizers", JSON_ARRAY, &list, path, err);
    for (size_t i = 0; !st && i < json_array_size(list); i++) {
        st = read_steps(norm, json_array_get(list, i), depth + 1, path, err);
    }
    return st;
}

static enum wan_status read_steps(struct wn_normalizer *norm, const json_t *json, int depth, const char *path,
                                  struct wn_err *err)
{
    const json_t *type;
    enum wan_status st = wn_json_get(json, "type", JSON_STRING, &type, path, err);
    if (st) return st;
    const char *name = json_string_value(type);
    if (!strcmp(name, "Sequence") && depth < MAX_DEPTH) return read_sequence(norm, json, depth, path, err);
    for (size_t i = 0; i < sizeof step_types / sizeof *step_types; i++) {
        if (strcmp(name, step_types[i].name)) continue;
        if (norm->n == MAX_STEPS)
            return wn_fail(err, WAN_EUNSUPPORTED, "%s: more than %d normalizers", path, MAX_STEPS);
        struct wn_norm_step *step = &norm->steps[norm->n++];
        *step = (struct wn_norm_step){.kind = step_types[i].kind, .form = step_types[i].form};
        return step_types[i].read(step, json, path, err);
    }
    return wn_fail(err, WAN_EUNSUPPORTED, "%s: normalizer \"%s\" is not supported", path, name);
}

enum wan_status wn_normalizer_read(struct wn_normalizer *norm, const json_t *json, const char *path,
                                   struct wn_err *err)
{
    *norm = (struct wn_normalizer){0};
    if (!json || json_is_null(json)) return WAN_OK;
    norm->steps = wn_zalloc_n(MAX_STEPS, sizeof *norm->steps);
    if (!norm->steps) return wn_fail_nomem(err, "normalizers", MAX_STEPS * sizeof *norm->steps);
    return read_steps(norm, json, 0, path, err);
}

void wn_normalizer_release(struct wn_normalizer *norm)
{
    for (size_t i = 0; i < norm->n; i++) {
        wn_charsmap_close(&norm->steps[i].map);
        wn_u32_release(&norm->steps[i].find);
        wn_u32_release(&norm->steps[i].put);
    }
    wn_free(norm->steps);
    *norm = (struct wn_normalizer){0};
}

/* The rules of sentencepiece's "nmt": controls dropped, odd spaces plain. */
static void apply_nmt(const struct wn_u32 *in, struct wn_u32 *out, bool *cut)
{
    for (size_t i = 0; i < in->n; i++) {
        int32_t c = in->v[i];
        bool drop = (c >= 1 && c <= 8) || c == 0x0b || (c >= 0x0e && c <= 0x1f) || c == 0x7f || c == 0x8f ||
                    c == 0x9f;
        bool space = c == 9 || c == 10 || c == 12 || c == 13 || c == 0x1680 || (c >= 0x200b && c <= 0x200f) ||
                     c == 0x2028 || c == 0x2029 || c == 0x2581 || c == 0xfeff || c == 0xfffd;
        if (!drop) wn_u32_put(out, space ? ' ' : c);
        *cut |= drop && !out->n;
    }
}

static void apply_strip(const struct wn_norm_step *step, const struct wn_u32 *in, struct wn_u32 *out,
                        bool *cut)
{
    size_t start = 0, end = in->n;
    while (step->right && end > start && wn_is_space(in->v[end - 1])) end--;
    while (step->left && start < end && wn_is_space(in->v[start])) start++;
    *cut |= start > 0;
    wn_u32_add(out, in->v + start, end - start);
}

/* Length of what `step` replaces at v, 0: nothing. */
static size_t match(const struct wn_norm_step *step, const int32_t *v, size_t n)
{
    const struct wn_u32 *f = &step->find;
    if (!step->min_run) return n >= f->n && !memcmp(v, f->v, f->n * sizeof *v) ? f->n : 0;
    size_t run = 0;
    while (run < n && v[run] == f->v[0]) run++;
    return run >= step->min_run ? run : 0;
}

/* What is put in counts as standing where the last character of what it replaces stood. */
static void apply_replace(const struct wn_norm_step *step, const struct wn_u32 *in, struct wn_u32 *out,
                          bool *cut)
{
    for (size_t i = 0, len; i < in->n; i += len) {
        len = match(step, in->v + i, in->n - i);
        *cut |= len && !i && (len > 1 || !step->put.n);
        if (len)
            wn_u32_add(out, step->put.v, step->put.n);
        else
            wn_u32_put(out, in->v[i]);
        len += !len;
    }
}

static void apply_step(const struct wn_norm_step *step, const struct wn_u32 *in, struct wn_u32 *out,
                       bool *cut)
{
    switch (step->kind) {
    case WN_NORM_CHARSMAP: wn_charsmap_apply(&step->map, in, out); break;
    case WN_NORM_NMT: apply_nmt(in, out, cut); break;
    case WN_NORM_STRIP: apply_strip(step, in, out, cut); break;
    case WN_NORM_REPLACE: apply_replace(step, in, out, cut); break;
    case WN_NORM_PREPEND:
        if (in->n) wn_u32_add(out, step->put.v, step->put.n);
        wn_u32_add(out, in->v, in->n);
        break;
    case WN_NORM_FORM:
        wn_u32_add(out, in->v, in->n);
        wn_normal_form(out, step->form);
        break;
    }
}

void wn_normalizer_apply(const struct wn_normalizer *norm, struct wn_u32 *s, bool *cut)
{
    for (size_t i = 0; i < norm->n; i++) {
        struct wn_u32 out = {0};
        apply_step(&norm->steps[i], s, &out, cut);
        out.failed |= s->failed;
        wn_u32_release(s);
        *s = out;
    }
}
