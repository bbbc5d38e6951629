/* A safetensors file whose tensors have other programs' names, orders and quantised groups. */
#include <string.h>

#include "fuzz.h"
#include "io/dialect.h"
#include "io/set.h"

/* Every row of every tensor, one at a time. */
static void read_rows(const struct wn_weights *w)
{
    unsigned sum = 0;
    for (size_t i = 0; i < wn_weights_count(w); i++) {
        const struct wn_weight *t = wn_weights_at(w, i);
        const int64_t rows = wn_weight_n_rows(t);
        size_t bytes;
        FUZZ_CHECK(wn_shape_bytes(t->type, t->n_dims, t->dim, &bytes) && bytes == t->bytes);
        FUZZ_CHECK(!t->packed == (t->data != NULL || !t->bytes));
        if (!t->bytes) continue;
        uint8_t *row = wn_alloc(t->bytes / (size_t)rows);
        for (int64_t r = 0; row && r < rows; r++) {
            wn_weight_read(t, r, 1, row);
            sum += row[0] + row[t->bytes / (size_t)rows - 1];
        }
        wn_free(row);
    }
    fuzz_sink = sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    char name[] = "/nowhere/fuzz.safetensors";
    struct wn_map map = {.data = n ? data : NULL, .size = n, .path = name};
    struct wn_weights *w;
    struct wn_err err = {0};
    fuzz_limit_memory(64 << 20);
    if (!wn_set_open_map(&w, &map, &err)) {
        if (!wn_dialect_names(w, &err) && !wn_dialect_layout(w, &err)) {
            read_rows(w);
            wn_weights_fingerprint(w);
            FUZZ_CHECK(wn_part_of_weights(w) <= WN_PART_COUNT);
        }
        wn_weights_close(w);
    }
    FUZZ_CHECK(!err.code == !err.text[0]);
    FUZZ_CHECK_FREED();
    return 0;
}
