/* wan convert: a model in another layout. */
#include <stdio.h>

#include <wan/wan.h>

#include "run.h"
#include "ui.h"

struct convert {
    struct run_args run;
    const char *model, *output;
    struct wan_convert_params p;
};

static int convert(const struct convert *a)
{
    struct wan_context *ctx = NULL;
    int code = run_context(&ctx, &a->run);
    if (!code) {
        enum wan_status status = wan_convert(ctx, a->model, a->output, &a->p);
        if (status)
            code = ui_fail_status(status, ctx, EXIT_USAGE);
        else
            ui_note("%s is written", a->output);
    }
    wan_context_free(ctx);
    return code;
}

int cmd_convert(int argc, char **argv)
{
    struct convert a = {
        .p = *wan_convert_params(.bits = WAN_UNSET, .group_size = WAN_UNSET, .progress = ui_progress)};
    struct opt opts[6 + RUN_N_OPTIONS] = {
        {"model", "m ckpt_dir", OPT_STRING, &a.model, 0, 0, "path", "Wan2.2-TI2V-5B",
         "checkpoint folder or file"},
        {"output", "o", OPT_STRING, &a.output, 0, 0, "folder", "ti2v-mlx",
         "where the new files go: a folder that is not there yet"},
        {"to", NULL, OPT_STRING, &a.p.to, 0, 0, "layout", "mlx",
         "mlx (wan_model_mlx.safetensors and so on), or mlx-video (model.safetensors and so on)"},
        {"type", NULL, OPT_STRING, &a.p.type, 0, 0, "", "bf16",
         "of transformer and text encoder: bf16, f16 or f32; otherwise as they are stored"},
        {"quantize", NULL, OPT_INT, &a.p.bits, 4, 8, "bits", "4",
         "quantise the matrices of the transformer's blocks, to 4 or 8 bits"},
        {"group-size", NULL, OPT_INT, &a.p.group_size, 32, 128, "elements", "64",
         "that share a scale where --quantize is given: 32, 64 or 128; 64 when not given"},
    };
    struct opt_set set = {"wan convert", opts, 6};
    run_options(&a.run, opts, &set.n);
    int code = opt_parse(&set, argc, argv, NULL, 0);
    if (code) return code;
    if (a.run.help) {
        printf("wan convert -m MODEL -o FOLDER --to LAYOUT [options]\n\n"
               "Writes the parts of a model that are there, its tokenizer and config.json.\n\n");
        opt_print_help(stdout, &set);
        return ui_flush_output(0);
    }
    if (!a.model || !a.output || !a.p.to)
        return ui_fail(EXIT_USAGE,
                       "wan convert needs a model (-m), a folder to write (-o) and a layout (--to)");
    if (a.p.bits == WAN_UNSET) a.p.bits = 0;
    if (a.p.group_size == WAN_UNSET) a.p.group_size = 0;
    if (a.p.group_size && !a.p.bits)
        return ui_fail(EXIT_USAGE, "--group-size is of use with --quantize only");
    return convert(&a);
}
