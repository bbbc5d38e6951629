/* tokenizer.json, the form of the Hugging Face tokenizers library. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "io/json.h"
#include "text/tokenizer.h"

enum {
    MAX_FILE = 256 << 20,  /* bytes; that of UMT5 has 16 million */
    MAX_PIECES = 16 << 20, /* that of UMT5: 256300 */
    MAX_ADDED = 1 << 20,
    MAX_PRETOK_DEPTH = 8,
};

/* Which of several equally good segmentations wins hangs on the last bit of the scores, and the library that
 * wrote the rules (Rust's serde_json) does not round decimals correctly: it takes the digits as one integer,
 * converts that, then divides. One score in eight differs from strtod's by one unit. So scores are read a
 * second time, from the text that jansson has found to be valid JSON. */

/* The double nearest to 10^e, e <= 308. */
static double power_of_ten(int e)
{
    static const double small[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                   1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (e <= 22) return small[e];
    char text[16];
    snprintf(text, sizeof text, "1e%d", e);
    return strtod(text, NULL);
}

static double scale(uint64_t digits, int e)
{
    double f = (double)digits;
    for (; e < -308 && f != 0; e += 308) f /= 1e308;
    if (e < -308) return 0;
    if (e > 308) return f == 0 ? 0 : 1e308; /* jansson refuses what overflows */
    return e < 0 ? f / power_of_ten(-e) : f * power_of_ten(e);
}

static int read_exponent(const char *p)
{
    bool minus = *p == '-';
    p += *p == '-' || *p == '+';
    int e = 0;
    for (; *p >= '0' && *p <= '9'; p++) e = e < 100000 ? 10 * e + (*p - '0') : e;
    return minus ? -e : e;
}

/* p: a valid JSON number, followed by something else. */
static double read_score(const char *p)
{
    bool minus = *p == '-', point = false, full = false;
    uint64_t digits = 0;
    int e = 0;
    for (p += minus; (*p >= '0' && *p <= '9') || *p == '.'; p++) {
        if (*p == '.') {
            point = true;
            continue;
        }
        uint64_t d = (uint64_t)(*p - '0');
        full |= digits > (UINT64_MAX - d) / 10; /* further digits count for nothing */
        if (!full) digits = 10 * digits + d;
        e += full ? !point && e < 100000 : point ? -1 : 0;
    }
    if (*p == 'e' || *p == 'E') e += read_exponent(p + 1);
    double f = scale(digits, e);
    return minus ? -f : f;
}

/* A place in valid JSON. All of these stop at `end`. */
struct cursor {
    const char *p, *end;
};

static void skip_space(struct cursor *c)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' || *c->p == '\n' || *c->p == '\r')) c->p++;
}

/* Past `ch` and the white space around it, if it is what comes. */
static bool take(struct cursor *c, char ch)
{
    skip_space(c);
    if (c->p == c->end || *c->p != ch) return false;
    c->p++;
    skip_space(c);
    return true;
}

static void skip_string(struct cursor *c)
{
    for (c->p++; c->p < c->end && *c->p != '"'; c->p++) c->p += *c->p == '\\' && c->p + 1 < c->end;
    c->p += c->p < c->end;
}

static void skip_value(struct cursor *c)
{
    size_t depth = 0;
    do {
        if (c->p == c->end) return;
        char ch = *c->p;
        if (ch == '"') {
            skip_string(c);
            continue;
        }
        if (!depth && (ch == ',' || ch == ']' || ch == '}')) return; /* after a number or a word */
        depth += ch == '[' || ch == '{';
        depth -= ch == ']' || ch == '}';
        c->p++;
        if (!depth && (ch == ']' || ch == '}')) return;
    } while (depth || (c->p < c->end && c->p[-1] != '"'));
}

/* At '{': move to the value of `key`. */
static bool find_member(struct cursor *c, const char *key)
{
    size_t n = strlen(key);
    if (!take(c, '{')) return false;
    while (c->p < c->end && *c->p == '"') {
        const char *name = c->p + 1;
        skip_string(c);
        bool found = (size_t)(c->p - name) == n + 1 && !memcmp(name, key, n);
        if (!take(c, ':')) return false;
        if (found) return true;
        skip_value(c);
        if (!take(c, ',')) return false;
    }
    return false;
}

