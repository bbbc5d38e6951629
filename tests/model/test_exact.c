/* What is computed once or in pieces equals what is computed apart or whole: packed sequences against single
 * ones, the shared prefix of a guided step, VAE streams of any chunk length, and any number of threads to the
 * bit. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "pipe/parts.h"

#define TINY GOLDEN_DIR "/model/tiny-t2v"
#define VAE22 GOLDEN_DIR "/model/vae22_tiny.pth"

struct fixture {
    struct wn_device *dev;
    struct wn_checkpoint ck;
    struct wn_parts parts;
};

static void ok(const struct wn_err *err)
{
    if (err->code) fail_msg("%s", err->text);
}

static void open_checkpoint(struct fixture *f, const char *path, int n_threads)
{
    struct wn_err err = {0};
    wn_device_open(&f->dev, &(struct wn_device_params){.name = "cpu", .n_threads = n_threads}, &err);
    ok(&err);
    wn_checkpoint_open(&f->ck, path, &err);
    ok(&err);
    wn_parts_init(&f->parts, &f->ck, f->dev);
}

static void open_fixture(struct fixture *f, int n_threads)
{
    struct wn_err err = {0};
    open_checkpoint(f, TINY, n_threads);
    wn_parts_dit(&f->parts, WN_PART_DIT, &err);
    ok(&err);
}

static void open_vae(struct fixture *f, const char *path)
{
    struct wn_err err = {0};
    open_checkpoint(f, path, 2);
    wn_parts_vae(&f->parts, &err);
    ok(&err);
}

static void close_fixture(struct fixture *f)
{
    wn_parts_release(&f->parts);
    wn_checkpoint_release(&f->ck);
    wn_device_close(f->dev);
}

static double max_difference(const float *a, const float *b, size_t n)
{
    double worst = 0, top = 0;
    for (size_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - b[i]);
        if (!(d <= worst)) worst = d;
        top = fmax(top, fabs(b[i]));
    }
    return worst / top;
}

static float *noise(int seed, int64_t n)
{
    float *p = wn_alloc_n((size_t)n, sizeof *p);
    assert_non_null(p);
    wn_torch_randn((uint64_t)seed, p, n);
    return p;
}

enum { F = 3, H = 6, W = 10, Z = 16, N_LATENT = Z * F * H * W, TEXT = 64 };

/* Velocities of n sequences in one forward. */
static void forward(struct fixture *f, enum wn_precision precision, const struct wn_dit_sequence *seq, int n,
                    const float *const *context, const int64_t *rows, float *const *v)
{
    struct wn_exec ex = {.dev = f->dev, .precision = precision};
    struct wn_dit_grid grid;
    struct wn_dit_text *text;
    wn_dit_grid_init(&grid, &ex, f->parts.dit[WN_PART_DIT], F, H, W, 0);
    wn_dit_text_new(&text, &ex, f->parts.dit[WN_PART_DIT], n, context, rows);
    ok(&ex.err);
    wn_dit_forward(&ex, f->parts.dit[WN_PART_DIT], &grid, text, H, W, seq, n, v);
    ok(&ex.err);
    wn_dit_text_free(text);
    wn_dit_grid_release(&grid);
}

/* Two texts of different lengths; the same latent and time (shared prefix), or different ones (packed). */
static void packed_equals_single(bool shared, enum wn_precision precision)
{
    struct fixture f;
    open_fixture(&f, 2);
    float *x[2] = {noise(1, N_LATENT), noise(2, N_LATENT)},
          *c[2] = {noise(3, 13 * TEXT), noise(4, 512 * TEXT)};
    float *v[4];
    for (int i = 0; i < 4; i++) v[i] = noise(5, N_LATENT);
    const double t[2] = {700, 300};
    struct wn_dit_sequence seq[2] = {{x[0], &t[0], 1}, {x[1], &t[1], 1}};
    if (shared) seq[1] = seq[0];
    const float *context[2] = {c[0], c[1]};
    const int64_t rows[2] = {13, 512};
    forward(&f, precision, seq, 2, context, rows, v);
    for (int i = 0; i < 2; i++) forward(&f, precision, &seq[i], 1, &context[i], &rows[i], &v[2 + i]);
    for (int i = 0; i < 2; i++) assert_true(max_difference(v[i], v[2 + i], N_LATENT) <= 1e-6);
    assert_true(max_difference(v[0], v[1], N_LATENT) > 1e-3); /* the two are not the same question */
    for (int i = 0; i < 4; i++) wn_free(v[i]);
    for (int i = 0; i < 2; i++) {
        wn_free(x[i]);
        wn_free(c[i]);
    }
    close_fixture(&f);
}

