/* Models in the layouts for MLX compute what the official files do: whole parts and runs, to the bit where
 * the stored types are the same, on every device.
 *
 *     test_converted [PATTERN]      PATTERN such as 'cpu*'; none: all
 */
#include "../io/util.h"

#include "backend/device.h"
#include "io/checkpoint.h"
#include "pipe/parts.h"
#include "wan/parts.h"

#define MODEL(name) GOLDEN_DIR "/model/" name

static struct wan_context *ctx; /* of the device at work */

static void check(enum wan_status st)
{
    if (st) fail_msg("%s: %s", wan_status_name(st), wan_error(ctx));
}

/* ---- parts ---- */

/* `input`: a golden with the part's inputs. */
static void expect_same_part(const char *part, const char *input, const char *output, const char *expert,
                             const char *a, const char *b)
{
    static const char *const precisions[] = {"f32", "bf16"};
    const char *const model[2] = {a, b};
    char path[512];
    struct wan_tensors *in, *out[2];
    struct wan_array got[2];
    snprintf(path, sizeof path, MODEL("%s.safetensors"), input);
    check(wan_tensors_read(ctx, &in, path));
    for (int p = 0; p < 2; p++) {
        for (int i = 0; i < 2; i++) {
            check(wan_tensors_new(ctx, &out[i]));
            check(wan_part_run(
                ctx, part, wan_part_params(.model = model[i], .expert = expert, .precision = precisions[p]),
                in, out[i], NULL));
            assert_true(wan_tensors_find(out[i], output, &got[i]));
        }
        assert_int_equal(got[0].bytes, got[1].bytes);
        if (memcmp(got[0].data, got[1].data, got[0].bytes))
            fail_msg("%s of %s in %s: not the same as from %s", part, a, precisions[p], b);
        wan_tensors_free(out[0]);
        wan_tensors_free(out[1]);
    }
    wan_tensors_free(in);
}

static void folders_of_mlx(void **state)
{
    (void)state;
    expect_same_part("dit", "dit_ti2v", "v", NULL, MODEL("mlx-ti2v"), MODEL("tiny-ti2v"));
    expect_same_part("t5", "t5_40", "context", NULL, MODEL("mlx-ti2v"), MODEL("tiny-ti2v"));
    expect_same_part("vae.encode", "vae22_encode_5_16x32", "latent", NULL, MODEL("mlx-ti2v"),
                     MODEL("tiny-ti2v"));
    expect_same_part("vae.decode", "vae22_decode_2_1x2", "video", NULL, MODEL("mlx-ti2v"),
                     MODEL("tiny-ti2v"));
    expect_same_part("dit", "dit_ti2v", "v", NULL, MODEL("mlx-ti2v/wan_model_mlx.safetensors"),
                     MODEL("tiny-ti2v"));
}

/* Two experts and the VAE of Wan2.1, in both layouts. */
static void converted_experts(void **state)
{
    (void)state;
    static const char *const to[] = {"mlx", "mlx-video"};
    for (int i = 0; i < 2; i++) {
        const char *from = MODEL("tiny-i2v-a14b");
        char m[512];
        snprintf(m, sizeof m, "%s", in_scratch(to[i]));
        check(wan_convert(ctx, from, m, wan_convert_params(.to = to[i])));
        expect_same_part("dit", "dit_i2v_high", "v", "high", m, from);
        expect_same_part("dit", "dit_i2v_low", "v", "low", m, from);
        expect_same_part("vae.encode", "vae21_encode_5_8x16", "latent", NULL, m, from);
        expect_same_part("vae.decode", "vae21_decode_2_1x2", "video", NULL, m, from);
        expect_same_part("t5", "t5_7", "context", NULL, m, from);
        remove_tree(m);
    }
}

