/* Configuration, key tables and checkpoint folders. Full-size models are files with a header and a hole for
 * data. */
#include "io/json.h"
#include "io/checkpoint.h"
#include "io/keys.h"
#include "util.h"

#define TINY GOLDEN_DIR "/model/tiny-t2v"

/* ---- model files without data ---- */

struct header {
    struct wn_str json;
    uint64_t bytes; /* of data so far */
    enum wn_dtype type;
    const char *prefix;
    const char *skip;    /* leave this tensor out */
    const char *reshape; /* give this one an extent more in its first dimension */
    const char *retype;  /* and this one type I64 */
    const char *title;   /* metadata "modelspec.title" */
};

static void add_key(void *ctx, const char *name, int n_dims, const int64_t *dim)
{
    struct header *h = ctx;
    if (n_dims < 0 || (h->skip && !strcmp(name, h->skip))) return;
    const enum wn_dtype type = h->retype && !strcmp(name, h->retype) ? WN_I64 : h->type;
    uint64_t bytes = wn_dtype_size(type);
    assert_int_equal(wn_str_addf(&h->json, "%s\"%s%s\":{\"dtype\":\"%s\",\"shape\":[",
                                 h->json.n > 1 ? "," : "", h->prefix ? h->prefix : "", name,
                                 wn_dtype_name(type)),
                     0);
    for (int i = 0; i < n_dims; i++) {
        const int64_t d = dim[i] + (i == 0 && h->reshape && !strcmp(name, h->reshape));
        bytes *= (uint64_t)d;
        assert_int_equal(wn_str_addf(&h->json, "%s%lld", i ? "," : "", (long long)d), 0);
    }
    assert_int_equal(wn_str_addf(&h->json, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)h->bytes,
                                 (unsigned long long)(h->bytes + bytes)),
                     0);
    h->bytes += bytes;
}

static struct wn_key_visitor begin(struct header *h)
{
    if (!h->type) h->type = WN_BF16;
    assert_int_equal(wn_str_add(&h->json, "{", 1), 0);
    if (h->title)
        assert_int_equal(wn_str_addf(&h->json, "\"__metadata__\":{\"modelspec.title\":\"%s\"}", h->title), 0);
    return (struct wn_key_visitor){add_key, h};
}

/* The header, and a hole as large as the data. */
static void end(struct header *h, const char *path)
{
    struct wn_str s = {0};
    put(&s, h->json.n + 1, 8);
    assert_int_equal(wn_str_addf(&s, "%s}", h->json.data), 0);
    write_file(path, s.data, s.n);
    assert_int_equal(truncate(path, (off_t)(s.n + h->bytes)), 0);
    wn_str_release(&s);
    wn_str_release(&h->json);
}

static void write_dit(const char *path, const struct wn_dit_config *c, struct header h)
{
    wn_dit_keys(c, begin(&h));
    end(&h, path);
}

static void write_config(const char *path, const struct wn_dit_config *c)
{
    char text[1024];
    snprintf(text, sizeof text,
             "{\"_class_name\":\"WanModel\",\"dim\":%lld,\"eps\":1e-06,\"ffn_dim\":%lld,\"freq_dim\":%lld,"
             "\"in_dim\":%lld,\"model_type\":\"%s\",\"num_heads\":%d,\"num_layers\":%d,\"out_dim\":%lld,"
             "\"text_len\":%lld}",
             (long long)c->dim, (long long)c->ffn_dim, (long long)c->freq_dim, (long long)c->in_dim,
             c->model_type, c->n_heads, c->n_layers, (long long)c->out_dim, (long long)c->text_len);
    write_text(path, text);
}

#define COMMON .freq_dim = 256, .text_len = 512, .text_dim = 4096, .eps = 1e-6f
static const struct wn_dit_config t2v_1_3b = {.model_type = "t2v",
                                              .dim = 1536,
                                              .ffn_dim = 8960,
                                              .in_dim = 16,
                                              .out_dim = 16,
                                              .n_heads = 12,
                                              .n_layers = 30,
                                              COMMON};
