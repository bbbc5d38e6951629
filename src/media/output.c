#include "media/output.h"

#include <string.h>
#include <strings.h>

#include "base/file.h"
#include "base/mem.h"
#include "media/frame_name.h"
#include "media/png.h"
#include "media/video.h"
#include "media/webp.h"

/* One kind of output. Each function may fail; commit leaves the output as if aborted. */
struct kind {
    enum wan_status (*open)(struct wn_output *o, struct wn_err *err);
    enum wan_status (*frame)(struct wn_output *o, const uint8_t *rgb, struct wn_err *err);
    enum wan_status (*commit)(struct wn_output *o, struct wn_err *err);
    void (*abort)(struct wn_output *o);
};

struct wn_output {
    const struct kind *kind;
    struct wn_output_params p; /* its path is ours */
    int n_done;
    /* one of these */
    struct wn_video *video;
    struct wn_webp *webp;
    struct wn_new_file png;
};

/* In thousandths, which every usual rate is. */
static int milli_fps(const struct wn_output *o)
{
    return o->p.fps >= 0 && o->p.fps <= 1000 ? (int)(o->p.fps * 1000 + 0.5) : 0;
}

/* For kinds that open with the frame, or have nothing left to commit. */
static enum wan_status nothing(struct wn_output *o, struct wn_err *err)
{
    (void)o;
    (void)err;
    return WAN_OK;
}

/* ---- videos ---- */

static enum wan_status video_open(struct wn_output *o, struct wn_err *err)
{
    const struct wn_video_params p = {.path = o->p.path,
                                      .width = o->p.width,
                                      .height = o->p.height,
                                      .fps_num = milli_fps(o),
                                      .fps_den = 1000,
                                      .crf = o->p.crf,
                                      .text = o->p.text,
                                      .n_text = o->p.n_text};
    return wn_video_open(&o->video, &p, err);
}

static enum wan_status video_frame(struct wn_output *o, const uint8_t *rgb, struct wn_err *err)
{
    return wn_video_frame(o->video, rgb, err);
}

static enum wan_status video_commit(struct wn_output *o, struct wn_err *err)
{
    enum wan_status st = wn_video_commit(o->video, err);
    o->video = NULL;
    return st;
}

static void video_abort(struct wn_output *o)
{
    wn_video_abort(o->video);
    o->video = NULL;
}

/* ---- WebP: an animation or a picture ---- */

static enum wan_status webp_open_at(struct wn_output *o, const char *path, bool animated, struct wn_err *err)
{
    const struct wn_webp_params p = {.path = path,
                                     .width = o->p.width,
                                     .height = o->p.height,
                                     .animated = animated,
                                     .fps_num = milli_fps(o),
                                     .fps_den = 1000,
                                     .quality = o->p.crf ? 100 - o->p.crf : 0,
                                     .text = o->p.text,
                                     .n_text = o->p.n_text};
    return wn_webp_open(&o->webp, &p, err);
}

static enum wan_status webp_open(struct wn_output *o, struct wn_err *err)
{
    return webp_open_at(o, o->p.path, o->p.n_frames > 1, err);
}

static enum wan_status webp_frame(struct wn_output *o, const uint8_t *rgb, struct wn_err *err)
{
    return wn_webp_frame(o->webp, rgb, err);
}

static enum wan_status webp_commit(struct wn_output *o, struct wn_err *err)
{
    enum wan_status st = wn_webp_commit(o->webp, err);
    o->webp = NULL;
    return st;
}

static void webp_abort(struct wn_output *o)
{
    wn_webp_abort(o->webp);
    o->webp = NULL;
}

/* ---- one PNG ---- */

static enum wan_status png_frame(struct wn_output *o, const uint8_t *rgb, struct wn_err *err)
{
    return wn_png_begin(&o->png, o->p.path, rgb, o->p.width, o->p.height, o->p.text, o->p.n_text, err);
}

static enum wan_status png_commit(struct wn_output *o, struct wn_err *err)
{
    return wn_new_file_commit(&o->png, err);
}

static void png_abort(struct wn_output *o)
{
    wn_new_file_abort(&o->png);
}

/* ---- a picture for each frame ---- */

static bool has_ext(const char *path, const char *ext)
{
    return !strcasecmp(wn_path_ext(path), ext);
}

