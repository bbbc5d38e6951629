/* Jobs to torture: each makes everything it needs, does one thing, frees everything, and returns the first
 * failure. A job can be run again and again, and says nothing. */
#ifndef TEST_TORTURE_UTIL_H
#define TEST_TORTURE_UTIL_H

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/mem.h"
#include "wan/parts.h"

#define GOLDEN(name) GOLDEN_DIR "/model/" name ".safetensors"
#define TINY GOLDEN_DIR "/model/tiny-t2v"
#define VAE22 GOLDEN_DIR "/model/vae22_tiny.pth"
#define PICTURE GOLDEN_DIR "/model/picture_palette.png"
#define SHAPES SOURCE_DIR "/models/shapes-t2v"

struct job {
    const char *name, *device; /* NULL: cpu */
    enum wan_status (*run)(struct wan_context *ctx, const struct job *job);
    /* What the job is about, as it needs. */
    const char *model, *file, *part, *output;
    struct wan_part_params params;
};

/* ---- a folder for what jobs write ---- */

static char test_dir[64];
static const char before[] = "was here before\n";

static inline int make_dir(void **state)
{
    (void)state;
    strcpy(test_dir, "/tmp/wan-torture-XXXXXX");
    return mkdtemp(test_dir) ? 0 : -1;
}

static inline const char *in_dir(const char *name)
{
    static char path[4][256];
    static int turn;
    char *p = path[turn = (turn + 1) % 4];
    snprintf(p, sizeof path[0], "%s/%s", test_dir, name);
    return p;
}

static inline int empty_dir(void)
{
    char **names;
    size_t n;
    if (wn_dir_list(test_dir, &names, &n, NULL)) return -1;
    for (size_t i = 0; i < n; i++) unlink(in_dir(names[i]));
    wn_names_free(names, n);
    return 0;
}

static inline int remove_dir(void **state)
{
    (void)state;
    return empty_dir() || rmdir(test_dir) ? -1 : 0;
}

/* The folder holds the job's output as it was before, and nothing else. */
static inline void put_before(const struct job *job)
{
    assert_int_equal(empty_dir(), 0);
    if (!job->output || strchr(job->output, '%')) return;
    FILE *f = fopen(in_dir(job->output), "wb");
    assert_non_null(f);
    fputs(before, f);
    assert_int_equal(fclose(f), 0);
}

/* After a failure: no partial file, and a single output is what it was. Of a sequence of frames, whole ones
 * may be there. */
static inline void assert_untouched(const struct job *job, const char *when)
{
    char **names, *data;
    size_t n;
    bool sequence = job->output && strchr(job->output, '%');
    assert_int_equal(wn_dir_list(test_dir, &names, &n, NULL), 0);
    for (size_t i = 0; i < n; i++)
        if (strstr(names[i], ".part") || (!sequence && strcmp(names[i], job->output ? job->output : "")))
            fail_msg("%s, %s: '%s' is left", job->name, when, names[i]);
    wn_names_free(names, n);
    if (!job->output || sequence) return;
    assert_int_equal(wn_file_read(in_dir(job->output), 1 << 26, &data, &n, NULL), 0);
    if (strcmp(data, before)) fail_msg("%s, %s: the output was changed", job->name, when);
    wn_free(data);
}

/* ---- the jobs ---- */

static inline enum wan_status run_open(struct wan_context *ctx, const struct job *job)
{
    struct wan_model *m;
    enum wan_status st = wan_model_open(&m, ctx, job->model);
    if (!st && !*wan_model_name(m)) st = WAN_EINTERNAL;
    wan_model_free(m);
    return st;
}

static inline enum wan_status run_inspect(struct wan_context *ctx, const struct job *job)
{
    char *text = NULL;
    int n;
    enum wan_status st = wan_inspect(ctx, job->model, 0, &text, &n);
    wan_string_free(text);
    if (st) return st;
    text = NULL;
    st = wan_inspect(ctx, job->model, 1, &text, &n);
    wan_string_free(text);
    return st;
}