/* The tensors of a part, unpacked, in a file with official names. */
static void write_plain(const char *model, const char *name)
{
    struct wn_checkpoint ck;
    struct wn_weights *w;
    struct wn_err err = {0};
    if (wn_checkpoint_open(&ck, model, &err) || wn_checkpoint_weights(&ck, WN_PART_DIT, &w, &err))
        fail_msg("%s", err.text);
    const size_t n = wn_weights_count(w);
    struct wn_weight *t = calloc(n, sizeof *t);
    for (size_t i = 0; i < n; i++) {
        t[i] = *wn_weights_at(w, i);
        void *data = wn_alloc(t[i].bytes);
        wn_weight_read(&t[i], 0, wn_weight_n_rows(&t[i]), data);
        t[i].data = data;
        t[i].packed = NULL;
    }
    mkdir(in_scratch(name), 0755);
    char path[512], *config;
    size_t bytes;
    snprintf(path, sizeof path, "%s/model.safetensors", in_scratch(name));
    assert_int_equal(wn_safetensors_write(path, t, n, NULL, NULL), WAN_OK);
    read_file(ck.part[WN_PART_DIT].config_path, &config, &bytes);
    snprintf(path, sizeof path, "%s/config.json", in_scratch(name));
    write_file(path, config, bytes);
    for (size_t i = 0; i < n; i++) wn_free((void *)t[i].data);
    free(t);
    wn_free(config);
    wn_weights_close(w);
    wn_checkpoint_release(&ck);
}

/* Quantised: as with the weights that the groups stand for (which tests/io/test_dialect.c compares with
 * MLX's). */
static void quantised_groups(void **state)
{
    (void)state;
    char plain[512], eight[512];
    snprintf(plain, sizeof plain, "%s", in_scratch("plain"));
    snprintf(eight, sizeof eight, "%s", in_scratch("eight"));
    write_plain(MODEL("mlx-video-t2v"), "plain");
    expect_same_part("dit", "dit_main", "v", NULL, MODEL("mlx-video-t2v"), plain);
    remove_tree(plain);
    check(wan_convert(ctx, MODEL("tiny-t2v"), eight,
                      wan_convert_params(.to = "mlx", .type = "f16", .bits = 8, .group_size = 32)));
    write_plain(eight, "plain");
    expect_same_part("dit", "dit_main", "v", NULL, eight, plain);
    remove_tree(plain);
    remove_tree(eight);
}

/* ---- runs ---- */

/* The latent after a run of a few steps from the prompt, in f32. */
static void run(const char *model, const struct wan_gen_params *params, const char *path)
{
    struct wan_model *m;
    struct wan_gen_params p = *params;
    p.latents_file = path;
    check(wan_model_open(&m, ctx, model));
    check(wan_generate(m, &p, NULL));
    wan_model_free(m);
}

/* Two safetensors files with the same data; what they say of their weights differs. */
static void expect_same_data(const char *a, const char *b)
{
    char *p, *q;
    size_t n, k;
    read_file(a, &p, &n);
    read_file(b, &q, &k);
    assert_int_equal(n, k);
    uint64_t header;
    memcpy(&header, p, sizeof header);
    assert_memory_equal(p, q, sizeof header);
    assert_true(header < n - sizeof header);
    header += sizeof header;
    assert_memory_equal(p + header, q + header, n - header);
    wn_free(p);
    wn_free(q);
}

/* Experts take turns, parts rest and are made again for a second run. */
static void runs_with_experts(void **state)
{
    (void)state;
    const char *from = MODEL("tiny-t2v-a14b");
    char m[512];
    snprintf(m, sizeof m, "%s", in_scratch("runs"));
    const struct wan_gen_params *p = wan_gen_params(.prompt = "a lighthouse", .width = 48, .height = 32,
                                                    .frames = 5, .steps = 4, .seed = 3, .precision = "f32");
    check(wan_convert(ctx, from, m, wan_convert_params(.to = "mlx")));
    run(from, p, in_scratch("a.safetensors"));
    run(m, p, in_scratch("b.safetensors"));
    expect_same_data(in_scratch("a.safetensors"), in_scratch("b.safetensors"));
    struct wan_model *model;
    check(wan_model_open(&model, ctx, m));
    struct wan_gen_params again = *p;
    again.latents_file = in_scratch("c.safetensors");
    for (int i = 0; i < 2; i++) {
        check(wan_generate(model, &again, NULL));
        expect_same_data(in_scratch("a.safetensors"), in_scratch("c.safetensors"));
    }
    wan_model_free(model);
    remove_tree(m);
}

