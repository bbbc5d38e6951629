/* What the device called auto is where there is a GPU: mlx, or where that fails its self-test the cpu, and
 * said so. The linker puts the functions below in the place of the library's (--wrap): a GPU that is MLX's
 * CPU back end, and with the argument `broken` an operation that computes something else.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "backend/mlx/mlx.h"
#include "wan/wan.h"

static bool broken;
static char notice[512];
static int n_failed;

bool __wrap_wn_mlx_has_gpu(void);
enum wan_status __wrap_wn_mlx_state_new(struct wn_mlx *m, const struct wn_device_params *params,
                                        struct wn_err *err);
enum wan_status __real_wn_mlx_state_new(struct wn_mlx *m, const struct wn_device_params *params,
                                        struct wn_err *err);
enum wan_status __wrap_wn_mlx_unary(struct wn_device *dev, const void *args, struct wn_err *err);
enum wan_status __real_wn_mlx_unary(struct wn_device *dev, const void *args, struct wn_err *err);

bool __wrap_wn_mlx_has_gpu(void)
{
    return true;
}

enum wan_status __wrap_wn_mlx_state_new(struct wn_mlx *m, const struct wn_device_params *params,
                                        struct wn_err *err)
{
    m->gpu = m->compiled = false;
    return __real_wn_mlx_state_new(m, params, err);
}

enum wan_status __wrap_wn_mlx_unary(struct wn_device *dev, const void *args, struct wn_err *err)
{
    struct wn_unary_args a = *(const struct wn_unary_args *)args;
    if (broken) a.act = WN_ACT_SILU;
    return __real_wn_mlx_unary(dev, &a, err);
}

static void log_line(void *user, enum wan_log_level level, const char *line)
{
    (void)user;
    if (level == WAN_LOG_NOTICE) snprintf(notice, sizeof notice, "%s", line);
}

static void expect(bool good, const char *what, const char *text)
{
    n_failed += !good;
    printf("%s: %s: '%s'\n", good ? "ok" : "FAILED", what, text);
}

static bool begins(const char *text, const char *with)
{
    return !strncmp(text, with, strlen(with));
}

/* The second time what was found the first time counts. */
static void open_auto(void)
{
    struct wan_context *ctx;
    notice[0] = 0;
    enum wan_status st = wan_context_new(&ctx, wan_context_params(.device = "auto", .log = log_line));
    expect(!st, "auto opens", wan_error(ctx));
    if (!st)
        expect(begins(wan_context_device(ctx), broken ? "cpu (" : "mlx (gpu"), "it is",
               wan_context_device(ctx));
    expect(broken ? begins(notice,
                           "computing on the cpu: device mlx fails its self-test: unary in f32 is off by")
                  : !notice[0],
           "it says", notice);
    wan_context_free(ctx);
}

/* Asked for by its name it is not replaced. */
static void open_by_name(void)
{
    struct wan_context *ctx;
    enum wan_status st = wan_context_new(&ctx, wan_context_params(.device = "mlx", .log = log_line));
    expect(st == (broken ? WAN_EUNSUPPORTED : WAN_OK), "mlx by name", wan_error(ctx));
    if (broken) expect(strstr(wan_error(ctx), "unary") != NULL, "it names what fails", wan_error(ctx));
    wan_context_free(ctx);
}

int main(int argc, char **argv)
{
    broken = argc > 1 && !strcmp(argv[1], "broken");
    open_auto();
    open_auto();
    open_by_name();
    return n_failed != 0;
}
