/* The one table of generation options: struct fields, program options, bounds, help and documentation. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#include "lib/model.h"

#define AT(field) offsetof(struct wan_gen_params, field)

static const struct wan_option options[] = {
    {"prompt", "prompt", WAN_OPT_STRING, AT(prompt), 0, 0, "text", "\"a red kite over the sea\"",
     "what the video shows"},
    {"negative", NULL, WAN_OPT_STRING, AT(negative), 0, 0, "text", "\"blurry, static\"",
     "what it should not show; empty: the official text"},
    {"image", "image", WAN_OPT_STRING, AT(image), 0, 0, "file", "first.png",
     "the first frame, PNG, JPEG or WebP: needed by I2V models, taken by TI2V"},
    {"size", "size", WAN_OPT_SIZE, AT(width), 16, 16384, "pixels", "832x480",
     "width x height; with an image its area, in the image's aspect"},
    {"frames", "frame_num", WAN_OPT_INT, AT(frames), 1, 4093, "frames", "81", "length of the video: 1 + 4 n"},
    {"fps", NULL, WAN_OPT_FLOAT, AT(fps), 1, 240, "1/s", "16", "frames a second of the file"},
    {"steps", "sample_steps", WAN_OPT_INT, AT(steps), 1, 10000, "steps", "50", "denoising steps"},
    {"shift", "sample_shift", WAN_OPT_FLOAT, AT(shift), 0.01, 1000, "", "5.0",
     "flow shift: how much of the schedule is spent at high noise"},
    {"guidance", "sample_guide_scale", WAN_OPT_PAIR, AT(guidance_low), 0, 1000, "", "5.0",
     "strength of the prompt; LOW,HIGH for models with two experts; 1: no guidance"},
    {"solver", "sample_solver", WAN_OPT_STRING, AT(solver), 0, 0, "", "unipc", "unipc, dpm++ or euler"},
    {"seed", "base_seed", WAN_OPT_I64, AT(seed), 0, 9223372036854775807.0, "", "42",
     "of the noise; not given: chosen at random and reported"},
    {"rng", NULL, WAN_OPT_STRING, AT(rng), 0, 0, "", "torch-cuda:132:2048",
     "whose noise the seed means: torch-cpu, torch-cuda[:SMS[:THREADS_PER_SM]]"},
    {"noise", NULL, WAN_OPT_STRING, AT(noise_file), 0, 0, "file", "noise.safetensors",
     "start from tensor `noise` [C, F, H, W] instead of the seed"},
    {"context", NULL, WAN_OPT_STRING, AT(context_file), 0, 0, "file", "context.safetensors",
     "tensors `context` and `context_null` [n, width] instead of the text encoder"},
    {"save-latents", NULL, WAN_OPT_STRING, AT(latents_file), 0, 0, "file", "latents.safetensors",
     "write tensor `latent`, normalised, as it goes into the VAE decoder"},
    {"from-latents", NULL, WAN_OPT_STRING, AT(from_latents_file), 0, 0, "file", "latents.safetensors",
     "decode tensor `latent` [C, F, h, w] of this file, as --save-latents wrote it, and do nothing else"},
    {"cache", NULL, WAN_OPT_STRING, AT(cache_dir), 0, 0, "folder", "~/.cache/wan",
     "keep encoded prompts in this folder, for later runs"},
    {"resume-from", NULL, WAN_OPT_STRING, AT(resume_file), 0, 0, "file", "kite.mp4.resume",
     "go on from the state of a run kept in this file, if it exists"},
    {"precision", NULL, WAN_OPT_STRING, AT(precision), 0, 0, "", "bf16",
     "f32: every part in float32; f32x: float32-grade; bf16: the transformer, with T5 and VAE in f32x"},
    {"t5-precision", NULL, WAN_OPT_STRING, AT(t5_precision), 0, 0, "", "f32x",
     "of the text encoder: f32, f32x, bf16"},
    {"vae-precision", NULL, WAN_OPT_STRING, AT(vae_precision), 0, 0, "", "f32x",
     "of the VAE: f32, f32x, bf16"},
    {"strict", NULL, WAN_OPT_FLAG, AT(strict), 0, 1, "", "",
     "a size or frame count that the model cannot take is an error instead of being moved"},
    {"crf", NULL, WAN_OPT_INT, AT(crf), 1, 51, "", "10",
     "quality of .mp4, .webm, animated .webp, as H.264's constant rate factor: lower is better"},
};

const struct wan_option *wan_gen_options(size_t *n)
{
    *n = sizeof options / sizeof *options;
    return options;
}

static enum wan_status check_number(const struct wan_option *o, double v, struct wn_err *err)
{
    if (v >= o->min && v <= o->max) return WAN_OK;
    return wn_fail(err, WAN_EINVAL, "--%s %.10g: must be from %.10g to %.10g", o->name, v, o->min, o->max);
}

static bool is_set(const struct wan_option *o, const void *field)
{
    switch (o->type) {
    case WAN_OPT_STRING: return *(const char *const *)field && **(const char *const *)field;
    case WAN_OPT_INT:
    case WAN_OPT_FLAG:
    case WAN_OPT_SIZE: return *(const int *)field != WAN_UNSET;
    case WAN_OPT_I64: return *(const int64_t *)field != WAN_UNSET_I64;
    case WAN_OPT_FLOAT:
    case WAN_OPT_PAIR: return *(const double *)field != WAN_UNSET_F;
    }
    return false;
}

enum wan_status wn_gen_check_decode(const struct wan_gen_params *p, struct wn_err *err)
{
    static const char used[] =
        " from-latents prompt size frames fps precision vae-precision strict crf cache ";
    char word[64];
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        snprintf(word, sizeof word, " %s ", options[i].name);
        if (!strstr(used, word) && is_set(&options[i], (const char *)p + options[i].offset))
            return wn_fail(err, WAN_EINVAL, "--%s has no part in --from-latents, which only decodes",
                           options[i].name);
    }
    return WAN_OK;
}

enum wan_status wn_gen_check(const struct wan_gen_params *p, struct wn_err *err)
{
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        const struct wan_option *o = &options[i];
        const char *field = (const char *)p + o->offset;
        int n[2];
        double f[2];
        int64_t i64;
        switch (o->type) {
        case WAN_OPT_INT:
        case WAN_OPT_FLAG:
            memcpy(n, field, sizeof *n);
            if (n[0] != WAN_UNSET && check_number(o, n[0], err)) return err->code;
            break;
        case WAN_OPT_SIZE:
            memcpy(n, field, sizeof n);
            for (int k = 0; k < 2; k++)
                if (n[k] != WAN_UNSET && check_number(o, n[k], err)) return err->code;
            break;
        case WAN_OPT_I64:
            memcpy(&i64, field, sizeof i64);
            if (i64 != WAN_UNSET_I64 && i64 < 0)
                return wn_fail(err, WAN_EINVAL, "--%s %lld: must not be negative", o->name, (long long)i64);
            break;
        case WAN_OPT_FLOAT:
        case WAN_OPT_PAIR:
            memcpy(f, field, o->type == WAN_OPT_PAIR ? sizeof f : sizeof *f);
            for (int k = 0; k < (o->type == WAN_OPT_PAIR ? 2 : 1); k++)
                if (f[k] != WAN_UNSET_F && check_number(o, f[k], err)) return err->code;
            break;
        case WAN_OPT_STRING: break;
        }
    }
    return WAN_OK;
}

/* The shortest digits that give the number back. */
struct number {
    char s[32];
};

static struct number number_text(double v)
{
    struct number t;
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(t.s, sizeof t.s, "%.*g", digits, v);
        if (strtod(t.s, NULL) == v) break;
    }
    return t;
}

char *wn_option_text(const struct wan_gen_params *p, const struct wan_option *o)
{
    const char *field = (const char *)p + o->offset;
    const double *pair = (const double *)field;
    switch (o->type) {
    case WAN_OPT_STRING: {
        const char *s = *(const char *const *)field;
        return wn_strdup(s ? s : "");
    }
    case WAN_OPT_INT:
    case WAN_OPT_FLAG: return wn_sprintf("%d", *(const int *)field);
    case WAN_OPT_I64: return wn_sprintf("%" PRId64, *(const int64_t *)field);
    case WAN_OPT_FLOAT: return wn_sprintf("%s", number_text(*pair).s);
    case WAN_OPT_SIZE: return wn_sprintf("%dx%d", ((const int *)field)[0], ((const int *)field)[1]);
    case WAN_OPT_PAIR:
        if (pair[0] == pair[1]) return wn_sprintf("%s", number_text(pair[0]).s);
        return wn_sprintf("%s,%s", number_text(pair[0]).s, number_text(pair[1]).s);
    }
    return NULL;
}
