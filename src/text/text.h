/* Prompts to token ids: the cleaning that the official pipelines apply to a prompt, and the UMT5 tokenizer
 * (spec/t5.md 1 and 2). */
#ifndef WN_TEXT_TEXT_H
#define WN_TEXT_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"
#include "base/status.h"

/* Append to *out what the official cleaning makes of `utf8` [n bytes]: ftfy.fix_text with its default
 * settings, html.unescape twice, whitespace runs to one space, both ends stripped. WAN_EINVAL names the byte
 * offset where `utf8` is not valid UTF-8; more than 1 MiB of it is WAN_EINVAL too. *out keeps its contents on
 * failure. */
enum wan_status wn_text_clean(const char *utf8, size_t n, struct wn_str *out, struct wn_err *err);

/* Immutable once open: one tokenizer may be used from several threads at once. */
struct wn_tokenizer;

/* `path`: a folder that holds tokenizer.json (which decides where both are there) or spiece.model, or a file
 * of either kind. tokenizer.json is read as Hugging Face tokenizers 0.21 reads it; spiece.model goes through
 * the sentencepiece library with the T5 additions (extra ids after the pieces, </s> at the end; `extra_ids`
 * of a tokenizer_config.json beside it counts, 100 without). What the file asks for and this reader does not
 * have is WAN_EUNSUPPORTED with its name. */
enum wan_status wn_tokenizer_open(struct wn_tokenizer **tok, const char *path, struct wn_err *err);
void wn_tokenizer_close(struct wn_tokenizer *tok); /* NULL is fine */

/* Ids of `utf8` [n bytes], as cleaned by wn_text_clean or raw, cut so that with what the template adds (</s>
 * at the end) there are at most `max` (512 officially). *ids is freed with wn_free (NULL when there are
 * none); no padding. */
enum wan_status wn_tokenizer_encode(const struct wn_tokenizer *tok, const char *utf8, size_t n, size_t max,
                                    int32_t **ids, size_t *n_ids, struct wn_err *err);

/* Every id is below this. */
int32_t wn_tokenizer_vocab_size(const struct wn_tokenizer *tok);
/* What `pad`, `eos` and `unk` are in this vocabulary; -1 for one that it lacks. */
struct wn_token_ids {
    int32_t pad, eos, unk;
};
struct wn_token_ids wn_tokenizer_special(const struct wn_tokenizer *tok);

#endif
