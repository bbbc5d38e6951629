/* What `wan generate` says of a run: before, while and after it. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "generate.h"
#include "jsonl.h"
#include "ui.h"

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

/* ---- JSON of a run ---- */

/* A whole number, or null where it is not set. */
static void json_whole(struct jsonl *j, const char *key, int64_t v, int64_t unset)
{
    if (v == unset)
        jsonl_null(j, key);
    else
        jsonl_int(j, key, v);
}

static void json_real(struct jsonl *j, const char *key, double v)
{
    jsonl_number(j, key, v == WAN_UNSET_F ? NAN : v);
}

static void json_option(struct jsonl *j, const struct wan_option *o, const void *field)
{
    const int *n = field;
    const double *f = field;
    switch (o->type) {
    case WAN_OPT_STRING: jsonl_text(j, o->name, *(const char *const *)field); break;
    case WAN_OPT_INT: json_whole(j, o->name, *n, WAN_UNSET); break;
    case WAN_OPT_I64: json_whole(j, o->name, *(const int64_t *)field, WAN_UNSET_I64); break;
    case WAN_OPT_FLOAT: json_real(j, o->name, *f); break;
    case WAN_OPT_FLAG: jsonl_bool(j, o->name, *n == 1); break;
    case WAN_OPT_SIZE:
        jsonl_open(j, o->name, '[');
        json_whole(j, NULL, n[0], WAN_UNSET);
        json_whole(j, NULL, n[1], WAN_UNSET);
        jsonl_close(j, ']');
        break;
    case WAN_OPT_PAIR:
        jsonl_open(j, o->name, '[');
        json_real(j, NULL, f[0]);
        json_real(j, NULL, f[1]);
        jsonl_close(j, ']');
        break;
    }
}

static void json_run(struct jsonl *j, const struct generate *g)
{
    const struct wan_gen_params *p = wan_session_params(g->session);
    size_t n;
    const struct wan_option *o = wan_gen_options(&n);
    jsonl_text(j, "output", g->output);
    jsonl_text(j, "latents", g->params.latents_file);
    jsonl_text(j, "model", wan_model_name(g->model));
    jsonl_text(j, "device", wan_context_device(g->ctx));
    json_whole(j, "seed", p->seed, WAN_UNSET_I64);
    jsonl_open(j, "params", '{');
    for (size_t i = 0; i < n; i++) json_option(j, &o[i], (const char *)p + o[i].offset);
    jsonl_close(j, '}');
}

/* ---- before ---- */

static void text_start(const struct generate *g, const struct wan_gen_params *p)
{
    ui_note("model  %s", wan_model_name(g->model));
    ui_note("device %s", wan_context_device(g->ctx));
    ui_note("video  %dx%d, %d frame%s, %g frames a second", p->width, p->height, p->frames,
            p->frames == 1 ? "" : "s", p->fps);
    if (p->image) ui_note("image  %s", p->image);
    if (p->from_latents_file) {
        ui_note("from   %s", p->from_latents_file);
        return;
    }
    char high[32] = "";
    if (p->guidance_high != p->guidance_low) snprintf(high, sizeof high, ",%g", p->guidance_high);
    ui_note("steps  %d (%s, shift %g, guidance %g%s)", p->steps, p->solver, p->shift, p->guidance_low, high);
    if (p->noise_file)
        ui_note("noise  %s", p->noise_file);
    else
        ui_note("seed   %lld%s", (long long)p->seed,
                g->params.seed == WAN_UNSET_I64 ? " (chosen at random)" : "");
}

void report_start(const struct generate *g)
{
    if (!ui_is_json()) {
        text_start(g, wan_session_params(g->session));
        return;
    }
    if (g->run.quiet) return;
    struct jsonl j = {.f = stderr};
    jsonl_open(&j, NULL, '{');
    jsonl_open(&j, "run", '{');
    json_run(&j, g);
    jsonl_close(&j, '}');
    jsonl_close(&j, '}');
    jsonl_end(&j);
}

/* ---- while ---- */

static const char *const stages[N_STAGES] = {"text", "image", "denoise", "decode"};

void report_progress(void *user, const struct wan_progress *p)
{
    struct generate *g = user;
    for (int i = 0; i < N_STAGES; i++) {
        if (strcmp(stages[i], p->stage)) continue;
        if (g->stage != i) g->stage_start = p->seconds;
        g->stage = i;
        g->seconds[i] = p->seconds - g->stage_start;
    }
    ui_progress(NULL, p);
}

/* ---- after ---- */

