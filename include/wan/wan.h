/* libwan: text and images to video with the Wan models, in C.
 *
 *     struct wan_context *ctx;
 *     struct wan_model *model;
 *     if (wan_context_new(&ctx, wan_context_params())) …;
 *     if (wan_model_open(&model, ctx, "Wan2.1-T2V-1.3B")) …;
 *     wan_generate(model, wan_gen_params(.prompt = "a red kite over the sea", .seed = 7), "kite.mp4");
 *
 * Context (device, threads, log) → model (the files of one checkpoint) → session (one video, step by step).
 * Objects are opaque; each is freed by its own function, sessions before models before contexts. Every
 * function that can fail returns an enum wan_status; the sentence that goes with it is kept in the context
 * (wan_error).
 *
 * Threads: a context and what was made from it is used by one thread at a time. Different contexts are
 * independent. The library never prints, exits, aborts, changes signal handlers or reads the environment.
 */
#ifndef WAN_WAN_H
#define WAN_WAN_H

#include <stddef.h>
#include <stdint.h>

#include <wan/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Version of the library as "0.1.0". */
WAN_API const char *wan_version(void);

/* "Not set", for fields of each type: the default depends on the checkpoint. Strings: NULL. */
#define WAN_UNSET INT32_MIN
#define WAN_UNSET_I64 INT64_MIN
#define WAN_UNSET_F (-1e300)

/* ---- context ---- */

enum wan_log_level { WAN_LOG_ERROR, WAN_LOG_WARN, WAN_LOG_NOTICE, WAN_LOG_INFO, WAN_LOG_DEBUG };

struct wan_context_params {
    size_t size;        /* sizeof this struct: lets it grow */
    const char *device; /* "auto", "ref", "cpu", "mlx" where built in; NULL: auto */
    const char *isa;    /* highest instruction set to use: "portable", "avx2", "neon", …; NULL: the best there is.
                         * On mlx where to compute: "gpu" or "cpu" */
    int threads;        /* 0: one for each core this process may use */
    size_t max_memory;  /* bytes that the process may take for a session, mapped files aside: a new session
                         * lets the VAE work in strips, to the same result, or is refused; 0: no limit */
    int trace;          /* log each operation with shape, type and time; each is then waited for */
    void (*log)(void *user, enum wan_log_level level, const char *line); /* NULL: nothing is logged */
    int (*cancelled)(
        void *user); /* asked at least once a second while work runs; non-zero stops it with WAN_ECANCELED */
    void *user;
};
#define wan_context_params(...) \
    (&(const struct wan_context_params){.size = sizeof(struct wan_context_params), __VA_ARGS__})

struct wan_context;
/* *ctx is set even on failure when there is memory for it, so that wan_error can tell why; free it in any
 * case. */
WAN_API enum wan_status wan_context_new(struct wan_context **ctx, const struct wan_context_params *params);
WAN_API void wan_context_free(struct wan_context *ctx); /* NULL is fine */
/* The sentence of the last failure in this context, "" when there was none; NULL context: "out of memory".
 * Valid until the next call with this context. */
WAN_API const char *wan_error(const struct wan_context *ctx);
/* What runs: "cpu (avx2, 2 threads)". */
WAN_API const char *wan_context_device(const struct wan_context *ctx);

/* Bytes the library holds now and held at most (weights mapped from files do not count). */
WAN_API size_t wan_memory_used(void);
WAN_API size_t wan_memory_peak(void);
/* The same with what the context's device holds beside: the arrays of mlx. */
WAN_API void wan_context_memory(const struct wan_context *ctx, size_t *used, size_t *peak);

/* ---- model ---- */

struct wan_model;
/* `path`: a checkpoint folder as downloaded. Only looks which files there are; parts are mapped when first
 * used. */
WAN_API enum wan_status wan_model_open(struct wan_model **model, struct wan_context *ctx, const char *path);

/* Parts named one by one. NULL: what `path` holds. */
struct wan_model_params {
    size_t size;
    const char *path;       /* checkpoint folder or file; NULL: the folder of `high`, else of `low` */
    const char *high, *low; /* transformers of the noisy and of the clean steps: file, index or folder */
    const char *t5, *vae;   /* weight files */
    const char *tokenizer;  /* tokenizer.json, spiece.model, or a folder with one */
    const char *model_type; /* "t2v", "i2v", "ti2v", "t2v-a14b", "i2v-a14b"; NULL: told by folders,
                               config.json, tensors, metadata, names */
};
#define wan_model_params(...) \
    (&(const struct wan_model_params){.size = sizeof(struct wan_model_params), __VA_ARGS__})
