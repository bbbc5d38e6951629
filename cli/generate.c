/* wan generate: text to a video file. */
#include "generate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ui.h"

enum { MAX_OPTIONS = 64 };

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
        {"prompts", NULL, OPT_STRING, &g->prompts, 0, 0, "file", "prompts.txt",
         "a video for each line of this file; -: of standard input"},
        {"seeds", NULL, OPT_STRING, &g->seeds, 0, 0, "list", "1-8",
         "a video for each of these seeds, as 1,5,9-12"},
        {"no-cache", NULL, OPT_FLAG, &g->no_cache, 0, 0, "", "",
         "neither look for nor keep encoded prompts on disk"},
        {"output", "o save_file", OPT_STRING, &g->output, 0, 0, "file", "kite.mp4",
         "file to write: .mp4, .webm, .webp, .png (one frame), or dir/frame_%04d.png; for several videos a "
         "folder, "
         "or a name with {index}, {prompt} or {seed}"},
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
    if (picture && g->params.frames == WAN_UNSET && !g->params.from_latents_file) g->params.frames = 1;
}

/* What is given by a list cannot be given alone too. */
static int check_lists(struct generate *g)
{
    const struct wan_gen_params *p = &g->params;
    if (!g->prompts && !g->seeds) return 0;
    if (p->from_latents_file)
        return ui_fail(EXIT_USAGE, "--%s has no part in --from-latents, which only decodes",
                       g->prompts ? "prompts" : "seeds");
    if (g->prompts && p->prompt) return ui_fail(EXIT_USAGE, "give either --prompt or --prompts");
    if (g->prompts && p->context_file) return ui_fail(EXIT_USAGE, "give either --context or --prompts");
    if (g->seeds && p->seed != WAN_UNSET_I64) return ui_fail(EXIT_USAGE, "give either --seed or --seeds");
    if (g->seeds && p->noise_file) return ui_fail(EXIT_USAGE, "give either --noise or --seeds");
    if (p->resume_file)
        return ui_fail(EXIT_USAGE, "--resume-from is for one video; --resume goes on with several");
    if (!g->output && !p->latents_file)
        return ui_fail(EXIT_USAGE,
                       "several videos need -o: a folder, or a name with {index}, {prompt} or {seed}");
    return 0;
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
    if (g->resume && g->params.from_latents_file)
        return ui_fail(EXIT_USAGE, "--resume has no part in --from-latents, which only decodes");
    return check_lists(g);
}

/* What the videos show, once --like has had its say. */
static int check_prompts(struct generate *g)
{
    int code = 0;
    default_frames(g);
    if (g->prompts) code = batch_read_prompts(&g->batch, g->prompts);
    if (!code && !g->prompts && !g->params.from_latents_file) code = check_prompt(g);
    if (!code && g->seeds) code = batch_read_seeds(&g->batch, g->seeds);
    if (!code && (g->prompts || g->seeds))
        code = batch_plan(&g->batch, g->params.prompt, g->params.seed, g->output, g->params.latents_file);
    return code;
}

/* Where encoded prompts are kept, unless it is given: where the system has its caches. */
static void choose_cache(struct generate *g)
{
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
#ifdef __APPLE__
    const char *caches = "Library/Caches";
#else
    const char *caches = ".cache";
#endif
    int n = -1;
    if (g->no_cache) g->params.cache_dir = NULL;
    if (g->no_cache || g->params.cache_dir) return;
    if (xdg && *xdg == '/')
        n = snprintf(g->cache, sizeof g->cache, "%s/wan", xdg);
    else if (home && *home == '/')
        n = snprintf(g->cache, sizeof g->cache, "%s/%s/wan", home, caches);
    if (n > 0 && n < (int)sizeof g->cache) g->params.cache_dir = g->cache;
}