/* scores[n] from the text of a file whose parsed form has passed read_pieces. */
static bool read_scores(const struct wn_map *map, double *scores, size_t n)
{
    struct cursor c = {(const char *)map->data, (const char *)map->data + map->size};
    if (!find_member(&c, "model") || !find_member(&c, "vocab") || !take(&c, '[')) return false;
    for (size_t i = 0; i < n; i++) {
        if (!take(&c, '[') || c.p == c.end || *c.p != '"') return false;
        skip_string(&c);
        if (!take(&c, ',') || c.p == c.end) return false;
        scores[i] = read_score(c.p);
        skip_value(&c);
        if (!take(&c, ']') || (i + 1 < n && !take(&c, ','))) return false;
    }
    return true;
}

static enum wan_status read_pieces(struct wn_key *keys, const json_t *vocab, const char *path,
                                   struct wn_err *err)
{
    for (size_t i = 0; i < json_array_size(vocab); i++) {
        const json_t *entry = json_array_get(vocab, i), *piece = json_array_get(entry, 0);
        if (json_array_size(entry) != 2 || !json_is_string(piece) ||
            !json_is_number(json_array_get(entry, 1))) {
            return wn_fail(err, WAN_EFORMAT, "%s: entry %zu of the vocabulary is not [piece, score]", path,
                           i);
        }
        keys[i] = (struct wn_key){json_string_value(piece), (uint32_t)json_string_length(piece), (int32_t)i};
    }
    return WAN_OK;
}

static enum wan_status read_vocab(struct wn_tokenizer *tok, const json_t *vocab, const struct wn_map *map,
                                  struct wn_err *err)
{
    size_t n = json_array_size(vocab);
    if (!n || n > MAX_PIECES)
        return wn_fail(err, WAN_EFORMAT, "%s: a vocabulary of %zu pieces", map->path, n);
    struct wn_key *keys = wn_alloc_n(n, sizeof *keys);
    double *scores = wn_alloc_n(n, sizeof *scores);
    enum wan_status st = WAN_OK;
    if (!keys || !scores)
        st = wn_fail_nomem(err, "a vocabulary", n * sizeof *keys);
    else if (!(st = read_pieces(keys, vocab, map->path, err)) && !read_scores(map, scores, n))
        st = wn_fail(err, WAN_EFORMAT, "%s: the names of members of \"model\" are written with escapes",
                     map->path);
    if (st)
        wn_free(scores);
    else
        st = wn_unigram_build(&tok->model, keys, scores, n, err);
    wn_free(keys);
    return st;
}

static enum wan_status read_model(struct wn_tokenizer *tok, const json_t *root, const struct wn_map *map,
                                  struct wn_err *err)
{
    const json_t *model, *vocab;
    const char *path = map->path;
    enum wan_status st = wn_json_get(root, "model", JSON_OBJECT, &model, path, err);
    if (st) return st;
    const json_t *type = json_object_get(model, "type"), *unk = json_object_get(model, "unk_id");
    if (type && (!json_is_string(type) || strcmp(json_string_value(type), "Unigram"))) {
        return wn_fail(err, WAN_EUNSUPPORTED, "%s: model type \"%s\" is not supported, only Unigram", path,
                       json_is_string(type) ? json_string_value(type) : "?");
    }
    if ((st = wn_json_get(model, "vocab", JSON_ARRAY, &vocab, path, err))) return st;
    if (json_object_get(model, "byte_fallback")) {
        st = wn_json_get_bool(model, "byte_fallback", &tok->model.byte_fallback, path, err);
        if (st) return st;
    }
    if ((st = read_vocab(tok, vocab, map, err))) return st;
    tok->model.unk = -1;
    if (!unk || json_is_null(unk)) return WAN_OK;
    json_int_t id = json_is_integer(unk) ? json_integer_value(unk) : -1;
    if (id < 0 || (size_t)id >= tok->model.n) {
        return wn_fail(err, WAN_EFORMAT, "%s: \"unk_id\" is no entry of the vocabulary", path);
    }
    tok->model.unk = (int32_t)id;
    return WAN_OK;
}

