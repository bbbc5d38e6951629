/* Encoded prompts: the same bytes alone, together, from memory and from disk; and the folder they are kept
 * in, under small bounds, several processes, damage and failures to write. */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "lib/session.h"

#define SHAPES SOURCE_DIR "/models/shapes-t2v"

static char folder[64];

static void empty_folder(void)
{
    char path[400];
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        unlink(path);
    }
    if (d) closedir(d);
}

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/wan-texts-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    empty_folder();
    return rmdir(folder);
}

static int count_files(const char *part_of_name)
{
    int n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));)
        n += e->d_name[0] != '.' && strstr(e->d_name, part_of_name);
    if (d) closedir(d);
    return n;
}

static void check(const struct wan_context *ctx, enum wan_status st)
{
    if (st) fail_msg("%s: %s", wan_status_name(st), wan_error(ctx));
}

/* ---- the same bytes ---- */

static struct wan_model *open_model(struct wan_context *ctx)
{
    struct wan_model *m;
    check(ctx, wan_model_open(&m, ctx, SHAPES));
    return m;
}

static void same_rows(const struct wn_text *a, const struct wn_text *b)
{
    assert_int_equal(a->n, b->n);
    assert_int_equal(a->width, b->width);
    assert_memory_equal(a->ids, b->ids, (size_t)a->n * sizeof *a->ids);
    assert_memory_equal(a->rows, b->rows, (size_t)(a->n * a->width) * sizeof *a->rows);
}

/* Of lengths on both sides of where products of few rows end (32). */
static const char *const prompts[] = {
    "red",
    "a red circle moves to the right on a blue background",
    "",
    "a green square, a yellow ring, a red circle, a blue triangle, a white star, a black cross, a green "
    "square, "
    "a yellow ring, a red circle, a blue triangle, a white star, a black cross, all of them on a grey "
    "background",
    "red",
    "a blue ring",
};
enum { N_PROMPTS = sizeof prompts / sizeof *prompts };
static const int place[N_PROMPTS] = {0, 1, 2, 3, 0, 4}; /* in a list that has each once */

static void alone_or_together(void **state)
{
    const char *device = *state;
    struct wan_context *ctx;
    check(NULL, wan_context_new(&ctx, wan_context_params(.device = device, .threads = 2)));
    struct wan_model *all = open_model(ctx);
    check(ctx,
          wan_model_encode_texts(all, wan_gen_params(.negative = "dull"), prompts, N_PROMPTS, NULL, NULL));
    assert_int_equal(all->texts.n, 5 + 1); /* and the negative one */
    for (int i = 0; i < N_PROMPTS; i++) {
        struct wan_model *m = open_model(ctx);
        check(ctx, wan_model_encode_texts(m, wan_gen_params(.guidance_low = 1), &prompts[i], 1, NULL, NULL));
        assert_int_equal(m->texts.n, 1);
        same_rows(&m->texts.item[0], &all->texts.item[place[i]]);
        wan_model_free(m);
    }
    wan_model_free(all);
    wan_context_free(ctx);
}

/* The latents of a run, whose model is left open. */
static float *run(struct wan_context *ctx, struct wan_model *m, const char *cache, size_t *bytes)
{
    struct wan_session *s;
    int64_t d[4];
    check(ctx, wan_session_new(&s, m,
                               wan_gen_params(.prompt = "a red circle", .width = 32, .height = 32,
                                              .frames = 1, .steps = 2, .seed = 3, .cache_dir = cache)));
    while (wan_session_steps_done(s) < wan_session_n_steps(s)) check(ctx, wan_session_step(s));
    const float *x = wan_session_latents(s, d);
    *bytes = (size_t)(d[0] * d[1] * d[2] * d[3]) * sizeof *x;
    float *copy = malloc(*bytes);
    assert_non_null(copy);
    memcpy(copy, x, *bytes);
    wan_session_free(s);
    return copy;
}

