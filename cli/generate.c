/* wan generate: text to a video file. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <wan/wan.h>

#include "run.h"
#include "ui.h"

enum { MAX_OPTIONS = 64, MAX_PROMPT = 1 << 20 };

struct generate {
    struct run_args run;
    struct wan_gen_params params;
    struct wan_model_params model_params;
    const char *output, *like_file, *preview, *profile_trace;
    int plan, resume, profile;
    char state[4096];            /* file in which the run is kept while it is not done */
    char prompt[MAX_PROMPT + 1]; /* where it came from standard input */
    char default_output[320];    /* 50 characters of at most 4 bytes, the seed, a number */
    struct wan_context *ctx;
    struct wan_model *model;
    struct wan_like *like;
    struct wan_session *session;
};

/* ---- options ---- */

static struct opt_set generate_options(struct generate *g, struct opt *opts)
{
    struct wan_model_params *m = &g->model_params;
    const struct opt own[] = {
        {"model", "m ckpt_dir", OPT_STRING, &m->path, 0, 0, "folder", "Wan2.1-T2V-1.3B", "checkpoint folder"},
        {"plan", NULL, OPT_FLAG, &g->plan, 0, 0, "", "", "say what the run would take, and do not run it"},
        {"resume", NULL, OPT_FLAG, &g->resume, 0, 0, "", "",
         "go on with a run of this output that was stopped, if there is one"},
        {"profile", NULL, OPT_FLAG, &g->profile, 0, 0, "", "",
         "at the end, say which operations took the time"},
        {"profile-trace", NULL, OPT_STRING, &g->profile_trace, 0, 0, "file", "trace.json",
         "write every operation with its time, for chrome://tracing or Perfetto"},
        {"like", NULL, OPT_STRING, &g->like_file, 0, 0, "file", "kite.mp4",
         "repeat the run that made this file, by its metadata; other options given here win"},
        {"preview", NULL, OPT_STRING, &g->preview, 0, 0, "file", "preview.png",
         "small picture (.png) or animation (.webp) of what is coming, written after every step"},
        {"high", NULL, OPT_STRING, &m->high, 0, 0, "file", "high_noise.safetensors",
         "transformer of the noisy steps, instead of the one in the folder"},
        {"low", NULL, OPT_STRING, &m->low, 0, 0, "file", "low_noise.safetensors",
         "transformer of the clean steps, instead of the one in the folder"},
        {"t5", NULL, OPT_STRING, &m->t5, 0, 0, "file", "umt5-xxl.pth", "text encoder, likewise"},
        {"vae", NULL, OPT_STRING, &m->vae, 0, 0, "file", "Wan2.1_VAE.pth", "VAE, likewise"},
        {"tokenizer", NULL, OPT_STRING, &m->tokenizer, 0, 0, "file", "spiece.model", "tokenizer, likewise"},
        {"model-type", NULL, OPT_STRING, &m->model_type, 0, 0, "", "t2v-a14b",
         "t2v, i2v, ti2v, t2v-a14b or i2v-a14b, where files cannot tell"},
        {"output", "o save_file", OPT_STRING, &g->output, 0, 0, "file", "kite.mp4",
         "file to write: .mp4, .webm, .webp, .png (one frame), or dir/frame_%04d.png"},
    };
    size_t n_table, n = 0;
    const struct wan_option *table = wan_gen_options(&n_table);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) opts[n++] = own[i];
    for (size_t i = 0; i < n_table && n + RUN_N_OPTIONS < MAX_OPTIONS; i++) {
        const struct wan_option *o = &table[i];
        opts[n++] = (struct opt){o->name,
                                 o->official,
                                 (enum opt_type)o->type,
                                 (char *)&g->params + o->offset,
                                 o->min,
                                 o->max,
                                 o->unit,
                                 o->example,
                                 o->help};
    }
    run_options(&g->run, opts, &n);
    return (struct opt_set){"wan generate", opts, n};
}

static bool names_model(const struct generate *g)
{
    return g->model_params.path || g->model_params.high || g->model_params.low;
}

