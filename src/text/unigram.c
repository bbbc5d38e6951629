#include "text/unigram.h"

#include <stdio.h>

static const double unk_penalty = 10.0;

enum wan_status wn_unigram_build(struct wn_unigram *m, const struct wn_key *keys, double *scores, size_t n,
                                 struct wn_err *err)
{
    m->score = scores;
    m->n = n;
    double low = n ? scores[0] : 0;
    for (size_t i = 1; i < n; i++) low = scores[i] < low ? scores[i] : low;
    m->unk_score = low - unk_penalty;
    if (wn_trie_build(&m->trie, keys, n)) return wn_fail_nomem(err, "a vocabulary", n);
    for (unsigned b = 0; b < 256; b++) {
        char piece[8];
        int len = snprintf(piece, sizeof piece, "<0x%02X>", b);
        m->byte_id[b] = wn_trie_find(&m->trie, piece, (size_t)len);
    }
    return WAN_OK;
}

void wn_unigram_release(struct wn_unigram *m)
{
    wn_trie_release(&m->trie);
    wn_free(m->score);
    *m = (struct wn_unigram){0};
}

/* The best way to cover the text up to some byte: its last piece, and what all its pieces score. */
struct node {
    double score;
    uint32_t start; /* of the last piece; NO_PATH: no way known */
    uint32_t next;  /* on the best path: where the piece that starts here ends */
    int32_t id;
};
static const uint32_t NO_PATH = UINT32_MAX;

static void offer(struct node *node, double score, size_t start, int32_t id)
{
    /* the first of equals stays, as in the original: sums in the same order, so that ties fall alike */
    if (node->start != NO_PATH && !(score > node->score)) return;
    *node = (struct node){score, (uint32_t)start, 0, id};
}

/* best[n + 1]; false when a character is no piece and there is no id for that. */
static bool search(const struct wn_unigram *m, const char *s, size_t n, struct node *best)
{
    for (size_t i = 0; i <= n; i++) best[i] = (struct node){0, NO_PATH, 0, -1};
    for (size_t i = 0, len; i < n; i += len) {
        double here = best[i].score;
        bool single = false;
        len = wn_utf8_len(s[i]);
        uint32_t at = 0;
        for (size_t k = i; k < n && (at = wn_trie_step(&m->trie, at, s[k])); k++) {
            int32_t id = m->trie.value[at];
            if (id < 0) continue;
            offer(&best[k + 1], m->score[id] + here, i, id);
            single |= k + 1 - i == len;
        }
        if (single) continue;
        if (m->unk < 0) return false;
        offer(&best[i + len], m->unk_score + here, i, m->unk);
    }
    return true;
}

/* A run of unknown characters is one token: its piece if it happens to be one, its bytes, or the unknown id.
 */
static void put_unknown(const struct wn_unigram *m, const char *s, size_t n, struct wn_u32 *ids)
{
    int32_t id = wn_trie_find(&m->trie, s, n);
    bool bytes = id < 0 && m->byte_fallback;
    for (size_t i = 0; i < n; i++) bytes = bytes && m->byte_id[(uint8_t)s[i]] >= 0;
    for (size_t i = 0; bytes && i < n; i++) wn_u32_put(ids, m->byte_id[(uint8_t)s[i]]);
    if (!bytes) wn_u32_put(ids, id < 0 ? m->unk : id);
}

static void put_path(const struct wn_unigram *m, const char *s, size_t n, struct node *best,
                     struct wn_u32 *ids)
{
    for (size_t end = n; end > 0; end = best[end].start) best[best[end].start].next = (uint32_t)end;
    for (size_t i = 0, end; i < n; i = end) {
        end = best[i].next;
        if (best[end].id != m->unk) {
            wn_u32_put(ids, best[end].id);
            continue;
        }
        while (end < n && best[best[end].next].id == m->unk) end = best[end].next;
        put_unknown(m, s + i, end - i, ids);
    }
}

enum wan_status wn_unigram_encode(const struct wn_unigram *m, const char *s, size_t n, struct wn_u32 *ids,
                                  struct wn_err *err)
{
    if (!n) return WAN_OK;
    struct node *best = n < NO_PATH - 1 ? wn_alloc_n(n + 1, sizeof *best) : NULL;
    if (!best) return wn_fail_nomem(err, "a segmentation", n);
    enum wan_status st = WAN_OK;
    if (search(m, s, n, best))
        put_path(m, s, n, best, ids);
    else
        st = wn_fail(err, WAN_EINVAL,
                     "the text has a character that the vocabulary lacks, and there is no unknown id");
    wn_free(best);
    if (!st && ids->failed) st = wn_fail_nomem(err, "token ids", n);
    return st;
}
