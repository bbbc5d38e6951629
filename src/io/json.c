#include "io/json.h"

#include <utf8proc.h>

#include "base/file.h"
#include "base/mem.h"

/* jansson reports some failed allocations as syntax errors; this tells them apart. */
static _Thread_local bool out_of_memory;

static void *json_alloc(size_t bytes)
{
    void *p = wn_alloc(bytes);
    if (!p) out_of_memory = true;
    return p;
}

void wn_json_hook_memory(void)
{
    json_set_alloc_funcs(json_alloc, wn_free);
}

/* The byte after the string literal that starts at text[i]. */
static size_t skip_string(const char *text, size_t n, size_t i)
{
    for (i++; i < n && text[i] != '"'; i++)
        if (text[i] == '\\') i++;
    return i;
}

/* Bound depth and number of values before jansson recurses and allocates. */
static enum wan_status scan(const char *text, size_t n, const char *path, struct wn_err *err)
{
    int depth = 0;
    size_t values = 1;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (c == '"') {
            i = skip_string(text, n, i);
        } else if (c == '{' || c == '[') {
            values++;
            if (++depth > WN_JSON_MAX_DEPTH)
                return wn_fail(err, WAN_EFORMAT, "%s: JSON nested deeper than %d", path, WN_JSON_MAX_DEPTH);
        } else if (c == '}' || c == ']') {
            depth--;
        } else if (c == ',') {
            values++;
        }
    }
    if (values > WN_JSON_MAX_VALUES)
        return wn_fail(err, WAN_EFORMAT, "%s: JSON with more than %d values", path, WN_JSON_MAX_VALUES);
    return WAN_OK;
}

enum wan_status wn_json_parse(json_t **root, const char *text, size_t n, size_t flags, const char *path,
                              struct wn_err *err)
{
    *root = NULL;
    enum wan_status st = scan(text, n, path, err);
    if (st) return st;
    json_error_t e = {0};
    out_of_memory = false;
    *root = json_loadb(text, n, JSON_REJECT_DUPLICATES | flags, &e);
    if (out_of_memory) { /* even when jansson found a way around it: what it made is not to be trusted */
        json_decref(*root);
        *root = NULL;
    }
    if (*root) return WAN_OK;
    if (out_of_memory || json_error_code(&e) == json_error_out_of_memory ||
        !*e.text) /* some paths set no text */
        return wn_fail_nomem(err, path, n);
    return wn_fail(err, WAN_EFORMAT, "%s: not valid JSON: line %d, column %d: %s", path, e.line, e.column,
                   e.text);
}

enum wan_status wn_json_read(json_t **root, const char *path, size_t max, size_t flags, struct wn_err *err)
{
    char *text;
    size_t n;
    *root = NULL;
    enum wan_status st = wn_file_read(path, max, &text, &n, err);
    if (st) return st;
    st = wn_json_parse(root, text, n, flags, path, err);
    wn_free(text);
    return st;
}

enum wan_status wn_json_text(const json_t *root, char **text, struct wn_err *err)
{
    json_free_t give;
    json_get_alloc_funcs(NULL, &give);
    out_of_memory = false;
    char *made = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(7));
    *text = made && !out_of_memory ? wn_strdup(made) : NULL; /* a number may have come out wrong */
    if (made) give(made);
    return *text ? WAN_OK : wn_fail_nomem(err, "JSON", 0);
}

static const char *type_name(json_type type)
{
    switch (type) {
    case JSON_OBJECT: return "an object";
    case JSON_ARRAY: return "a list";
    case JSON_STRING: return "a string";
    case JSON_INTEGER: return "a whole number";
    case JSON_REAL: return "a number";
    case JSON_TRUE:
    case JSON_FALSE: return "true or false";
    case JSON_NULL: return "null";
    }
    return "?";
}

enum wan_status wn_json_get(const json_t *object, const char *key, json_type type, const json_t **out,
                            const char *path, struct wn_err *err)
{
    *out = json_object_get(object, key); /* NULL for what is no object */
    if (!*out) return wn_fail(err, WAN_EFORMAT, "%s: \"%s\" is missing", path, key);
    if (json_typeof(*out) == type) return WAN_OK;
    return wn_fail(err, WAN_EFORMAT, "%s: \"%s\" is %s, not %s", path, key, type_name(json_typeof(*out)),
                   type_name(type));
}

enum wan_status wn_json_get_bool(const json_t *object, const char *key, bool *out, const char *path,
                                 struct wn_err *err)
{
    const json_t *v = json_object_get(object, key);
    if (!json_is_boolean(v)) return wn_fail(err, WAN_EFORMAT, "%s: \"%s\" is not true or false", path, key);
    *out = json_is_true(v);
    return WAN_OK;
}

int wn_json_add_text(struct wn_str *out, const char *s, size_t n)
{
    int bad = wn_str_add(out, "\"", 1);
    for (size_t i = 0, len; i < n && !bad; i += len) {
        utf8proc_int32_t c;
        utf8proc_ssize_t got =
            utf8proc_iterate((const utf8proc_uint8_t *)s + i, (utf8proc_ssize_t)(n - i), &c);
        len = got > 0 ? (size_t)got : 1;
        if (got < 1)
            bad = wn_str_addf(out, "\xef\xbf\xbd");
        else if (c == '"' || c == '\\')
            bad = wn_str_addf(out, "\\%c", c);
        else if (c < 0x20)
            bad = wn_str_addf(out, "\\u%04x", (unsigned)c);
        else
            bad = wn_str_add(out, s + i, len);
    }
    return bad || wn_str_add(out, "\"", 1) ? -1 : 0;
}
