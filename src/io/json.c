#include "io/json.h"

#include <pthread.h>
#include <stdbool.h>

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

static void set_alloc(void)
{
    json_set_alloc_funcs(json_alloc, wn_free);
    /* Seed the hash function now, not at some later first object. */
    json_object_seed(0);
}

void wn_json_init(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, set_alloc);
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

enum wan_status wn_json_parse(json_t **root, const char *text, size_t n, const char *path, struct wn_err *err)
{
    *root = NULL;
    wn_json_init();
    enum wan_status st = scan(text, n, path, err);
    if (st) return st;
    json_error_t e = {0};
    out_of_memory = false;
    *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &e);
    if (out_of_memory) { /* even when jansson found a way around it: what it made is not to be trusted */
        json_decref(*root);
        *root = NULL;
        return wn_fail_nomem(err, path, n);
    }
    if (*root) return WAN_OK;
    return wn_fail(err, WAN_EFORMAT, "%s: not valid JSON: line %d, column %d: %s", path, e.line, e.column,
                   e.text);
}

enum wan_status wn_json_read(json_t **root, const char *path, size_t max, struct wn_err *err)
{
    char *text;
    size_t n;
    *root = NULL;
    enum wan_status st = wn_file_read(path, max, &text, &n, err);
    if (st) return st;
    st = wn_json_parse(root, text, n, path, err);
    wn_free(text);
    return st;
}
