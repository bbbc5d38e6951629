/* What the files of `wan generate` share. */
#ifndef CLI_GENERATE_H
#define CLI_GENERATE_H

#include <wan/wan.h>

#include "batch.h"
#include "run.h"

enum { MAX_PROMPT_BYTES = 1 << 20 };

/* Seconds of each stage of one video. */
enum stage { STAGE_TEXT, STAGE_IMAGE, STAGE_DENOISE, STAGE_DECODE, N_STAGES };

struct generate {
    struct run_args run;
    struct wan_gen_params
        params; /* as given; in a batch, with prompt, seed and files of the video in progress */
    struct wan_model_params model_params;
    const char *output, *prompts, *seeds, *like_file, *preview, *profile_trace;
    int plan, resume, no_cache, profile;
    struct batch batch;
    char cache[4096];                  /* folder of encoded prompts */
    char state[4096];                  /* file in which the run is kept while it is not done */
    char prompt[MAX_PROMPT_BYTES + 1]; /* where it came from standard input */
    char default_output[320];          /* 50 characters of at most 4 bytes, the seed, a number */
    struct wan_context *ctx;
    struct wan_model *model;
    struct wan_like *like; /* NULL: none */
    struct wan_session *session;
    /* of the video in progress */
    double start, stage_start, seconds[N_STAGES];
    int stage; /* enum stage; -1: none began */
};

/* What a run is about to do, on standard error. */
void report_start(const struct generate *g);
/* For wan_session_on_progress; `user` is the struct generate. */
void report_progress(void *user, const struct wan_progress *p);
/* What it did: in text on standard error, as JSON on standard output. 0, or an exit code after a sentence. */
int report_result(const struct generate *g);
/* What it would take, `n` times, on standard output. */
int report_plan(const struct generate *g, const struct wan_plan *p, size_t n);

#endif
