/* Text to ids. The stages are those of the Hugging Face tokenizers library: added tokens found in the raw
 * text, the normalizer, added tokens found in what it made, pre-tokenizers, the model, the template. */
#include "text/tokenizer.h"

#include <string.h>

#include <utf8proc.h>

#include "base/file.h"

struct encoder {
    const struct wn_tokenizer *tok;
    size_t limit; /* ids that still count */
    struct wn_u32 ids;
    struct wn_err *err;
    enum wan_status st; /* the first failure; everything after it does nothing */
};

static bool done(const struct encoder *e)
{
    return e->st || e->ids.n >= e->limit;
}

static void no_memory(struct encoder *e, size_t n)
{
    if (!e->st) e->st = wn_fail_nomem(e->err, "tokens", n);
}

static void pre_tokenize(struct encoder *e, size_t step, const char *s, size_t n, bool at_start);

/* Runs of everything but white space. */
static void split_at_space(struct encoder *e, size_t step, const char *s, size_t n, bool at_start)
{
    size_t start = 0;
    for (size_t i = 0, len; i < n && !done(e); i += len) {
        if (!wn_is_space(wn_utf8_get(s + i, n - i, &len))) continue;
        pre_tokenize(e, step + 1, s + start, i - start, at_start && !start);
        start = i + len;
    }
    pre_tokenize(e, step + 1, s + start, n - start, at_start && !start);
}

static bool starts_with(const char *s, size_t n, const struct wn_pretok_step *p)
{
    return n >= p->n_replacement && !memcmp(s, p->replacement, p->n_replacement);
}

static void split_at_meta(struct encoder *e, size_t step, const char *s, size_t n, bool at_start)
{
    const struct wn_pretok_step *p = &e->tok->pretok[step];
    size_t start = 0;
    for (size_t i = 1; i < n && p->split && !done(e); i++) {
        if (!starts_with(s + i, n - i, p)) continue;
        pre_tokenize(e, step + 1, s + start, i - start, at_start && !start);
        start = i;
    }
    pre_tokenize(e, step + 1, s + start, n - start, at_start && !start);
}

static void metaspace(struct encoder *e, size_t step, const char *s, size_t n, bool at_start)
{
    const struct wn_pretok_step *p = &e->tok->pretok[step];
    struct wn_str out = {.max = SIZE_MAX / 2};
    bool wanted = p->prepend == WN_PREPEND_ALWAYS || (p->prepend == WN_PREPEND_FIRST && at_start);
    int bad = 0;
    if (wanted && s[0] != ' ' && !starts_with(s, n, p))
        bad = wn_str_add(&out, p->replacement, p->n_replacement);
    for (size_t i = 0; i < n && !bad; i++) {
        bool space = s[i] == ' ';
        bad = wn_str_add(&out, space ? p->replacement : s + i, space ? p->n_replacement : 1);
    }
    if (bad)
        no_memory(e, n);
    else
        split_at_meta(e, step, out.data, out.n, at_start);
    wn_str_release(&out);
}

/* at_start: s begins where the whole text does. */
static void pre_tokenize(struct encoder *e, size_t step, const char *s, size_t n, bool at_start)
{
    if (!n || done(e)) return;
    if (step == e->tok->n_pretok)
        e->st = wn_unigram_encode(&e->tok->model, s, n, &e->ids, e->err);
    else if (e->tok->pretok[step].kind == WN_PRETOK_METASPACE)
        metaspace(e, step, s, n, at_start);
    else
        split_at_space(e, step, s, n, at_start);
}

/* What regular expressions call \w. */
static bool is_word(int32_t c)
{
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return true;
    default: break;
    }
    /* joiners, and the circled and squared letters, alphabetic though symbols */
    return c == 0x200c || c == 0x200d || (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) ||
           (c >= 0x1f150 && c <= 0x1f169) || (c >= 0x1f170 && c <= 0x1f189);
}

/* Start of the character before s[i], i > 0. */
static size_t char_before(const char *s, size_t i)
{
    do {
        i--;
    } while (i && ((uint8_t)s[i] & 0xc0) == 0x80);
    return i;
}

static bool stands_alone(const char *s, size_t n, size_t start, size_t end)
{
    size_t len, before = start ? char_before(s, start) : 0;
    if (start && is_word(wn_utf8_get(s + before, n - before, &len))) return false;
    return end == n || !is_word(wn_utf8_get(s + end, n - end, &len));
}

struct hit {
    size_t start, end;
    int32_t token; /* index in `added`, -1: none is left */
};

