/* A number that is not finite stops a run, and the sentence says where it came from: one weight of a part is
 * made bad, and the step and block are named. */
#include <math.h>

#include "io/weights.h"
#include "util.h"

struct spoiled {
    const char *from;   /* the part's file */
    const char *tensor; /* of which all elements (zero) or one (else) become */
    float value;        /* this */
    const char *want;   /* the sentence */
    enum { DIT, T5, VAE } part;
};

static uint16_t half_bits(enum wn_dtype type, float v)
{
    if (v == 0) return 0;
    bool nan = isnan(v);
    return type == WN_BF16 ? (nan ? 0x7fc0 : 0x7f80) : (nan ? 0x7e00 : 0x7c00);
}

static void set_value(void *data, enum wn_dtype type, size_t i, float v)
{
    if (type == WN_F32) {
        ((float *)data)[i] = v;
        return;
    }
    assert_true(type == WN_BF16 || type == WN_F16);
    ((uint16_t *)data)[i] = half_bits(type, v);
}

/* The file with `tensor` changed, as safetensors at `path`. */
static void spoil(const struct spoiled *s, const char *path)
{
    struct wn_err err = {0};
    struct wn_weights *w;
    void *changed = NULL;
    assert_int_equal(wn_weights_open(&w, s->from, &err), WAN_OK);
    size_t n = wn_weights_count(w);
    struct wn_weight *t = calloc(n, sizeof *t);
    assert_non_null(t);
    for (size_t i = 0; i < n; i++) {
        t[i] = *wn_weights_at(w, i);
        if (strcmp(t[i].name, s->tensor)) continue;
        assert_non_null(changed = malloc(t[i].bytes));
        memcpy(changed, t[i].data, t[i].bytes);
        size_t elems = t[i].bytes / (t[i].type == WN_F32 ? 4 : 2);
        for (size_t k = s->value == 0 ? 0 : elems / 2; k < (s->value == 0 ? elems : elems / 2 + 1); k++)
            set_value(changed, t[i].type, k, s->value);
        t[i].data = changed;
    }
    if (!changed) fail_msg("%s: no tensor '%s'", s->from, s->tensor);
    if (wn_safetensors_write(path, t, n, NULL, &err)) fail_msg("%s", err.text);
    free(changed);
    free(t);
    wn_weights_close(w);
}

static void copy_config(void)
{
    char *config;
    size_t n;
    assert_int_equal(wn_file_read(SHAPES "/config.json", 1 << 16, &config, &n, NULL), WAN_OK);
    FILE *f = fopen(in_dir("config.json"), "w");
    assert_non_null(f);
    assert_int_equal(fwrite(config, 1, n, f), n);
    fclose(f);
    wn_free(config);
}

static int drop(void *user, int index, const uint8_t *rgb)
{
    (void)user, (void)index, (void)rgb;
    return 0;
}

static enum wan_status run(struct wan_context *ctx, const struct wan_model_params *mp,
                           const struct wan_gen_params *p)
{
    struct wan_model *m = NULL;
    struct wan_session *s = NULL;
    enum wan_status st = wan_model_open_parts(&m, ctx, mp);
    if (!st) st = wan_session_new(&s, m, p);
    while (!st && wan_session_steps_done(s) < wan_session_n_steps(s)) st = wan_session_step(s);
    if (!st) st = wan_session_decode(s, drop, NULL);
    wan_session_free(s);
    wan_model_free(m);
    return st;
}

static void stops(const struct wan_model_params *mp, const struct wan_gen_params *p, const char *want)
{
    struct wan_context *ctx;
    assert_int_equal(wan_context_new(&ctx, wan_context_params(.device = "cpu", .threads = 2)), WAN_OK);
    enum wan_status st = run(ctx, mp, p);
    if (want ? st != WAN_ENUMERIC || strcmp(wan_error(ctx), want) : st != WAN_OK)
        fail_msg("wanted '%s', got %s: %s", want ? want : "", wan_status_name(st), wan_error(ctx));
    wan_context_free(ctx);
}

static void spoiled_part(void **state)
{
    const struct spoiled *s = *state;
    assert_int_equal(empty_dir(), 0);
    spoil(s, in_dir("bad.safetensors"));
    copy_config();
    char bad[256];
    strcpy(bad, in_dir("bad.safetensors"));
    struct wan_model_params mp = {.size = sizeof mp,
                                  .path = SHAPES,
                                  .t5 = SHAPES "/models_t5_umt5-xxl-enc-bf16.pth",
                                  .vae = SHAPES "/Wan2.1_VAE.pth",
                                  .tokenizer = SHAPES "/google/umt5-xxl"};
    struct wan_gen_params p = {WAN_GEN_PARAMS_INIT, .prompt = "a kite", .width = 32, .height = 32,
                               .frames = 5,         .steps = 2,         .seed = 3};
    stops(&mp, &p, NULL);
    *(s->part == DIT ? &mp.path : s->part == T5 ? &mp.t5 : &mp.vae) = bad;
    stops(&mp, &p, s->want);
    p.guidance_low = 1;
    stops(&mp, &p, s->want);
}