static const struct wn_dit_config t2v_14b = {.model_type = "t2v",
                                             .dim = 5120,
                                             .ffn_dim = 13824,
                                             .in_dim = 16,
                                             .out_dim = 16,
                                             .n_heads = 40,
                                             .n_layers = 40,
                                             COMMON};
static const struct wn_dit_config ti2v_5b = {.model_type = "ti2v",
                                             .dim = 3072,
                                             .ffn_dim = 14336,
                                             .in_dim = 48,
                                             .out_dim = 48,
                                             .n_heads = 24,
                                             .n_layers = 30,
                                             COMMON};
static const struct wn_dit_config small = {.model_type = "t2v",
                                           .dim = 256,
                                           .ffn_dim = 320,
                                           .in_dim = 16,
                                           .out_dim = 16,
                                           .n_heads = 2,
                                           .n_layers = 2,
                                           .freq_dim = 64,
                                           .text_len = 512,
                                           .text_dim = 48,
                                           .eps = 1e-6f};

/* ---- totals (spec/wan.md 1.5) ---- */

static void count_key(void *ctx, const char *name, int n_dims, const int64_t *dim)
{
    (void)name;
    int64_t n = n_dims >= 0;
    for (int i = 0; i < n_dims; i++) n *= dim[i];
    *(int64_t *)ctx += n;
}

static int64_t dit_total(struct wn_dit_config c)
{
    int64_t n = 0;
    wn_dit_keys(&c, (struct wn_key_visitor){count_key, &n});
    assert_true(n == wn_dit_n_params(&c));
    return n;
}

static void totals(void **state)
{
    (void)state;
    struct wn_dit_config c = t2v_14b;
    int64_t n = 0;
    struct wn_key_visitor v = {count_key, &n};
    assert_true(dit_total(t2v_1_3b) == 1418996800);
    assert_true(dit_total(ti2v_5b) == 4999787712);
    assert_true(dit_total(c) == 14288491584);
    c.in_dim = 36;
    assert_true(dit_total(c) == 14288901184);
    c.image_dim = 1280;
    assert_true(dit_total(c) == 16394878784);
    c.image_rows = 514;
    assert_true(dit_total(c) == 16395536704);
    c = t2v_14b, c.n_vace_layers = 8, c.vace_in_dim = 96;
    assert_true(dit_total(c) == 17337592896);
    c = t2v_1_3b, c.n_vace_layers = 15, c.vace_in_dim = 96;
    assert_true(dit_total(c) == 2153972032);
    wn_t5_keys(&(struct wn_t5_dims){256384, 4096, 4096, 10240, 32, 64, 24}, v);
    assert_true(n == 5680910336);
    n = 0, wn_vae21_keys(&(struct wn_vae_dims){96, 96, 16}, v);
    assert_true(n == 126892531);
    n = 0, wn_vae22_keys(&(struct wn_vae_dims){160, 256, 48}, v);
    assert_true(n == 704688668);
    n = 0, wn_clip_keys(&(struct wn_clip_dims){1280, 5120, 14, 257, 1024, 32}, v);
    assert_true(n == 632076800 - 2 * 1280 - 1280 * 1024); /* less post_norm and head, which nothing uses */
}

/* ---- folders ---- */

static void make_folder(const char *name)
{
    remove_tree(in_scratch(name));
    assert_int_equal(mkdir(in_scratch(name), 0700), 0);
}

static void expect_whole(const struct wn_checkpoint *ck, enum wn_part part, int64_t n_params,
                         struct wn_dit_config *config)
{
    struct wn_err err = {0};
    struct wn_weights *w;
    struct wn_problems problems = {0};
    if (wn_checkpoint_weights(ck, part, &w, &err)) fail_msg("%s", err.text);
    if (part <= WN_PART_DIT_LOW && wn_checkpoint_dit_config(ck, part, w, config, &err))
        fail_msg("%s", err.text);
    assert_int_equal(wn_part_check(part, w, part <= WN_PART_DIT_LOW ? config : NULL, &problems, &err),
                     WAN_OK);
    if (problems.n) fail_msg("%s", problems.text[0]);
    if (n_params) assert_true(wn_weights_n_elems(w) == n_params);
    wn_problems_release(&problems);
    wn_weights_close(w);
}