/* With -m the defaults of that model, which the table's variables then hold. */
static int print_help(struct generate *g, const struct opt_set *set)
{
    int code = 0;
    if (names_model(g)) {
        code = run_context(&g->ctx, &g->run);
        if (code) return code;
        enum wan_status status = wan_model_open_parts(&g->model, g->ctx, &g->model_params);
        if (!status) status = wan_gen_resolve(g->model, wan_gen_params(.prompt = NULL), &g->params);
        if (status) return ui_fail_status(status, g->ctx, EXIT_USAGE);
    } else {
        g->params = *wan_gen_params(.prompt = NULL);
    }
    printf("wan generate -m MODEL --prompt TEXT [-o FILE] [options]\n\n");
    opt_print_help(stdout, set);
    if (names_model(g))
        printf("\nDefaults are those of %s.\n", wan_model_name(g->model));
    else
        printf("\nDefaults depend on the model: `wan generate --help -m MODEL` shows them.\n");
    return ui_flush_output(0);
}

/* ---- what is checked before anything is computed ---- */

/* The prompt on standard input, without the line end that `echo` adds. */
static int read_prompt(struct generate *g)
{
    size_t n = fread(g->prompt, 1, sizeof g->prompt, stdin);
    if (ferror(stdin))
        return ui_fail(EXIT_ERROR, "cannot read the prompt from standard input: %s", strerror(errno));
    if (n == sizeof g->prompt)
        return ui_fail(EXIT_USAGE, "the prompt on standard input is longer than 1 MiB");
    if (n > 0 && g->prompt[n - 1] == '\n') n--;
    if (n > 0 && g->prompt[n - 1] == '\r') n--;
    g->prompt[n] = 0;
    if (memchr(g->prompt, 0, n)) return ui_fail(EXIT_USAGE, "the prompt on standard input holds a zero byte");
    g->params.prompt = g->prompt;
    return 0;
}

static int check_prompt(struct generate *g)
{
    const char *prompt = g->params.prompt;
    if (g->params.context_file) return 0;
    if (!prompt)
        return ui_fail(EXIT_USAGE, "wan generate needs --prompt TEXT; `--prompt -` reads standard input");
    if (!strcmp(prompt, "-")) {
        int code = read_prompt(g);
        if (code) return code;
        prompt = g->params.prompt;
    }
    if (!prompt[strspn(prompt, " \t\r\n")])
        return ui_fail(EXIT_USAGE, "--prompt is empty: say what the video shows");
    return 0;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n > m && !strcmp(text + n - m, end);
}

/* One .png is one frame where nothing else is said. */
static void default_frames(struct generate *g)
{
    bool picture = g->output && ends_with(g->output, ".png") && !strchr(base_name(g->output), '%');
    if (picture && g->params.frames == WAN_UNSET) g->params.frames = 1;
}

/* What the metadata names, where the command line is silent. */
static int take_like(struct generate *g)
{
    size_t n;
    const struct wan_option *o = wan_gen_options(&n);
    struct wan_gen_params unset = *wan_gen_params(.prompt = NULL);
    if (!g->like_file) return 0;
    enum wan_status status = wan_like_open(&g->like, g->ctx, g->like_file);
    if (status) return ui_fail_status(status, g->ctx, EXIT_ERROR);
    const struct wan_gen_params *like = wan_like_params(g->like);
    for (size_t i = 0; i < n; i++) {
        bool two = o[i].type == WAN_OPT_SIZE || o[i].type == WAN_OPT_PAIR;
        size_t bytes = o[i].type == WAN_OPT_STRING                               ? sizeof(char *)
                       : o[i].type == WAN_OPT_I64                                ? sizeof(int64_t)
                       : o[i].type == WAN_OPT_FLOAT || o[i].type == WAN_OPT_PAIR ? sizeof(double)
                                                                                 : sizeof(int);
        char *field = (char *)&g->params + o[i].offset;
        if (two) bytes *= 2;
        if (!memcmp(field, (char *)&unset + o[i].offset, bytes))
            memcpy(field, (const char *)like + o[i].offset, bytes);
    }
    return 0;
}

static int check_arguments(struct generate *g)
{
    if (g->resume && !g->output && !g->params.latents_file)
        return ui_fail(EXIT_USAGE, "--resume needs the -o or --save-latents of the run that was stopped");
    if (!names_model(g)) return ui_fail(EXIT_USAGE, "wan generate needs -m MODEL, a checkpoint folder");
    return 0;
}

