/* Both VAEs at their official sizes, from the table of official names (weights of zeros that take no room),
 * and how much the streams hold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "io/keys.h"
#include "model/vae_layers.h"

static void ok(const struct wn_err *err)
{
    if (err->code) fail_msg("%s", err->text);
}

static struct wn_device *open_device(void)
{
    struct wn_err err = {0};
    struct wn_device *dev;
    wn_device_open(&dev, &(struct wn_device_params){.name = "cpu", .n_threads = 2}, &err);
    ok(&err);
    return dev;
}

/* ---- official sizes ---- */

/* The header of a safetensors file that is being written, and what it lists. */
struct header {
    char *text;
    size_t n, cap;
    int64_t n_tensors, n_params;
};

static void append(struct header *h, const char *fmt, ...) WN_PRINTF(2, 3);
static void append(struct header *h, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(h->text + h->n, h->cap - h->n, fmt, ap);
    va_end(ap);
    assert_true(n >= 0 && (size_t)n < h->cap - h->n);
    h->n += (size_t)n;
}

static void add_key(void *ctx, const char *name, int n_dims, const int64_t *dim)
{
    struct header *h = ctx;
    int64_t n = 1;
    if (n_dims < 0) return;
    append(h, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[", h->n_tensors ? "," : "{", name);
    for (int i = 0; i < n_dims; i++) {
        append(h, "%s%lld", i ? "," : "", (long long)dim[i]);
        n *= dim[i];
    }
    append(h, "],\"data_offsets\":[%lld,%lld]}", 4 * (long long)h->n_params,
           4 * (long long)(h->n_params + n));
    h->n_params += n;
    h->n_tensors++;
}

/* A file with every tensor of the table, its data a hole. */
static struct header write_zeros(const char *path,
                                 void (*keys)(const struct wn_vae_dims *, struct wn_key_visitor),
                                 const struct wn_vae_dims *dims)
{
    struct header h = {.cap = 1 << 16};
    assert_non_null(h.text = malloc(h.cap));
    keys(dims, (struct wn_key_visitor){add_key, &h});
    append(&h, "}");
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    for (int i = 0; i < 8; i++) fputc((int)(h.n >> 8 * i & 255), f);
    assert_int_equal(fwrite(h.text, 1, h.n, f), h.n);
    assert_int_equal(fflush(f), 0);
    assert_int_equal(ftruncate(fileno(f), (off_t)(8 + (int64_t)h.n + 4 * h.n_params)), 0);
    assert_int_equal(fclose(f), 0);
    free(h.text);
    return h;
}

struct size {
    void (*keys)(const struct wn_vae_dims *, struct wn_key_visitor);
    struct wn_vae_dims dims;
    int64_t n_params;
    int stride;
};

/* Opening asks for each tensor of the table once, in its shape. */
static void official_size(void **state)
{
    const struct size *s = *state;
    struct wn_err err = {0};
    struct wn_weights *w;
    struct wn_vae *vae;
    struct wn_device *dev = open_device();
    char path[] = "/tmp/wan-vae-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    struct header h = write_zeros(path, s->keys, &s->dims);
    assert_true(h.n_params == s->n_params);
    wn_weights_open(&w, path, &err);
    unlink(path);
    ok(&err);
    wn_vae_new(&vae, dev, w, &err);
    ok(&err);
    int64_t n = 0;
    for (size_t i = 0; i < vae->ld.n; i++) n += wn_n_elems(vae->ld.item[i]);
    assert_int_equal(vae->ld.n, h.n_tensors);
    assert_true(n == s->n_params);
    assert_int_equal(wn_vae_z(vae), s->dims.z);
    assert_int_equal(wn_vae_stride(vae), s->stride);
    wn_vae_free(vae);
    wn_weights_close(w);
    wn_device_close(dev);
}

/* Statistics are known for the official number of channels only. */
static void statistics_are_needed(void **state)
{
    struct size s = *(const struct size *)*state;
    struct wn_err err = {0};
    struct wn_weights *w;
    struct wn_vae *vae;
    struct wn_device *dev = open_device();
    char path[] = "/tmp/wan-vae-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    s.dims.z += 16;
    write_zeros(path, s.keys, &s.dims);
    wn_weights_open(&w, path, &err);
    unlink(path);
    ok(&err);
    assert_int_equal(wn_vae_new(&vae, dev, w, &err), WAN_EFORMAT);
    assert_non_null(strstr(err.text, "'latents_mean'"));
    assert_null(vae);
    wn_weights_close(w);
    wn_device_close(dev);
}

/* ---- memory of a stream ---- */

enum { LH = 3, LW = 2, CALLS = 5 };

struct tiny {
    const char *path;
    int64_t encoder, decoder; /* floats for each latent position, as docs/design.md has them */
};

static void run(struct wn_device *dev, struct wn_vae_stream *s, const struct wn_vae *vae, bool encode,
                int call)
{
    struct wn_exec ex = {.dev = dev, .precision = WN_PREC_F32};
    int64_t stride = wn_vae_stride(vae), H = LH * stride, W = LW * stride, T = call ? 4 : 1;
    float *latent = wn_zalloc_n((size_t)(wn_vae_z(vae) * LH * LW), sizeof *latent);
    float *video = wn_zalloc_n((size_t)(3 * T * H * W), sizeof *video);
    struct wn_scope scope;
    wn_scope_begin(&ex, &scope);
    if (encode)
        wn_vae_encode(&ex, s, video, T * H * W, T, H, W, latent, LH * LW);
    else
        wn_vae_decode(&ex, s, latent, LH * LW, 1, LH, LW);
    wn_scope_end(&ex, &scope);
    ok(&ex.err);
    wn_free(latent);
    wn_free(video);
    dev->table->trim(dev);
}

static void history(const char *path, bool encode, int64_t per_position)
{
    struct wn_err err = {0};
    struct wn_weights *w;
    struct wn_vae *vae;
    struct wn_vae_stream *s;
    struct wn_device *dev = open_device();
    wn_weights_open(&w, path, &err);
    ok(&err);
    wn_vae_new(&vae, dev, w, &err);
    ok(&err);
    size_t before = wn_mem_used(), held[CALLS], want = (size_t)(per_position * LH * LW) * sizeof(float);
    wn_vae_stream_new(&s, vae, &err);
    ok(&err);
    for (int i = 0; i < CALLS; i++) {
        run(dev, s, vae, encode, i);
        held[i] = wn_mem_used() - before;
    }
    /* A block may be an eighth and 256 bytes larger than asked for, and has a header. */
    assert_true(held[1] >= want && held[1] <= want + want / 8 + MAX_SLOTS * 512);
    assert_int_equal(held[CALLS - 1], held[CALLS - 2]);
    wn_vae_stream_free(s);
    dev->table->trim(dev);
    assert_int_equal(wn_mem_used(), before);
    wn_vae_free(vae);
    wn_weights_close(w);
    wn_device_close(dev);
}

static void history_does_not_grow(void **state)
{
    const struct tiny *t = *state;
    history(t->path, true, t->encoder);
    history(t->path, false, t->decoder);
}

static struct size size21 = {wn_vae21_keys, {96, 96, 16}, 126892531, 8},
                   size22 = {wn_vae22_keys, {160, 256, 48}, 704688668, 16};
static struct tiny tiny22 = {GOLDEN_DIR "/model/vae22_tiny.pth", 1536 + 932 * 2, 2 * 48 + 1784 * 3};

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"VAE 2.1, official size", official_size, NULL, NULL, &size21},
        {"VAE 2.2, official size", official_size, NULL, NULL, &size22},
        {"VAE 2.1, statistics", statistics_are_needed, NULL, NULL, &size21},
        {"VAE 2.2, statistics", statistics_are_needed, NULL, NULL, &size22},
        {"VAE 2.2, history", history_does_not_grow, NULL, NULL, &tiny22},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
