/* wan bench: this machine's peak, and the parts of a model against it. */
#include <stdio.h>

#include <wan/parts.h>

#include "run.h"
#include "ui.h"

struct bench {
    struct run_args run;
    struct wan_bench_params params;
    int size[2], frames; /* WAN_UNSET: the model's own */
};

static int bench(struct bench *a)
{
    struct wan_context *ctx = NULL;
    char *text = NULL;
    int code = run_context(&ctx, &a->run);
    if (!code) {
        enum wan_status status = wan_bench(ctx, &a->params, &text);
        if (status) code = ui_fail_status(status, ctx, EXIT_USAGE);
    }
    if (!code) code = ui_print(text);
    wan_context_free(ctx);
    return code;
}

int cmd_bench(int argc, char **argv)
{
    struct bench a = {
        .params = *wan_bench_params(.model = NULL), .size = {WAN_UNSET, WAN_UNSET}, .frames = WAN_UNSET};
    struct opt opts[4 + RUN_N_OPTIONS] = {
        {"model", "m ckpt_dir", OPT_STRING, &a.params.model, 0, 0, "folder", "Wan2.1-T2V-1.3B",
         "checkpoint folder; without one only the machine is measured"},
        {"size", NULL, OPT_SIZE, a.size, 16, 16384, "pixels", "832x480", "size of the video to measure with"},
        {"frames", "frame_num", OPT_INT, &a.frames, 1, 100000, "", "81", "frames of that video"},
        {"precision", NULL, OPT_STRING, &a.params.precision, 0, 0, "", "bf16",
         "of the transformer: f32, f32x or bf16"},
    };
    struct opt_set set = {"wan bench", opts, 4};
    const char *none;
    run_options(&a.run, opts, &set.n);
    int code = opt_parse(&set, argc, argv, &none, 0);
    if (code) return code;
    if (a.run.help) {
        printf("wan bench [-m MODEL] [--size WxH --frames N] [options]\n\n");
        opt_print_help(stdout, &set);
        return ui_flush_output(0);
    }
    if (a.size[0] != WAN_UNSET) {
        a.params.width = a.size[0];
        a.params.height = a.size[1];
    }
    if (a.frames != WAN_UNSET) a.params.frames = a.frames;
    a.params.json = a.run.json;
    code = run_check_precision("precision", a.params.precision);
    return code ? code : bench(&a);
}