/* A name from the first 50 characters of the prompt and the seed, one that is not taken. */
static void choose_output(struct generate *g, const struct wan_gen_params *p)
{
    char *out = g->default_output;
    const char *text = p->prompt ? p->prompt : "wan";
    size_t n = 0;
    for (int chars = 0; text[n] && n < 200; n++) {
        unsigned char c = (unsigned char)text[n];
        if ((c & 0xc0) != 0x80 && chars++ == 50) break;
        out[n] = c <= ' ' || c == '/' || c == '\\' || c == 127 || (n == 0 && (c == '.' || c == '-'))
                     ? '_'
                     : (char)c;
    }
    if (!p->noise_file)
        n += (size_t)snprintf(out + n, sizeof g->default_output - n, "_%lld", (long long)p->seed);
    for (int i = 1; i < 10000; i++) {
        size_t room = sizeof g->default_output - n;
        if (i == 1)
            snprintf(out + n, room, ".mp4");
        else
            snprintf(out + n, room, "_%d.mp4", i);
        if (access(out, F_OK)) break;
    }
    g->output = out;
}

/* ---- the work ---- */

static enum wan_status denoise(struct generate *g)
{
    enum wan_status status = WAN_OK;
    int n = wan_session_n_steps(g->session);
    while (!status && wan_session_steps_done(g->session) < n) status = wan_session_step(g->session);
    if (!status && g->params.latents_file)
        status = wan_session_save_latents(g->session, g->params.latents_file);
    return status;
}

static void say_plan(const struct generate *g, const struct wan_gen_params *p)
{
    ui_note("model  %s", wan_model_name(g->model));
    ui_note("device %s", wan_context_device(g->ctx));
    ui_note("video  %dx%d, %d frame%s, %g frames a second", p->width, p->height, p->frames,
            p->frames == 1 ? "" : "s", p->fps);
    if (p->image) ui_note("image  %s", p->image);
    char high[32] = "";
    if (p->guidance_high != p->guidance_low) snprintf(high, sizeof high, ",%g", p->guidance_high);
    ui_note("steps  %d (%s, shift %g, guidance %g%s)", p->steps, p->solver, p->shift, p->guidance_low, high);
    if (p->noise_file)
        ui_note("noise  %s", p->noise_file);
    else
        ui_note("seed   %lld%s", (long long)p->seed,
                g->params.seed == WAN_UNSET_I64 ? " (chosen at random)" : "");
}

