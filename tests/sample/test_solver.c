/* Schedules and solvers against the official classes (tools/oracle/schedule.py) and the numbers of
 * spec/schedulers.md. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/mem.h"
#include "base/rng.h"
#include "sample/solver.h"

enum { N_ELEMS = 24 }; /* [2, 3, 2, 2] */

static struct wn_solver *new_solver(enum wn_solver_kind kind, int steps, double shift, int64_t n)
{
    struct wn_err err = {0};
    struct wn_solver *s;
    if (wn_solver_new(&s, kind, steps, shift, n, &err)) fail_msg("%s", err.text);
    return s;
}

static void schedules_agree_with_official(void **state)
{
    (void)state;
    json_error_t e;
    json_t *rows = json_load_file(GOLDEN_DIR "/sample/schedules.json", 0, &e), *row;
    assert_non_null(rows);
    assert_true(json_array_size(rows) > 200);
    size_t r;
    json_array_foreach(rows, r, row)
    {
        const char *name = json_string_value(json_object_get(row, "solver"));
        int n = (int)json_integer_value(json_object_get(row, "steps"));
        double shift = json_number_value(json_object_get(row, "shift"));
        enum wn_solver_kind kind;
        assert_true(wn_solver_find(name, &kind));
        struct wn_solver *s = new_solver(kind, n, shift, 0);
        assert_int_equal(wn_solver_n_steps(s), n);
        json_t *sigmas = json_object_get(row, "sigmas"), *timesteps = json_object_get(row, "timesteps");
        assert_int_equal(json_array_size(sigmas), n + 1);
        assert_int_equal(json_array_size(timesteps), n);
        /* diffusers' Euler shifts in float32: a unit in the last place of difference. */
        float slack = kind == WN_SOLVER_EULER ? 2 * FLT_EPSILON : 0;
        for (int i = 0; i <= n; i++) {
            float want = (float)json_number_value(json_array_get(sigmas, (size_t)i)),
                  got = wn_solver_sigmas(s)[i];
            if (!(fabsf(got - want) <= slack * want))
                fail_msg("%s N %d shift %g: sigma %d is %.9g, not %.9g", name, n, shift, i, (double)got,
                         (double)want);
        }
        for (int i = 0; i < n; i++) {
            double want = json_number_value(json_array_get(timesteps, (size_t)i)),
                   got = wn_solver_timesteps(s)[i];
            if (!(fabs(got - want) <= (double)slack * want + (kind == WN_SOLVER_EULER ? 1e-6 : 0)))
                fail_msg("%s N %d shift %g: timestep %d is %.9g, not %.9g", name, n, shift, i, got, want);
        }
        wn_solver_free(s);
    }
    json_decref(rows);
}

/* Error of a run: the largest |got - want| / (|want| + 1) over its steps, each step started from OUR sample.
 */
static double run_error(FILE *f, enum wn_solver_kind kind, int steps, double shift)
{
    struct wn_solver *s = new_solver(kind, steps, shift, N_ELEMS);
    float x[N_ELEMS], v[N_ELEMS], want[N_ELEMS];
    assert_int_equal(fread(x, 4, N_ELEMS, f), N_ELEMS);
    double worst = 0;
    for (int i = 0; i < steps; i++) {
        assert_int_equal(fread(v, 4, N_ELEMS, f), N_ELEMS);
        assert_int_equal(fread(want, 4, N_ELEMS, f), N_ELEMS);
        assert_int_equal(wn_solver_step(s, i, x, v, NULL), WAN_OK);
        for (int j = 0; j < N_ELEMS; j++) {
            double d = fabs((double)x[j] - (double)want[j]) / (fabs((double)want[j]) + 1);
            if (!(d <= worst)) worst = d;
        }
    }
    wn_solver_free(s);
    return worst;
}

static void runs_agree_with_official(void **state)
{
    (void)state;
    static const struct {
        int steps;
        double shift;
    } runs[] = {{1, 5}, {2, 5}, {3, 1}, {5, 3}, {20, 8}, {50, 5}, {40, 12}, {50, 16}};
    FILE *f = fopen(GOLDEN_DIR "/sample/runs.f32", "rb");
    assert_non_null(f);
    for (int kind = 0; kind < WN_N_SOLVERS; kind++)
        for (size_t r = 0; r < sizeof runs / sizeof *runs; r++) {
            double e = run_error(f, (enum wn_solver_kind)kind, runs[r].steps, runs[r].shift);
            print_message("%-5s N %2d shift %4g: error %.2e\n", wn_solver_name((enum wn_solver_kind)kind),
                          runs[r].steps, runs[r].shift, e);
            assert_true(e <= 5e-7); /* measured here: at most 3.0e-7, after 50 steps of float32 rounding */
        }
    assert_int_equal(fgetc(f), EOF);
    fclose(f);
}