/* ---- memory ---- */

/* Bytes that the library holds more while the transformer is awake than after it rests, on a device that
 * computes or one that only plans. */
static size_t unpacked_bytes(const char *model, bool dry)
{
    struct wn_device *dev;
    struct wn_checkpoint ck;
    struct wn_parts parts;
    struct wn_dit_text *text = NULL;
    struct wn_err err = {0};
    static const float context[64];
    const float *const contexts[1] = {context};
    const int64_t n = 1;
    assert_int_equal(
        wn_device_open(&dev, &(struct wn_device_params){.name = "cpu", .n_threads = 2, .dry = dry}, &err), 0);
    assert_int_equal(wn_checkpoint_open(&ck, model, &err), 0);
    wn_parts_init(&parts, &ck, dev);
    assert_int_equal(wn_parts_dit(&parts, WN_PART_DIT, &err), 0);
    struct wn_exec ex = {.dev = dev, .precision = WN_PREC_F32};
    assert_int_equal(wn_dit_text_new(&text, &ex, parts.dit[WN_PART_DIT], 1, contexts, &n), 0);
    wn_dit_text_free(text);
    dev->table->trim(dev);
    const size_t awake = wn_mem_used();
    wn_parts_rest(&parts, WN_PART_DIT);
    const size_t asleep = wn_mem_used();
    wn_parts_release(&parts);
    wn_checkpoint_release(&ck);
    wn_device_close(dev);
    return awake - asleep;
}

/* What quantised matrices take when they are unpacked is counted, is the same in a plan, and is given back.
 */
static void memory_is_counted(void **state)
{
    (void)state;
    char m[512];
    snprintf(m, sizeof m, "%s", in_scratch("counted"));
    check(wan_convert(ctx, MODEL("tiny-t2v"), m,
                      wan_convert_params(.to = "mlx-video", .type = "bf16", .bits = 4)));
    const size_t unpacked = 2 * (size_t)(3 * (8 * 128 * 128 + 2 * 128 * 320)); /* bf16, 3 blocks */
    assert_int_equal(unpacked_bytes(m, false), unpacked);
    assert_int_equal(unpacked_bytes(m, true), unpacked);
    assert_int_equal(unpacked_bytes(MODEL("tiny-t2v"), false), 0);
    remove_tree(m);
}

static int open_device(const char *device, const char *isa)
{
    return wan_context_new(&ctx, wan_context_params(.device = device, .isa = isa, .threads = 2)) ? -1 : 0;
}

static int on_cpu(void **state)
{
    (void)state;
    return open_device("cpu", NULL);
}

static int on_ref(void **state)
{
    (void)state;
    return open_device("ref", NULL);
}

static int on_mlx(void **state)
{
    (void)state;
    return open_device("mlx", "cpu");
}

static int close_device(void **state)
{
    (void)state;
    wan_context_free(ctx);
    return 0;
}

#define ON(device, test)                                         \
    {                                                            \
#device " " #test, test, on_##device, close_device, NULL \
    }

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        ON(cpu, folders_of_mlx),    ON(cpu, converted_experts), ON(cpu, quantised_groups),
        ON(cpu, runs_with_experts), ON(cpu, memory_is_counted), ON(ref, folders_of_mlx),
        ON(ref, quantised_groups),
    };
    const struct CMUnitTest mlx[] = {
        ON(mlx, folders_of_mlx),
        ON(mlx, quantised_groups),
        ON(mlx, runs_with_experts),
    };
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    int bad = cmocka_run_group_tests(tests, make_scratch, remove_scratch);
    if (wn_device_built("mlx")) bad += cmocka_run_group_tests(mlx, make_scratch, remove_scratch);
    return bad;
}