WAN_API enum wan_status wan_model_open_parts(struct wan_model **model, struct wan_context *ctx,
                                             const struct wan_model_params *params);
WAN_API void wan_model_free(struct wan_model *model);              /* NULL is fine */
WAN_API const char *wan_model_name(const struct wan_model *model); /* "Wan2.1 T2V 1.3B" */

/* A report on a checkpoint, file or folder, as text or JSON (`json` non-zero): what it is, parts found and
 * missing, types, parameters, problems. *text is freed with wan_string_free. *n_problems: how many problems
 * it lists. */
WAN_API enum wan_status wan_inspect(struct wan_context *ctx, const char *path, int json, char **text,
                                    int *n_problems);
/* Run the transformer once on seeded noise [C, F, H, W] (dims 0: a small default) and report shape, range,
 * mean and standard deviation of its output, as text or JSON. */
WAN_API enum wan_status wan_inspect_forward(struct wan_context *ctx, const char *path, const int64_t dims[4],
                                            const char *precision, int json, char **text);
WAN_API void wan_string_free(char *text);

/* ---- generation ---- */

struct wan_gen_params {
    size_t size;
    const char *prompt;
    const char *negative; /* NULL or "": the official one */
    const char *image;    /* first frame: a PNG, JPEG or WebP file. I2V models need one, TI2V takes one */
    int width, height;    /* pixels; moved to what the model takes, with a notice. With an image only their
                             product counts: the aspect is the image's */
    int frames;           /* 1 + 4 n */
    double fps;
    int steps;
    double shift; /* flow shift of the schedule */
    double guidance_low,
        guidance_high;        /* of the low-noise and high-noise phase; one transformer: low is used */
    const char *solver;       /* "unipc", "dpm++", "euler" */
    int64_t seed;             /* not set: chosen at random and reported */
    const char *rng;          /* "torch-cpu", or "torch-cuda[:SMS[:THREADS_PER_SM]]" */
    const char *noise_file;   /* safetensors with `noise` [C, F, H, W]: instead of the seed */
    const char *context_file; /* safetensors with `context`, `context_null`: instead of the text encoder */
    const char *latents_file; /* write `latent`, normalised, here */
    const char
        *from_latents_file;  /* safetensors with `latent` [C, F, h, w], normalised, as latents_file has
                                it: there are no steps, it is decoded. Size and frames are the tensor's */
    const char *resume_file; /* go on from the state kept here, if the file exists */
    const char *cache_dir; /* folder to keep encoded prompts in, made where it is not there; at most 256 MiB.
                              Any number of processes may share it. NULL: none are kept */
    const char *precision; /* "f32": every part; "f32x", "bf16": the transformer, T5 and VAE in f32x */
    const char *t5_precision, *vae_precision;
    int strict; /* 1: a size or frame count that must be moved is an error */
    int crf;    /* H.264 constant rate factor */
};
#define WAN_GEN_PARAMS_INIT                                                                              \
    .size = sizeof(struct wan_gen_params), .width = WAN_UNSET, .height = WAN_UNSET, .frames = WAN_UNSET, \
    .fps = WAN_UNSET_F, .steps = WAN_UNSET, .shift = WAN_UNSET_F, .guidance_low = WAN_UNSET_F,           \
    .guidance_high = WAN_UNSET_F, .seed = WAN_UNSET_I64, .strict = WAN_UNSET, .crf = WAN_UNSET
/* wan_gen_params(.prompt = "…", .seed = 7): a pointer to a struct with everything else not set. (An
 * initialiser named twice takes the later value; compilers may say so under -Woverride-init.) */
#define wan_gen_params(...) (&(const struct wan_gen_params){WAN_GEN_PARAMS_INIT, __VA_ARGS__})

/* *out = *in with every field that is not set replaced by the official default for this model. Strings are
 * borrowed from `in` or static. The seed stays unset. Out-of-range values are WAN_EINVAL, naming the option.
 */
WAN_API enum wan_status wan_gen_resolve(struct wan_model *model, const struct wan_gen_params *in,
                                        struct wan_gen_params *out);

/* The parameters of the run that a file (.mp4, .webm, .webp, .png) came from, by its metadata: what they name
 * is set, images, noise and contexts by file name without folder. They live as long as the object.
 * WAN_EFORMAT: the file holds none. */