static void full_size(const struct wn_dit_config *c, const char *name, int64_t n_params)
{
    make_folder("full");
    write_dit(in_scratch("full/diffusion_pytorch_model.safetensors"), c, (struct header){.type = WN_F32});
    write_config(in_scratch("full/config.json"), c);
    struct wn_checkpoint ck;
    struct wn_err err = {0};
    struct wn_dit_config config;
    if (wn_checkpoint_open(&ck, in_scratch("full"), &err)) fail_msg("%s", err.text);
    assert_string_equal(ck.name, name);
    expect_whole(&ck, WN_PART_DIT, n_params, &config);
    assert_int_equal(config.text_dim, 4096);
    assert_int_equal(config.n_heads, c->n_heads);
    wn_checkpoint_release(&ck);
    /* The file alone, and the folder without its config: the same from shapes. */
    unlink(in_scratch("full/config.json"));
    const char *const paths[] = {"full/diffusion_pytorch_model.safetensors", "full"};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(wn_checkpoint_open(&ck, in_scratch(paths[i]), &err), WAN_OK);
        assert_string_equal(ck.name, name);
        expect_whole(&ck, WN_PART_DIT, n_params, &config);
        assert_int_equal(config.n_heads, c->n_heads);
        assert_string_equal(config.model_type, c->model_type);
        wn_checkpoint_release(&ck);
    }
    remove_tree(in_scratch("full"));
}

static void full_size_models(void **state)
{
    (void)state;
    size_t before = wn_mem_used();
    full_size(&t2v_1_3b, "Wan2.1 T2V 1.3B", 1418996800);
    full_size(&ti2v_5b, "Wan2.2 TI2V 5B", 4999787712);
    full_size(&t2v_14b, "Wan2.1 T2V 14B", 14288491584);
    assert_int_equal(wn_mem_used(), before);
}

/* The checkpoint that the official classes wrote. */
static void tiny_checkpoint(void **state)
{
    (void)state;
    struct wn_checkpoint ck;
    struct wn_err err = {0};
    struct wn_dit_config c;
    if (wn_checkpoint_open(&ck, TINY "/", &err)) fail_msg("%s", err.text);
    assert_string_equal(ck.name, "Wan2.1 T2V, dim 128, 3 layers");
    assert_int_equal(ck.task, WN_TASK_T2V);
    assert_int_equal(ck.vae_kind, WN_VAE_21);
    assert_true(ck.has_config && !ck.image_branch && !wn_checkpoint_has_experts(&ck));
    assert_int_equal(ck.problems.n, 0);
    assert_true(!(wn_checkpoint_missing(&ck) & ~(1u << WN_PART_TOKENIZER)));
    expect_whole(&ck, WN_PART_DIT, 838144, &c);
    assert_int_equal(c.n_heads, 2);
    assert_int_equal(c.text_dim, 64);
    assert_true(c.eps == 1e-6f);
    expect_whole(&ck, WN_PART_T5, 0, NULL);
    expect_whole(&ck, WN_PART_VAE, 0, NULL);
    struct wn_weights *w;
    assert_int_equal(wn_checkpoint_weights(&ck, WN_PART_CLIP, &w, &err), WAN_EFORMAT);
    assert_non_null(strstr(err.text, "models_clip"));
    wn_checkpoint_release(&ck);
    wn_checkpoint_release(&ck);
}

