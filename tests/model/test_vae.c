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

static struct wn_device_params where = {.name = "cpu", .n_threads = 2};

static struct wn_device *open_device(void)
{
    struct wn_err err = {0};
    struct wn_device *dev;
    wn_device_open(&dev, &where, &err);
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

/* A file with every tensor of the table, its data a hole; after them, where given, the statistics [z]. */
static struct header write_zeros(const char *path,
                                 void (*keys)(const struct wn_vae_dims *, struct wn_key_visitor),
                                 const struct wn_vae_dims *dims, const float *mean, const float *std)
{
    struct header h = {.cap = 1 << 16};
    assert_non_null(h.text = malloc(h.cap));
    keys(dims, (struct wn_key_visitor){add_key, &h});
    int64_t n_zeros = h.n_params;
    if (mean) {
        add_key(&h, "latents_mean", 1, &dims->z);
        add_key(&h, "latents_std", 1, &dims->z);
    }
    append(&h, "}");
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    for (int i = 0; i < 8; i++) fputc((int)(h.n >> 8 * i & 255), f);
    assert_int_equal(fwrite(h.text, 1, h.n, f), h.n);
    assert_int_equal(fflush(f), 0);
    assert_int_equal(ftruncate(fileno(f), (off_t)(8 + (int64_t)h.n + 4 * n_zeros)), 0);
    if (mean) {
        assert_int_equal(fseek(f, 0, SEEK_END), 0);
        assert_int_equal(fwrite(mean, sizeof *mean, (size_t)dims->z, f), dims->z);
        assert_int_equal(fwrite(std, sizeof *std, (size_t)dims->z, f), dims->z);
    }
    assert_int_equal(fclose(f), 0);
    free(h.text);
    return h;
}

/* Opened, then unlinked. */
static struct wn_weights *open_zeros(struct header *h,
                                     void (*keys)(const struct wn_vae_dims *, struct wn_key_visitor),
                                     const struct wn_vae_dims *dims, const float *mean, const float *std)
{
    struct wn_err err = {0};
    struct wn_weights *w;
    char path[] = "/tmp/wan-vae-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    *h = write_zeros(path, keys, dims, mean, std);
    wn_weights_open(&w, path, &err);
    unlink(path);
    ok(&err);
    return w;
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
    struct header h;
    struct wn_vae *vae;
    struct wn_device *dev = open_device();
    struct wn_weights *w = open_zeros(&h, s->keys, &s->dims, NULL, NULL);
    assert_true(h.n_params == s->n_params);
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

/* Statistics are known for the official number of channels only; others must be in the file, and any number
 * may be. */
static void statistics(void **state)
{
    enum { MAX_Z = 64 };
    struct size s = *(const struct size *)*state;
    struct wn_device *dev = open_device();
    float mean[MAX_Z], std[MAX_Z];
    for (int i = 0; i < MAX_Z; i++) {
        mean[i] = 0.25f * (float)(i % 5) - 0.5f;
        std[i] = 0.5f + 0.125f * (float)(i % 7);
    }
    for (int own = 0; own < 2; own++)
        for (int more = 0; more <= 16; more += 16) {
            struct size t = s;
            struct wn_err err = {0};
            struct header h;
            struct wn_vae *vae;
            t.dims.z += more;
            struct wn_weights *w = open_zeros(&h, t.keys, &t.dims, own ? mean : NULL, std);
            wn_vae_new(&vae, dev, w, &err);
            if (more && !own) {
                assert_int_equal(err.code, WAN_EFORMAT);
                assert_non_null(strstr(err.text, "'latents_mean'"));
                assert_null(vae);
            } else
                ok(&err);
            for (int64_t i = 0; vae && i < t.dims.z; i++)
                assert_int_equal(own, vae->mean[i] == mean[i] && vae->inv_std[i] == 1 / std[i]);
            wn_vae_free(vae);
            wn_weights_close(w);
        }
    wn_device_close(dev);
}

/* ---- memory of a stream ---- */

enum { LH = 3, LW = 2, CALLS = 5 };

struct tiny {
    const char *path;
    int64_t encoder, decoder; /* floats for each latent position, as docs/design.md has them */
};

/* One call of a stream: zeros in, the result dropped. */
static enum wan_status run(struct wn_device *dev, struct wn_vae_stream *s, const struct wn_vae *vae,
                           bool encode, int call)
{
    struct wn_exec ex = {.dev = dev, .precision = WN_PREC_F32};
    int64_t stride = wn_vae_stride(vae), height = LH * stride, width = LW * stride, n = call ? 4 : 1;
    float *latent = calloc((size_t)(wn_vae_z(vae) * LH * LW), sizeof *latent);
    float *video = calloc((size_t)(3 * n * height * width), sizeof *video);
    struct wn_scope scope;
    assert_true(latent && video);
    wn_scope_begin(&ex, &scope);
    if (encode)
        wn_vae_encode(&ex, s, video, n * height * width, n, height, width, latent, LH * LW);
    else
        wn_vae_decode(&ex, s, latent, LH * LW, 1, LH, LW);
    wn_scope_end(&ex, &scope);
    free(latent);
    free(video);
    dev->table->trim(dev);
    return ex.err.code;
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
    size_t before = wn_device_memory(dev).used, held[CALLS],
           want = (size_t)(per_position * LH * LW) * sizeof(float);
    wn_vae_stream_new(&s, vae, &err);
    ok(&err);
    for (int i = 0; i < CALLS; i++) {
        assert_int_equal(run(dev, s, vae, encode, i), 0);
        wn_vae_rest(vae); /* histories alone */
        held[i] = wn_device_memory(dev).used - before;
    }
    assert_true(held[1] >= want);
    if (dev->table->memory) { /* arrays of MLX may hold 16 KiB of a larger one that they are a part of */
        for (int i = 1; i < CALLS; i++) assert_true(held[i] <= 2 * want);
    } else { /* a block may be an eighth and 256 bytes larger than asked for, and has a header */
        assert_true(held[1] <= want + want / 8 + WN_VAE_MAX_SLOTS * 512);
        assert_int_equal(held[CALLS - 1], held[CALLS - 2]);
    }
    wn_vae_stream_free(s);
    dev->table->trim(dev);
    assert_int_equal(wn_device_memory(dev).used, before);
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

/* Two calls of a stream with request n of them failing; how many were made. */
static int64_t fail_at(struct wn_device *dev, const struct wn_vae *vae, bool encode, int64_t n)
{
    struct wn_err err = {0};
    struct wn_vae_stream *s;
    size_t before = wn_mem_used();
    int64_t start = wn_mem_n_requests();
    wn_mem_fail_after(n);
    enum wan_status st = wn_vae_stream_new(&s, vae, &err);
    for (int i = 0; i < 2 && !st; i++) st = run(dev, s, vae, encode, i);
    wn_mem_fail_after(-1);
    int64_t asked = wn_mem_n_requests() - start;
    assert_int_equal(st, asked > n ? WAN_ENOMEM : WAN_OK);
    wn_vae_stream_free(s);
    dev->table->trim(dev);
    assert_int_equal(wn_mem_used(), before);
    return asked;
}

static void memory_fails(void **state)
{
    const struct tiny *t = *state;
    struct wn_err err = {0};
    struct wn_weights *w;
    struct wn_vae *vae;
    struct wn_device *dev = open_device();
    wn_weights_open(&w, t->path, &err);
    ok(&err);
    wn_vae_new(&vae, dev, w, &err);
    ok(&err);
    for (int encode = 0; encode < 2; encode++) {
        int64_t all = fail_at(dev, vae, encode, INT64_MAX);
        for (int64_t n = 0; n <= all; n++) fail_at(dev, vae, encode, n);
        assert_true(all > 100);
    }
    wn_vae_free(vae);
    wn_weights_close(w);
    wn_device_close(dev);
}

static struct size size21 = {wn_vae21_keys, {96, 96, 16}, 126892531, 8},
                   size22 = {wn_vae22_keys, {160, 256, 48}, 704688668, 16};
static struct tiny tiny22 = {GOLDEN_DIR "/model/vae22_tiny.pth", 1536 + 932 * 2, 2 * 48 + 1784 * 3};

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"VAE 2.1, official size", official_size, NULL, NULL, &size21},
        {"VAE 2.2, official size", official_size, NULL, NULL, &size22},
        {"VAE 2.1, statistics", statistics, NULL, NULL, &size21},
        {"VAE 2.2, statistics", statistics, NULL, NULL, &size22},
        {"VAE 2.2, history", history_does_not_grow, NULL, NULL, &tiny22},
        {"VAE 2.2, memory that fails", memory_fails, NULL, NULL, &tiny22},
    };
    const struct CMUnitTest on_mlx[] = {
        {"VAE 2.1 on mlx, official size", official_size, NULL, NULL, &size21},
        {"VAE 2.2 on mlx, official size", official_size, NULL, NULL, &size22},
        {"VAE 2.1 on mlx, statistics", statistics, NULL, NULL, &size21},
        {"VAE 2.2 on mlx, statistics", statistics, NULL, NULL, &size22},
        {"VAE 2.2 on mlx, history", history_does_not_grow, NULL, NULL, &tiny22},
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (!wn_device_built("mlx")) return failed;
    where = (struct wn_device_params){.name = "mlx", .isa = "cpu"};
    return failed + cmocka_run_group_tests(on_mlx, NULL, NULL);
}