static inline enum wan_status run_inspect_forward(struct wan_context *ctx, const struct job *job)
{
    char *text = NULL;
    const int64_t dims[4] = {16, 1, 4, 4};
    enum wan_status st = wan_inspect_forward(ctx, job->model, dims, "bf16", 0, &text);
    wan_string_free(text);
    return st;
}

static inline enum wan_status run_schedule(struct wan_context *ctx, const struct job *job)
{
    char *json = NULL;
    (void)job;
    enum wan_status st = wan_schedule_json(ctx, "unipc", 20, 5, &json);
    wan_string_free(json);
    return st;
}

static inline enum wan_status run_tokenizer(struct wan_context *ctx, const struct job *job)
{
    static const char text[] = "A caf\xc3\xa9 &amp; a \"red\"\tkite  \xe2\x80\x9cover\xe2\x80\x9d the sea";
    struct wan_tokenizer *t = NULL;
    char *json = NULL;
    enum wan_status st = wan_tokenizer_open(ctx, &t, job->model);
    if (!st) st = wan_tokenizer_json(ctx, t, text, strlen(text), &json);
    wan_string_free(json);
    wan_tokenizer_free(t);
    return st;
}

/* Twenty tensors made, written, read again and compared. */
static inline enum wan_status run_tensors(struct wan_context *ctx, const struct job *job)
{
    enum { N = 20 };
    struct wan_tensors *t = NULL, *again = NULL;
    float data[6] = {1, 2, 3, 4, 5, 6};
    char name[16];
    enum wan_status st = wan_tensors_new(ctx, &t);
    for (int i = 0; i < N && !st; i++) {
        snprintf(name, sizeof name, "tensor.%d", i);
        data[0] = (float)i;
        st = wan_tensors_add(ctx, t,
                             &(struct wan_array){.name = name,
                                                 .dtype = "F32",
                                                 .n_dims = 2,
                                                 .dims = {2, 3},
                                                 .data = data,
                                                 .bytes = sizeof data});
    }
    /* Written beside the output first: after that one nothing may fail. */
    if (!st) st = wan_tensors_write(ctx, t, in_dir("again.safetensors"));
    if (!st) st = wan_tensors_read(ctx, &again, in_dir("again.safetensors"));
    if (!st) {
        assert_int_equal(wan_tensors_count(again), N);
        struct wan_array a;
        assert_int_equal(wan_tensors_find(again, name, &a), 1);
        assert_memory_equal(a.data, data, sizeof data);
    }
    unlink(in_dir("again.safetensors"));
    if (!st) st = wan_tensors_write(ctx, t, in_dir(job->output));
    wan_tensors_free(again);
    wan_tensors_free(t);
    return st;
}

/* The tensors of a golden file through a part, intermediates too. */
static inline enum wan_status run_part(struct wan_context *ctx, const struct job *job)
{
    struct wan_tensors *in = NULL, *out = NULL, *dump = NULL;
    struct wan_part_params p = job->params;
    p.model = job->model;
    enum wan_status st = job->file ? wan_tensors_read(ctx, &in, job->file) : WAN_OK;
    if (!st) st = wan_tensors_new(ctx, &out);
    if (!st) st = wan_tensors_new(ctx, &dump);
    if (!st) st = wan_part_run(ctx, job->part, &p, in, out, dump);
    if (!st) assert_int_equal(wan_tensors_count(out), 1);
    wan_tensors_free(in);
    wan_tensors_free(out);
    wan_tensors_free(dump);
    return st;
}

static inline enum wan_status run_solve(struct wan_context *ctx, const struct job *job)
{
    enum { STEPS = 3, N = 4 };
    static const float x[N] = {1, -1, 0.5f, 2}, v[STEPS * N] = {0.5f, 1, -1, 0.25f};
    const struct wan_array ax = {.name = "x", "F32", 1, {N}, x, sizeof x},
                           av = {.name = "v", "F32", 2, {STEPS, N}, v, sizeof v};
    struct wan_tensors *in = NULL, *out = NULL;
    struct wan_part_params p = job->params;
    enum wan_status st = wan_tensors_new(ctx, &in);
    if (!st) st = wan_tensors_add(ctx, in, &ax);
    if (!st) st = wan_tensors_add(ctx, in, &av);
    if (!st) st = wan_tensors_new(ctx, &out);
    for (int i = 0; i < 3 && !st; i++) {
        p.solver = ((const char *[]){"unipc", "dpm++", "euler"})[i];
        st = wan_part_run(ctx, "solve", &p, in, out, NULL);
        wan_tensors_free(out);
        out = NULL;
        if (!st) st = wan_tensors_new(ctx, &out);
    }
    wan_tensors_free(in);
    wan_tensors_free(out);
    return st;
}

