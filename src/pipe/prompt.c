#include "pipe/prompt.h"

#include <string.h>

#include "base/digest.h"
#include "base/mem.h"

void wn_contexts_release(struct wn_contexts *c)
{
    for (int i = 0; i < WN_MAX_PROMPTS; i++) wn_free(c->rows[i]);
    *c = (struct wn_contexts){0};
}

static float *copy_rows(const float *rows, int64_t n, int64_t width, struct wn_err *err)
{
    float *copy = wn_alloc_n((size_t)n, (size_t)width * sizeof *copy);
    if (copy)
        memcpy(copy, rows, (size_t)(n * width) * sizeof *copy);
    else
        wn_fail_nomem(err, "the text context", (unsigned long long)(n * width) * sizeof *copy);
    return copy;
}

enum wan_status wn_contexts_copy(struct wn_contexts *out, const struct wn_contexts *in, struct wn_err *err)
{
    *out = (struct wn_contexts){.width = in->width};
    for (int i = 0; i < WN_MAX_PROMPTS && !err->code; i++) {
        if (!in->rows[i]) continue;
        out->n[i] = in->n[i];
        out->rows[i] = copy_rows(in->rows[i], in->n[i], in->width, err);
    }
    if (err->code) wn_contexts_release(out);
    return err->code;
}

/* ---- texts ---- */

static void text_release(struct wn_text *t)
{
    wn_free(t->ids);
    wn_free(t->rows);
    *t = (struct wn_text){0};
}

static void shrink(struct wn_texts *t, size_t n)
{
    while (t->n > n) text_release(&t->item[--t->n]);
}

void wn_texts_release(struct wn_texts *t)
{
    shrink(t, 0);
    wn_free(t->item);
    *t = (struct wn_texts){0};
}

static bool same_text(const struct wn_text *a, const struct wn_text *b)
{
    return a->n == b->n && a->width == b->width && a->precision == b->precision &&
           !memcmp(a->ids, b->ids, (size_t)a->n * sizeof *a->ids);
}

/* Where it is; t->n: not there. */
static size_t find_text(const struct wn_texts *t, const struct wn_text *text)
{
    size_t i = 0;
    while (i < t->n && !same_text(&t->item[i], text)) i++;
    return i;
}

/* Takes the text's memory in any case. */
static enum wan_status add_text(struct wn_texts *t, struct wn_text text, struct wn_err *err)
{
    if (t->n == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 4;
        struct wn_text *grown = wn_realloc(t->item, cap * sizeof *grown);
        if (!grown) {
            text_release(&text);
            return wn_fail_nomem(err, "the prompts", cap * sizeof *grown);
        }
        t->item = grown;
        t->cap = cap;
    }
    t->item[t->n++] = text;
    return WAN_OK;
}

/* ---- encoding ---- */

static enum wan_status tokenize(const struct wn_text_encoder *e, const char *text, struct wn_text *out,
                                struct wn_err *err)
{
    struct wn_str clean = {0};
    size_t n = 0;
    if (!wn_text_clean(text, strlen(text), &clean, err))
        wn_tokenizer_encode(e->parts->tokenizer, clean.data ? clean.data : "", clean.n, (size_t)e->text_len,
                            &out->ids, &n, err);
    wn_str_release(&clean);
    out->n = (int64_t)n;
    return err->code;
}

/* Add the tokens of each text that is not there yet. */
static enum wan_status add_tokens(struct wn_exec *ex, const struct wn_text_encoder *e,
                                  const char *const *text, size_t n, struct wn_texts *out, size_t *index)
{
    for (size_t i = 0; i < n && wn_ok(ex); i++) {
        struct wn_text t = {.width = e->width, .precision = ex->precision};
        if (tokenize(e, text[i], &t, &ex->err)) break;
        index[i] = find_text(out, &t);
        if (index[i] == out->n)
            add_text(out, t, &ex->err);
        else
            text_release(&t);
    }
    return ex->err.code;
}

