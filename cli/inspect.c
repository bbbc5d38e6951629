/* wan inspect: what a file or folder is. */
#include <stdio.h>

#include <wan/wan.h>

#include "run.h"
#include "ui.h"

struct inspect {
    struct run_args run;
    const char *path, *forward, *precision;
    int64_t dims[4]; /* of --forward; 0: a small default */
};

static int report(struct wan_context *ctx, const struct inspect *a)
{
    char *text = NULL;
    int n_problems = 0;
    enum wan_status status = wan_inspect(ctx, a->path, a->run.json, &text, &n_problems);
    if (status) return ui_fail_status(status, ctx, EXIT_ERROR);
    int code = ui_print(text);
    if (!code && n_problems > 0)
        code = ui_fail_as(WAN_EFORMAT, EXIT_ERROR, "%s has %d problem%s", a->path, n_problems,
                          n_problems == 1 ? "" : "s");
    return code;
}

static int forward(struct wan_context *ctx, const struct inspect *a)
{
    char *text = NULL;
    enum wan_status status = wan_inspect_forward(ctx, a->path, a->dims, a->precision, a->run.json, &text);
    if (status) return ui_fail_status(status, ctx, EXIT_ERROR);
    return ui_print(text);
}

static int inspect(const struct inspect *a)
{
    struct wan_context *ctx = NULL;
    int code = run_context(&ctx, &a->run);
    if (!code) code = report(ctx, a);
    if (!code && a->forward) code = forward(ctx, a);
    wan_context_free(ctx);
    return code;
}

int cmd_inspect(int argc, char **argv)
{
    struct inspect a = {0};
    struct opt opts[3 + RUN_N_OPTIONS] = {
        {"model", "m ckpt_dir", OPT_STRING, &a.path, 0, 0, "path", "Wan2.1-T2V-1.3B", "the same as PATH"},
        {"forward", NULL, OPT_OPTIONAL, &a.forward, 0, 0, "latent elements", "16,2,8,8",
         "also run the transformer once on noise, and report its output"},
        {"precision", NULL, OPT_STRING, &a.precision, 0, 0, "", "f32", "of that run: f32, f32x or bf16"},
    };
    struct opt_set set = {"wan inspect", opts, 3};
    const char *path;
    run_options(&a.run, opts, &set.n);
    int code = opt_parse(&set, argc, argv, &path, 1);
    if (code) return code;
    if (path) a.path = path;
    if (a.run.help) {
        printf("wan inspect PATH [options]\n\nPATH is a checkpoint folder or one weight file.\n\n");
        opt_print_help(stdout, &set);
        return ui_flush_output(0);
    }
    if (!a.path) return ui_fail(EXIT_USAGE, "wan inspect needs a file or folder to look at");
    if (a.forward && *a.forward && opt_int_list(a.forward, a.dims, 4) != 4)
        return ui_fail(EXIT_USAGE, "--forward takes C,F,H,W, four whole numbers, not '%s'", a.forward);
    code = run_check_precision("precision", a.precision);
    return code ? code : inspect(&a);
}
