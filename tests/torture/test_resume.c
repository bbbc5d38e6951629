/* Killed with SIGKILL after any step, while decoding or while writing, and gone on with: the latents and
 * frames are those of a run that was left alone. And a state does not go on under other weights, prompts or
 * options. */
#include <signal.h>
#include <sys/wait.h>

#include "io/weights.h"
#include "util.h"

/* Where a run dies: at this progress. */
struct death {
    const char *stage; /* NULL: nowhere */
    int step;
};

static void die(void *user, const struct wan_progress *p)
{
    const struct death *d = user;
    if (d->stage && !strcmp(p->stage, d->stage) && p->step == d->step) raise(SIGKILL);
}

struct video_run {
    const char *model, *context; /* context NULL: from the prompt */
    struct wan_gen_params params;
};

/* The whole run in this process; leaves latents and a PNG for each frame. */
static enum wan_status run_all(const struct video_run *r, struct death death, struct wan_context **ctx)
{
    struct wan_model *m = NULL;
    struct wan_session *s = NULL;
    struct wan_gen_params p = r->params;
    p.resume_file = in_dir("state");
    p.context_file = r->context;
    enum wan_status st = wan_context_new(ctx, wan_context_params(.device = "cpu", .threads = 2));
    if (!st) st = wan_model_open(&m, *ctx, r->model);
    if (!st) st = wan_session_new(&s, m, &p);
    if (!st) {
        wan_session_on_progress(s, die, &death);
        st = wan_session_keep_state(s, in_dir("state"));
    }
    while (!st && wan_session_steps_done(s) < wan_session_n_steps(s)) st = wan_session_step(s);
    if (!st) st = wan_session_save_latents(s, in_dir("latents"));
    if (!st) st = wan_session_write(s, in_dir("f%02d.png"));
    if (!st) wan_session_drop_state(s);
    wan_session_free(s);
    wan_model_free(m);
    return st;
}

/* In a process of its own, which may be killed: true when it came to its end. */
static bool run_child(const struct video_run *r, struct death death)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct wan_context *ctx = NULL;
        enum wan_status st = run_all(r, death, &ctx);
        if (st) fprintf(stderr, "%s\n", wan_error(ctx));
        wan_context_free(ctx);
        _exit(st ? 1 : 0);
    }
    int status;
    assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return false;
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    return true;
}

/* Everything the run leaves, one after the other. */
static void read_results(struct wn_str *all)
{
    char **names;
    size_t n;
    assert_int_equal(wn_dir_list(test_dir, &names, &n, NULL), WAN_OK);
    for (size_t i = 0; i < n; i++) {
        char *data;
        size_t bytes;
        if (strstr(names[i], ".part-")) continue; /* of a write that was killed */
        assert_int_equal(wn_file_read(in_dir(names[i]), 1 << 26, &data, &bytes, NULL), WAN_OK);
        assert_int_equal(wn_str_addf(all, "%s\n", names[i]) | wn_str_add(all, data, bytes), 0);
        wn_free(data);
    }
    wn_names_free(names, n);
}

static void killed_at(const struct video_run *r, struct death death, const struct wn_str *want)
{
    struct wn_str got = {0};
    assert_int_equal(empty_dir(), 0);
    if (run_child(r, death)) fail_msg("%s %d: never came to it", death.stage, death.step);
    if (!run_child(r, (struct death){0})) fail_msg("killed by somebody else");
    read_results(&got);
    if (got.n != want->n || memcmp(got.data, want->data, want->n))
        fail_msg("killed at %s %d: the results are not the same", death.stage, death.step);
    wn_str_release(&got);
}

static void killed_anywhere(void **state)
{
    const struct video_run *r = *state;
    struct wn_str want = {0};
    assert_int_equal(empty_dir(), 0);
    assert_true(run_child(r, (struct death){0}));
    read_results(&want);
    assert_true(want.n > 0);
    killed_at(r, (struct death){"denoise", 0}, &want);
    for (int i = 1; i <= r->params.steps; i++) killed_at(r, (struct death){"denoise", i}, &want);
    for (int i = 0; i <= (r->params.frames - 1) / 4; i++) killed_at(r, (struct death){"decode", i}, &want);
    wn_str_release(&want);
}

/* ---- what must be the same ---- */

static void stop_after_one(const struct video_run *r)
{
    assert_int_equal(empty_dir(), 0);
    assert_false(run_child(r, (struct death){"denoise", 2})); /* the state of step 1 is whole by then */
}

static void refused(const struct video_run *r, const char *sentence)
{
    struct wan_context *ctx = NULL;
    enum wan_status st = run_all(r, (struct death){0}, &ctx);
    if (!st || !strstr(wan_error(ctx), sentence))
        fail_msg("wanted '%s', got %s: %s", sentence, wan_status_name(st), wan_error(ctx));
    wan_context_free(ctx);
}