static enum wan_status open_cache(struct wn_text_cache *cache, char encoder[32], struct wn_exec *ex,
                                  const struct wn_text_encoder *e)
{
    static const char *const names[] = {
        [WN_PREC_F32] = "f32", [WN_PREC_F32X] = "f32x", [WN_PREC_BF16] = "bf16"};
    struct wn_parts *p = e->parts;
    if (!e->cache_folder) return WAN_OK;
    if (wn_parts_weights(p, WN_PART_T5, &ex->err)) return ex->err.code;
    struct wn_digest d = {wn_weights_fingerprint(p->weights[WN_PART_T5])};
    wn_digest_hex(&d, encoder);
    strcat(strcat(encoder, " "), names[ex->precision]);
    *cache = (struct wn_text_cache){.folder = e->cache_folder,
                                    .maker = e->maker,
                                    .encoder = encoder,
                                    .max_bytes = (size_t)WN_TEXT_CACHE_MIB << 20,
                                    .log = ex->log};
    return WAN_OK;
}

/* Rows of texts that are in memory already. Returns how many have none then. */
static size_t take_known(struct wn_text *t, size_t n, const struct wn_texts *known, struct wn_err *err)
{
    size_t missing = 0;
    for (size_t i = 0; i < n && !err->code; i++) {
        size_t k = known ? find_text(known, &t[i]) : 0;
        if (known && k < known->n)
            t[i].rows = copy_rows(known->item[k].rows, t[i].n, t[i].width, err);
        else
            missing++;
    }
    return missing;
}

static enum wan_status open_encoder(const struct wn_text_encoder *e, struct wn_err *err)
{
    if (wn_parts_t5(e->parts, err)) return err->code;
    int64_t width = wn_t5_width(e->parts->t5);
    if (width == e->width) return WAN_OK;
    return wn_fail(err, WAN_EFORMAT, "%s: the text encoder is %lld wide, the transformer takes %lld",
                   wn_weights_path(e->parts->weights[WN_PART_T5]), (long long)width, (long long)e->width);
}

/* Rows of the texts that have none yet: from the folder, else from the encoder. */
static enum wan_status encode(struct wn_exec *ex, const struct wn_text_encoder *e, struct wn_text *t,
                              size_t n)
{
    struct wn_err *err = &ex->err;
    struct wn_text_cache cache = {0};
    char encoder[32];
    size_t n_new = 0;
    struct wn_t5_text *todo = wn_alloc_n(n, sizeof *todo);
    if (!todo) return wn_fail_nomem(err, "the prompts", n * sizeof *todo);
    open_cache(&cache, encoder, ex, e);
    for (size_t i = 0; i < n && wn_ok(ex); i++) {
        if (t[i].rows) continue;
        if (cache.folder && wn_text_cache_get(&cache, t[i].ids, t[i].n, t[i].width, &t[i].rows, err)) break;
        if (t[i].rows) continue;
        t[i].rows = wn_alloc_n((size_t)t[i].n, (size_t)t[i].width * sizeof *t[i].rows);
        if (!t[i].rows) wn_fail_nomem(err, "the text context", (unsigned long long)(t[i].n * t[i].width) * 4);
        todo[n_new++] = (struct wn_t5_text){t[i].ids, t[i].n, t[i].rows};
    }
    if (wn_ok(ex) && n_new && !open_encoder(e, err))
        wn_t5_encode_all(ex, e->parts->t5, todo, n_new, e->listener);
    for (size_t i = 0; i < n_new && wn_ok(ex) && cache.folder; i++)
        wn_text_cache_put(&cache, todo[i].ids, todo[i].n, e->width, todo[i].rows, err);
    wn_parts_rest(e->parts, WN_PART_T5);
    wn_free(todo);
    return err->code;
}

enum wan_status wn_encode_texts(struct wn_exec *ex, const struct wn_text_encoder *e, const char *const *text,
                                size_t n, struct wn_texts *out, size_t *index)
{
    struct wn_err *err = &ex->err;
    size_t before = out->n;
    if (!wn_ok(ex) || wn_parts_tokenizer(e->parts, err)) return err->code;
    if (!add_tokens(ex, e, text, n, out, index)) {
        struct wn_text *t = out->item + before;
        size_t n_added = out->n - before, missing = take_known(t, n_added, e->known, err);
        if (wn_ok(ex) && missing) encode(ex, e, t, n_added);
    }
    if (!wn_ok(ex)) shrink(out, before);
    return err->code;
}
