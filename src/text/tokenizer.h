/* Inside of a tokenizer, for the files that read one. */
#ifndef WN_TEXT_TOKENIZER_H
#define WN_TEXT_TOKENIZER_H

#include "text/normalizer.h"
#include "text/spm.h"
#include "text/text.h"
#include "text/unigram.h"

/* A token found in the text itself, before anything is cut up. */
struct wn_added_token {
    char *content;
    int32_t id;
    bool single_word, lstrip, rstrip; /* only between non-words; takes the white space on that side with it */
    bool normalized;                  /* looked for after the normalizer, itself normalized */
};

enum wn_pretok_kind { WN_PRETOK_WHITESPACE_SPLIT, WN_PRETOK_METASPACE };
enum wn_prepend { WN_PREPEND_ALWAYS, WN_PREPEND_FIRST, WN_PREPEND_NEVER };
struct wn_pretok_step {
    enum wn_pretok_kind kind;
    char replacement[4]; /* METASPACE: what a space becomes, UTF-8 */
    size_t n_replacement;
    enum wn_prepend prepend;
    bool split; /* cut before each replacement */
};

enum { WN_MAX_PRETOK = 16, WN_MAX_TEMPLATE = 16 };

struct wn_tokenizer {
    struct wn_added_token *added;
    size_t n_added;
    struct wn_trie raw, normal; /* contents (normalized ones in `normal`) to indices in `added` */

    struct wn_normalizer norm;
    struct wn_pretok_step pretok[WN_MAX_PRETOK];
    size_t n_pretok;
    struct wn_unigram model;
    struct wn_spm *spm; /* where set, in place of the three above */

    int32_t before[WN_MAX_TEMPLATE], after[WN_MAX_TEMPLATE]; /* ids put around the text's */
    size_t n_before, n_after;
    bool eos_once; /* a text that ends in </s> gets no second one */
    int32_t n_vocab;
    struct wn_token_ids special;
};

/* Both fill a zeroed *tok; on failure what they filled stays for wn_tokenizer_close. */
enum wan_status wn_tokenizer_read_json(struct wn_tokenizer *tok, const char *path, struct wn_err *err);
enum wan_status wn_tokenizer_read_spm(struct wn_tokenizer *tok, const char *path, struct wn_err *err);

/* Build `raw` and `normal` from `added`. */
enum wan_status wn_tokenizer_index_added(struct wn_tokenizer *tok, const char *path, struct wn_err *err);

#endif
