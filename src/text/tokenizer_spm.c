/* spiece.model: the sentencepiece library does the work, with what T5 adds around it. */
#include <string.h>

#include "base/file.h"
#include "io/json.h"
#include "text/tokenizer.h"

enum {
    MAX_MODEL = 256 << 20, /* bytes; that of UMT5 has 4.5 million */
    MAX_CONFIG = 16 << 20,
    DEFAULT_EXTRA = 100, /* transformers' */
    MAX_EXTRA = 100000,
};

/* The message format of protobuf, as much of it as finding a field takes. */
struct proto {
    const uint8_t *p, *end;
};
struct field {
    uint32_t number;
    struct proto bytes; /* of a length-delimited one, empty otherwise */
};

static bool read_varint(struct proto *m, uint64_t *v)
{
    *v = 0;
    for (int shift = 0; shift < 64 && m->p < m->end; shift += 7) {
        uint8_t b = *m->p++;
        *v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80) return true;
    }
    return false;
}

static bool skip(struct proto *m, uint64_t n)
{
    if (n > (uint64_t)(m->end - m->p)) return false;
    m->p += n;
    return true;
}

/* false at the end of the message, and where it is not one. */
static bool next_field(struct proto *m, struct field *f)
{
    uint64_t tag, v;
    if (m->p == m->end || !read_varint(m, &tag)) return false;
    f->number = (uint32_t)(tag >> 3);
    f->bytes = (struct proto){m->p, m->p};
    switch (tag & 7) {
    case 0: return read_varint(m, &v);
    case 1: return skip(m, 8);
    case 2:
        if (!read_varint(m, &v)) return false;
        f->bytes.p = m->p;
        if (!skip(m, v)) return false;
        f->bytes.end = m->p;
        return true;
    case 5: return skip(m, 4);
    default: return false;
    }
}

/* The library follows the offsets of a charsmap wherever they lead: look at them first. Fields of ModelProto:
 * 3 normalizer_spec, 5 denormalizer_spec; of both: 2 precompiled_charsmap. */
static enum wan_status check_charsmaps(const struct wn_map *map, struct wn_err *err)
{
    struct proto model = {map->data, map->data + map->size};
    struct field spec, blob;
    while (next_field(&model, &spec)) {
        if (spec.number != 3 && spec.number != 5) continue;
        while (next_field(&spec.bytes, &blob)) {
            size_t n = (size_t)(blob.bytes.end - blob.bytes.p);
            if (blob.number != 2 || !n) continue;
            struct wn_charsmap charsmap;
            enum wan_status st = wn_charsmap_open(&charsmap, blob.bytes.p, n, map->path, err);
            if (st) return st;
            wn_charsmap_close(&charsmap);
        }
    }
    if (model.p == model.end) return WAN_OK;
    return wn_fail(err, WAN_EFORMAT, "%s: not a sentencepiece model, or cut short, at byte %td", map->path,
                   model.p - map->data);
}

/* "extra_ids" of the tokenizer_config.json beside the model, if there is one. */
static enum wan_status read_n_extra(const char *path, int *n, struct wn_err *err)
{
    *n = DEFAULT_EXTRA;
    char *file = wn_sprintf("%.*stokenizer_config.json", (int)(wn_path_base(path) - path), path);
    if (!file) return wn_fail_nomem(err, "a path", strlen(path));
    enum wan_status st = WAN_OK;
    json_t *json = NULL;
    if (wn_file_kind(file) == WN_FILE_REGULAR) /* as reals: "model_max_length" is often 10^30 */
        st = wn_json_read(&json, file, MAX_CONFIG, JSON_DECODE_INT_AS_REAL, err);
    const json_t *extra = json_object_get(json, "extra_ids");
    double v = extra ? json_real_value(extra) : DEFAULT_EXTRA;
    if ((extra && !json_is_real(extra)) || !(v >= 0 && v <= MAX_EXTRA))
        st = wn_fail(err, WAN_EFORMAT, "%s: \"extra_ids\" is not a number from 0 to %d", file, MAX_EXTRA);
    else
        *n = (int)v;
    json_decref(json);
    wn_free(file);
    return st;
}

static int add_token(struct wn_tokenizer *tok, char *content, int32_t id, bool strip)
{
    if (!content) return -1;
    tok->added[tok->n_added++] = (struct wn_added_token){content, id, false, strip, strip, false};
    if (id >= tok->n_vocab) tok->n_vocab = id + 1;
    return 0;
}

/* <pad>, </s>, <unk> and <extra_id_N> in the text are tokens. Extra ids that are no pieces follow the pieces,
 * the highest number first. */
static enum wan_status add_t5_tokens(struct wn_tokenizer *tok, int n_extra, struct wn_err *err)
{
    int32_t n_pieces = wn_spm_n_pieces(tok->spm);
    tok->n_vocab = n_pieces;
    tok->special = (struct wn_token_ids){wn_spm_find(tok->spm, "<pad>"), wn_spm_find(tok->spm, "</s>"),
                                         wn_spm_unk(tok->spm)};
    tok->added = wn_zalloc_n((size_t)n_extra + 3, sizeof *tok->added);
    int bad = !tok->added;
    static const char *const names[] = {"<pad>", "</s>", "<unk>"};
    for (int i = 0; i < 3 && !bad; i++) {
        int32_t id = wn_spm_find(tok->spm, names[i]);
        if (id >= 0) bad = add_token(tok, wn_strdup(names[i]), id, false);
    }
    for (int i = 0; i < n_extra && !bad; i++) {
        char *name = wn_sprintf("<extra_id_%d>", i);
        bad = add_token(tok, name, n_pieces + n_extra - 1 - i, true);
    }
    return bad ? wn_fail_nomem(err, "added tokens", (size_t)n_extra) : WAN_OK;
}

enum wan_status wn_tokenizer_read_spm(struct wn_tokenizer *tok, const char *path, struct wn_err *err)
{
    int n_extra = 0;
    struct wn_map map;
    enum wan_status st = wn_map_open(&map, path, err);
    if (st) return st;
    if (map.size > MAX_MODEL || !map.size) {
        st = wn_fail(err, WAN_EFORMAT, "%s: %zu bytes are no sentencepiece model", path, map.size);
    } else if (!(st = check_charsmaps(&map, err)) && !(st = read_n_extra(path, &n_extra, err))) {
        char why[256] = "";
        tok->spm = wn_spm_open(map.data, map.size, why, sizeof why);
        if (!tok->spm) st = wn_fail(err, WAN_EFORMAT, "%s: sentencepiece does not take it: %s", path, why);
    }
    wn_map_close(&map);
    if (!st) st = add_t5_tokens(tok, n_extra, err);
    if (!st && tok->special.eos < 0) st = wn_fail(err, WAN_EUNSUPPORTED, "%s: no piece is \"</s>\"", path);
    if (st) return st;
    tok->after[tok->n_after++] = tok->special.eos;
    tok->eos_once = true;
    return wn_tokenizer_index_added(tok, path, err);
}