/* Largest resident size of this process so far, mapped weights included. */
static double peak_resident(void)
{
    struct rusage r;
    if (getrusage(RUSAGE_SELF, &r)) return 0;
#ifdef __APPLE__
    return (double)r.ru_maxrss;
#else
    return (double)r.ru_maxrss * 1024;
#endif
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Where the state of this run is kept: beside the output, or beside the latents. */
static int name_state(struct generate *g)
{
    const char *beside = g->output ? g->output : g->params.latents_file;
    int n = snprintf(g->state, sizeof g->state, "%s.resume", beside);
    return n < (int)sizeof g->state ? 0 : ui_fail(EXIT_USAGE, "the name of the output is too long");
}

/* "3.1 TFLOP", "12 GFLOP" */
static struct ui_text work_text(double flops)
{
    struct ui_text t;
    snprintf(t.s, sizeof t.s, flops < 1e11 ? "%.3g GFLOP" : "%.3g TFLOP",
             flops * (flops < 1e11 ? 1e-9 : 1e-12));
    return t;
}

static int plan(struct generate *g)
{
    struct wan_plan p;
    enum wan_status status = wan_plan(g->model, &g->params, &p);
    if (status) return ui_fail_status(status, g->ctx, EXIT_USAGE);
    printf("video   %dx%d, %d frame%s: %lld tokens, %d steps\n", p.width, p.height, p.frames,
           p.frames == 1 ? "" : "s", (long long)p.tokens, p.steps);
    printf("memory  %s", ui_bytes((double)p.memory_bytes).s);
    if (p.image_strips > 1) printf(", the image encoded in %d strips", p.image_strips);
    if (p.decode_strips > 1) printf(", the video decoded in %d strips", p.decode_strips);
    printf(", and %s of weights mapped from files\n", ui_bytes((double)p.mapped_bytes).s);
    printf("work    text %s", work_text(p.text_flops).s);
    if (p.image_flops > 0) printf(", image %s", work_text(p.image_flops).s);
    printf(", a step %s, decoding %s\n", work_text(p.step_flops).s, work_text(p.decode_flops).s);
    printf("time    about %s: text %s", ui_seconds(p.seconds).s, ui_seconds(p.text_seconds).s);
    if (p.image_flops > 0) printf(", image %s", ui_seconds(p.image_seconds).s);
    printf(", a step %s, decoding %s\n", ui_seconds(p.step_seconds).s, ui_seconds(p.decode_seconds).s);
    return ui_flush_output(0);
}

static int open_model(struct generate *g)
{
    enum wan_status status = g->output ? wan_output_check(g->ctx, g->output, g->params.frames) : WAN_OK;
    if (status) return ui_fail_status(status == WAN_EUNSUPPORTED ? WAN_EINVAL : status, g->ctx, EXIT_USAGE);
    status = wan_model_open_parts(&g->model, g->ctx, &g->model_params);
    return status ? ui_fail_status(status, g->ctx, EXIT_USAGE) : 0;
}

static int open_session(struct generate *g)
{
    int code;
    if (g->resume) {
        if ((code = name_state(g))) return code;
        g->params.resume_file = g->state;
    }
    bool from_files = g->params.noise_file || g->params.context_file || g->resume;
    struct wan_gen_params resolved;
    enum wan_status status = wan_gen_resolve(g->model, &g->params, &resolved);
    if (status) return ui_fail_status(status, g->ctx, EXIT_USAGE);
    status = wan_session_new(&g->session, g->model, &resolved);
    if (!status && g->like) status = wan_like_check(g->like, g->session);
    if (!status && g->preview) status = wan_session_preview(g->session, g->preview);
    if (status) return ui_fail_status(status, g->ctx, from_files ? EXIT_ERROR : EXIT_USAGE);
    if (!g->output && !g->params.latents_file) choose_output(g, wan_session_params(g->session));
    if ((code = name_state(g))) return code;
    if (!g->resume && !access(g->state, F_OK))
        ui_note("%s: a run that was stopped is replaced; --resume would have gone on with it", g->state);
    status = wan_session_keep_state(g->session, g->state);
    return status ? ui_fail_status(status, g->ctx, EXIT_ERROR) : 0;
}

/* What was measured goes to standard error, as everything said about a run does. */
static int tell_profile(struct generate *g)
{
    char *text;
    enum wan_status status = WAN_OK;
    if (g->profile && !(status = wan_session_profile_table(g->session, &text))) {
        fputs(text, stderr);
        wan_string_free(text);
    }
    if (!status && g->profile_trace) status = wan_session_profile_trace(g->session, g->profile_trace);
    if (!status && g->profile_trace) ui_note("wrote  %s", g->profile_trace);
    return status ? ui_fail_status(status, g->ctx, EXIT_ERROR) : 0;
}

static int run(struct generate *g)
{
    double start = seconds_now();
    int code = run_context(&g->ctx, &g->run);
    if (!code) code = take_like(g);
    if (!code) default_frames(g);
    if (!code) code = check_prompt(g);
    if (!code) code = open_model(g);
    if (!code && g->plan) return plan(g);
    if (!code) code = open_session(g);
    if (code) return code;
    say_plan(g, wan_session_params(g->session));
    wan_session_on_progress(g->session, ui_progress, NULL);
    bool decode = g->output != NULL, measured = g->profile || g->profile_trace;
    enum wan_status status = measured ? wan_session_profile(g->session) : WAN_OK;
    if (!status) status = denoise(g);
    if (!status && decode) status = wan_session_write(g->session, g->output);
    if (status == WAN_ECANCELED && wan_session_steps_done(g->session) > 0)
        ui_note("the same command with --resume -o %s goes on after step %d", decode ? g->output : "FILE",
                wan_session_steps_done(g->session));
    if (status) return ui_fail_status(status, g->ctx, EXIT_ERROR);
    wan_session_drop_state(g->session);
    if (g->params.latents_file) ui_note("wrote  %s", g->params.latents_file);
    if (decode) ui_note("wrote  %s", g->output);
    ui_note("took   %s, peak memory %s (%s with mapped files)", ui_seconds(seconds_now() - start).s,
            ui_bytes((double)wan_memory_peak()).s, ui_bytes(peak_resident()).s);
    return measured ? tell_profile(g) : 0;
}

int cmd_generate(int argc, char **argv)
{
    static struct generate g; /* one for each run of the program; large for a stack */
    struct opt opts[MAX_OPTIONS];
    const char *none;
    g.params = *wan_gen_params(.prompt = NULL);
    g.model_params = *wan_model_params(.path = NULL);
    struct opt_set set = generate_options(&g, opts);
    int code = opt_parse(&set, argc, argv, &none, 0);
    if (code) return code;
    if (g.run.help) {
        code = print_help(&g, &set);
    } else {
        code = check_arguments(&g);
        if (!code) code = run(&g);
    }
    wan_session_free(g.session);
    wan_like_free(g.like);
    wan_model_free(g.model);
    wan_context_free(g.ctx);
    return code;
}
