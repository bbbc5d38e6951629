/* Unstable: run one part of a model or one operation on tensors, for `wan eval`, `wan bench`, bindings and
 * tests. May change with any version. Rules of wan.h apply. */
#ifndef WAN_PARTS_H
#define WAN_PARTS_H

#include <wan/wan.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A named set of host tensors, as in a safetensors file. */
struct wan_tensors;
struct wan_array {
    const char *name;
    const char *dtype; /* "F32", "I64", … as in safetensors */
    int n_dims;
    int64_t dims[8];
    const void *data; /* row-major; any alignment */
    size_t bytes;
};

WAN_API enum wan_status wan_tensors_new(struct wan_context *ctx, struct wan_tensors **t);
/* A safetensors (or .pth) file; data stays mapped. */
WAN_API enum wan_status wan_tensors_read(struct wan_context *ctx, struct wan_tensors **t, const char *path);
WAN_API enum wan_status wan_tensors_write(struct wan_context *ctx, const struct wan_tensors *t,
                                          const char *path);
WAN_API void wan_tensors_free(struct wan_tensors *t);
WAN_API size_t wan_tensors_count(const struct wan_tensors *t);
WAN_API struct wan_array wan_tensors_at(const struct wan_tensors *t, size_t i);
/* 1 and *out filled when there is one of that name. */
WAN_API int wan_tensors_find(const struct wan_tensors *t, const char *name, struct wan_array *out);
/* Add a copy. A name already there is WAN_EINVAL. */
WAN_API enum wan_status wan_tensors_add(struct wan_context *ctx, struct wan_tensors *t,
                                        const struct wan_array *array);

/* What a part needs beside its tensors; see the table of `wan eval` in docs/eval.md. Fields that the part
 * does not use are ignored. */
struct wan_part_params {
    size_t size;
    const char *model;     /* checkpoint folder, expert's folder or file */
    const char *expert;    /* "high", "low"; NULL */
    const char *precision; /* "f32", "f32x", "bf16"; NULL: the part's default */
    double scale;          /* attention; not set: 1 / sqrt(width) */
    int causal;
    int64_t window_left, window_right; /* attention; -1: unbounded */
    int64_t start;                     /* rope: first frame index */
    double eps;                        /* rmsnorm */
    int64_t dim;                       /* sinusoid */
    const char *solver;                /* solve, schedule */
    int steps;
    double shift;
    int64_t seed; /* noise */
    const char *rng;
    int n_shape;
    int64_t shape[8];
    const char *image, *task; /* image: the file; "i2v", "ti2v", "flf2v" */
    int width, height;        /* image: as of wan_gen_params, whose area counts */
};
#define WAN_PART_PARAMS_INIT                                                                             \
    .size = sizeof(struct wan_part_params), .scale = WAN_UNSET_F, .window_left = -1, .window_right = -1, \
    .eps = 1e-6, .dim = WAN_UNSET_I64, .steps = WAN_UNSET, .shift = WAN_UNSET_F, .seed = WAN_UNSET_I64
#define wan_part_params(...) (&(const struct wan_part_params){WAN_PART_PARAMS_INIT, __VA_ARGS__})

/* Parts that read and write tensors: t5 dit vae.encode vae.decode image solve noise attention rope
 * rmsnorm sinusoid. Missing tensors and wrong shapes are WAN_EINVAL. Results are added to `out`; with `dump`
 * not NULL, intermediates to it. */
WAN_API enum wan_status wan_part_run(struct wan_context *ctx, const char *part,
                                     const struct wan_part_params *params, const struct wan_tensors *in,
                                     struct wan_tensors *out, struct wan_tensors *dump);
/* The parts wan_part_run knows: NULL past the end. `needs_model`, `needs_input` may be NULL. */
WAN_API const char *wan_part_name(size_t i, int *needs_model, int *needs_input);

/* Clean a text and tokenise it: one JSON object {"clean": "…", "ids": […]}, freed with wan_string_free.
 * `path`: a checkpoint folder, a tokenizer folder, tokenizer.json or spiece.model. */
struct wan_tokenizer;
WAN_API enum wan_status wan_tokenizer_open(struct wan_context *ctx, struct wan_tokenizer **t,
                                           const char *path);
WAN_API void wan_tokenizer_free(struct wan_tokenizer *t);
WAN_API enum wan_status wan_tokenizer_json(struct wan_context *ctx, const struct wan_tokenizer *t,
                                           const char *text, size_t text_bytes, char **json);

/* {"sigmas": [N + 1], "timesteps": [N]}, freed with wan_string_free. */
WAN_API enum wan_status wan_schedule_json(struct wan_context *ctx, const char *solver, int steps,
                                          double shift, char **json);

/* Measure this machine and the parts of a model (NULL: only the machine). Text or JSON, freed with
 * wan_string_free. */
struct wan_bench_params {
    size_t size;
    const char *model;
    const char *precision; /* of the transformer */
    int width, height, frames;
    int json;
};
#define wan_bench_params(...) \
    (&(const struct wan_bench_params){.size = sizeof(struct wan_bench_params), __VA_ARGS__})
WAN_API enum wan_status wan_bench(struct wan_context *ctx, const struct wan_bench_params *params,
                                  char **text);

#ifdef __cplusplus
}
#endif
#endif
