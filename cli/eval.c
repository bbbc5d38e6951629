/* wan eval: one part of a model on tensors from a file (docs/eval.md). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <wan/parts.h>

#include "jsonl.h"
#include "run.h"
#include "ui.h"

enum { MAX_OPTIONS = 40 };

struct eval {
    struct run_args run;
    struct wan_part_params params;
    const char *part, *input, *output, *dump;
    const char *shape, *window;
    const char *text, *jsonl, *tokenizer;
};

/* ---- parts that read and write tensors ---- */

static int check_files(const struct eval *a, int needs_model, int needs_input)
{
    if (needs_model && !a->params.model) return ui_fail(EXIT_USAGE, "wan eval %s needs -m MODEL", a->part);
    if (needs_input && !a->input)
        return ui_fail(EXIT_USAGE, "wan eval %s needs -i FILE, a safetensors file to read from", a->part);
    if (!a->output)
        return ui_fail(EXIT_USAGE, "wan eval %s needs -o FILE, a safetensors file to write to", a->part);
    return 0;
}

/* A solver's options can be judged before its file is read, and its file is not to blame for them. */
static int check_solver(struct wan_context *ctx, const struct eval *a)
{
    char *json = NULL;
    if (strcmp(a->part, "solve") != 0) return 0;
    enum wan_status status =
        wan_schedule_json(ctx, a->params.solver, a->params.steps, a->params.shift, &json);
    wan_string_free(json);
    return status ? ui_fail_status(status, ctx, EXIT_USAGE) : 0;
}

static enum wan_status run_files(struct wan_context *ctx, const struct eval *a)
{
    struct wan_tensors *in = NULL, *out = NULL, *dump = NULL;
    enum wan_status status = WAN_OK;
    if (a->input) status = wan_tensors_read(ctx, &in, a->input);
    if (!status) status = wan_tensors_new(ctx, &out);
    if (!status && a->dump) status = wan_tensors_new(ctx, &dump);
    if (!status) status = wan_part_run(ctx, a->part, &a->params, in, out, dump);
    if (!status) status = wan_tensors_write(ctx, out, a->output);
    if (!status && dump) status = wan_tensors_write(ctx, dump, a->dump);
    wan_tensors_free(dump);
    wan_tensors_free(out);
    wan_tensors_free(in);
    return status;
}

static int print_result(const struct eval *a, double seconds)
{
    struct jsonl j = {.f = stdout};
    jsonl_open(&j, NULL, '{');
    jsonl_text(&j, "part", a->part);
    jsonl_text(&j, "output", a->output);
    jsonl_text(&j, "dump", a->dump);
    jsonl_number(&j, "seconds", seconds);
    jsonl_close(&j, '}');
    jsonl_end(&j);
    return ui_flush_output(0);
}

static int eval_tensors(struct wan_context *ctx, const struct eval *a, int needs_model, int needs_input)
{
    int code = check_files(a, needs_model, needs_input);
    if (!code) code = check_solver(ctx, a);
    if (code) return code;
    double start = seconds_now();
    enum wan_status status = run_files(ctx, a);
    /* with neither file nor model, only an option can be wrong */
    if (status) return ui_fail_status(status, ctx, needs_model || needs_input ? EXIT_ERROR : EXIT_USAGE);
    return ui_is_json() ? print_result(a, seconds_now() - start) : 0;
}

/* ---- parts that print JSON ---- */

static int eval_schedule(struct wan_context *ctx, const struct eval *a)
{
    char *json = NULL;
    enum wan_status status =
        wan_schedule_json(ctx, a->params.solver, a->params.steps, a->params.shift, &json);
    if (status) return ui_fail_status(status, ctx, EXIT_USAGE);
    return ui_print(json);
}

static int tokenize(struct wan_context *ctx, const struct wan_tokenizer *t, const char *text, size_t n)
{
    char *json = NULL;
    enum wan_status status = wan_tokenizer_json(ctx, t, text, n, &json);
    if (status) return ui_fail_status(status, ctx, EXIT_ERROR);
    return ui_print(json);
}

