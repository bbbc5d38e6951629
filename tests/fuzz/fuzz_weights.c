#include "fuzz_weights.h"

#include <string.h>

#include "fuzz.h"
#include "io/checkpoint.h"
#include "io/config.h"
#include "io/set.h"
#include "io/weights.h"

static void read_tensors(const struct wn_weights *w)
{
    unsigned sum = 0;
    for (size_t i = 0; i < wn_weights_count(w); i++) {
        const struct wn_weight *t = wn_weights_at(w, i);
        size_t bytes;
        FUZZ_CHECK(wn_weights_find(w, t->name) == t);
        FUZZ_CHECK(!i || strcmp(wn_weights_at(w, i - 1)->name, t->name) < 0);
        FUZZ_CHECK(t->n_dims >= 0 && t->n_dims <= WN_MAX_DIMS);
        FUZZ_CHECK(wn_shape_bytes(t->type, t->n_dims, t->dim, &bytes) && bytes == t->bytes);
        const unsigned char *p = t->data;
        for (size_t k = 0; k < t->bytes; k++) sum += p[k];
    }
    fuzz_sink = sum;
}

/* w, or NULL where the reader failed with `st`. */
static void check(struct wn_weights *w, enum wan_status st, const struct wn_err *said)
{
    FUZZ_CHECK(st == said->code && !st == !!w);
    if (st) {
        FUZZ_CHECK(said->text[0]);
        return;
    }
    read_tensors(w);
    static struct wn_dit_config config;
    struct wn_problems problems = {0};
    struct wn_err err = {0};
    enum wn_part part = wn_part_of_weights(w);
    bool known = part == WN_PART_DIT && !wn_dit_config_derive(&config, w, &err);
    if (part != WN_PART_COUNT && (part != WN_PART_DIT || known))
        wn_part_check(part, w, known ? &config : NULL, &problems, &err);
    wn_vae_kind_of(w);
    wn_weights_metadata(w, "format");
    wn_problems_release(&problems);
    wn_weights_close(w);
}

void fuzz_weights(const char *path)
{
    struct wn_weights *w;
    struct wn_err err = {0};
    enum wan_status st = wn_weights_open(&w, path, &err);
    check(w, st, &err);
}

void fuzz_weights_in_memory(char *name, const uint8_t *data, size_t n)
{
    struct wn_map map = {.data = n ? data : NULL, .size = n, .path = name};
    struct wn_weights *w;
    struct wn_err err = {0};
    enum wan_status st = wn_set_open_map(&w, &map, &err);
    check(w, st, &err);
}
