#include "pipe/prompt.h"

#include <string.h>

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

/* Ids of the prompts, one after the other, with their offsets. */
struct tokens {
    int32_t *ids;
    int64_t seg[WN_MAX_PROMPTS + 1];
};

/* Append one prompt's ids. */
static enum wan_status tokenize(struct tokens *t, int i, const struct wn_tokenizer *tokenizer,
                                const char *prompt, int64_t text_len, struct wn_err *err)
{
    struct wn_str clean = {0};
    int32_t *ids = NULL, *all;
    size_t n = 0, before = (size_t)t->seg[i];
    if (!wn_text_clean(prompt, strlen(prompt), &clean, err))
        wn_tokenizer_encode(tokenizer, clean.data ? clean.data : "", clean.n, (size_t)text_len, &ids, &n,
                            err);
    wn_str_release(&clean);
    if (!err->code) {
        all = wn_realloc(t->ids, (before + n) * sizeof *all);
        if (all) {
            memcpy(all + before, ids, n * sizeof *ids);
            t->ids = all;
            t->seg[i + 1] = t->seg[i] + (int64_t)n;
        } else
            wn_fail_nomem(err, "the prompt's tokens", n * sizeof *all);
    }
    wn_free(ids);
    return err->code;
}

static void encode(struct wn_exec *ex, struct wn_contexts *out, const struct wn_t5 *t5,
                   const struct tokens *t, int n)
{
    struct wn_scope scope;
    wn_scope_begin(ex, &scope);
    struct wn_tensor c = wn_t5_encode(ex, t5, t->ids, t->seg, n);
    float *rows = wn_ok(ex) ? wn_alloc(wn_n_bytes(c)) : NULL;
    if (wn_ok(ex) && !rows) wn_fail_nomem(&ex->err, "the text context", wn_n_bytes(c));
    if (wn_ok(ex)) wn_download(ex, c, rows);
    wn_scope_end(ex, &scope);
    for (int i = 0; i < n && wn_ok(ex); i++) {
        out->n[i] = t->seg[i + 1] - t->seg[i];
        out->rows[i] = copy_rows(rows + t->seg[i] * out->width, out->n[i], out->width, &ex->err);
    }
    wn_free(rows);
}

enum wan_status wn_encode_prompts(struct wn_exec *ex, struct wn_contexts *out, struct wn_parts *parts,
                                  const char *const *prompt, int n, int64_t text_len)
{
    struct tokens t = {0};
    struct wn_err *err = &ex->err;
    *out = (struct wn_contexts){0};
    if (!wn_ok(ex) || wn_parts_tokenizer(parts, err) || wn_parts_t5(parts, err)) return err->code;
    out->width = wn_t5_width(parts->t5);
    for (int i = 0; i < n && wn_ok(ex); i++) tokenize(&t, i, parts->tokenizer, prompt[i], text_len, err);
    if (wn_ok(ex)) encode(ex, out, parts->t5, &t, n);
    wn_parts_rest(parts, WN_PART_T5);
    wn_free(t.ids);
    if (!wn_ok(ex)) wn_contexts_release(out);
    return err->code;
}