static void toy_step(struct wn_solver *s, int i, float x[3])
{
    float v[3];
    for (int j = 0; j < 3; j++) v[j] = 0.8f * x[j] - 0.35f * cosf(x[j] * (1.0f + 0.25f * (float)i));
    assert_int_equal(wn_solver_step(s, i, x, v, NULL), WAN_OK);
}

struct toy {
    enum wn_solver_kind kind;
    int steps;
    double shift;
    int step; /* after which x is known */
    double t, x[3];
};

static void toy_problem(void **state)
{
    (void)state;
    static const struct toy toys[] = {
        {WN_SOLVER_UNIPC, 5, 5, 0, 999, {0.733614206, -1.19709587, 1.91682708}},
        {WN_SOLVER_UNIPC, 5, 5, 1, 952, {0.706589997, -1.13162482, 1.79015195}},
        {WN_SOLVER_UNIPC, 5, 5, 2, 882, {0.660498619, -1.04343796, 1.59613395}},
        {WN_SOLVER_UNIPC, 5, 5, 3, 768, {0.579143941, -0.90113306, 1.27558732}},
        {WN_SOLVER_UNIPC, 5, 5, 4, 555, {0.399800837, -0.545434475, 0.547537923}},
        {WN_SOLVER_UNIPC, 3, 1, 0, 999, {0.635478318, -0.880249202, 1.41869807}},
        {WN_SOLVER_UNIPC, 3, 1, 1, 666, {0.555339515, -0.615832448, 1.06733131}},
        {WN_SOLVER_UNIPC, 3, 1, 2, 333, {0.485794663, -0.38151443, 0.779474854}},
        {WN_SOLVER_UNIPC, 16, 12, 14, 631, {0.395897806, -0.866093159, 1.38998055}},
        {WN_SOLVER_UNIPC, 16, 12, 15, 444, {0.207833871, -0.645913243, 1.04366755}},
        {WN_SOLVER_DPMPP, 5, 5, 0, 1000, {0.733623385, -1.19712555, 1.91687369}},
        {WN_SOLVER_DPMPP, 5, 5, 1, 952, {0.707430422, -1.1282382, 1.7914772}},
        {WN_SOLVER_DPMPP, 5, 5, 2, 882, {0.661736548, -1.03671455, 1.59578753}},
        {WN_SOLVER_DPMPP, 5, 5, 3, 769, {0.579253376, -0.893376291, 1.27142918}},
        {WN_SOLVER_DPMPP, 5, 5, 4, 555, {0.399722874, -0.53798604, 0.545728743}},
        {WN_SOLVER_DPMPP, 3, 1, 0, 1000, {0.635363698, -0.879879117, 1.41811621}},
        {WN_SOLVER_DPMPP, 3, 1, 1, 666, {0.547699451, -0.592309415, 1.01656234}},
        {WN_SOLVER_DPMPP, 3, 1, 2, 333, {0.48110649, -0.360789657, 0.75083828}},
        {WN_SOLVER_DPMPP, 16, 12, 14, 631, {0.394532382, -0.863653481, 1.38820982}},
        {WN_SOLVER_DPMPP, 16, 12, 15, 444, {0.207804263, -0.645693839, 1.04272628}},
    };
    double worst = 0;
    for (size_t k = 0; k < sizeof toys / sizeof *toys; k++) {
        const struct toy *t = &toys[k];
        struct wn_solver *s = new_solver(t->kind, t->steps, t->shift, 3);
        float x[3] = {0.75f, -1.25f, 2.0f};
        for (int i = 0; i <= t->step; i++) toy_step(s, i, x);
        assert_true(wn_solver_timesteps(s)[t->step] == t->t);
        for (int j = 0; j < 3; j++) {
            double d = fabs((double)x[j] - t->x[j]) / fabs(t->x[j]);
            if (!(d <= worst)) worst = d;
        }
        wn_solver_free(s);
    }
    print_message("largest relative difference: %.2e\n", worst);
    assert_true(worst <= 3e-7);
}