/* One line of a JSON-lines file: a JSON string and nothing else. */
static int tokenize_line(struct wan_context *ctx, const struct wan_tokenizer *t, const char *path,
                         long line_number, const char *line, size_t n)
{
    json_error_t error;
    json_t *string = json_loadb(line, n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    int code;
    if (!string)
        code =
            ui_fail(EXIT_ERROR, "%s, line %ld, column %d: %s", path, line_number, error.column, error.text);
    else if (!json_is_string(string))
        code = ui_fail(EXIT_ERROR, "%s, line %ld: this is not a JSON string", path, line_number);
    else
        code = tokenize(ctx, t, json_string_value(string), json_string_length(string));
    json_decref(string);
    return code;
}

static int tokenize_file(struct wan_context *ctx, const struct wan_tokenizer *t, const char *path)
{
    FILE *f = fopen(path, "r");
    char *line = NULL;
    size_t size = 0;
    ssize_t n;
    int code = 0;
    if (!f) return ui_fail(EXIT_ERROR, "cannot open %s: %s", path, strerror(errno));
    for (long i = 1; !code && (n = getline(&line, &size, f)) >= 0; i++)
        code = tokenize_line(ctx, t, path, i, line, (size_t)n);
    if (!code && ferror(f)) code = ui_fail(EXIT_ERROR, "cannot read %s: %s", path, strerror(errno));
    free(line);
    fclose(f);
    return code;
}

static int eval_tokenize(struct wan_context *ctx, const struct eval *a)
{
    const char *path = a->tokenizer ? a->tokenizer : a->params.model;
    struct wan_tokenizer *t = NULL;
    if (!path) return ui_fail(EXIT_USAGE, "wan eval tokenize needs -m MODEL or --tokenizer FILE");
    if (!a->text == !a->jsonl)
        return ui_fail(EXIT_USAGE, "wan eval tokenize needs either --text STRING or --jsonl FILE");
    enum wan_status status = wan_tokenizer_open(ctx, &t, path);
    if (status) return ui_fail_status(status, ctx, EXIT_ERROR);
    int code = a->text ? tokenize(ctx, t, a->text, strlen(a->text)) : tokenize_file(ctx, t, a->jsonl);
    wan_tokenizer_free(t);
    return ui_flush_output(code);
}

/* ---- options ---- */

/* An option and the parts that take it, between spaces; NULL: all of them. */
struct part_opt {
    const char *parts;
    struct opt opt;
};

static const char model_parts[] = " tokenize t5 dit vae.encode vae.decode ";
static const char tensor_parts[] =
    " t5 dit vae.encode vae.decode image solve noise attention rope rmsnorm sinusoid ";
static const char solver_parts[] = " schedule solve ";

static bool takes(const char *parts, const char *part)
{
    char word[64];
    if (!parts) return true;
    snprintf(word, sizeof word, " %s ", part);
    return strstr(parts, word) != NULL;
}

/* The options of a.part; of every part where it is NULL. */
static struct opt_set eval_options(struct eval *a, struct opt *opts, char *command, size_t command_size)
{
    struct wan_part_params *p = &a->params;
    const struct part_opt all[] = {
        {NULL,
         {"model", "m ckpt_dir", OPT_STRING, &p->model, 0, 0, "path", "Wan2.1-T2V-1.3B",
          "checkpoint folder or file"}},
        {tensor_parts,
         {"input", "i", OPT_STRING, &a->input, 0, 0, "file", "in.safetensors", "tensors to read"}},
        {tensor_parts,
         {"output", "o", OPT_STRING, &a->output, 0, 0, "file", "out.safetensors", "tensors to write"}},
        {tensor_parts,
         {"dump", NULL, OPT_STRING, &a->dump, 0, 0, "file", "all.safetensors",
          "also write intermediates here"}},
        {NULL, {"precision", NULL, OPT_STRING, &p->precision, 0, 0, "", "f32", "f32, f32x or bf16"}},
        {model_parts,
         {"expert", NULL, OPT_STRING, &p->expert, 0, 0, "", "high",
          "transformer of a folder that has two: high, low"}},
        {" tokenize ",
         {"tokenizer", NULL, OPT_STRING, &a->tokenizer, 0, 0, "file", "spiece.model",
          "tokenizer file, instead of -m"}},
        {" tokenize ", {"text", NULL, OPT_STRING, &a->text, 0, 0, "string", "'a kite'", "text to tokenise"}},
        {" tokenize ",
         {"jsonl", NULL, OPT_STRING, &a->jsonl, 0, 0, "file", "texts.jsonl",
          "texts to tokenise: one JSON string a line"}},
        {" image ",
         {"image", NULL, OPT_STRING, &p->image, 0, 0, "file", "first.png", "PNG, JPEG or WebP file"}},
        {" image ",
         {"task", NULL, OPT_STRING, &p->task, 0, 0, "", "i2v", "whose preparation: i2v, ti2v or flf2v"}},
        {" image ",
         {"size", NULL, OPT_SIZE, &p->width, 16, 16384, "pixels", "832x480",
          "its area counts; the aspect is the image's"}},
        {solver_parts,
         {"solver", "sample_solver", OPT_STRING, &p->solver, 0, 0, "", "unipc", "unipc, dpm++ or euler"}},
        {solver_parts, {"steps", "sample_steps", OPT_INT, &p->steps, 1, 10000, "", "50", "denoising steps"}},
        {solver_parts,
         {"shift", "sample_shift", OPT_FLOAT, &p->shift, 0, 0, "", "5", "flow shift of the schedule"}},
        {" noise ", {"seed", "base_seed", OPT_I64, &p->seed, 0, 0, "", "42", "seed, as PyTorch takes it"}},
        {" noise ",
         {"shape", NULL, OPT_STRING, &a->shape, 0, 0, "C,F,H,W", "16,21,60,104", "extents of the noise"}},
        {" noise ",
         {"rng", NULL, OPT_STRING, &p->rng, 0, 0, "", "torch-cuda:132",
          "torch-cpu, or torch-cuda[:SMS[:THREADS_PER_SM]]"}},
        {" attention ",
         {"scale", NULL, OPT_FLOAT, &p->scale, 0, 0, "", "0.125", "factor of the scores; 1/sqrt(D) without"}},
        {" attention ", {"causal", NULL, OPT_FLAG, &p->causal, 0, 0, "", "", "no query sees a later key"}},
        {" attention ",
         {"window", NULL, OPT_STRING, &a->window, 0, 0, "left,right", "4,0",
          "keys seen on the left and right; -1: all"}},
        {" rope ",
         {"start", NULL, OPT_I64, &p->start, 0, 0, "latent frames", "3", "index of the first frame"}},
        {" rmsnorm ", {"eps", NULL, OPT_FLOAT, &p->eps, 0, 0, "", "1e-6", "added to the mean square"}},
        {" sinusoid ",
         {"dim", NULL, OPT_I64, &p->dim, 2, 1 << 20, "elements", "256", "width of the embedding"}},
    };
    struct opt_set set = {command, opts, 0};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (!a->part || takes(all[i].parts, a->part)) opts[set.n++] = all[i].opt;
    run_options(&a->run, opts, &set.n);
    snprintf(command, command_size, a->part ? "wan eval %s" : "wan eval", a->part);
    return set;
}

static int print_help(const struct opt_set *set)
{
    const char *part;
    int needs_model, needs_input;
    printf("wan eval PART [-m MODEL] [-i in.safetensors] [-o out.safetensors] [options]\n\nParts:\n");
    for (size_t i = 0; (part = wan_part_name(i, &needs_model, &needs_input)); i++)
        printf("  %-12s%s%s\n", part, needs_model ? "needs -m " : "", needs_input ? "needs -i" : "");
    printf("  %-12sneeds -m or --tokenizer; prints JSON\n", "tokenize");
    printf("  %-12sprints JSON\n\n`wan eval PART --help` lists the options of one part:\n\n", "schedule");
    opt_print_help(stdout, set);
    return ui_flush_output(0);
}

/* Texts that become numbers in params. */
static int convert_options(struct eval *a)
{
    struct wan_part_params *p = &a->params;
    int64_t window[2];
    if (a->shape) {
        p->n_shape = opt_int_list(a->shape, p->shape, 8);
        for (int i = 0; i < p->n_shape; i++)
            if (p->shape[i] < 1) p->n_shape = 0;
        if (!p->n_shape)
            return ui_fail(EXIT_USAGE, "--shape takes C,F,H,W, 1 to 8 positive numbers, not '%s'", a->shape);
    }
    if (a->window) {
        if (opt_int_list(a->window, window, 2) != 2 || window[0] < -1 || window[1] < -1)
            return ui_fail(EXIT_USAGE, "--window takes LEFT,RIGHT, whole numbers from -1, not '%s'",
                           a->window);
        p->window_left = window[0];
        p->window_right = window[1];
    }
    if (p->expert && strcmp(p->expert, "high") != 0 && strcmp(p->expert, "low") != 0)
        return ui_fail(EXIT_USAGE, "--expert must be high or low, not '%s'", p->expert);
    return run_check_precision("precision", p->precision);
}

/* Is it needed and not there? */
static int check_needed(const struct eval *a)
{
    const struct wan_part_params *p = &a->params;
    const char *missing = NULL;
    if (takes(solver_parts, a->part) && !p->solver) missing = "--solver unipc, dpm++ or euler";
    if (takes(solver_parts, a->part) && p->steps == WAN_UNSET) missing = "--steps N";
    if (takes(solver_parts, a->part) && p->shift == WAN_UNSET_F) missing = "--shift S";
    if (!strcmp(a->part, "image") && !p->image) missing = "--image FILE";
    if (!strcmp(a->part, "image") && !p->task) missing = "--task i2v, ti2v or flf2v";
    if (!strcmp(a->part, "image") && !p->width) missing = "--size WxH";
    if (!strcmp(a->part, "noise") && p->seed == WAN_UNSET_I64) missing = "--seed K";
    if (!strcmp(a->part, "noise") && !a->shape) missing = "--shape C,F,H,W";
    if (!strcmp(a->part, "sinusoid") && p->dim == WAN_UNSET_I64) missing = "--dim D";
    return missing ? ui_fail(EXIT_USAGE, "wan eval %s needs %s", a->part, missing) : 0;
}

/* ---- the command ---- */

enum part_kind { PART_UNKNOWN, PART_TENSORS, PART_TOKENIZE, PART_SCHEDULE };

static enum part_kind find_part(const char *part, int *needs_model, int *needs_input)
{
    const char *name;
    for (size_t i = 0; (name = wan_part_name(i, needs_model, needs_input)); i++)
        if (!strcmp(name, part)) return PART_TENSORS;
    return !strcmp(part, "tokenize")   ? PART_TOKENIZE
           : !strcmp(part, "schedule") ? PART_SCHEDULE
                                       : PART_UNKNOWN;
}

static int unknown_part(const char *part)
{
    const char *names[32] = {"tokenize", "schedule"}, *name;
    size_t n = 2;
    if (!strcmp(part, "clip")) return ui_fail(EXIT_USAGE, "wan eval %s is not available yet", part);
    for (size_t i = 0; n < 32 && (name = wan_part_name(i, NULL, NULL)); i++) names[n++] = name;
    const char *near = opt_nearest(part, names, n);
    if (near) return ui_fail(EXIT_USAGE, "there is no part '%s'; did you mean %s?", part, near);
    return ui_fail(EXIT_USAGE, "there is no part '%s'; see wan eval --help", part);
}

int cmd_eval(int argc, char **argv)
{
    struct eval a = {.params = *wan_part_params(.model = NULL)};
    struct opt opts[MAX_OPTIONS];
    struct wan_context *ctx = NULL;
    enum part_kind kind = PART_UNKNOWN;
    int needs_model = 0, needs_input = 0;
    char command[64];
    const char *none;
    ui_set_few_codes();
    /* the part comes first, because it decides which options there are */
    if (argc > 1 && argv[1][0] != '-') a.part = argv[1];
    if (a.part) {
        kind = find_part(a.part, &needs_model, &needs_input);
        if (kind == PART_UNKNOWN) return unknown_part(a.part);
    }
    struct opt_set set = eval_options(&a, opts, command, sizeof command);
    int skip = a.part != NULL;
    int code = opt_parse(&set, argc - skip, argv + skip, &none, 0);
    if (code) return code;
    if (a.run.help) return print_help(&set);
    if (!a.part)
        return ui_fail(EXIT_USAGE, "wan eval needs the name of a part first, as in `wan eval t5 -m MODEL`");
    code = convert_options(&a);
    if (!code) code = check_needed(&a);
    if (!code) code = run_context(&ctx, &a.run);
    if (!code && kind == PART_TENSORS) code = eval_tensors(ctx, &a, needs_model, needs_input);
    if (!code && kind == PART_TOKENIZE) code = eval_tokenize(ctx, &a);
    if (!code && kind == PART_SCHEDULE) code = eval_schedule(ctx, &a);
    wan_context_free(ctx);
    return code;
}