static void shared_prefix(void **state)
{
    (void)state;
    packed_equals_single(true, WN_PREC_F32);
    packed_equals_single(true, WN_PREC_BF16);
}

static void packed_sequences(void **state)
{
    (void)state;
    packed_equals_single(false, WN_PREC_F32);
    packed_equals_single(false, WN_PREC_BF16);
}

/* One value for every token equals one value for all; and per-token times shared by two sequences. */
static void times_per_token(void **state)
{
    (void)state;
    struct fixture f;
    open_fixture(&f, 2);
    enum { T = F * (H / 2) * (W / 2) };
    double times[T];
    float *x = noise(1, N_LATENT), *c = noise(3, 13 * TEXT), *v[3];
    for (int i = 0; i < 3; i++) v[i] = noise(5, N_LATENT);
    const float *context[2] = {c, c};
    const int64_t rows[2] = {13, 13};
    for (int i = 0; i < T; i++) times[i] = 412;
    const struct wn_dit_sequence all = {x, times, T}, one = {x, times, 1};
    forward(&f, WN_PREC_F32, &all, 1, context, rows, &v[0]);
    forward(&f, WN_PREC_F32, &one, 1, context, rows, &v[1]);
    assert_memory_equal(v[0], v[1], N_LATENT * sizeof(float));
    for (int i = 0; i < T; i++)
        times[i] = i < T / F ? 0 : 412; /* two distinct values, as in image to video */
    const struct wn_dit_sequence both[2] = {all, all};
    forward(&f, WN_PREC_F32, &all, 1, context, rows, &v[0]);
    forward(&f, WN_PREC_F32, both, 2, context, rows, &v[1]);
    assert_true(max_difference(v[1], v[0], N_LATENT) <= 1e-6);
    assert_true(max_difference(v[2], v[0], N_LATENT) <= 1e-6);
    for (int i = 0; i < 3; i++) wn_free(v[i]);
    wn_free(x);
    wn_free(c);
    close_fixture(&f);
}

static void threads_do_not_matter(void **state)
{
    (void)state;
    float *v[3], *x = noise(1, N_LATENT), *c = noise(3, 13 * TEXT);
    const float *context[1] = {c};
    const int64_t rows[1] = {13};
    const double t = 500;
    for (int i = 0; i < 3; i++) {
        struct fixture f;
        open_fixture(&f, 1 + i);
        v[i] = noise(5, N_LATENT);
        forward(&f, WN_PREC_BF16, &(struct wn_dit_sequence){x, &t, 1}, 1, context, rows, &v[i]);
        close_fixture(&f);
        assert_memory_equal(v[i], v[0], N_LATENT * sizeof(float));
    }
    for (int i = 0; i < 3; i++) wn_free(v[i]);
    wn_free(x);
    wn_free(c);
}

enum { LF = 5, LH = 3, LW = 2, T = 4 * (LF - 1) + 1 };

/* Sizes of a clip of LF latent frames. */
struct clip {
    int64_t H, W, n_video; /* pixels; floats [3, T, H, W] */
    int64_t n_latent;      /* floats [z, LF, LH, LW] */
};

static struct clip clip_of(const struct wn_vae *vae)
{
    int64_t height = (int64_t)LH * wn_vae_stride(vae), width = (int64_t)LW * wn_vae_stride(vae);
    return (struct clip){height, width, 3 * T * height * width, wn_vae_z(vae) * LF * LH * LW};
}