/* A name from the first 50 characters of the prompt and the seed, one that is not taken. */
static void choose_output(struct generate *g, const struct wan_gen_params *p)
{
    char *out = g->default_output;
    size_t n = name_of_prompt(out, p->prompt ? p->prompt : "wan");
    if (!p->noise_file && p->seed != WAN_UNSET_I64)
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

/* Where the state of this run is kept: beside the output, or beside the latents. */
static int name_state(struct generate *g)
{
    const char *beside = g->output ? g->output : g->params.latents_file;
    int n = snprintf(g->state, sizeof g->state, "%s.resume", beside);
    return n < (int)sizeof g->state ? 0 : ui_fail(EXIT_USAGE, "the name of the output is too long");
}

static int keep_state(struct generate *g)
{
    int code = name_state(g);
    if (code || g->params.from_latents_file) return code; /* decoding has no steps to go on from */
    if (!g->resume && !access(g->state, F_OK))
        ui_note("%s: a run that was stopped is replaced; --resume would have gone on with it", g->state);
    enum wan_status status = wan_session_keep_state(g->session, g->state);
    return status ? ui_fail_status(status, g->ctx, EXIT_ERROR) : 0;
}

static int open_session(struct generate *g)
{
    int code;
    if (g->resume) {
        if ((code = name_state(g))) return code;
        g->params.resume_file = g->state;
    }
    const struct wan_gen_params *p = &g->params;
    bool from_files = p->noise_file || p->context_file || p->from_latents_file || g->resume;
    struct wan_gen_params resolved;
    enum wan_status status = wan_gen_resolve(g->model, p, &resolved);
    if (status) return ui_fail_status(status, g->ctx, EXIT_USAGE);
    status = wan_session_new(&g->session, g->model, &resolved);
    if (!status && g->like) status = wan_like_check(g->like, g->session);
    if (!status && g->preview) status = wan_session_preview(g->session, g->preview);
    if (status) return ui_fail_status(status, g->ctx, from_files ? EXIT_ERROR : EXIT_USAGE);
    if (!g->output && !p->latents_file) choose_output(g, wan_session_params(g->session));
    return keep_state(g);
}

/* What was measured goes to standard error, as everything said about a run does. */
static int tell_profile(struct generate *g)
{
    char *text;
    enum wan_status status = WAN_OK;
    if (g->profile && !(status = wan_session_profile_table(g->session, &text))) {
        if (!ui_is_json())
            fputs(text, stderr);
        else
            for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) ui_note("%s", line);
        wan_string_free(text);
    }
    if (!status && g->profile_trace) status = wan_session_profile_trace(g->session, g->profile_trace);
    if (!status && g->profile_trace) ui_note("wrote  %s", g->profile_trace);
    return status ? ui_fail_status(status, g->ctx, EXIT_ERROR) : 0;
}

static void say_how_to_go_on(const struct generate *g)
{
    int done = wan_session_steps_done(g->session);
    if (g->batch.n)
        ui_note("the same command with --resume goes on after step %d of this video", done);
    else
        ui_note("the same command with --resume -o %s goes on after step %d", g->output ? g->output : "FILE",
                done);
}

/* One video, from params to file. */
static int make_video(struct generate *g)
{
    g->start = seconds_now();
    g->stage = -1;
    memset(g->seconds, 0, sizeof g->seconds);
    int code = open_session(g);
    if (code) return code;
    report_start(g);
    wan_session_on_progress(g->session, report_progress, g);
    bool measured = g->profile || g->profile_trace;
    enum wan_status status = measured ? wan_session_profile(g->session) : WAN_OK;
    if (!status) status = denoise(g);
    if (!status && g->output) status = wan_session_write(g->session, g->output);
    if (status == WAN_ECANCELED && wan_session_steps_done(g->session) > 0) say_how_to_go_on(g);
    if (status) return ui_fail_status(status, g->ctx, EXIT_ERROR);
    wan_session_drop_state(g->session);
    code = report_result(g);
    return !code && measured ? tell_profile(g) : code;
}

/* ---- several ---- */

/* The params, with what is this video's own. */
static void choose_video(struct generate *g, const struct video *v)
{
    g->params.prompt = v->prompt;
    g->params.seed = v->seed;
    g->params.latents_file = v->latents;
    g->params.resume_file = NULL;
    g->output = v->output;
}

/* --resume: whole under its name, and no state beside it of a run that goes on. */
static bool is_done(struct generate *g, const struct video *v, int frames)
{
    choose_video(g, v);
    if (!g->resume || name_state(g) || !access(g->state, F_OK)) return false;
    return (!v->output || wan_output_exists(v->output, frames)) && (!v->latents || !access(v->latents, F_OK));
}