static void single_files(void **state)
{
    (void)state;
    struct wn_checkpoint ck;
    struct wn_dit_config c;
    assert_int_equal(wn_checkpoint_open(&ck, TINY "/Wan2.1_VAE.pth", NULL), WAN_OK);
    assert_int_equal(ck.vae_kind, WN_VAE_21);
    assert_true(wn_checkpoint_has(&ck, WN_PART_VAE) && !wn_checkpoint_has(&ck, WN_PART_DIT));
    wn_checkpoint_release(&ck);
    assert_int_equal(wn_checkpoint_open(&ck, TINY "/models_t5_umt5-xxl-enc-bf16.pth", NULL), WAN_OK);
    assert_true(wn_checkpoint_has(&ck, WN_PART_T5));
    wn_checkpoint_release(&ck);
    /* An index file beside its config.json, whose two heads no shape can tell. */
    assert_int_equal(wn_checkpoint_open(&ck, TINY "/diffusion_pytorch_model.safetensors.index.json", NULL),
                     WAN_OK);
    expect_whole(&ck, WN_PART_DIT, 838144, &c);
    assert_int_equal(c.n_heads, 2);
    wn_checkpoint_release(&ck);
    /* A third-party file with a prefix. */
    const char *path = in_scratch("prefixed.safetensors");
    write_dit(path, &small, (struct header){.prefix = "model.diffusion_model."});
    assert_int_equal(wn_checkpoint_open(&ck, path, NULL), WAN_OK);
    expect_whole(&ck, WN_PART_DIT, wn_dit_n_params(&small), &c);
    assert_int_equal(c.n_layers, 2);
    wn_checkpoint_release(&ck);
    struct wn_err err = {0};
    assert_int_equal(wn_checkpoint_open(&ck, GOLDEN_DIR "/io/plain.pth", &err), WAN_EFORMAT);
    assert_non_null(strstr(err.text, "not those of a Wan model"));
    assert_int_equal(wn_checkpoint_open(&ck, in_scratch("nowhere"), NULL), WAN_EIO);
}

static void write_tokenizer(const char *folder)
{
    char path[400];
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    write_text(path, "{}");
}

/* Nothing but names is looked at before a part is asked for: these weight files are not even files of
 * weights. */
static void opening_is_lazy(void **state)
{
    (void)state;
    struct wn_checkpoint ck;
    struct wn_err err = {0};
    struct wn_weights *w;
    make_folder("lazy");
    write_config(in_scratch("lazy/config.json"), &ti2v_5b);
    static const char *const files[] = {"lazy/diffusion_pytorch_model.safetensors.index.json",
                                        "lazy/Wan2.2_VAE.pth", "lazy/models_t5_umt5-xxl-enc-bf16.pth",
                                        "lazy/some_lora.safetensors"};
    for (size_t i = 0; i < 4; i++) write_text(in_scratch(files[i]), "rubbish");
    assert_int_equal(mkdir(in_scratch("lazy/google"), 0700), 0);
    assert_int_equal(mkdir(in_scratch("lazy/google/umt5-xxl"), 0700), 0);
    write_tokenizer(in_scratch("lazy/google/umt5-xxl"));
    if (wn_checkpoint_open(&ck, in_scratch("lazy"), &err)) fail_msg("%s", err.text);
    assert_string_equal(ck.name, "Wan2.2 TI2V 5B");
    assert_int_equal(ck.vae_kind, WN_VAE_22);
    assert_int_equal(wn_checkpoint_missing(&ck), 0);
    assert_non_null(strstr(ck.part[WN_PART_TOKENIZER].path, "google/umt5-xxl"));
    for (int i = 0; i < WN_PART_TOKENIZER; i++) {
        if (!wn_checkpoint_has(&ck, (enum wn_part)i)) continue;
        err = (struct wn_err){0};
        assert_int_equal(wn_checkpoint_weights(&ck, (enum wn_part)i, &w, &err), WAN_EFORMAT);
        assert_null(w);
    }
    wn_checkpoint_release(&ck);
    make_folder("tok");
    write_tokenizer(in_scratch("tok"));
    assert_int_equal(wn_checkpoint_open(&ck, in_scratch("tok"), NULL), WAN_OK);
    assert_true(wn_checkpoint_has(&ck, WN_PART_TOKENIZER));
    assert_string_equal(ck.name, "tok");
    wn_checkpoint_release(&ck);
    make_folder("empty");
    assert_int_equal(wn_checkpoint_open(&ck, in_scratch("empty"), NULL), WAN_EFORMAT);
}