static enum wan_status sequence_frame(struct wn_output *o, const uint8_t *rgb, struct wn_err *err)
{
    char *name = wn_frame_pattern_expand(o->p.path, o->n_done);
    if (!name) return wn_fail_nomem(err, "a file name", strlen(o->p.path));
    enum wan_status st = WAN_OK;
    if (has_ext(o->p.path, ".png"))
        st = wn_png_write(name, rgb, o->p.width, o->p.height, o->p.text, o->p.n_text, err);
    else {
        st = webp_open_at(o, name, false, err);
        if (!st) st = webp_frame(o, rgb, err);
        if (!st) st = webp_commit(o, err);
        webp_abort(o);
    }
    wn_free(name);
    return st;
}

/* ---- all of them ---- */

static const struct kind video = {video_open, video_frame, video_commit, video_abort};
static const struct kind webp = {webp_open, webp_frame, webp_commit, webp_abort};
static const struct kind png = {nothing, png_frame, png_commit, png_abort};
static const struct kind sequence = {nothing, sequence_frame, nothing, webp_abort};

/* NULL: the name tells no kind. */
static const struct kind *kind_of(const char *path)
{
    if (has_ext(path, ".mp4") || has_ext(path, ".webm")) return &video;
    if (!has_ext(path, ".png") && !has_ext(path, ".webp")) return NULL;
    if (wn_frame_pattern_has(path)) return &sequence;
    return has_ext(path, ".png") ? &png : &webp;
}

enum wan_status wn_output_check(const char *path, int n_frames, struct wn_err *err)
{
    struct wn_err own = {0};
    enum wan_status st = wn_place_check(path, &own);
    if (st) return wn_fail(err, st, "%s", own.text);
    const struct kind *kind = kind_of(path);
    if (!kind)
        return wn_fail(
            err, WAN_EINVAL,
            "the kind of file is told by its name, and %s ends with none of .mp4, .webm, .webp and "
            ".png",
            path);
    if (kind == &video) return wn_video_check(path, err);
    if (kind == &sequence) return wn_frame_pattern_check(path, err);
    if (kind == &png && n_frames > 1)
        return wn_fail(err, WAN_EINVAL,
                       "%s is one picture and there are %d frames; name them all, as in frame_%%04d.png",
                       path, n_frames);
    return WAN_OK;
}

bool wn_output_exists(const char *path, int n_frames)
{
    if (kind_of(path) != &sequence) return wn_file_kind(path) == WN_FILE_REGULAR;
    bool all = n_frames > 0;
    for (int i = 0; i < n_frames && all; i++) {
        char *name = wn_frame_pattern_expand(path, i);
        all = name && wn_file_kind(name) == WN_FILE_REGULAR;
        wn_free(name);
    }
    return all;
}

enum wan_status wn_output_open(struct wn_output **out, const struct wn_output_params *p, struct wn_err *err)
{
    *out = NULL;
    enum wan_status st = wn_output_check(p->path, p->n_frames, err);
    if (st) return st;
    if (p->n_frames < 1) return wn_fail(err, WAN_EINVAL, "%s: needs at least one frame", p->path);
    struct wn_output *o = wn_zalloc(sizeof *o);
    if (!o) return wn_fail_nomem(err, "an output", sizeof *o);
    o->kind = kind_of(p->path);
    o->p = *p;
    o->p.path = wn_strdup(p->path);
    st = o->p.path ? o->kind->open(o, err) : wn_fail_nomem(err, "a path", strlen(p->path));
    if (st) {
        wn_output_abort(o);
        return st;
    }
    *out = o;
    return WAN_OK;
}

enum wan_status wn_output_frame(struct wn_output *o, const uint8_t *rgb, struct wn_err *err)
{
    if (o->n_done == o->p.n_frames)
        return wn_fail(err, WAN_EINVAL, "%s: more than the %d frames it was opened for", o->p.path,
                       o->p.n_frames);
    enum wan_status st = o->kind->frame(o, rgb, err);
    if (!st) o->n_done++;
    return st;
}

enum wan_status wn_output_commit(struct wn_output *o, struct wn_err *err)
{
    enum wan_status st = o->n_done == o->p.n_frames ? o->kind->commit(o, err)
                                                    : wn_fail(err, WAN_EINVAL, "%s: %d of %d frames came",
                                                              o->p.path, o->n_done, o->p.n_frames);
    wn_output_abort(o);
    return st;
}

void wn_output_abort(struct wn_output *o)
{
    if (!o) return;
    o->kind->abort(o);
    wn_free((void *)o->p.path);
    wn_free(o);
}