static void known_texts_need_no_encoder(void **state)
{
    static const char *const prompt = "a red circle";
    struct wan_context *ctx;
    size_t n, n2;
    (void)state;
    check(NULL, wan_context_new(&ctx, wan_context_params(.device = "cpu", .threads = 2)));
    struct wan_model *plain = open_model(ctx), *first = open_model(ctx), *second = open_model(ctx),
                     *batch = open_model(ctx), *fresh = open_model(ctx);
    float *want = run(ctx, plain, NULL, &n);
    assert_int_equal(count_files(""), 0);
    float *x = run(ctx, first, folder, &n2);
    assert_memory_equal(x, want, n);
    assert_int_equal(count_files("text-"), 2);
    assert_non_null(first->parts.t5);
    free(x);
    x = run(ctx, second, folder, &n2); /* from disk: the weights are looked at and not read */
    assert_memory_equal(x, want, n);
    assert_null(second->parts.t5);
    free(x);
    check(ctx, wan_model_encode_texts(batch, wan_gen_params(.cache_dir = folder), &prompt, 1, NULL, NULL));
    assert_null(batch->parts.t5);
    assert_int_equal(batch->texts.n, 2);
    /* from memory: the weights are not even opened */
    fresh->texts = batch->texts;
    batch->texts = (struct wn_texts){0};
    x = run(ctx, fresh, folder, &n2);
    assert_memory_equal(x, want, n);
    assert_null(fresh->parts.weights[WN_PART_T5]);
    free(x);
    free(want);
    struct wan_model *all[] = {plain, first, second, batch, fresh};
    for (int i = 0; i < 5; i++) wan_model_free(all[i]);
    wan_context_free(ctx);
    empty_folder();
}

/* ---- the folder ---- */

enum { N = 40, WIDTH = 64, ENTRY = N * WIDTH * 4 + N * 4 }; /* of entries here; a header comes to it */

static int n_lines;
static char last_line[1024];

static void on_line(void *ctx, enum wn_log_level level, const char *text)
{
    (void)ctx, (void)level;
    n_lines++;
    snprintf(last_line, sizeof last_line, "%s", text);
}
static const struct wn_log listener = {on_line, NULL};

static struct wn_text_cache cache_of(const char *path, size_t max_bytes)
{
    n_lines = 0;
    return (struct wn_text_cache){
        .folder = path, .maker = "test", .encoder = "e", .max_bytes = max_bytes, .log = &listener};
}

/* Text k, and what it is encoded to. */
static void fill(int k, int32_t ids[N], float rows[N * WIDTH])
{
    for (int i = 0; i < N; i++) ids[i] = k * 1000 + i;
    for (int i = 0; i < N * WIDTH; i++) rows[i] = (float)(k * 7919 + i);
}

static void put(struct wn_text_cache *c, int k)
{
    int32_t ids[N];
    float rows[N * WIDTH];
    struct wn_err err = {0};
    fill(k, ids, rows);
    if (wn_text_cache_put(c, ids, N, WIDTH, rows, &err)) fail_msg("%s", err.text);
}

/* Is text k there? Then it is right. */
static bool has(const struct wn_text_cache *c, int k)
{
    int32_t ids[N];
    float rows[N * WIDTH], *got;
    struct wn_err err = {0};
    fill(k, ids, rows);
    if (wn_text_cache_get(c, ids, N, WIDTH, &got, &err)) fail_msg("%s", err.text);
    if (got) assert_memory_equal(got, rows, sizeof rows);
    bool there = got != NULL;
    wn_free(got);
    return there;
}

/* Time passes: everything was used `seconds` earlier than it says. */
static void age(int seconds)
{
    char path[400];
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        if (stat(path, &st) || !S_ISREG(st.st_mode)) continue;
        const struct timespec t[2] = {{st.st_mtime - seconds, 0}, {st.st_mtime - seconds, 0}};
        assert_int_equal(utimensat(AT_FDCWD, path, t, 0), 0);
    }
    closedir(d);
}

static void least_used_go_first(void **state)
{
    (void)state;
    struct wn_text_cache c = cache_of(folder, 3 * (ENTRY + 500));
    for (int k = 0; k < 3; k++) {
        put(&c, k);
        age(10);
    }
    for (int k = 0; k < 3; k++) assert_true(has(&c, k));
    age(10);
    assert_true(has(&c, 0)); /* the oldest is used again */
    put(&c, 3);
    assert_int_equal(count_files("text-"), 3);
    assert_true(has(&c, 0));
    assert_true(has(&c, 3));
    assert_int_equal(has(&c, 1) + has(&c, 2), 1);
    c.max_bytes = 10; /* a bound that leaves nothing */
    put(&c, 4);
    assert_int_equal(count_files("text-"), 0);
    assert_int_equal(n_lines, 0);
    empty_folder();
}