/* Decode LF latent frames: the first alone, then `chunk` at a time. */
static void decode(struct fixture *f, const float *latent, int chunk, float *video)
{
    struct wn_exec ex = {.dev = f->dev, .precision = WN_PREC_F32};
    struct wn_vae_stream *s;
    struct clip c = clip_of(f->parts.vae);
    int64_t done = 0;
    wn_vae_stream_new(&s, f->parts.vae, &ex.err);
    for (int at = 0; at < LF;) {
        int n = at == 0 ? 1 : chunk < LF - at ? chunk : LF - at;
        struct wn_scope scope;
        wn_scope_begin(&ex, &scope);
        struct wn_tensor y = wn_vae_decode(&ex, s, latent + at * LH * LW, LF * LH * LW, n, LH, LW);
        ok(&ex.err);
        assert_true(y.dim[1] == c.H && y.dim[2] == c.W && y.dim[3] == 3);
        wn_download(&ex, y, video + done * c.H * c.W * 3);
        done += y.dim[0];
        wn_scope_end(&ex, &scope);
        at += n;
    }
    wn_vae_stream_free(s);
    ok(&ex.err);
    assert_int_equal(done, T);
}

/* Encode T frames: the first alone, then `chunk` latent frames' worth at a time. */
static void encode(struct fixture *f, const float *video, int chunk, float *latent)
{
    struct wn_exec ex = {.dev = f->dev, .precision = WN_PREC_F32};
    struct wn_vae_stream *s;
    struct clip c = clip_of(f->parts.vae);
    int64_t plane = T * c.H * c.W;
    wn_vae_stream_new(&s, f->parts.vae, &ex.err);
    for (int at = 0; at < LF;) {
        int n = at == 0 ? 1 : chunk < LF - at ? chunk : LF - at;
        wn_vae_encode(&ex, s, video + (at ? 4 * at - 3 : 0) * c.H * c.W, plane, at ? 4 * n : 1, c.H, c.W,
                      latent + at * LH * LW, LF * LH * LW);
        at += n;
    }
    wn_vae_stream_free(s);
    ok(&ex.err);
}

static void vae_chunks(void **state)
{
    struct fixture f;
    open_vae(&f, *state);
    struct clip c = clip_of(f.parts.vae);
    float *latent = noise(1, c.n_latent), *whole = noise(2, c.n_video), *pieces = noise(3, c.n_video);
    float *z[2] = {noise(4, c.n_latent), noise(5, c.n_latent)};
    decode(&f, latent, LF, whole);
    encode(&f, whole, LF, z[0]);
    for (int chunk = 1; chunk <= 3; chunk++) {
        decode(&f, latent, chunk, pieces);
        assert_true(max_difference(pieces, whole, (size_t)c.n_video) <= 1e-6);
        encode(&f, whole, chunk, z[1]);
        assert_true(max_difference(z[1], z[0], (size_t)c.n_latent) <= 1e-6);
    }
    wn_free(latent);
    wn_free(whole);
    wn_free(pieces);
    wn_free(z[0]);
    wn_free(z[1]);
    close_fixture(&f);
}

/* Scratch and history are given back: the memory held after a second decode is that held after the first. */
static void nothing_is_kept(void **state)
{
    size_t before = wn_mem_used(), after[2];
    struct fixture f;
    open_vae(&f, *state);
    struct clip c = clip_of(f.parts.vae);
    float *latent = noise(1, c.n_latent), *video = noise(2, c.n_video);
    for (int i = 0; i < 2; i++) {
        decode(&f, latent, 1, video);
        f.dev->table->trim(f.dev);
        after[i] = wn_mem_used();
    }
    assert_int_equal(after[0], after[1]);
    wn_free(latent);
    wn_free(video);
    close_fixture(&f);
    assert_int_equal(wn_mem_used(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shared_prefix),
        cmocka_unit_test(packed_sequences),
        cmocka_unit_test(times_per_token),
        cmocka_unit_test(threads_do_not_matter),
        {"VAE 2.1 in chunks", vae_chunks, NULL, NULL, TINY},
        {"VAE 2.2 in chunks", vae_chunks, NULL, NULL, VAE22},
        {"VAE 2.1 keeps nothing", nothing_is_kept, NULL, NULL, TINY},
        {"VAE 2.2 keeps nothing", nothing_is_kept, NULL, NULL, VAE22},
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