/* The first two integer timesteps are both 999 here; the official program runs off the end of its list. */
static void equal_timesteps_are_no_trouble(void **state)
{
    (void)state;
    struct wn_solver *s = new_solver(WN_SOLVER_UNIPC, 92, 12, 3);
    assert_true(wn_solver_timesteps(s)[0] == 999 && wn_solver_timesteps(s)[1] == 999);
    float x[3] = {0.75f, -1.25f, 2.0f};
    for (int i = 0; i < 92; i++) toy_step(s, i, x);
    for (int j = 0; j < 3; j++) assert_true(isfinite(x[j]));
    assert_int_equal(wn_solver_next(s), 92);
    wn_solver_free(s);
}

/* The last step returns x - S[N-1] v to the bit, whatever came before. */
static void last_step_is_x0(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++)
        for (int n = 1; n < 7; n++) {
            struct wn_solver *s = new_solver((enum wn_solver_kind)kind, n, 3, 3);
            float x[3] = {0.75f, -1.25f, 2.0f}, v[3] = {0.3f, -0.7f, 1.1f}, want[3];
            for (int i = 0; i < n - 1; i++) toy_step(s, i, x);
            for (int j = 0; j < 3; j++) {
                float sv = wn_solver_sigmas(s)[n - 1] * v[j];
                want[j] = x[j] - sv;
            }
            assert_int_equal(wn_solver_step(s, n - 1, x, v, NULL), WAN_OK);
            assert_memory_equal(x, want, sizeof x);
            wn_solver_free(s);
        }
}

/* A velocity that does not change is a straight line, which every solver follows exactly. */
static void straight_line_is_exact(void **state)
{
    (void)state;
    enum { N = 1003 };
    static float x0[N], noise[N], x[N], v[N];
    struct wn_rng r = {5};
    for (int j = 0; j < N; j++) {
        x0[j] = wn_rng_normal(&r);
        noise[j] = wn_rng_normal(&r);
        v[j] = noise[j] - x0[j];
    }
    for (int kind = 0; kind < WN_N_SOLVERS; kind++) {
        struct wn_solver *s = new_solver((enum wn_solver_kind)kind, 30, 5, N);
        float s0 = wn_solver_sigmas(s)[0];
        for (int j = 0; j < N; j++) x[j] = (1 - s0) * x0[j] + s0 * noise[j];
        for (int i = 0; i < 30; i++) assert_int_equal(wn_solver_step(s, i, x, v, NULL), WAN_OK);
        for (int j = 0; j < N; j++) assert_true(fabsf(x[j] - x0[j]) < 1e-5f);
        wn_solver_free(s);
    }
}

static void velocity(const float *x, int i, float *v, int n)
{
    for (int j = 0; j < n; j++) v[j] = 0.8f * x[j] - 0.35f * sinf(x[j] + (float)(i + j));
}

/* Stop after each step, save x and the state, resume in a new solver: the same bits. */
static void resume_gives_the_same_bits(void **state)
{
    (void)state;
    enum { STEPS = 6, N = 37 };
    for (int kind = 0; kind < WN_N_SOLVERS; kind++)
        for (int stop = 0; stop <= STEPS; stop++) {
            float x[N], y[N], v[N];
            for (int j = 0; j < N; j++) x[j] = sinf((float)j);
            struct wn_solver *a = new_solver((enum wn_solver_kind)kind, STEPS, 5, N);
            struct wn_solver *b = new_solver((enum wn_solver_kind)kind, STEPS, 5, N);
            for (int i = 0; i < stop; i++) {
                velocity(x, i, v, N);
                assert_int_equal(wn_solver_step(a, i, x, v, NULL), WAN_OK);
                velocity(x, i + 7, v, N); /* b has a past of its own, which must not show */
                memcpy(y, x, sizeof y);
                assert_int_equal(wn_solver_step(b, i, y, v, NULL), WAN_OK);
            }
            memcpy(y, x, sizeof y);
            struct wn_solver_state from = wn_solver_state(a);
            assert_int_equal(from.next, stop);
            assert_int_equal(wn_solver_seek(b, from.next, NULL), WAN_OK);
            struct wn_solver_state to = wn_solver_state(b);
            assert_int_equal(to.n_buffers, from.n_buffers);
            for (int k = 0; k < from.n_buffers; k++) {
                assert_string_equal(to.buffers[k].name, from.buffers[k].name);
                memcpy(to.buffers[k].data, from.buffers[k].data, N * sizeof(float));
            }
            for (int i = stop; i < STEPS; i++) {
                velocity(x, i, v, N);
                assert_int_equal(wn_solver_step(a, i, x, v, NULL), WAN_OK);
                velocity(y, i, v, N);
                assert_int_equal(wn_solver_step(b, i, y, v, NULL), WAN_OK);
            }
            assert_memory_equal(x, y, sizeof x);
            wn_solver_free(a);
            wn_solver_free(b);
        }
}