static inline void ignore_progress(void *user, const struct wan_progress *p)
{
    (void)user;
    assert_non_null(p->stage);
}

/* A session step by step: text, two steps, latents, file. */
static inline enum wan_status run_session(struct wan_context *ctx, const struct job *job)
{
    struct wan_model *m = NULL;
    struct wan_session *s = NULL;
    int still = job->output && strstr(job->output, ".png") && !strchr(job->output, '%');
    const char *file = job->file;
    enum wan_status st = wan_model_open(&m, ctx, job->model);
    if (!st)
        st = wan_session_new(&s, m,
                             wan_gen_params(.prompt = file ? NULL : "a red square", .negative = "blur",
                                            .context_file = file, .width = 32, .height = 32,
                                            .frames = still ? 1 : 5, .steps = 2, .seed = 7));
    if (!st) wan_session_on_progress(s, ignore_progress, NULL);
    if (!st) st = wan_session_encode_text(s);
    while (!st && wan_session_steps_done(s) < wan_session_n_steps(s)) st = wan_session_step(s);
    if (!st) st = wan_session_write(s, in_dir(job->output));
    wan_session_free(s);
    wan_model_free(m);
    return st;
}

static inline int ignore_frame(void *user, int index, const uint8_t *rgb)
{
    (void)index;
    *(unsigned *)user += rgb[0];
    return 0;
}

/* Latents to a file, frames to a callback. */
static inline enum wan_status run_frames(struct wan_context *ctx, const struct job *job)
{
    struct wan_model *m = NULL;
    struct wan_session *s = NULL;
    unsigned sum = 0;
    enum wan_status st = wan_model_open(&m, ctx, job->model);
    if (!st)
        st = wan_session_new(&s, m,
                             wan_gen_params(.context_file = job->file, .width = 16, .height = 16, .frames = 5,
                                            .steps = 2, .solver = "dpm++", .seed = 7));
    if (!st) st = wan_session_step(s);
    if (!st) st = wan_session_decode(s, ignore_frame, &sum);
    if (!st) st = wan_session_save_latents(s, in_dir(job->output));
    wan_session_free(s);
    wan_model_free(m);
    return st;
}

static inline enum wan_status run_generate(struct wan_context *ctx, const struct job *job)
{
    struct wan_model *m = NULL;
    enum wan_status st = wan_model_open(&m, ctx, job->model);
    if (!st)
        st = wan_generate(m,
                          wan_gen_params(.prompt = "a blue circle", .width = 16, .height = 16, .frames = 1,
                                         .steps = 2, .solver = "euler", .seed = 7, .guidance_low = 1),
                          in_dir(job->output));
    wan_model_free(m);
    return st;
}

/* From an image, through both experts where there are two (shift 5: the first of two steps is the noisy
 * one's). */
static inline enum wan_status run_image(struct wan_context *ctx, const struct job *job)
{
    struct wan_model *m = NULL;
    struct wan_session *s = NULL;
    unsigned sum = 0;
    enum wan_status st = wan_model_open(&m, ctx, job->model);
    if (!st)
        st = wan_session_new(&s, m,
                             wan_gen_params(.context_file = job->file, .image = PICTURE, .width = 64,
                                            .height = 32, .frames = 5, .steps = 2, .shift = 5, .seed = 7));
    while (!st && wan_session_steps_done(s) < wan_session_n_steps(s)) st = wan_session_step(s);
    if (!st) st = wan_session_decode(s, ignore_frame, &sum);
    wan_session_free(s);
    wan_model_free(m);
    return st;
}