static enum wan_status read_prepend_scheme(struct wn_pretok_step *step, const json_t *json, const char *path,
                                           struct wn_err *err)
{
    static const char *const names[] = {"always", "first", "never"};
    const json_t *prefix = json_object_get(json, "add_prefix_space"),
                 *scheme = json_object_get(json, "prepend_scheme");
    step->prepend = json_is_false(prefix) ? WN_PREPEND_NEVER : WN_PREPEND_ALWAYS;
    if (!scheme || json_is_null(scheme)) return WAN_OK;
    for (int i = 0; i < 3 && json_is_string(scheme); i++) {
        if (strcmp(json_string_value(scheme), names[i])) continue;
        if (json_is_false(prefix) && i != WN_PREPEND_NEVER) break;
        step->prepend = (enum wn_prepend)i;
        return WAN_OK;
    }
    return wn_fail(err, WAN_EFORMAT,
                   "%s: \"prepend_scheme\" of Metaspace is none of always, first and never, or "
                   "contradicts \"add_prefix_space\"",
                   path);
}

static enum wan_status read_metaspace(struct wn_pretok_step *step, const json_t *json, const char *path,
                                      struct wn_err *err)
{
    const json_t *text;
    enum wan_status st = wn_json_get(json, "replacement", JSON_STRING, &text, path, err);
    if (st) return st;
    const char *s = json_string_value(text);
    size_t n = json_string_length(text);
    if (!n || wn_utf8_len(*s) != n) {
        return wn_fail(err, WAN_EFORMAT, "%s: \"replacement\" of Metaspace is not one character", path);
    }
    step->kind = WN_PRETOK_METASPACE;
    memcpy(step->replacement, s, n);
    step->n_replacement = n;
    step->split = true;
    const json_t *split = json_object_get(json, "split");
    if (split && !json_is_null(split) && (st = wn_json_get_bool(json, "split", &step->split, path, err)))
        return st;
    return read_prepend_scheme(step, json, path, err);
}

static enum wan_status read_pretok(struct wn_tokenizer *tok, const json_t *json, int depth, const char *path,
                                   struct wn_err *err);

static enum wan_status read_pretok_sequence(struct wn_tokenizer *tok, const json_t *json, int depth,
                                            const char *path, struct wn_err *err)
{
    const json_t *list;
    enum wan_status st = wn_json_get(json, "pretokenizers", JSON_ARRAY, &list, path, err);
    for (size_t i = 0; !st && i < json_array_size(list); i++) {
        st = read_pretok(tok, json_array_get(list, i), depth + 1, path, err);
    }
    return st;
}

static enum wan_status read_pretok(struct wn_tokenizer *tok, const json_t *json, int depth, const char *path,
                                   struct wn_err *err)
{
    const json_t *type;
    enum wan_status st = wn_json_get(json, "type", JSON_STRING, &type, path, err);
    if (st) return st;
    const char *name = json_string_value(type);
    if (!strcmp(name, "Sequence") && depth < MAX_PRETOK_DEPTH) {
        return read_pretok_sequence(tok, json, depth, path, err);
    }
    if (tok->n_pretok == WN_MAX_PRETOK) {
        return wn_fail(err, WAN_EUNSUPPORTED, "%s: more than %d pre-tokenizers", path, WN_MAX_PRETOK);
    }
    struct wn_pretok_step *step = &tok->pretok[tok->n_pretok++];
    *step = (struct wn_pretok_step){.kind = WN_PRETOK_WHITESPACE_SPLIT};
    if (!strcmp(name, "WhitespaceSplit")) return WAN_OK;
    if (!strcmp(name, "Metaspace")) return read_metaspace(step, json, path, err);
    return wn_fail(err, WAN_EUNSUPPORTED, "%s: pre-tokenizer \"%s\" is not supported", path, name);
}