struct wan_like;
WAN_API enum wan_status wan_like_open(struct wan_like **like, struct wan_context *ctx, const char *path);
WAN_API void wan_like_free(struct wan_like *like); /* NULL is fine */
WAN_API const struct wan_gen_params *wan_like_params(const struct wan_like *like);
WAN_API const char *wan_like_model(const struct wan_like *like); /* "Wan2.1 T2V 1.3B"; "" when not told */

/* One entry of the table that drives struct fields, program options, help and documentation. */
enum wan_option_type {
    WAN_OPT_STRING,
    WAN_OPT_INT,
    WAN_OPT_I64,
    WAN_OPT_FLOAT,
    WAN_OPT_FLAG,
    WAN_OPT_SIZE,
    WAN_OPT_PAIR
};
struct wan_option {
    const char *name;          /* "steps": --steps */
    const char *official;      /* name in the official program, "sample_steps"; NULL: none */
    enum wan_option_type type; /* SIZE: "WxH" into two ints; PAIR: "G" or "LOW,HIGH" into two doubles */
    size_t offset;             /* of the (first) field in struct wan_gen_params */
    double min, max;           /* bounds of numbers */
    const char *unit;          /* "pixels", "1/s", … or "" */
    const char *example;
    const char *help;
};
WAN_API const struct wan_option *wan_gen_options(size_t *n);

struct wan_progress {
    const char *stage;   /* "text", "image", "denoise", "decode"; of a conversion the part: "transformer" */
    int step, n_steps;   /* done, and in all: denoising steps, latent frames, layers, or tensors */
    double seconds;      /* since the session or the conversion began */
    double seconds_left; /* of this stage, estimated; negative: unknown */
    size_t memory;       /* bytes held by the library and its device */
};

/* Encode n prompts, and the negative prompt of `params` where it guides, in one go: sessions of this model
 * find them in memory and need no text encoder. Of `params` what concerns texts counts: negative, guidance,
 * t5_precision, cache_dir. The bytes are those that each session would have computed. They stay until the
 * model is freed. `progress` (or NULL) is told of the text encoder's layers, as stage "text". */
WAN_API enum wan_status wan_model_encode_texts(struct wan_model *model, const struct wan_gen_params *params,
                                               const char *const *prompts, size_t n,
                                               void (*progress)(void *user, const struct wan_progress *p),
                                               void *user);

/* What a run will take. Weights are mapped and not read. */
struct wan_plan {
    int width, height, frames, steps;                         /* as they will be */
    int64_t tokens;                                           /* of the transformer's sequence */
    double text_flops, image_flops, step_flops, decode_flops; /* a step: both passes of a guided one, mean */
    size_t memory_bytes; /* most that the process will hold at once, without mapped files */
    size_t mapped_bytes; /* of weights: what they take while in use, where there is room */
    int image_strips,
        decode_strips; /* in which the VAE works, to stay within the context's max_memory; 1: whole */
    /* From rates that this machine was measured at (a second or so). Weights that have to come from a disk
     * are not in it. */
    double text_seconds, image_seconds, step_seconds, decode_seconds, seconds;
};
/* WAN_EUNSUPPORTED on devices other than cpu and mlx. WAN_ENOMEM: not within the context's max_memory, or what
 * the device can hold, and what would be. */
WAN_API enum wan_status wan_plan(struct wan_model *model, const struct wan_gen_params *params,
                                 struct wan_plan *plan);

/* A session: one video, in steps that can each be called alone. */
struct wan_session;

/* Save what the run needs to go on after every step, in the background, in this file (a safetensors file of a
 * few latents). The file is left when the session is freed, for another one with .resume_file;
 * wan_session_drop_state removes it. A save that fails is a warning in the log. */
WAN_API enum wan_status wan_session_keep_state(struct wan_session *s, const char *path);
WAN_API void wan_session_drop_state(struct wan_session *s);

/* Write a small picture of what the latents are on their way to after every step, in the background, to this
 * .png (the middle frame) or .webp (an animation of all latent frames) file, which is replaced as a whole. It
 * comes from a linear map of the official latents' 16 or 48 channels, not from the VAE: WAN_EUNSUPPORTED for
 * others. A write that fails is a warning in the log. */
WAN_API enum wan_status wan_session_preview(struct wan_session *s, const char *path);

/* The parameters are copied and resolved, the image or the latents are read, and with them the size is known.
 * WAN_ENOMEM: not within the context's max_memory, and what would be. */
WAN_API enum wan_status wan_session_new(struct wan_session **s, struct wan_model *model,
                                        const struct wan_gen_params *params);
