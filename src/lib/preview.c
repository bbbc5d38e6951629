/* A preview while a session runs: a picture of what the latents will become, written anew after every step by
 * a thread of its own. */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/thread.h"
#include "lib/session.h"
#include "media/output.h"
#include "media/pixels.h"
#include "pipe/preview.h"

enum { SIDE = 256 }; /* pixels are doubled, tripled, … as long as the longer side stays within this */

struct wn_preview {
    char *path;
    int64_t dim[4];
    bool animated; /* every latent frame, else the middle one */
    int scale;
    double fps;
    float *latent; /* [z, F, h, w] that the thread draws */
    uint8_t *rgb;  /* [h * scale, w * scale, 3] */
    float *line;   /* [h, w, 3] */
    struct wn_thread *thread;
    struct wn_err err;
    bool told; /* that it failed */
};

static void draw(struct wn_preview *p, int64_t f)
{
    int64_t h = p->dim[2], w = p->dim[3], hw = h * w, side = p->scale;
    wn_preview_rgb(p->latent + f * hw, p->dim[1] * hw, p->dim[0], hw, p->line);
    uint8_t *small = p->rgb; /* at the front of its room; rows are spread from the last */
    wn_pixels_truncate(wn_frame_packed(p->line, (int)h, (int)w, 0), small);
    for (int64_t y = h * side - 1; y >= 0; y--)
        for (int64_t x = w * side - 1; x >= 0; x--)
            memmove(p->rgb + (y * w * side + x) * 3, small + (y / side * w + x / side) * 3, 3);
}

static void write_now(void *arg)
{
    struct wn_preview *p = arg;
    int64_t F = p->dim[1];
    struct wn_output *o;
    const struct wn_output_params op = {.path = p->path,
                                        .width = (int)p->dim[3] * p->scale,
                                        .height = (int)p->dim[2] * p->scale,
                                        .n_frames = p->animated ? (int)F : 1,
                                        .fps = p->fps};
    p->err = (struct wn_err){0};
    if (wn_output_open(&o, &op, &p->err)) return;
    for (int i = 0; i < op.n_frames && !p->err.code; i++) {
        draw(p, p->animated ? i : F / 2);
        wn_output_frame(o, p->rgb, &p->err);
    }
    if (p->err.code)
        wn_output_abort(o);
    else
        wn_output_commit(o, &p->err);
}

/* The write that may be in progress is over, and a failure was told once. */
static void wait_for_writer(struct wan_session *s)
{
    struct wn_preview *p = s->preview;
    wn_thread_join(p->thread);
    p->thread = NULL;
    if (p->err.code && !p->told)
        wn_logf(&s->model->ctx->log, WN_LOG_WARN, "the preview could not be written: %s", p->err.text);
    p->told |= p->err.code != WAN_OK;
}

void wn_preview_end(struct wan_session *s)
{
    struct wn_preview *p = s->preview;
    if (!p) return;
    wait_for_writer(s);
    wn_free(p->path);
    wn_free(p->latent);
    wn_free(p->rgb);
    wn_free(p->line);
    wn_free(p);
    s->preview = NULL;
}

static bool is_kind(const char *path, const char *ext)
{
    return !strcmp(wn_path_ext(path), ext);
}

static enum wan_status check_name(const char *path, struct wn_err *err)
{
    if ((!is_kind(path, ".png") && !is_kind(path, ".webp")) || strchr(wn_path_base(path), '%'))
        return wn_fail(err, WAN_EINVAL, "--preview %s: must be a .png or .webp file", path);
    return wn_place_check(path, err);
}

enum wan_status wan_session_preview(struct wan_session *s, const char *path)
{
    struct wn_err *err = wn_enter(s->model->ctx);
    int64_t dim[4];
    wn_job_latents(s->job, dim);
    if (s->preview) return wn_fail(err, WAN_EINVAL, "this session has a preview already");
    if (check_name(path, err)) return err->code;
    if (!wn_preview_knows(dim[0]))
        return wn_fail(err, WAN_EUNSUPPORTED, "--preview: not known for latents of %lld channels",
                       (long long)dim[0]);
    int64_t longer = dim[2] > dim[3] ? dim[2] : dim[3], hw = dim[2] * dim[3];
    struct wn_preview *p = s->preview = wn_zalloc(sizeof *p);
    if (p) {
        memcpy(p->dim, dim, sizeof dim);
        p->animated = is_kind(path, ".webp") && dim[1] > 1;
        p->scale = longer < SIDE ? (int)(SIDE / longer) : 1;
        p->fps = s->p.fps / WN_VAE_STRIDE_T < 1 ? 1 : s->p.fps / WN_VAE_STRIDE_T;
        p->path = wn_strdup(path);
        p->latent = wn_alloc_n((size_t)(dim[0] * dim[1] * hw), sizeof *p->latent);
        p->rgb = wn_alloc_n((size_t)(hw * p->scale * p->scale), 3);
        p->line = wn_alloc_n((size_t)(hw * 3), sizeof *p->line);
    }
    if (p && p->path && p->latent && p->rgb && p->line) return WAN_OK;
    wn_preview_end(s);
    return wn_fail_nomem(err, "the preview", (unsigned long long)(dim[0] * dim[1] * hw) * sizeof *p->latent);
}

void wn_preview_step(struct wan_session *s)
{
    struct wn_preview *p = s->preview;
    if (!p) return;
    wait_for_writer(s);
    wn_job_estimate(s->job, p->latent);
    wn_thread_start(&p->thread, write_now, p, &p->err);
}
