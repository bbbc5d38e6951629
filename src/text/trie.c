#include "text/trie.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* A key with what sorting looks at first close by. */
struct item {
    uint64_t head; /* first 8 bytes, big-endian, zeros after the end */
    const char *s;
    uint32_t n, order;
};

static int by_bytes(const void *pa, const void *pb)
{
    const struct item *a = pa, *b = pb;
    if (a->head != b->head) return a->head < b->head ? -1 : 1;
    size_t n = a->n < b->n ? a->n : b->n;
    int c = n > 8 ? memcmp(a->s + 8, b->s + 8, n - 8) : 0;
    if (c) return c;
    if (a->n != b->n) return a->n < b->n ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

static struct item make_item(const struct wn_key *key, size_t order)
{
    uint8_t head[8] = {0};
    memcpy(head, key->s, key->n < 8 ? key->n : 8);
    uint64_t h = 0;
    for (int i = 0; i < 8; i++) h = h << 8 | head[i];
    return (struct item){h, key->s, key->n, (uint32_t)order};
}

/* While building: node i stands for the sorted keys [lo[i], hi[i]). */
struct build {
    struct wn_trie *t;
    uint32_t *lo, *hi;
    size_t cap;
};

static int grow_array(void *p, size_t n, size_t size)
{
    void **array = p, *grown = wn_realloc(*array, wn_size_mul(n, size));
    if (!grown) return -1;
    *array = grown;
    return 0;
}

static int add_node(struct build *b, uint8_t label, size_t lo, size_t hi)
{
    struct wn_trie *t = b->t;
    if (t->n + (size_t)1 >= b->cap) { /* `first` has one more */
        size_t cap = b->cap ? 2 * b->cap : 64;
        if (cap > UINT32_MAX || grow_array(&t->label, cap, sizeof *t->label) ||
            grow_array(&t->first, cap, sizeof *t->first) || grow_array(&t->value, cap, sizeof *t->value) ||
            grow_array(&b->lo, cap, sizeof *b->lo) || grow_array(&b->hi, cap, sizeof *b->hi)) {
            return -1;
        }
        b->cap = cap;
    }
    t->label[t->n] = label;
    t->value[t->n] = -1;
    b->lo[t->n] = (uint32_t)lo;
    b->hi[t->n] = (uint32_t)hi;
    t->n++;
    return 0;
}

/* All keys of node i share their first `depth` bytes. */
static int add_children(struct build *b, uint32_t i, uint32_t depth, const struct item *items,
                        const struct wn_key *keys)
{
    size_t k = b->lo[i], hi = b->hi[i];
    for (; k < hi && items[k].n == depth; k++) b->t->value[i] = keys[items[k].order].value;
    b->t->first[i] = b->t->n;
    while (k < hi) {
        char c = items[k].s[depth];
        size_t end = k + 1;
        while (end < hi && items[end].s[depth] == c) end++;
        if (add_node(b, (uint8_t)c, k, end)) return -1;
        k = end;
    }
    return 0;
}

static int build_nodes(struct build *b, const struct item *items, const struct wn_key *keys, size_t n)
{
    if (add_node(b, 0, 0, n)) return -1;
    uint32_t done = 0;
    for (uint32_t depth = 0; done < b->t->n; depth++) {
        for (uint32_t end = b->t->n; done < end; done++) {
            if (add_children(b, done, depth, items, keys)) return -1;
        }
    }
    b->t->first[b->t->n] = b->t->n;
    return 0;
}

/* Keys come from anywhere in memory; in sorted order in one block they are read as a stream. */
static char *pool_keys(struct item *items, size_t n)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) bytes = wn_size_add(bytes, items[i].n);
    char *pool = wn_alloc(bytes), *p = pool;
    for (size_t i = 0; pool && i < n; i++) {
        if (items[i].n) memcpy(p, items[i].s, items[i].n);
        items[i].s = p;
        p += items[i].n;
    }
    return pool;
}

int wn_trie_build(struct wn_trie *t, const struct wn_key *keys, size_t n)
{
    *t = (struct wn_trie){0};
    struct build b = {.t = t};
    struct item *items = n < UINT32_MAX ? wn_alloc_n(n, sizeof *items) : NULL;
    char *pool = NULL;
    int rc = -1;
    if (items) {
        for (size_t i = 0; i < n; i++) items[i] = make_item(&keys[i], i);
        qsort(items, n, sizeof *items, by_bytes);
        pool = pool_keys(items, n);
    }
    if (pool) rc = build_nodes(&b, items, keys, n);
    wn_free(pool);
    wn_free(items);
    wn_free(b.lo);
    wn_free(b.hi);
    if (rc) wn_trie_release(t);
    return rc;
}

void wn_trie_release(struct wn_trie *t)
{
    wn_free(t->label);
    wn_free(t->first);
    wn_free(t->value);
    *t = (struct wn_trie){0};
}

uint32_t wn_trie_step(const struct wn_trie *t, uint32_t at, char byte)
{
    uint32_t first = t->first[at], n = t->first[at + 1] - first;
    const uint8_t *found = n ? memchr(t->label + first, (uint8_t)byte, n) : NULL;
    return found ? (uint32_t)(found - t->label) : 0;
}

int32_t wn_trie_find(const struct wn_trie *t, const char *s, size_t n)
{
    uint32_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (!(at = wn_trie_step(t, at, s[i]))) return -1;
    }
    return t->value[at];
}