/* Latents of a file to a video. */
static inline enum wan_status run_decode(struct wan_context *ctx, const struct job *job)
{
    struct wan_model *m = NULL;
    enum wan_status st = wan_model_open(&m, ctx, job->model);
    if (!st) st = wan_generate(m, wan_gen_params(.from_latents_file = job->file), in_dir(job->output));
    wan_model_free(m);
    return st;
}

/* A folder of encoded texts beside the others', without our allocator. */
static inline const char *empty_cache(void)
{
    static char path[80];
    char entry[400];
    snprintf(path, sizeof path, "%s.cache", test_dir);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));) {
        snprintf(entry, sizeof entry, "%s/%s", path, e->d_name);
        unlink(entry);
    }
    if (d) closedir(d);
    rmdir(path);
    return path;
}

/* Prompts encoded in one go and kept on disk; then a session of another model finds its own there. */
static inline enum wan_status run_texts(struct wan_context *ctx, const struct job *job)
{
    static const char *const prompts[] = {"a red circle", "a blue square", "a red circle"};
    const char *cache = empty_cache();
    struct wan_model *m = NULL;
    struct wan_session *s = NULL;
    enum wan_status st = wan_model_open(&m, ctx, job->model);
    if (!st)
        st = wan_model_encode_texts(m, wan_gen_params(.cache_dir = cache), prompts, 3, ignore_progress, NULL);
    wan_model_free(m);
    m = NULL;
    if (!st) st = wan_model_open(&m, ctx, job->model);
    if (!st)
        st = wan_session_new(&s, m,
                             wan_gen_params(.prompt = prompts[1], .cache_dir = cache, .width = 16,
                                            .height = 16, .frames = 1, .steps = 1, .seed = 7));
    if (!st) st = wan_session_encode_text(s);
    wan_session_free(s);
    wan_model_free(m);
    empty_cache();
    return st;
}

static inline enum wan_status run_plan(struct wan_context *ctx, const struct job *job)
{
    struct wan_model *m = NULL;
    struct wan_plan plan;
    enum wan_status st = wan_model_open(&m, ctx, job->model);
    if (!st)
        st = wan_plan(m, wan_gen_params(.prompt = "a blue circle", .width = 32, .height = 32, .frames = 5),
                      &plan);
    wan_model_free(m);
    return st;
}

static inline enum wan_status run_bench(struct wan_context *ctx, const struct job *job)
{
    char *text = NULL;
    enum wan_status st =
        wan_bench(ctx, wan_bench_params(.model = job->model, .width = 16, .height = 16, .frames = 1), &text);
    wan_string_free(text);
    return st;
}

/* These take a second or more each time. */
static const struct job bench_machine = {"bench of the machine", .run = run_bench};
static const struct job bench_model = {"bench of a model", .run = run_bench, .model = TINY};

#define PARAMS(...)                       \
    {                                     \
        WAN_PART_PARAMS_INIT, __VA_ARGS__ \
    }