static void experts(void **state)
{
    (void)state;
    struct wn_checkpoint ck;
    struct wn_dit_config c, i2v = t2v_14b;
    i2v.in_dim = 36;
    strcpy(i2v.model_type, "i2v");
    make_folder("a14b");
    static const char *const folder[] = {"a14b/high_noise_model", "a14b/low_noise_model"};
    char path[300];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(mkdir(in_scratch(folder[i]), 0700), 0);
        snprintf(path, sizeof path, "%s/config.json", in_scratch(folder[i]));
        write_config(path, &i2v);
        snprintf(path, sizeof path, "%s/diffusion_pytorch_model.safetensors", in_scratch(folder[i]));
        write_dit(path, &i2v, (struct header){0});
    }
    assert_int_equal(wn_checkpoint_open(&ck, in_scratch("a14b"), NULL), WAN_OK);
    assert_string_equal(ck.name, "Wan2.2 I2V A14B");
    assert_true(wn_checkpoint_has_experts(&ck) && !ck.image_branch && ck.vae_kind == WN_VAE_21);
    assert_int_equal(wn_checkpoint_missing(&ck),
                     1u << WN_PART_T5 | 1u << WN_PART_VAE | 1u << WN_PART_TOKENIZER);
    expect_whole(&ck, WN_PART_DIT_HIGH, 14288901184, &c);
    expect_whole(&ck, WN_PART_DIT_LOW, 14288901184, &c);
    wn_checkpoint_release(&ck);
    assert_int_equal(wn_checkpoint_open(&ck, in_scratch("a14b/low_noise_model/"), NULL), WAN_OK);
    assert_string_equal(ck.name, "Wan2.2 I2V A14B, low-noise expert");
    assert_true(wn_checkpoint_has(&ck, WN_PART_DIT) && !wn_checkpoint_has_experts(&ck));
    wn_checkpoint_release(&ck);
}

/* What it is and what told so. */
static void expect_model(const struct wn_checkpoint_files *files, const char *name, const char *told,
                         bool guessed)
{
    struct wn_checkpoint ck;
    struct wn_err err = {0};
    if (wn_checkpoint_open_files(&ck, files, &err)) fail_msg("%s", err.text);
    assert_string_equal(ck.name, name);
    assert_non_null(strstr(ck.told, told));
    assert_int_equal(ck.guessed, guessed);
    wn_checkpoint_release(&ck);
}