static void bad_arguments(void **state)
{
    (void)state;
    struct wn_solver *s;
    struct wn_err err = {0};
    assert_int_equal(wn_solver_new(&s, WN_SOLVER_UNIPC, 0, 5, 3, &err), WAN_EINVAL);
    assert_null(s);
    assert_non_null(strstr(err.text, "0 steps"));
    assert_int_equal(wn_solver_new(&s, WN_SOLVER_UNIPC, WN_SOLVER_MAX_STEPS + 1, 5, 3, NULL), WAN_EINVAL);
    assert_int_equal(wn_solver_new(&s, (enum wn_solver_kind)3, 5, 5, 3, NULL), WAN_EINVAL);
    assert_int_equal(wn_solver_new(&s, WN_SOLVER_EULER, 5, 5, -1, NULL), WAN_EINVAL);
    assert_int_equal(wn_solver_new(&s, WN_SOLVER_UNIPC, 5, 5, INT64_MAX, NULL), WAN_ENOMEM);
    const double shifts[] = {0, -1, NAN, INFINITY, 1e300, 1e12, 1e-300};
    for (size_t i = 0; i < sizeof shifts / sizeof *shifts; i++)
        assert_int_equal(wn_solver_new(&s, WN_SOLVER_DPMPP, 50, shifts[i], 3, NULL), WAN_EINVAL);
    enum wn_solver_kind kind;
    assert_false(wn_solver_find("dpm", &kind));

    s = new_solver(WN_SOLVER_UNIPC, 2, 5, 3);
    float x[3] = {1, 2, 3}, v[3] = {1, 1, 1};
    err = (struct wn_err){0};
    assert_int_equal(wn_solver_step(s, 1, x, v, &err), WAN_EINVAL);
    assert_non_null(strstr(err.text, "step 0 is next"));
    assert_true(x[0] == 1 && x[1] == 2 && x[2] == 3);
    assert_int_equal(wn_solver_step(s, 0, x, v, NULL), WAN_OK);
    assert_int_equal(wn_solver_step(s, 1, x, v, NULL), WAN_OK);
    assert_int_equal(wn_solver_step(s, 2, x, v, NULL), WAN_EINVAL);
    assert_int_equal(wn_solver_seek(s, 3, NULL), WAN_EINVAL);
    assert_int_equal(wn_solver_seek(s, -1, NULL), WAN_EINVAL);
    wn_solver_free(s);
    wn_solver_free(NULL);
}

static void out_of_memory(void **state)
{
    (void)state;
    for (int kind = 0; kind < WN_N_SOLVERS; kind++) {
        size_t before = wn_mem_used();
        int64_t n = 0;
        for (enum wan_status st = WAN_ENOMEM; st; n++) {
            struct wn_solver *s;
            struct wn_err err = {0};
            wn_mem_fail_after(n);
            st = wn_solver_new(&s, (enum wn_solver_kind)kind, 5, 5, 3, &err);
            wn_mem_fail_after(-1);
            assert_true(st == WAN_OK || st == WAN_ENOMEM);
            if (st) assert_null(s);
            wn_solver_free(s);
            assert_int_equal(wn_mem_used(), before);
        }
        assert_int_equal(n, kind == WN_SOLVER_UNIPC ? 7 : kind == WN_SOLVER_DPMPP ? 6 : 4);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schedules_agree_with_official),
        cmocka_unit_test(runs_agree_with_official),
        cmocka_unit_test(toy_problem),
        cmocka_unit_test(equal_timesteps_are_no_trouble),
        cmocka_unit_test(last_step_is_x0),
        cmocka_unit_test(straight_line_is_exact),
        cmocka_unit_test(resume_gives_the_same_bits),
        cmocka_unit_test(bad_arguments),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
