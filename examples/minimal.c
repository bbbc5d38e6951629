/* The smallest program with libwan: minimal MODEL PROMPT OUT.mp4
 *
 *     cc minimal.c -o minimal $(pkg-config --cflags --libs wan)
 */
#include <stdio.h>
#include <wan/wan.h>

int main(int argc, char **argv)
{
    struct wan_context *ctx = NULL;
    struct wan_model *model = NULL;
    if (argc != 4) return fprintf(stderr, "usage: minimal MODEL PROMPT OUT.mp4\n"), 2;
    enum wan_status status = wan_context_new(&ctx, wan_context_params(.device = "auto"));
    if (!status) status = wan_model_open(&model, ctx, argv[1]);
    if (!status) status = wan_generate(model, wan_gen_params(.prompt = argv[2], .seed = 7), argv[3]);
    if (status) fprintf(stderr, "%s\n", wan_error(ctx));
    wan_model_free(model);
    wan_context_free(ctx);
    return status != WAN_OK;
}
