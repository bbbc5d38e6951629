/* Stopped at the k-th ask whether to stop, for several k: each call says WAN_ECANCELED, nothing is leaked, no
 * partial file stays, an output that was there is as it was, and the context goes on to do the same job. */
#include "util.h"

/* Says stop at ask number `at`, once, or from then on. */
struct stop {
    int64_t asks, at; /* at: the first is 1; 0: never */
    bool once;
};

static int asked(void *user)
{
    struct stop *s = user;
    s->asks++;
    return s->at && (s->once ? s->asks == s->at : s->asks >= s->at);
}

/* One run with the answer "stop" at ask `at`; true when it was given. */
static bool stop_job_at(struct wan_context *ctx, const struct job *job, struct stop *s, int64_t at, bool once)
{
    char when[64];
    snprintf(when, sizeof when, "stopped at ask %lld%s", (long long)at, once ? ", once" : "");
    put_before(job);
    *s = (struct stop){.at = at, .once = once};
    enum wan_status st = job->run(ctx, job);
    bool told = at && s->asks >= at;
    s->at = 0;
    if (st != (told ? WAN_ECANCELED : WAN_OK))
        fail_msg("%s, %s: %s (%s)", job->name, when, wan_status_name(st), wan_error(ctx));
    if (!told) return false;
    if (!*wan_error(ctx)) fail_msg("%s, %s: no message", job->name, when);
    assert_untouched(job, when);
    return true;
}

static void job_stops(void **state)
{
    static const int64_t asks[] = {1, 2, 3, 5, 8, 20, 50, 120, 300, 700, 1500, 4000, 10000};
    const struct job *job = *state;
    struct stop s = {0};
    struct wan_context *ctx;
    size_t used = wn_mem_used();
    assert_int_equal(wan_context_new(&ctx, wan_context_params(.device = job->device ? job->device : "cpu",
                                                              .threads = 2, .cancelled = asked, .user = &s)),
                     WAN_OK);
    stop_job_at(ctx, job, &s, 0, false);
    int64_t total = s.asks;
    int n = 0;
    for (size_t i = 0; i < sizeof asks / sizeof *asks; i++)
        for (int once = 0; once < 2; once++)
            if (asks[i] <= total / 2) n += stop_job_at(ctx, job, &s, asks[i], once);
    stop_job_at(ctx, job, &s, 0, false); /* and all is as before */
    wan_context_free(ctx);
    if (wn_mem_used() != used) fail_msg("%s: %zu bytes leaked", job->name, wn_mem_used() - used);
    print_message("             %lld asks, stopped at %d of them\n", (long long)total, n);
}

/* A measurement that was stopped is not reported as a slow machine. */
static void bench_stops(void **state)
{
    static const int64_t asks[] = {1, 2, 9, 15, 22};
    (void)state;
    struct stop s = {0};
    struct wan_context *ctx;
    assert_int_equal(wan_context_new(&ctx, wan_context_params(.device = "cpu", .threads = 1,
                                                              .cancelled = asked, .user = &s)),
                     WAN_OK);
    for (size_t i = 0; i < sizeof asks / sizeof *asks; i++)
        assert_true(stop_job_at(ctx, &bench_machine, &s, asks[i], i % 2));
    wan_context_free(ctx);
}

/* The same seed after a stop gives the same frames as before it. */
static void same_after_a_stop(void **state)
{
    (void)state;
    struct job job = {"latents and frames",     NULL, run_frames, TINY, GOLDEN("pipeline_unipc"),
                      .output = "l.safetensors"};
    struct stop s = {0};
    struct wan_context *ctx;
    char *first, *second;
    size_t n1, n2;
    assert_int_equal(wan_context_new(&ctx, wan_context_params(.device = "cpu", .threads = 2,
                                                              .cancelled = asked, .user = &s)),
                     WAN_OK);
    stop_job_at(ctx, &job, &s, 0, false);
    assert_int_equal(wn_file_read(in_dir(job.output), 1 << 26, &first, &n1, NULL), 0);
    assert_true(stop_job_at(ctx, &job, &s, s.asks / 3, false));
    stop_job_at(ctx, &job, &s, 0, false);
    assert_int_equal(wn_file_read(in_dir(job.output), 1 << 26, &second, &n2, NULL), 0);
    assert_int_equal(n1, n2);
    assert_memory_equal(first, second, n1);
    wn_free(first);
    wn_free(second);
    wan_context_free(ctx);
}

/* A session that was stopped in a step takes that step again and ends with the latents of one that was not.
 * One thread: with more, how often it is asked depends on which thread is faster. */
static void a_session_goes_on(void **state)
{
    (void)state;
    struct stop s = {0};
    struct wan_context *ctx;
    struct wan_model *m;
    struct wan_session *a, *b;
    int64_t dims[4];
    assert_int_equal(wan_context_new(&ctx, wan_context_params(.device = "cpu", .threads = 1,
                                                              .cancelled = asked, .user = &s)),
                     WAN_OK);
    assert_int_equal(wan_model_open(&m, ctx, TINY), WAN_OK);
    const struct wan_gen_params *p = wan_gen_params(.context_file = GOLDEN("pipeline_unipc"), .width = 32,
                                                    .height = 32, .frames = 5, .steps = 3, .seed = 3);
    assert_int_equal(wan_session_new(&a, m, p), WAN_OK);
    assert_int_equal(wan_session_new(&b, m, p), WAN_OK);
    for (int i = 0; i < 3; i++) {
        s = (struct stop){0};
        assert_int_equal(wan_session_step(a), WAN_OK);
        int64_t middle = s.asks / 2;
        for (int64_t at = 1; at <= middle; at += middle - 1) {
            s = (struct stop){.at = at};
            assert_int_equal(wan_session_step(b), WAN_ECANCELED);
            assert_int_equal(wan_session_steps_done(b), i);
        }
        s = (struct stop){0};
        assert_int_equal(wan_session_step(b), WAN_OK);
    }
    const float *x = wan_session_latents(a, dims);
    assert_memory_equal(x, wan_session_latents(b, dims),
                        (size_t)(dims[0] * dims[1] * dims[2] * dims[3]) * sizeof *x);
    wan_session_free(a);
    wan_session_free(b);
    wan_model_free(m);
    wan_context_free(ctx);
}

int main(void)
{
    struct CMUnitTest tests[3 + N_JOBS] = {
        cmocka_unit_test(bench_stops),
        cmocka_unit_test(same_after_a_stop),
        cmocka_unit_test(a_session_goes_on),
    };
    size_t n = 3;
    for (int i = 0; i < N_JOBS; i++)
        tests[n++] = (struct CMUnitTest){jobs[i].name, job_stops, NULL, NULL, (void *)(uintptr_t)&jobs[i]};
    return _cmocka_run_group_tests("cancel", tests, n, make_dir, remove_dir);
}
