/* A static trie from byte strings to non-negative numbers. */
#ifndef WN_TEXT_TRIE_H
#define WN_TEXT_TRIE_H

#include <stddef.h>
#include <stdint.h>

struct wn_key {
    const char *s;
    uint32_t n;
    int32_t value;
};

/* Nodes in breadth-first order: the children of node i are first[i] to first[i + 1], sorted by label. Node 0
 * is the root. */
struct wn_trie {
    uint8_t *label;
    uint32_t *first;
    int32_t *value; /* -1: no key ends here */
    uint32_t n;
};

/* Of equal keys the last one counts. Keys are not kept. -1 when out of memory. */
int wn_trie_build(struct wn_trie *t, const struct wn_key *keys, size_t n);
void wn_trie_release(struct wn_trie *t); /* fine on a zeroed one */

/* From node `at` along `byte`: the next node, 0 for none. */
uint32_t wn_trie_step(const struct wn_trie *t, uint32_t at, char byte);
int32_t wn_trie_find(const struct wn_trie *t, const char *s, size_t n); /* -1: not a key */

#endif