int report_result(const struct generate *g)
{
    double total = seconds_now() - g->start;
    size_t used, peak;
    wan_context_memory(g->ctx, &used, &peak);
    if (!ui_is_json()) {
        if (g->params.latents_file) ui_note("wrote  %s", g->params.latents_file);
        if (g->output) ui_note("wrote  %s", g->output);
        ui_note("took   %s, peak memory %s (%s with mapped files)", ui_seconds(total).s,
                ui_bytes((double)peak).s, ui_bytes(peak_resident()).s);
        return 0;
    }
    struct jsonl j = {.f = stdout};
    jsonl_open(&j, NULL, '{');
    json_run(&j, g);
    jsonl_open(&j, "seconds", '{');
    jsonl_number(&j, "total", total);
    for (int i = 0; i < N_STAGES; i++) jsonl_number(&j, stages[i], g->seconds[i]);
    jsonl_close(&j, '}');
    jsonl_open(&j, "memory", '{');
    jsonl_int(&j, "peak", (int64_t)peak);
    jsonl_int(&j, "resident", (int64_t)peak_resident());
    jsonl_close(&j, '}');
    jsonl_close(&j, '}');
    jsonl_end(&j);
    return ui_flush_output(0);
}

/* ---- instead ---- */

/* "3.1 TFLOP", "12 GFLOP" */
static struct ui_text work_text(double flops)
{
    struct ui_text t;
    snprintf(t.s, sizeof t.s, flops < 1e11 ? "%.3g GFLOP" : "%.3g TFLOP",
             flops * (flops < 1e11 ? 1e-9 : 1e-12));
    return t;
}

static void text_plan(const struct wan_plan *p, size_t n)
{
    printf("video   %dx%d, %d frame%s: %lld tokens, %d steps\n", p->width, p->height, p->frames,
           p->frames == 1 ? "" : "s", (long long)p->tokens, p->steps);
    printf("memory  %s", ui_bytes((double)p->memory_bytes).s);
    if (p->image_strips > 1) printf(", the image encoded in %d strips", p->image_strips);
    if (p->decode_strips > 1) printf(", the video decoded in %d strips", p->decode_strips);
    printf(", and %s of weights mapped from files\n", ui_bytes((double)p->mapped_bytes).s);
    printf("work    ");
    if (p->text_flops > 0) printf("text %s, ", work_text(p->text_flops).s);
    if (p->image_flops > 0) printf("image %s, ", work_text(p->image_flops).s);
    if (p->steps > 0) printf("a step %s, ", work_text(p->step_flops).s);
    printf("decoding %s\n", work_text(p->decode_flops).s);
    printf("time    about %s: ", ui_seconds(p->seconds).s);
    if (p->text_flops > 0) printf("text %s, ", ui_seconds(p->text_seconds).s);
    if (p->image_flops > 0) printf("image %s, ", ui_seconds(p->image_seconds).s);
    if (p->steps > 0) printf("a step %s, ", ui_seconds(p->step_seconds).s);
    printf("decoding %s\n", ui_seconds(p->decode_seconds).s);
    if (n > 1) printf("videos  %zu, about %s in all\n", n, ui_seconds(p->seconds * (double)n).s);
}

static void json_plan(const struct generate *g, const struct wan_plan *p, size_t n)
{
    struct jsonl j = {.f = stdout};
    jsonl_open(&j, NULL, '{');
    jsonl_open(&j, "plan", '{');
    jsonl_text(&j, "model", wan_model_name(g->model));
    jsonl_text(&j, "device", wan_context_device(g->ctx));
    jsonl_int(&j, "width", p->width);
    jsonl_int(&j, "height", p->height);
    jsonl_int(&j, "frames", p->frames);
    jsonl_int(&j, "steps", p->steps);
    jsonl_int(&j, "videos", (int64_t)n);
    jsonl_int(&j, "tokens", p->tokens);
    jsonl_open(&j, "flops", '{');
    jsonl_number(&j, "text", p->text_flops);
    jsonl_number(&j, "image", p->image_flops);
    jsonl_number(&j, "step", p->step_flops);
    jsonl_number(&j, "decode", p->decode_flops);
    jsonl_close(&j, '}');
    jsonl_open(&j, "memory", '{');
    jsonl_int(&j, "peak", (int64_t)p->memory_bytes);
    jsonl_int(&j, "mapped", (int64_t)p->mapped_bytes);
    jsonl_close(&j, '}');
    jsonl_open(&j, "strips", '{');
    jsonl_int(&j, "image", p->image_strips);
    jsonl_int(&j, "decode", p->decode_strips);
    jsonl_close(&j, '}');
    jsonl_open(&j, "seconds", '{');
    jsonl_number(&j, "total", p->seconds);
    jsonl_number(&j, "text", p->text_seconds);
    jsonl_number(&j, "image", p->image_seconds);
    jsonl_number(&j, "step", p->step_seconds);
    jsonl_number(&j, "decode", p->decode_seconds);
    jsonl_close(&j, '}');
    jsonl_close(&j, '}');
    jsonl_close(&j, '}');
    jsonl_end(&j);
}

int report_plan(const struct generate *g, const struct wan_plan *p, size_t n)
{
    if (ui_is_json())
        json_plan(g, p, n);
    else
        text_plan(p, n);
    return ui_flush_output(0);
}