static void write_file(const char *name, const char *text)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* What others have in the folder stays; what a killed process left of an entry goes after an hour. */
static void only_its_own_files(void **state)
{
    (void)state;
    struct wn_text_cache c = cache_of(folder, 10);
    write_file("notes.txt", "keep this, however large it is, it is no entry");
    write_file("text-notes", "and this");
    write_file("text-0123456789abcdef.safetensors.part-1-0", "old");
    age(4000);
    write_file("text-0123456789abcdef.safetensors.part-2-0", "being written");
    put(&c, 0);
    assert_int_equal(count_files("notes"), 2);
    assert_int_equal(count_files(".part-1-"), 0);
    assert_int_equal(count_files(".part-2-"), 1);
    empty_folder();
}

static void not_found_under_another_name(void **state)
{
    (void)state;
    struct wn_text_cache c = cache_of(folder, 1 << 20), other = c;
    put(&c, 1);
    assert_true(has(&c, 1));
    assert_false(has(&c, 2));
    other.maker = "another build";
    assert_false(has(&other, 1));
    other = c;
    other.encoder = "another encoder";
    assert_false(has(&other, 1));
    assert_int_equal(n_lines, 0);
    empty_folder();
}

static void told_once(struct wn_text_cache *c, const char *why)
{
    put(c, 1);
    put(c, 2);
    assert_false(has(c, 1));
    assert_int_equal(n_lines, 1);
    if (!strstr(last_line, "not kept") || !strstr(last_line, why)) fail_msg("said: %s", last_line);
}

static void folders_that_cannot_be(void **state)
{
    char below[128];
    (void)state;
    write_file("file", "");
    snprintf(below, sizeof below, "%s/file", folder);
    struct wn_text_cache c = cache_of(below, 1 << 20);
    told_once(&c, below);
    snprintf(below, sizeof below, "%s/file/below", folder);
    c = cache_of(below, 1 << 20);
    told_once(&c, below);
    empty_folder();
}

/* A file that cannot grow, as on a full disk. */
static void no_room(void **state)
{
    struct rlimit limit, none;
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    none = (struct rlimit){1000, limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    struct wn_text_cache c = cache_of(folder, 1 << 20);
    told_once(&c, "cannot write");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    assert_int_equal(count_files(""), 0);
}

/* A process that puts, looks for and makes room for entries all the time. What it finds is right. */
static void live(int seed)
{
    struct wn_text_cache c = cache_of(folder, 4 * (ENTRY + 500));
    unsigned state = (unsigned)seed;
    for (int i = 0; i < 300; i++) {
        state = state * 1103515245u + 12345u;
        int k = (int)(state >> 16) % 8;
        if (!has(&c, k)) put(&c, k);
    }
    if (n_lines) fail_msg("process %d said: %s", seed, last_line);
}

static void processes_at_once(void **state)
{
    enum { PROCESSES = 4 };
    pid_t pid[PROCESSES];
    (void)state;
    fflush(NULL);
    for (int i = 0; i < PROCESSES; i++) {
        pid[i] = fork();
        assert_true(pid[i] >= 0);
        if (pid[i] == 0) {
            live(i);
            _exit(0);
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status;
        assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    assert_true(count_files("text-") > 0);
    assert_int_equal(count_files(".part"), 0);
    empty_folder();
}

int main(void)
{
    struct CMUnitTest tests[] = {
        {"alone_or_together, cpu", alone_or_together, NULL, NULL, "cpu"},
        {"alone_or_together, ref", alone_or_together, NULL, NULL, "ref"},
        cmocka_unit_test(known_texts_need_no_encoder),
        cmocka_unit_test(least_used_go_first),
        cmocka_unit_test(only_its_own_files),
        cmocka_unit_test(not_found_under_another_name),
        cmocka_unit_test(folders_that_cannot_be),
        cmocka_unit_test(no_room),
        cmocka_unit_test(processes_at_once),
        {"alone_or_together, mlx", alone_or_together, NULL, NULL, "mlx"},
    };
    size_t n = sizeof tests / sizeof *tests - (wn_device_built("mlx") ? 0 : 1);
    return _cmocka_run_group_tests("texts", tests, n, make_folder, remove_folder);
}