static enum wan_status read_added_token(struct wn_added_token *a, const json_t *json, const char *path,
                                        struct wn_err *err)
{
    const json_t *content;
    enum wan_status st = wn_json_get(json, "content", JSON_STRING, &content, path, err);
    if (!st) st = wn_json_get_bool(json, "single_word", &a->single_word, path, err);
    if (!st) st = wn_json_get_bool(json, "lstrip", &a->lstrip, path, err);
    if (!st) st = wn_json_get_bool(json, "rstrip", &a->rstrip, path, err);
    if (!st) st = wn_json_get_bool(json, "normalized", &a->normalized, path, err);
    if (st) return st;
    if (strlen(json_string_value(content)) != json_string_length(content)) {
        return wn_fail(err, WAN_EUNSUPPORTED, "%s: an added token with a NUL in it", path);
    }
    a->content = wn_strdup(json_string_value(content));
    return a->content ? WAN_OK : wn_fail_nomem(err, "an added token", json_string_length(content));
}

/* The id that the file gives to an added token does not count: it is that of its piece, or else the next free
 * one. */
static void number_added(struct wn_tokenizer *tok)
{
    int32_t next = (int32_t)tok->model.n;
    for (size_t i = 0; i < tok->n_added; i++) {
        struct wn_added_token *a = &tok->added[i];
        a->id = wn_trie_find(&tok->model.trie, a->content, strlen(a->content));
        if (a->id < 0) a->id = next++;
    }
    tok->n_vocab = next;
}

static enum wan_status check_twice(const struct wn_tokenizer *tok, const char *path, struct wn_err *err)
{
    struct wn_key *keys = wn_alloc_n(tok->n_added, sizeof *keys);
    struct wn_trie trie = {0};
    enum wan_status st = WAN_OK;
    for (size_t i = 0; keys && i < tok->n_added; i++) {
        const char *s = tok->added[i].content;
        keys[i] = (struct wn_key){s, (uint32_t)strlen(s), (int32_t)i};
    }
    if (!keys || wn_trie_build(&trie, keys, tok->n_added))
        st = wn_fail_nomem(err, "added tokens", tok->n_added);
    for (size_t i = 0; i < tok->n_added && !st; i++) {
        if (wn_trie_find(&trie, keys[i].s, keys[i].n) != (int32_t)i) {
            st = wn_fail(err, WAN_EFORMAT, "%s: added token \"%s\" is there twice", path, keys[i].s);
        }
    }
    wn_trie_release(&trie);
    wn_free(keys);
    return st;
}

static enum wan_status read_added(struct wn_tokenizer *tok, const json_t *root, const char *path,
                                  struct wn_err *err)
{
    const json_t *list = json_object_get(root, "added_tokens");
    size_t n = json_array_size(list);
    if (list && !json_is_array(list))
        return wn_fail(err, WAN_EFORMAT, "%s: \"added_tokens\" is not a list", path);
    if (n > MAX_ADDED) return wn_fail(err, WAN_EFORMAT, "%s: %zu added tokens", path, n);
    tok->added = wn_zalloc_n(n, sizeof *tok->added);
    if (!tok->added) return wn_fail_nomem(err, "added tokens", n * sizeof *tok->added);
    enum wan_status st = WAN_OK;
    for (size_t i = 0; i < n && !st; i++) {
        struct wn_added_token a = {0};
        st = read_added_token(&a, json_array_get(list, i), path, err);
        if (st || !*a.content) /* an empty one can be nowhere */
            wn_free(a.content);
        else
            tok->added[tok->n_added++] = a;
    }
    if (!st) st = check_twice(tok, path, err);
    if (st) return st;
    number_added(tok);
    return wn_tokenizer_index_added(tok, path, err);
}

static enum wan_status add_special(struct wn_tokenizer *tok, bool seen, const json_t *ids, const char *path,
                                   struct wn_err *err)
{
    int32_t *to = seen ? tok->after : tok->before;
    size_t *n = seen ? &tok->n_after : &tok->n_before;
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const json_t *v = json_array_get(ids, i);
        json_int_t id = json_is_integer(v) ? json_integer_value(v) : -1;
        if (id < 0 || id >= tok->n_vocab || *n == WN_MAX_TEMPLATE) {
            return wn_fail(err, WAN_EFORMAT, "%s: the template adds an id that is none, or more than %d",
                           path, WN_MAX_TEMPLATE);
        }
        to[(*n)++] = (int32_t)id;
    }
    return WAN_OK;
}