#define RUN(...)                                                                            \
    {                                                                                       \
        WAN_GEN_PARAMS_INIT, .width = 32, .height = 32, .frames = 5, .steps = 3, .seed = 3, \
                             .prompt = "a kite", __VA_ARGS__                                \
    }

/* The transformer of TINY as one file, with one value that is not the same, and its config.json beside it. */
static void write_other_weights(const char *path)
{
    struct wn_err err = {0};
    struct wn_weights *w;
    char *config;
    size_t n_config;
    assert_int_equal(wn_weights_open(&w, TINY "/diffusion_pytorch_model.safetensors.index.json", &err),
                     WAN_OK);
    size_t n = wn_weights_count(w);
    struct wn_weight *t = calloc(n, sizeof *t);
    float *changed = NULL;
    assert_non_null(t);
    for (size_t i = 0; i < n; i++) {
        t[i] = *wn_weights_at(w, i);
        if (strcmp(t[i].name, "head.modulation")) continue;
        assert_non_null(changed = malloc(t[i].bytes));
        memcpy(changed, t[i].data, t[i].bytes);
        changed[0] += 1;
        t[i].data = changed;
    }
    assert_non_null(changed);
    assert_int_equal(wn_safetensors_write(path, t, n, NULL, &err), WAN_OK);
    free(changed);
    free(t);
    wn_weights_close(w);
    assert_int_equal(wn_file_read(TINY "/config.json", 1 << 16, &config, &n_config, NULL), WAN_OK);
    FILE *f = fopen(in_dir("config.json"), "w");
    assert_non_null(f);
    assert_int_equal(fwrite(config, 1, n_config, f), n_config);
    fclose(f);
    wn_free(config);
}

static void other_runs_are_refused(void **state)
{
    (void)state;
    const struct video_run run = {TINY, GOLDEN("pipeline_unipc"), RUN(.guidance_low = 4)};
    struct video_run other = run;
    stop_after_one(&run);
    other.params.steps = 4;
    refused(&other, "--steps 3, and this run has 4");
    other = run;
    other.params.prompt = "a boat";
    refused(&other, "--prompt a kite, and this run has a boat");
    other = run;
    other.params.guidance_low = 5;
    refused(&other, "--guidance 4, and this run has 5");
    other = run;
    other.params.seed = 4;
    refused(&other, "--seed 3, and this run has 4");
    other = run;
    other.model = in_dir("other.safetensors");
    write_other_weights(other.model);
    refused(&other, "another transformer than");
    FILE *f = fopen(in_dir("state"), "w");
    fputs("nonsense", f);
    fclose(f);
    refused(&run, "state");
}

/* Without a seed the state's is taken. */
static void seed_comes_from_the_state(void **state)
{
    (void)state;
    struct video_run run = {TINY, GOLDEN("pipeline_unipc"), RUN(.guidance_low = 4)};
    struct wan_context *ctx = NULL;
    stop_after_one(&run);
    run.params.seed = WAN_UNSET_I64;
    assert_int_equal(run_all(&run, (struct death){0}, &ctx), WAN_OK);
    wan_context_free(ctx);
    assert_int_equal(wn_file_kind(in_dir("state")), WN_FILE_NONE);
}

int main(void)
{
    static struct video_run unipc = {TINY, GOLDEN("pipeline_unipc"), RUN(.steps = 5)},
                            dpm = {TINY, GOLDEN("pipeline_unipc"), RUN(.steps = 4, .solver = "dpm++")},
                            euler = {SHAPES, NULL, RUN(.steps = 3, .solver = "euler")};
    static struct video_run experts = {GOLDEN_DIR "/model/tiny-i2v-a14b", GOLDEN("pipeline_i2v_a14b"),
                                       RUN(.steps = 4, .image = PICTURE)},
                            held = {GOLDEN_DIR "/model/tiny-ti2v", GOLDEN("pipeline_ti2v_image"),
                                    RUN(.steps = 3, .image = PICTURE, .width = 64)};
    const struct CMUnitTest tests[] = {
        {"killed_anywhere, two experts and an image", killed_anywhere, NULL, NULL, &experts},
        {"killed_anywhere, TI2V and an image", killed_anywhere, NULL, NULL, &held},
        {"killed_anywhere, unipc", killed_anywhere, NULL, NULL, &unipc},
        {"killed_anywhere, dpm++", killed_anywhere, NULL, NULL, &dpm},
        {"killed_anywhere, euler, from a prompt", killed_anywhere, NULL, NULL, &euler},
        cmocka_unit_test(other_runs_are_refused),
        cmocka_unit_test(seed_comes_from_the_state),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