/* A T2V expert and Wan2.1 T2V 14B have the same tensors. */
static void which_14b(void **state)
{
    (void)state;
    struct wn_checkpoint ck;
    struct wn_err err = {0};
    struct wn_checkpoint_files f = {0};
    make_folder("files");
    write_dit(f.path = in_scratch("files/t2v.safetensors"), &t2v_14b, (struct header){0});
    expect_model(&f, "Wan2.1 T2V 14B", "nothing else", true);
    f.model_type = "t2v-a14b";
    expect_model(&f, "Wan2.2 T2V A14B", "--model-type", false);
    f.model_type = "a14b";
    assert_int_equal(wn_checkpoint_open_files(&ck, &f, &err), WAN_EINVAL);
    assert_non_null(strstr(err.text, "--model-type 'a14b'"));
    f.model_type = NULL;
    write_dit(f.path = in_scratch("files/titled.safetensors"), &t2v_14b,
              (struct header){.title = "Wan2.2 T2V"});
    expect_model(&f, "Wan2.2 T2V A14B", "metadata", false);
    write_dit(f.path = in_scratch("files/wan2.2_t2v_low_noise_14B.safetensors"), &t2v_14b,
              (struct header){0});
    expect_model(&f, "Wan2.2 T2V A14B, low-noise expert", "its name", false);

    /* two files, named one by one; the folder of the first is looked at for the rest */
    f = (struct wn_checkpoint_files){.part = {[WN_PART_DIT_HIGH] = in_scratch("files/t2v.safetensors"),
                                              [WN_PART_DIT_LOW] = in_scratch("files/titled.safetensors")}};
    expect_model(&f, "Wan2.2 T2V A14B", "two experts", false);
    f.model_type = "t2v";
    err = (struct wn_err){0};
    assert_int_equal(wn_checkpoint_open_files(&ck, &f, &err), WAN_EINVAL);
    assert_non_null(strstr(err.text, "two experts"));
    f = (struct wn_checkpoint_files){.part = {[WN_PART_DIT_HIGH] = in_scratch("files/nowhere")}};
    err = (struct wn_err){0};
    assert_int_equal(wn_checkpoint_open_files(&ck, &f, &err), WAN_EIO);
    assert_non_null(strstr(err.text, "nowhere"));
    assert_int_equal(wn_checkpoint_open_files(&ck, &(struct wn_checkpoint_files){0}, NULL), WAN_EINVAL);

    /* and in one folder, by their names */
    make_folder("pair");
    write_dit(in_scratch("pair/wan2.2_t2v_high_noise_14B.safetensors"), &t2v_14b, (struct header){0});
    write_dit(in_scratch("pair/wan2.2_t2v_low_noise_14B.safetensors"), &t2v_14b, (struct header){0});
    assert_int_equal(wn_checkpoint_open(&ck, in_scratch("pair"), NULL), WAN_OK);
    assert_true(wn_checkpoint_has_experts(&ck) && ck.a14b);
    assert_non_null(strstr(ck.part[WN_PART_DIT_HIGH].path, "high_noise"));
    assert_non_null(strstr(ck.part[WN_PART_DIT_LOW].path, "low_noise"));
    wn_checkpoint_release(&ck);
}

static void branches(void **state)
{
    (void)state;
    struct wn_checkpoint ck;
    struct wn_dit_config c, in = small;
    in.in_dim = 36, in.image_dim = 32, in.image_rows = 8;
    make_folder("flf");
    write_dit(in_scratch("flf/model.safetensors"), &in, (struct header){0});
    assert_int_equal(wn_checkpoint_open(&ck, in_scratch("flf"), NULL), WAN_OK);
    assert_true(ck.task == WN_TASK_FLF2V && ck.image_branch);
    assert_true(wn_checkpoint_missing(&ck) >> WN_PART_CLIP & 1);
    expect_whole(&ck, WN_PART_DIT, wn_dit_n_params(&in), &c);
    assert_true(c.image_dim == 32 && c.image_rows == 8);
    wn_checkpoint_release(&ck);
    in.image_rows = 0;
    strcpy(in.model_type, "i2v");
    write_dit(in_scratch("flf/model.safetensors"), &in, (struct header){0});
    write_config(in_scratch("flf/config.json"), &in);
    assert_int_equal(wn_checkpoint_open(&ck, in_scratch("flf"), NULL), WAN_OK);
    assert_true(ck.task == WN_TASK_I2V && ck.image_branch);
    wn_checkpoint_release(&ck);
    in = small, in.n_vace_layers = 1, in.vace_in_dim = 96;
    write_dit(in_scratch("vace.safetensors"), &in, (struct header){0});
    assert_int_equal(wn_checkpoint_open(&ck, in_scratch("vace.safetensors"), NULL), WAN_OK);
    assert_int_equal(ck.task, WN_TASK_VACE);
    expect_whole(&ck, WN_PART_DIT, wn_dit_n_params(&in), &c);
    wn_checkpoint_release(&ck);
}

/* ---- problems ---- */