/* Warns in the log where this session has other weights or input files than the run that `like` came from. */
WAN_API enum wan_status wan_like_check(const struct wan_like *like, struct wan_session *s);
WAN_API void wan_session_free(struct wan_session *s); /* NULL is fine */
WAN_API const struct wan_gen_params *
wan_session_params(const struct wan_session *s); /* as resolved; the seed is set */
WAN_API void wan_session_on_progress(struct wan_session *s,
                                     void (*fn)(void *user, const struct wan_progress *p), void *user);
/* Tokenise and encode prompt and negative prompt, unless they are known; the text encoder's pages are given
 * back after. */
WAN_API enum wan_status wan_session_encode_text(struct wan_session *s);
/* Encode the first frame; nothing to do where there is no image. */
WAN_API enum wan_status wan_session_encode_image(struct wan_session *s);
WAN_API int wan_session_n_steps(const struct wan_session *s);
/* One denoising step; encodes the text and draws the noise first where that has not been done. */
WAN_API enum wan_status wan_session_step(struct wan_session *s);
WAN_API int wan_session_steps_done(const struct wan_session *s);
/* The latents now, normalised [C, F, H, W] f32, owned by the session; dims receives the extents. */
WAN_API const float *wan_session_latents(const struct wan_session *s, int64_t dims[4]);
/* Decode the latents and write the file; frames go to it as they come. The kind of file is that of the name:
 * .mp4, .webm, .webp (an animation; of one frame a picture), .png (one frame), or a pattern such as
 * "dir/frame_%04d.png" (or .webp). A file already there is replaced only when all is written. */
WAN_API enum wan_status wan_session_write(struct wan_session *s, const char *path);
/* Or: hand each frame, rgb [height, width, 3], to a callback; non-zero from it stops with WAN_ECANCELED. */
WAN_API enum wan_status wan_session_decode(struct wan_session *s,
                                           int (*frame)(void *user, int index, const uint8_t *rgb),
                                           void *user);
WAN_API enum wan_status wan_session_save_latents(struct wan_session *s, const char *path);

/* Measure each operation of this session from here on. On a device that works behind the caller's back each
 * is then waited for. */
WAN_API enum wan_status wan_session_profile(struct wan_session *s);
/* Where the time of the stages went: for each operation its calls, time, share, GFLOP/s and share of what the
 * device can do, which is measured now (a second). Best once all is written. *text is freed with
 * wan_string_free. */
WAN_API enum wan_status wan_session_profile_table(struct wan_session *s, char **text);
/* Every operation with its start and length, in the trace event format of Chrome, which Perfetto reads. */
WAN_API enum wan_status wan_session_profile_trace(struct wan_session *s, const char *path);

/* Can a video of `frames` frames (WAN_UNSET: not known yet) be written to `path`? Looks at the name and its
 * folder and touches nothing: worth asking before hours of work. WAN_EINVAL: the name; WAN_EUNSUPPORTED: no
 * encoder for this kind of file; WAN_EIO: the folder. */
WAN_API enum wan_status wan_output_check(struct wan_context *ctx, const char *path, int frames);

/* 1: a video is there under this name, of a picture sequence every one of its `frames` pictures. Looks at
 * names alone. */
WAN_API int wan_output_exists(const char *path, int frames);

/* All of it: text, every step, the file. `path` NULL: only the latents file is written. */
WAN_API enum wan_status wan_generate(struct wan_model *model, const struct wan_gen_params *params,
                                     const char *path);

/* ---- conversion ---- */

struct wan_convert_params {
    size_t size;
    const char *to; /* the layout: "mlx" (wan_model_mlx.safetensors, …), "mlx-video" (model.safetensors, …) */
    const char *type; /* of transformer and text encoder: "bf16", "f16", "f32"; NULL: as they are stored */
    int bits;         /* 4 or 8: quantise the matrices of the transformer's blocks; 0: do not */
    int group_size;   /* of quantisation: 32, 64 or 128; 0: 64 */
    void (*progress)(void *user, const struct wan_progress *p); /* may be NULL */
    void *user;
};
#define wan_convert_params(...) \
    (&(const struct wan_convert_params){.size = sizeof(struct wan_convert_params), __VA_ARGS__})

/* Write the checkpoint at `path` (a folder, or a file of one part) in another layout: the parts that are
 * there, the tokenizer and config.json. `folder` must be new, or empty; it appears when all is written. About
 * 16 MB of memory are used, whatever the size of the model. */
WAN_API enum wan_status wan_convert(struct wan_context *ctx, const char *path, const char *folder,
                                    const struct wan_convert_params *params);

#ifdef __cplusplus
}
#endif
#endif