/* The leftmost, then longest, token at or after `from`. */
static struct hit find_added(const struct wn_trie *t, const char *s, size_t n, size_t from)
{
    for (size_t i = from; i < n; i++) {
        struct hit hit = {i, i, -1};
        uint32_t at = 0;
        for (size_t k = i; k < n && (at = wn_trie_step(t, at, s[k])); k++) {
            if (t->value[at] >= 0) hit = (struct hit){i, k + 1, t->value[at]};
        }
        if (hit.token >= 0) return hit;
    }
    return (struct hit){n, n, -1};
}

/* Let the hit take white space: no further left than `from`. */
static void widen(struct hit *hit, const struct wn_added_token *a, const char *s, size_t n, size_t from)
{
    while (a->lstrip && hit->start > from) {
        size_t len, i = char_before(s, hit->start);
        if (!wn_is_space(wn_utf8_get(s + i, n - i, &len))) break;
        hit->start = i;
    }
    while (a->rstrip && hit->end < n) {
        size_t len;
        if (!wn_is_space(wn_utf8_get(s + hit->end, n - hit->end, &len))) break;
        hit->end += len;
    }
}

/* Cut s at the tokens that t finds; what lies between goes to `between`. */
static void split_added(struct encoder *e, const struct wn_trie *t, const char *s, size_t n, bool at_start,
                        void (*between)(struct encoder *e, const char *s, size_t n, bool at_start))
{
    size_t start = 0;
    for (size_t from = 0; t->n && !done(e);) {
        struct hit hit = find_added(t, s, n, from);
        if (hit.token < 0) break;
        from = hit.end;
        const struct wn_added_token *a = &e->tok->added[hit.token];
        if (a->single_word && !stands_alone(s, n, hit.start, hit.end)) continue;
        widen(&hit, a, s, n, start);
        if (hit.start > start) between(e, s + start, hit.start - start, at_start && !start);
        if (!done(e)) wn_u32_put(&e->ids, a->id);
        start = hit.end;
    }
    if (start < n && !done(e)) between(e, s + start, n - start, at_start && !start);
}

static void cut_up(struct encoder *e, const char *s, size_t n, bool at_start)
{
    pre_tokenize(e, 0, s, n, at_start);
}

static void put_id(void *ctx, int32_t id)
{
    wn_u32_put(ctx, id);
}

static void encode_spm(struct encoder *e, const char *s, size_t n)
{
    if (wn_spm_encode(e->tok->spm, s, n, put_id, &e->ids)) {
        e->st = wn_fail(e->err, WAN_EINTERNAL, "sentencepiece could not encode a text of %zu bytes", n);
    }
}

static void normalize(struct encoder *e, const char *s, size_t n, bool at_start)
{
    if (e->tok->spm) {
        encode_spm(e, s, n);
        return;
    }
    struct wn_u32 text = {0};
    struct wn_str utf8 = {.max = SIZE_MAX / 2};
    bool cut = false;
    wn_utf8_decode(s, n, &text);
    wn_normalizer_apply(&e->tok->norm, &text, &cut);
    if (text.failed || wn_utf8_add(&utf8, text.v, text.n))
        no_memory(e, n);
    else
        split_added(e, &e->tok->normal, utf8.data, utf8.n, at_start && !cut, cut_up);
    wn_u32_release(&text);
    wn_str_release(&utf8);
}

enum wan_status wn_tokenizer_encode(const struct wn_tokenizer *tok, const char *utf8, size_t n, size_t max,
                                    int32_t **ids, size_t *n_ids, struct wn_err *err)
{
    *ids = NULL;
    *n_ids = 0;
    size_t bad = wn_utf8_check(utf8, n), around = tok->n_before + tok->n_after;
    if (bad < n) return wn_fail(err, WAN_EINVAL, "text is not UTF-8 at byte offset %zu", bad);
    if (max < around)
        return wn_fail(err, WAN_EINVAL, "%zu ids do not hold the %zu that go around a text", max, around);
    struct encoder e = {.tok = tok, .limit = tok->n_before + (max - around), .err = err};
    wn_u32_add(&e.ids, tok->before, tok->n_before);
    split_added(&e, &tok->raw, utf8, n, true, normalize);
    if (e.ids.n > e.limit) e.ids.n = e.limit;
    bool has_eos = tok->eos_once && e.ids.n && e.ids.v[e.ids.n - 1] == tok->special.eos;
    if (!has_eos) wn_u32_add(&e.ids, tok->after, tok->n_after);
    if (e.ids.failed) no_memory(&e, n);
    if (e.st) {
        wn_u32_release(&e.ids);
        return e.st;
    }
    *ids = e.ids.v;
    *n_ids = e.ids.n;
    return WAN_OK;
}

