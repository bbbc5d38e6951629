#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "io/json.h"
#include "lib/lib.h"

struct wan_tokenizer {
    struct wn_tokenizer *tok;
};

enum { MAX_IDS = 512 }; /* official limit, </s> included */

/* A checkpoint folder names its tokenizer; anything else is handed to the tokenizer reader as it is. */
static enum wan_status open_at(struct wn_tokenizer **tok, const char *path, struct wn_err *err)
{
    struct wn_checkpoint ck;
    struct wn_err why = {0};
    if (wn_file_kind(path) != WN_FILE_DIR) return wn_tokenizer_open(tok, path, err);
    if (wn_checkpoint_open(&ck, path, &why)) {
        if (why.code == WAN_ENOMEM) return wn_fail(err, why.code, "%s", why.text);
        return wn_tokenizer_open(tok, path, err); /* no checkpoint: a tokenizer folder, or the reader says */
    }
    if (wn_checkpoint_has(&ck, WN_PART_TOKENIZER))
        wn_tokenizer_open(tok, ck.part[WN_PART_TOKENIZER].path, err);
    else
        wn_fail(err, WAN_EFORMAT,
                "%s: no tokenizer (folder google/umt5-xxl with tokenizer.json or spiece.model)", path);
    wn_checkpoint_release(&ck);
    return err->code;
}

enum wan_status wan_tokenizer_open(struct wan_context *ctx, struct wan_tokenizer **t, const char *path)
{
    struct wn_err *err = wn_enter(ctx);
    *t = wn_zalloc(sizeof **t);
    if (!*t) return wn_fail_nomem(err, "a tokenizer", sizeof **t);
    if (open_at(&(*t)->tok, path, err)) {
        wn_free(*t);
        *t = NULL;
    }
    return err->code;
}

void wan_tokenizer_free(struct wan_tokenizer *t)
{
    if (!t) return;
    wn_tokenizer_close(t->tok);
    wn_free(t);
}

enum wan_status wan_tokenizer_json(struct wan_context *ctx, const struct wan_tokenizer *t, const char *text,
                                   size_t text_bytes, char **json)
{
    struct wn_err *err = wn_enter(ctx);
    struct wn_str clean = {0}, out = {0};
    int32_t *ids = NULL;
    size_t n = 0;
    *json = NULL;
    if (wn_text_clean(text, text_bytes, &clean, err) ||
        wn_tokenizer_encode(t->tok, clean.data ? clean.data : "", clean.n, MAX_IDS, &ids, &n, err))
        goto done;
    int bad = wn_str_addf(&out, "{\"clean\": ") ||
              wn_json_add_text(&out, clean.data ? clean.data : "", clean.n) ||
              wn_str_addf(&out, ", \"ids\": [");
    for (size_t i = 0; i < n && !bad; i++) bad = wn_str_addf(&out, "%s%d", i ? ", " : "", ids[i]);
    if (bad || wn_str_addf(&out, "]}")) {
        wn_str_release(&out);
        wn_fail_nomem(err, "the token list", n * 8);
    } else
        *json = out.data;
done:
    wn_str_release(&clean);
    wn_free(ids);
    return err->code;
}