static void expect_problem(struct header h, const char *word)
{
    const char *path = in_scratch("problem.safetensors");
    struct wn_problems p = {0};
    struct wn_weights *w;
    write_dit(path, &small, h);
    assert_int_equal(wn_weights_open(&w, path, NULL), WAN_OK);
    assert_int_equal(wn_part_check(WN_PART_DIT, w, &small, &p, NULL), WAN_OK);
    assert_int_equal(p.n, 1);
    if (!strstr(p.text[0], word)) fail_msg("\"%s\" does not say \"%s\"", p.text[0], word);
    assert_non_null(strstr(p.text[0], "problem.safetensors"));
    wn_problems_release(&p);
    wn_weights_close(w);
}

static void problems(void **state)
{
    (void)state;
    expect_problem((struct header){.skip = "blocks.1.ffn.2.bias"}, "'blocks.1.ffn.2.bias' is missing");
    expect_problem((struct header){.reshape = "blocks.0.norm3.weight"},
                   "is [257] BF16 where this model has [256]");
    expect_problem((struct header){.retype = "head.modulation"}, "not floating point");
    struct wn_dit_config more = small;
    more.image_dim = 16; /* tensors that `small` has not: 2 * 5 in its blocks, 8 beside them */
    struct wn_problems p = {0};
    struct wn_weights *w;
    write_dit(in_scratch("more.safetensors"), &more, (struct header){0});
    assert_int_equal(wn_weights_open(&w, in_scratch("more.safetensors"), NULL), WAN_OK);
    assert_int_equal(wn_part_check(WN_PART_DIT, w, &small, &p, NULL), WAN_OK);
    assert_int_equal(p.n, 18);
    assert_non_null(strstr(p.text[0], "not part of this model"));
    wn_problems_release(&p);
    assert_int_equal(wn_part_check(WN_PART_T5, w, NULL, &p, NULL), WAN_OK);
    assert_true(p.n == WN_MAX_PROBLEMS && p.n_more > 0);
    wn_problems_release(&p);
    wn_weights_close(w);
}

/* ---- config.json ---- */

static void expect_config(const char *from, const char *to, const char *word)
{
    char text[600] =
        "{\"model_type\":\"t2v\",\"dim\":256,\"ffn_dim\":320,\"num_heads\":2,\"num_layers\":2,\"in_dim\":16,"
        "\"out_dim\":16,\"freq_dim\":64,\"text_len\":512,\"eps\":1e-06}",
         changed[600];
    const char *at = strstr(text, from), *path = in_scratch("c.json");
    assert_non_null(at);
    snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    write_text(path, changed);
    struct wn_dit_config c;
    struct wn_err err = {0};
    enum wan_status st = wn_dit_config_read(&c, path, &err);
    if (!word && st) fail_msg("%s", err.text);
    if (word && (!st || !strstr(err.text, word) || !strstr(err.text, "c.json")))
        fail_msg("%s -> %s: got \"%s\", expected \"%s\"", from, to, err.text, word);
}

static void config_values(void **state)
{
    (void)state;
    expect_config("", "", NULL);
    expect_config("\"text_len\":512,", "", NULL);
    expect_config(",\"eps\":1e-06", "", NULL);
    expect_config("\"model_type\":\"t2v\",", "", NULL);
    expect_config("\"dim\":256,", "", "'dim' is missing");
    expect_config("\"num_heads\":2,", "", "'num_heads' is missing");
    expect_config("\"dim\":256", "\"dim\":256.5", "'dim'");
    expect_config("\"dim\":256", "\"dim\":\"256\"", "'dim'");
    expect_config("\"dim\":256", "\"dim\":255", "'dim' 255");
    expect_config("\"dim\":256", "\"dim\":9999999999999", "'dim'");
    expect_config("\"num_heads\":2", "\"num_heads\":0", "'num_heads'");
    expect_config("\"num_heads\":2", "\"num_heads\":-2", "'num_heads'");
    expect_config("\"num_layers\":2", "\"num_layers\":100000", "'num_layers'");
    expect_config("\"freq_dim\":64", "\"freq_dim\":63", "'freq_dim'");
    expect_config("\"text_len\":512", "\"text_len\":0", "'text_len'");
    expect_config("1e-06", "-1", "'eps'");
    expect_config("1e-06", "\"x\"", "'eps'");
    expect_config("\"t2v\"", "\"a model type that is too long\"", "'model_type'");
    expect_config("\"t2v\"", "7", "'model_type'");
    expect_config("\"eps\"", "\"dim\":1,\"eps\"", "duplicate");
    expect_config("\"eps\"", "\"vace_layers\":[0,1],\"eps\"", NULL);
    expect_config("\"eps\"", "\"vace_layers\":[0,2],\"eps\"", "'vace_layers'");
    expect_config("\"eps\"", "\"vace_layers\":[1,0],\"eps\"", "'vace_layers'");
    expect_config("\"eps\"", "\"_class_name\":\"WanTransformer3DModel\",\"eps\"", "diffusers");
    expect_config("}", "", "JSON");
}