static const struct job jobs[] = {
    {"open", NULL, run_open, .model = SHAPES},
    {"inspect a folder", NULL, run_inspect, .model = SHAPES},
    {"inspect a file", NULL, run_inspect, .model = SHAPES "/diffusion_pytorch_model.safetensors"},
    {"forward", NULL, run_inspect_forward, .model = TINY},
    {"schedule", NULL, run_schedule, .model = NULL},
    {"tokenizer.json", NULL, run_tokenizer, .model = SHAPES},
    {"spiece.model", NULL, run_tokenizer, .model = SHAPES "/google/umt5-xxl/spiece.model"},
    {"plan", NULL, run_plan, .model = SHAPES},
    {"image to video, two experts", NULL, run_image, .model = GOLDEN_DIR "/model/tiny-i2v-a14b",
     .file = GOLDEN("pipeline_i2v_a14b")},
    {"image to video, TI2V", NULL, run_image, .model = GOLDEN_DIR "/model/tiny-ti2v",
     .file = GOLDEN("pipeline_ti2v_image")},
    {"tensors", NULL, run_tensors, .output = "t.safetensors"},
    {"t5", NULL, run_part, TINY, GOLDEN("t5_7"), "t5", .params = PARAMS(.precision = "f32")},
    {"dit", NULL, run_part, TINY, GOLDEN("dit_main"), "dit", .params = PARAMS(.expert = NULL)},
    {"dit, tokens' times", NULL, run_part, TINY, GOLDEN("dit_tokens"), "dit",
     .params = PARAMS(.precision = "f32")},
    {"dit, odd", NULL, run_part, TINY, GOLDEN("dit_odd"), "dit", .params = PARAMS(.precision = "f32x")},
    {"dit on ref", "ref", run_part, TINY, GOLDEN("dit_main"), "dit", .params = PARAMS(.precision = "f32")},
#if defined(WN_HAVE_MLX)
    {"t5 on mlx", "mlx", run_part, TINY, GOLDEN("t5_7"), "t5", .params = PARAMS(.precision = "f32")},
    {"dit on mlx", "mlx", run_part, TINY, GOLDEN("dit_tokens"), "dit", .params = PARAMS(.expert = NULL)},
    {"vae.decode on mlx", "mlx", run_part, TINY, GOLDEN("vae21_decode_2_1x2"), "vae.decode",
     .params = PARAMS(.precision = "f32")},
    {"latents and frames on mlx", "mlx", run_frames, TINY, GOLDEN("pipeline_unipc"),
     .output = "l.safetensors"},
#endif
    {"vae.encode", NULL, run_part, TINY, GOLDEN("vae21_encode_5_8x16"), "vae.encode",
     .params = PARAMS(.precision = "f32")},
    {"vae.decode", NULL, run_part, TINY, GOLDEN("vae21_decode_2_1x2"), "vae.decode",
     .params = PARAMS(.precision = "f32")},
    {"vae.encode 2.2", NULL, run_part, VAE22, GOLDEN("vae22_encode_5_16x32"), "vae.encode",
     .params = PARAMS(.precision = "f32")},
    {"vae.decode 2.2", NULL, run_part, VAE22, GOLDEN("vae22_decode_2_1x2"), "vae.decode",
     .params = PARAMS(.precision = "f32")},
    {"solve", NULL, run_solve, .params = PARAMS(.steps = 3, .shift = 5)},
    {"noise", NULL, run_part, .part = "noise", .params = PARAMS(.seed = 1, .n_shape = 2, .shape = {3, 5})},
    {"noise, cuda", NULL, run_part, .part = "noise",
     .params = PARAMS(.seed = 1, .rng = "torch-cuda", .n_shape = 2, .shape = {3, 5})},
    {"attention", NULL, run_part, NULL, GOLDEN("attention_lens"), "attention",
     .params = PARAMS(.scale = 0.25)},
    {"rope", NULL, run_part, NULL, GOLDEN("rope_64"), "rope", .params = PARAMS(.start = 0)},
    {"rmsnorm", NULL, run_part, NULL, GOLDEN("rmsnorm_small"), "rmsnorm", .params = PARAMS(.eps = 1e-5)},
    {"sinusoid", NULL, run_part, NULL, GOLDEN("sinusoid_32"), "sinusoid", .params = PARAMS(.dim = 32)},
    {"session to mp4", NULL, run_session, .model = SHAPES, .output = "v.mp4"},
    {"session to webm", NULL, run_session, .model = SHAPES, .output = "v.webm"},
    {"session to webp", NULL, run_session, TINY, GOLDEN("pipeline_unipc"), .output = "v.webp"},
    {"session to png", NULL, run_session, .model = SHAPES, .output = "v.png"},
    {"session to frames", NULL, run_session, TINY, GOLDEN("pipeline_unipc"), .output = "v%d.png"},
    {"latents and frames", NULL, run_frames, TINY, GOLDEN("pipeline_unipc"), .output = "l.safetensors"},
    {"latents to a video", NULL, run_decode, TINY, GOLDEN("vae21_decode_2_1x2"), .output = "d.webp"},
    {"encoded texts", NULL, run_texts, .model = SHAPES},
    {"generate", NULL, run_generate, .model = SHAPES, .output = "g.png"},
};
enum { N_JOBS = sizeof jobs / sizeof *jobs };

#endif
