#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/thread.h"
#include "lib/build.h"
#include "lib/lib.h"

#define WN_TEXT(x) WN_TEXT_(x)
#define WN_TEXT_(x) #x

const char *wan_version(void)
{
    return WN_TEXT(WN_VERSION);
}

static void forward_log(void *ctx, enum wn_log_level level, const char *text)
{
    struct wan_context *c = ctx;
    c->params.log(c->params.user, (enum wan_log_level)level, text);
}

static int forward_cancel(void *ctx)
{
    struct wan_context *c = ctx;
    return c->params.cancelled ? c->params.cancelled(c->params.user) : 0;
}

enum wan_status wan_context_new(struct wan_context **out, const struct wan_context_params *params)
{
    *out = wn_zalloc(sizeof **out);
    struct wan_context *c = *out;
    if (!c) return WAN_ENOMEM;
    if (!params || params->size != sizeof *params)
        return wn_fail(&c->err, WAN_EINVAL, "wan_context_new: params are not of this version of the library");
    c->params = *params;
    if (params->log) c->log = (struct wn_log){forward_log, c};
    if (params->threads < 0)
        return wn_fail(&c->err, WAN_EINVAL, "--threads %d: must be 1 or more, or 0 for one on each core",
                       params->threads);
    struct wn_device_params dp = {.name = params->device,
                                  .isa = params->isa,
                                  .n_threads = params->threads,
                                  .max_memory = params->max_memory,
                                  .log = c->log,
                                  .cancelled = forward_cancel,
                                  .cancel_ctx = c};
    if (wn_device_open(&c->dev, &dp, &c->err)) return c->err.code;
    c->dev->trace = params->trace != 0;
    int n = c->dev->pool ? wn_pool_n_threads(c->dev->pool) : 1;
    snprintf(c->device_text, sizeof c->device_text, "%s (%s%s%d thread%s)", c->dev->table->name,
             c->dev->isa ? c->dev->isa : "", c->dev->isa && *c->dev->isa ? ", " : "", n, n == 1 ? "" : "s");
    snprintf(c->maker, sizeof c->maker, "%s %s %s", WN_BUILD, c->dev->table->name,
             c->dev->isa ? c->dev->isa : "");
    c->params.device = c->params.isa = NULL; /* the caller's strings */
    return WAN_OK;
}

void wan_context_free(struct wan_context *c)
{
    if (!c) return;
    wn_device_close(c->dev);
    wn_free(c);
}

const char *wan_error(const struct wan_context *c)
{
    return c ? c->err.text : "out of memory";
}

const char *wan_context_device(const struct wan_context *c)
{
    return c->device_text;
}

void wan_context_memory(const struct wan_context *c, size_t *used, size_t *peak)
{
    struct wn_memory m = wn_device_memory(c->dev);
    *used = m.used;
    *peak = m.peak;
}

size_t wan_memory_used(void)
{
    return wn_mem_used();
}

size_t wan_memory_peak(void)
{
    return wn_mem_peak();
}

void wan_string_free(char *text)
{
    wn_free(text);
}

struct wn_err *wn_enter(struct wan_context *c)
{
    c->err = (struct wn_err){0};
    return &c->err;
}

enum wan_status wn_precision_parse(const char *name, enum wn_precision otherwise, const char *option,
                                   enum wn_precision *out, struct wn_err *err)
{
    static const char *const names[] = {
        [WN_PREC_F32] = "f32", [WN_PREC_F32X] = "f32x", [WN_PREC_BF16] = "bf16"};
    *out = otherwise;
    if (!name) return WAN_OK;
    for (int i = WN_PREC_F32; i <= WN_PREC_BF16; i++)
        if (!strcmp(name, names[i])) {
            *out = (enum wn_precision)i;
            return WAN_OK;
        }
    return wn_fail(err, WAN_EINVAL, "%s '%s': must be f32, f32x or bf16", option, name);
}

enum wan_status wn_noise_draw(const char *rng, int64_t seed, float *out, int64_t n, struct wn_err *err)
{
    if (!rng || !strcmp(rng, "torch-cpu")) {
        wn_torch_randn((uint64_t)seed, out, n);
        return WAN_OK;
    }
    int n_sms = 132, threads = 2048, end = 0; /* an H100, unless told */
    bool known = !strcmp(rng, "torch-cuda") ||
                 (sscanf(rng, "torch-cuda:%d%n", &n_sms, &end) == 1 && rng[end] == 0) ||
                 (sscanf(rng, "torch-cuda:%d:%d%n", &n_sms, &threads, &end) == 2 && rng[end] == 0);
    if (!known)
        return wn_fail(err, WAN_EINVAL, "--rng '%s': must be torch-cpu or torch-cuda[:SMS[:THREADS_PER_SM]]",
                       rng);
    return wn_torch_cuda_randn((uint64_t)seed, out, n, n_sms, threads, err);
}