static void config_and_shapes_disagree(void **state)
{
    (void)state;
    static const char *const key[] = {"dim", "ffn_dim", "in_dim", "out_dim", "num_layers"};
    for (size_t i = 0; i < 5; i++) {
        struct wn_dit_config c = small;
        if (i == 0) c.dim = 512;
        if (i == 1) c.ffn_dim++;
        if (i == 2) c.in_dim++;
        if (i == 3) c.out_dim++;
        if (i == 4) c.n_layers++;
        make_folder("lies");
        write_dit(in_scratch("lies/x.safetensors"), &small, (struct header){0});
        write_config(in_scratch("lies/config.json"), &c);
        struct wn_checkpoint ck;
        struct wn_err err = {0};
        struct wn_weights *w;
        assert_int_equal(wn_checkpoint_open(&ck, in_scratch("lies"), &err), WAN_OK);
        assert_int_equal(wn_checkpoint_weights(&ck, WN_PART_DIT, &w, &err), WAN_OK);
        assert_int_equal(wn_checkpoint_dit_config(&ck, WN_PART_DIT, w, &c, &err), WAN_EFORMAT);
        if (!strstr(err.text, key[i])) fail_msg("\"%s\" does not name %s", err.text, key[i]);
        wn_weights_close(w);
        wn_checkpoint_release(&ck);
    }
}

/* ---- no memory ---- */

static enum wan_status open_all(void *path, struct wn_err *err)
{
    struct wn_checkpoint ck;
    enum wan_status st = wn_checkpoint_open(&ck, path, err);
    for (int i = 0; i < WN_PART_TOKENIZER && !st; i++) {
        struct wn_weights *w = NULL;
        struct wn_problems p = {0};
        if (!wn_checkpoint_has(&ck, (enum wn_part)i)) continue;
        st = wn_checkpoint_weights(&ck, (enum wn_part)i, &w, err);
        if (!st) st = wn_part_check((enum wn_part)i, w, &small, &p, err);
        wn_problems_release(&p);
        wn_weights_close(w);
    }
    wn_checkpoint_release(&ck);
    return st;
}

static void out_of_memory(void **state)
{
    (void)state;
    make_folder("oom");
    write_dit(in_scratch("oom/a.safetensors"), &small, (struct header){.skip = "head.modulation"});
    write_config(in_scratch("oom/config.json"), &small);
    fail_every_allocation(open_all, (void *)in_scratch("oom"));
    unlink(in_scratch("oom/config.json"));
    fail_every_allocation(open_all, (void *)in_scratch("oom/a.safetensors"));
}

int main(void)
{
    wn_json_hook_memory(); /* so that its allocations are failed too */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(totals),
        cmocka_unit_test(full_size_models),
        cmocka_unit_test(tiny_checkpoint),
        cmocka_unit_test(single_files),
        cmocka_unit_test(opening_is_lazy),
        cmocka_unit_test(experts),
        cmocka_unit_test(which_14b),
        cmocka_unit_test(branches),
        cmocka_unit_test(problems),
        cmocka_unit_test(config_values),
        cmocka_unit_test(config_and_shapes_disagree),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