/* Prompts of the videos to come, encoded together. */
static int encode_prompts(struct generate *g, const bool *done)
{
    struct batch *b = &g->batch;
    size_t n = 0;
    if (g->params.context_file) return 0;
    const char **prompt = malloc(b->n * sizeof *prompt);
    if (!prompt) return ui_fail(EXIT_MEMORY, "out of memory: the list of videos");
    for (size_t i = 0; i < b->n; i++) /* those of one prompt follow each other */
        if (!done[i] && (!n || prompt[n - 1] != b->video[i].prompt)) prompt[n++] = b->video[i].prompt;
    if (n) ui_note("text   %zu prompt%s", n, n == 1 ? "" : "s");
    g->params.prompt = NULL;
    g->params.latents_file = g->params.resume_file = NULL;
    enum wan_status status =
        n ? wan_model_encode_texts(g->model, &g->params, prompt, n, ui_progress, NULL) : WAN_OK;
    free(prompt);
    return status ? ui_fail_status(status, g->ctx, EXIT_USAGE) : 0;
}

static int make_each(struct generate *g, const bool *done)
{
    struct batch *b = &g->batch;
    size_t n_failed = 0, i = 0;
    int worst = 0, code = 0;
    /* numbers that went wrong are one video's own matter; anything else the next one would meet too */
    for (; i < b->n && (!code || code == EXIT_NUMERIC); i++) {
        code = 0;
        choose_video(g, &b->video[i]);
        const char *name = g->output ? g->output : g->params.latents_file;
        if (done[i]) {
            ui_note("%s is there already", name);
            continue;
        }
        ui_note("video %zu of %zu: %s", i + 1, b->n, name);
        ui_set_output(name);
        code = make_video(g);
        ui_set_output(NULL);
        wan_session_free(g->session);
        g->session = NULL;
        n_failed += code != 0;
        if (code) worst = code;
    }
    if (n_failed && worst != EXIT_INTERRUPTED)
        ui_note("%zu of %zu videos failed%s", n_failed, b->n,
                i < b->n ? ", and those after were not begun" : "");
    return worst;
}

static int make_batch(struct generate *g)
{
    struct batch *b = &g->batch;
    bool *done = calloc(b->n, sizeof *done);
    if (!done) return ui_fail(EXIT_MEMORY, "out of memory: the list of videos");
    struct wan_gen_params resolved;
    enum wan_status status = wan_gen_resolve(g->model, &g->params, &resolved);
    int code = status ? ui_fail_status(status, g->ctx, EXIT_USAGE) : 0;
    for (size_t i = 0; i < b->n && !code; i++) done[i] = is_done(g, &b->video[i], resolved.frames);
    if (!code) code = encode_prompts(g, done);
    if (!code) code = make_each(g, done);
    free(done);
    return code;
}

/* ---- the command ---- */

static int check_output(struct generate *g, const char *path)
{
    enum wan_status status = wan_output_check(g->ctx, path, g->params.frames);
    if (status == WAN_EUNSUPPORTED) return ui_fail_as(status, EXIT_USAGE, "%s", wan_error(g->ctx));
    return status ? ui_fail_status(status, g->ctx, EXIT_USAGE) : 0;
}

static int check_outputs(struct generate *g)
{
    int code = 0;
    if (!g->batch.n) return g->output ? check_output(g, g->output) : 0;
    for (size_t i = 0; i < g->batch.n && !code; i++)
        if (g->batch.video[i].output) code = check_output(g, g->batch.video[i].output);
    return code;
}

static int plan(struct generate *g)
{
    struct wan_plan p;
    if (g->batch.n) choose_video(g, &g->batch.video[0]);
    enum wan_status status = wan_plan(g->model, &g->params, &p);
    if (status) return ui_fail_status(status, g->ctx, g->params.from_latents_file ? EXIT_ERROR : EXIT_USAGE);
    return report_plan(g, &p, g->batch.n ? g->batch.n : 1);
}

static int run(struct generate *g)
{
    int code = run_context(&g->ctx, &g->run);
    if (!code) code = take_like(g);
    if (!code) code = check_prompts(g);
    if (!code) code = check_outputs(g);
    if (code) return code;
    enum wan_status status = wan_model_open_parts(&g->model, g->ctx, &g->model_params);
    if (status) return ui_fail_status(status, g->ctx, EXIT_USAGE);
    choose_cache(g);
    return g->plan ? plan(g) : g->batch.n ? make_batch(g) : make_video(g);
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
        default_frames(&g);
        code = check_arguments(&g);
        if (!code) code = run(&g);
    }
    wan_session_free(g.session);
    wan_like_free(g.like);
    wan_model_free(g.model);
    wan_context_free(g.ctx);
    batch_release(&g.batch);
    return code;
}
