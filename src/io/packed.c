#include "io/packed.h"

#include <string.h>

#include "base/half.h"
#include "tensor/convert.h"

int64_t wn_weight_n_rows(const struct wn_weight *t)
{
    return t->n_dims ? t->dim[0] : 1;
}

size_t wn_weight_stored_bytes(const struct wn_weight *t)
{
    const struct wn_packed *p = t->packed;
    return p ? p->bytes + 2 * p->group_bytes : t->bytes;
}

int wn_weight_bits(const struct wn_weight *t)
{
    return t->packed ? t->packed->bits : 0;
}

/* ---- channels last ---- */

/* out [in, taps] of row [taps, in], elements of `size` bytes: constant in each caller, so that copies are
 * moves.
 */
static inline void transpose(const struct wn_packed *p, const uint8_t *row, uint8_t *out, size_t size)
{
    for (int64_t c = 0; c < p->n_in; c++)
        for (int64_t k = 0; k < p->n_taps; k++, out += size)
            memcpy(out, row + (size_t)(k * p->n_in + c) * size, size);
}

static void read_channels_last(const struct wn_packed *p, int64_t first, int64_t n, size_t size, uint8_t *out)
{
    const size_t row_bytes = (size_t)(p->n_in * p->n_taps) * size;
    for (int64_t r = 0; r < n; r++) {
        const uint8_t *row = (const uint8_t *)p->data + (size_t)(first + r) * row_bytes;
        uint8_t *to = out + (size_t)r * row_bytes;
        if (size == 4)
            transpose(p, row, to, 4);
        else if (size == 2)
            transpose(p, row, to, 2);
        else
            transpose(p, row, to, size);
    }
}

/* ---- groups ---- */

enum { CHUNK = 64 };

/* out[n] = scale * q + bias, where product and sum are each rounded to the type, as MLX does. */
static void dequantise(const uint8_t *q, int n, float scale, float bias, enum wn_dtype type, uint8_t *out)
{
    float v[CHUNK];
    if (type == WN_BF16) { /* what files have: a loop for the compiler to make vectors of */
        uint16_t h[CHUNK];
        for (int i = 0; i < n; i++) h[i] = wn_f32_bf16(wn_round_bf16(scale * q[i]) + bias);
        memcpy(out, h, (size_t)n * sizeof *h);
        return;
    }
    for (int i = 0; i < n; i++) v[i] = scale * q[i];
    wn_from_f32(v, type, out, n);
    wn_to_f32(out, type, v, n);
    for (int i = 0; i < n; i++) v[i] += bias;
    wn_from_f32(v, type, out, n);
}

/* The integers from element i of a row on, one to a byte. i and n are even. */
static void unpack(const uint8_t *row, int bits, int64_t i, int n, uint8_t *q)
{
    if (bits == 8) {
        memcpy(q, row + i, (size_t)n);
        return;
    }
    for (int k = 0; k < n; k += 2) {
        const uint8_t two = row[(i + k) / 2];
        q[k] = two & 15;
        q[k + 1] = two >> 4;
    }
}

static void read_row(const struct wn_packed *p, int64_t r, enum wn_dtype type, uint8_t *out)
{
    const size_t size = wn_dtype_size(type);
    const uint8_t *row = (const uint8_t *)p->data + (size_t)(r * p->n_groups * p->group * p->bits / 8);
    uint8_t q[CHUNK];
    for (int64_t g = 0; g < p->n_groups; g++) {
        float scale, bias;
        const size_t at = (size_t)(r * p->n_groups + g) * size;
        wn_to_f32((const uint8_t *)p->scales + at, type, &scale, 1);
        wn_to_f32((const uint8_t *)p->biases + at, type, &bias, 1);
        for (int64_t i = 0; i < p->group; i += CHUNK) {
            const int n = (int)(p->group - i < CHUNK ? p->group - i : CHUNK);
            unpack(row, p->bits, g * p->group + i, n, q);
            dequantise(q, n, scale, bias, type, out);
            out += (size_t)n * size;
        }
    }
}

void wn_weight_read(const struct wn_weight *t, int64_t first, int64_t n, void *out)
{
    const int64_t rows = wn_weight_n_rows(t);
    if (!n || !t->bytes) return;
    const size_t row_bytes = t->bytes / (size_t)rows;
    if (!t->packed)
        memcpy(out, (const uint8_t *)t->data + (size_t)first * row_bytes, (size_t)n * row_bytes);
    else if (t->packed->kind == WN_PACKED_CHANNELS_LAST)
        read_channels_last(t->packed, first, n, wn_dtype_size(t->type), out);
    else
        for (int64_t r = 0; r < n; r++)
            read_row(t->packed, first + r, t->type, (uint8_t *)out + (size_t)r * row_bytes);
}