static enum wan_status read_template(struct wn_tokenizer *tok, const json_t *json, const char *path,
                                     struct wn_err *err)
{
    const json_t *single, *special, *ids;
    enum wan_status st = wn_json_get(json, "single", JSON_ARRAY, &single, path, err);
    if (!st) st = wn_json_get(json, "special_tokens", JSON_OBJECT, &special, path, err);
    int n_seen = 0;
    for (size_t i = 0; !st && i < json_array_size(single); i++) {
        const json_t *item = json_array_get(single, i);
        const char *text = json_string_value(json_object_get(json_object_get(item, "Sequence"), "id"));
        const char *name = json_string_value(json_object_get(json_object_get(item, "SpecialToken"), "id"));
        if (text && !strcmp(text, "A"))
            n_seen++;
        else if (!name || !json_object_get(special, name))
            st = wn_fail(err, WAN_EFORMAT,
                         "%s: item %zu of the template is neither the text nor a special token", path, i);
        else if (!(st = wn_json_get(json_object_get(special, name), "ids", JSON_ARRAY, &ids, path, err)))
            st = add_special(tok, n_seen > 0, ids, path, err);
    }
    if (!st && n_seen != 1)
        st = wn_fail(err, WAN_EUNSUPPORTED, "%s: the template has the text %d times", path, n_seen);
    return st;
}

static enum wan_status read_post(struct wn_tokenizer *tok, const json_t *root, const char *path,
                                 struct wn_err *err)
{
    const json_t *post = json_object_get(root, "post_processor"), *type;
    if (!post || json_is_null(post)) return WAN_OK;
    enum wan_status st = wn_json_get(post, "type", JSON_STRING, &type, path, err);
    if (st) return st;
    if (!strcmp(json_string_value(type), "TemplateProcessing")) return read_template(tok, post, path, err);
    return wn_fail(err, WAN_EUNSUPPORTED, "%s: post-processor \"%s\" is not supported", path,
                   json_string_value(type));
}

static int32_t find_token(const struct wn_tokenizer *tok, const char *name)
{
    for (size_t i = 0; i < tok->n_added; i++) {
        if (!strcmp(tok->added[i].content, name)) return tok->added[i].id;
    }
    return wn_trie_find(&tok->model.trie, name, strlen(name));
}

static enum wan_status read_root(struct wn_tokenizer *tok, const json_t *root, const struct wn_map *map,
                                 struct wn_err *err)
{
    const json_t *version = json_object_get(root, "version"),
                 *pretok = json_object_get(root, "pre_tokenizer");
    if (version && (!json_is_string(version) || strcmp(json_string_value(version), "1.0"))) {
        return wn_fail(err, WAN_EUNSUPPORTED, "%s: \"version\" is not \"1.0\"", map->path);
    }
    enum wan_status st = read_model(tok, root, map, err);
    if (!st) st = wn_normalizer_read(&tok->norm, json_object_get(root, "normalizer"), map->path, err);
    if (!st && pretok && !json_is_null(pretok)) st = read_pretok(tok, pretok, 0, map->path, err);
    if (!st) st = read_added(tok, root, map->path, err);
    if (!st) st = read_post(tok, root, map->path, err);
    if (st) return st;
    tok->special = (struct wn_token_ids){find_token(tok, "<pad>"), find_token(tok, "</s>"), tok->model.unk};
    return WAN_OK;
}

enum wan_status wn_tokenizer_read_json(struct wn_tokenizer *tok, const char *path, struct wn_err *err)
{
    struct wn_map map;
    enum wan_status st = wn_map_open(&map, path, err);
    if (st) return st;
    json_t *root = NULL;
    if (!map.size || map.size > MAX_FILE)
        st = wn_fail(err, WAN_EFORMAT, "%s: %zu bytes are no tokenizer.json", path, map.size);
    else
        st = wn_json_parse(&root, (const char *)map.data, map.size, JSON_ALLOW_NUL, path, err);
    if (!st) st = read_root(tok, root, &map, err);
    json_decref(root);
    wn_map_close(&map);
    return st;
}