/* From noise that is zero, a transformer whose head is zero goes nowhere. */
static void nothing_at_all(void **state)
{
    (void)state;
    assert_int_equal(empty_dir(), 0);
    struct spoiled weight = {SHAPES "/diffusion_pytorch_model.safetensors", "head.head.weight", 0, NULL, DIT};
    spoil(&weight, in_dir("half.safetensors"));
    char half[256], bad[256], noise[256];
    strcpy(half, in_dir("half.safetensors"));
    strcpy(bad, in_dir("bad.safetensors"));
    strcpy(noise, in_dir("noise.safetensors"));
    struct spoiled bias = {half, "head.head.bias", 0, NULL, DIT};
    spoil(&bias, bad);
    copy_config();
    static const float zeros[16 * 2 * 4 * 4];
    struct wn_weight w = {.name = "noise",
                          .type = WN_F32,
                          .n_dims = 4,
                          .dim = {16, 2, 4, 4},
                          .data = zeros,
                          .bytes = sizeof zeros};
    assert_int_equal(wn_safetensors_write(noise, &w, 1, NULL, NULL), WAN_OK);
    struct wan_model_params mp = {.size = sizeof mp,
                                  .path = bad,
                                  .t5 = SHAPES "/models_t5_umt5-xxl-enc-bf16.pth",
                                  .tokenizer = SHAPES "/google/umt5-xxl"};
    stops(&mp,
          wan_gen_params(.prompt = "a kite", .width = 32, .height = 32, .frames = 5, .steps = 2,
                         .noise_file = noise),
          "step 1 of 2 gave latents that are all zero; it begins in the transformer, head");
}

static void spoiled_image_encoder(void **state)
{
    const struct spoiled *s = *state;
    assert_int_equal(empty_dir(), 0);
    spoil(s, in_dir("bad.safetensors"));
    char bad[256];
    strcpy(bad, in_dir("bad.safetensors"));
    struct wan_model_params mp = {.size = sizeof mp, .path = GOLDEN_DIR "/model/tiny-ti2v", .vae = bad};
    stops(&mp,
          wan_gen_params(.image = PICTURE, .context_file = GOLDEN("pipeline_ti2v_image"), .width = 64,
                         .height = 32, .frames = 5, .steps = 1, .seed = 1),
          s->want);
}

int main(void)
{
#define DIT_FILE SHAPES "/diffusion_pytorch_model.safetensors"
#define T5_FILE SHAPES "/models_t5_umt5-xxl-enc-bf16.pth"
#define VAE_FILE SHAPES "/Wan2.1_VAE.pth"
#define STEP "step 1 of 2 gave a latent that is not a finite number; it begins in the transformer, "
#define TEXT \
    "the prompt's context holds a number that is not a finite number; it begins in the text encoder, "
#define FRAME " holds a number that is not a finite number; it begins in the VAE's decoder, "
    static struct spoiled parts[] = {
        {DIT_FILE, "blocks.2.ffn.0.weight", NAN, STEP "block 3 of 4", DIT},
        {DIT_FILE, "blocks.0.cross_attn.k.weight", INFINITY, STEP "block 1 of 4", DIT},
        {DIT_FILE, "head.head.bias", NAN, STEP "head", DIT},
        {DIT_FILE, "time_embedding.0.weight", NAN, STEP "time", DIT},
        {T5_FILE, "blocks.1.ffn.fc2.weight", INFINITY, TEXT "block 2 of 2", T5},
        {VAE_FILE, "decoder.upsamples.5.residual.2.bias", NAN, "frame 1" FRAME "upsamples.5", VAE},
        {VAE_FILE, "decoder.head.2.weight", INFINITY, "frame 1" FRAME "head", VAE},
        {VAE_FILE, "decoder.upsamples.3.time_conv.bias", NAN, "frame 4" FRAME "upsamples.3", VAE},
    };
    static struct spoiled image = {VAE22, "encoder.middle.0.residual.2.bias", NAN,
                                   "the image's latents hold a number that is not a finite number; it begins "
                                   "in the VAE's encoder, middle.0",
                                   VAE};
    const struct CMUnitTest tests[] = {
        {"NaN in the feed-forward", spoiled_part, NULL, NULL, &parts[0]},
        {"infinity in the cross attention", spoiled_part, NULL, NULL, &parts[1]},
        {"NaN in the head", spoiled_part, NULL, NULL, &parts[2]},
        {"NaN in the time embedding", spoiled_part, NULL, NULL, &parts[3]},
        {"infinity in the text encoder", spoiled_part, NULL, NULL, &parts[4]},
        {"NaN in the VAE", spoiled_part, NULL, NULL, &parts[5]},
        {"infinity in the VAE's head", spoiled_part, NULL, NULL, &parts[6]},
        {"NaN in a later frame of the VAE", spoiled_part, NULL, NULL, &parts[7]},
        {"NaN in the VAE's encoder", spoiled_image_encoder, NULL, NULL, &image},
        cmocka_unit_test(nothing_at_all),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