static char *added_pattern(const struct wn_tokenizer *tok, const struct wn_added_token *a, size_t *n)
{
    struct wn_u32 text = {0};
    struct wn_str utf8 = {.max = SIZE_MAX / 2};
    bool cut = false;
    wn_utf8_decode(a->content, strlen(a->content), &text);
    if (a->normalized) wn_normalizer_apply(&tok->norm, &text, &cut);
    if (text.failed || wn_utf8_add(&utf8, text.v, text.n)) wn_str_release(&utf8);
    wn_u32_release(&text);
    *n = utf8.n;
    return utf8.data;
}

static enum wan_status build_added(struct wn_tokenizer *tok, bool normalized, struct wn_key *keys,
                                   const char *path, struct wn_err *err)
{
    size_t n = 0;
    enum wan_status st = WAN_OK;
    for (size_t i = tok->n_added; i-- > 0 && !st;) { /* backwards: of equal patterns the first one counts */
        if (tok->added[i].normalized != normalized) continue;
        size_t len;
        char *s = added_pattern(tok, &tok->added[i], &len);
        if (!s)
            st = wn_fail_nomem(err, "added tokens", n);
        else if (!len)
            st = wn_fail(err, WAN_EUNSUPPORTED, "%s: of added token \"%s\" the normalizer leaves nothing",
                         path, tok->added[i].content);
        else
            keys[n++] = (struct wn_key){s, (uint32_t)len, (int32_t)i};
        if (st) wn_free(s);
    }
    if (!st && n && wn_trie_build(normalized ? &tok->normal : &tok->raw, keys, n)) {
        st = wn_fail_nomem(err, "added tokens", n);
    }
    for (size_t i = 0; i < n; i++) wn_free((char *)keys[i].s);
    return st;
}

enum wan_status wn_tokenizer_index_added(struct wn_tokenizer *tok, const char *path, struct wn_err *err)
{
    struct wn_key *keys = wn_alloc_n(tok->n_added, sizeof *keys);
    if (!keys) return wn_fail_nomem(err, "added tokens", tok->n_added);
    enum wan_status st = build_added(tok, false, keys, path, err);
    if (!st) st = build_added(tok, true, keys, path, err);
    wn_free(keys);
    return st;
}

/* What `path` is: one of the two files, or the folder of one. *file is freed with wn_free. */
static enum wan_status find_file(const char *path, char **file, struct wn_err *err)
{
    if (wn_file_kind(path) != WN_FILE_DIR) {
        *file = wn_strdup(path);
        return *file ? WAN_OK : wn_fail_nomem(err, "a path", strlen(path));
    }
    static const char *const names[] = {"tokenizer.json", "spiece.model"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        *file = wn_path_join(path, names[i]);
        if (!*file) return wn_fail_nomem(err, "a path", strlen(path));
        if (wn_file_kind(*file) == WN_FILE_REGULAR) return WAN_OK;
        wn_free(*file);
    }
    *file = NULL;
    return wn_fail(err, WAN_EIO, "%s: the folder has neither tokenizer.json nor spiece.model", path);
}

enum wan_status wn_tokenizer_open(struct wn_tokenizer **out, const char *path, struct wn_err *err)
{
    *out = NULL;
    char *file;
    enum wan_status st = find_file(path, &file, err);
    if (st) return st;
    struct wn_tokenizer *tok = wn_zalloc(sizeof *tok);
    if (!tok)
        st = wn_fail_nomem(err, "a tokenizer", sizeof *tok);
    else if (!strcmp(wn_path_ext(file), ".json"))
        st = wn_tokenizer_read_json(tok, file, err);
    else
        st = wn_tokenizer_read_spm(tok, file, err);
    wn_free(file);
    if (st)
        wn_tokenizer_close(tok);
    else
        *out = tok;
    return st;
}

void wn_tokenizer_close(struct wn_tokenizer *tok)
{
    if (!tok) return;
    for (size_t i = 0; i < tok->n_added; i++) wn_free(tok->added[i].content);
    wn_free(tok->added);
    wn_trie_release(&tok->raw);
    wn_trie_release(&tok->normal);
    wn_normalizer_release(&tok->norm);
    wn_unigram_release(&tok->model);
    wn_spm_close(tok->spm);
    wn_free(tok);
}

int32_t wn_tokenizer_vocab_size(const struct wn_tokenizer *tok)
{
    return tok->n_vocab;
}

struct wn_token_ids wn_tokenizer_special(const struct wn_tokenizer *tok)
{
    return tok->special;
}
