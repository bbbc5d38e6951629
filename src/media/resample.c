#include "media/resample.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"

/* ---- sizes ---- */

/* a // b of positive floats as Python computes it: exact remainder first. */
static double floor_div(double a, double b)
{
    double q = (a - fmod(a, b)) / b, whole = floor(q);
    return q - whole > 0.5 ? whole + 1 : whole;
}

static bool is_size(struct wn_size s)
{
    return s.w >= 1 && s.h >= 1 && s.w <= WN_IMAGE_MAX_SIDE && s.h <= WN_IMAGE_MAX_SIDE;
}

static enum wan_status check_image(struct wn_size image, double area, struct wn_err *err)
{
    if (!is_size(image)) return wn_fail(err, WAN_EINVAL, "an image of %d x %d pixels", image.w, image.h);
    if (!(area >= 1 && area <= 1e12)) return wn_fail(err, WAN_EINVAL, "a target area of %g pixels", area);
    return WAN_OK;
}

static enum wan_status set_size(struct wn_size image, double w, double h, struct wn_size *out,
                                struct wn_err *err)
{
    if (!(w >= 1 && h >= 1 && w <= WN_IMAGE_MAX_SIDE && h <= WN_IMAGE_MAX_SIDE))
        return wn_fail(err, WAN_EINVAL,
                       "an image of %d x %d pixels has no usable size of its aspect (%.0f x %.0f)", image.w,
                       image.h, w, h);
    *out = (struct wn_size){(int)w, (int)h};
    return WAN_OK;
}

enum wan_status wn_size_i2v(struct wn_size image, int64_t max_area, struct wn_size *out, struct wn_err *err)
{
    *out = (struct wn_size){0};
    enum wan_status st = check_image(image, (double)max_area, err);
    if (st) return st;
    double aspect = (double)image.h / image.w;
    double h = floor_div(floor_div(sqrt((double)max_area * aspect), 8), 2) * 2;
    double w = floor_div(floor_div(sqrt((double)max_area / aspect), 8), 2) * 2;
    return set_size(image, 8 * w, 8 * h, out, err);
}

/* Both orders of rounding; a candidate with an empty side ends the official code with a division by zero. */
enum wan_status wn_size_ti2v(struct wn_size image, int step, int64_t max_area, struct wn_size *out,
                             struct wn_err *err)
{
    *out = (struct wn_size){0};
    enum wan_status st = check_image(image, (double)max_area, err);
    if (st) return st;
    if (step < 1) return wn_fail(err, WAN_EINVAL, "a size step of %d pixels", step);
    double area = (double)max_area, ratio = (double)image.w / image.h;
    double w = sqrt(area * ratio), h = area / w;
    double w1 = floor_div(w, step) * step, h1 = w1 >= 1 ? floor_div(area / w1, step) * step : 0;
    double h2 = floor_div(h, step) * step, w2 = h2 >= 1 ? floor_div(area / h2, step) * step : 0;
    if (h1 < 1 || w2 < 1) return set_size(image, w1 < w2 ? w1 : w2, h1 < h2 ? h1 : h2, out, err);
    double ratio1 = w1 / h1, ratio2 = w2 / h2;
    bool first = fmax(ratio / ratio1, ratio1 / ratio) < fmax(ratio / ratio2, ratio2 / ratio);
    return first ? set_size(image, w1, h1, out, err) : set_size(image, w2, h2, out, err);
}

enum wan_status wn_size_cover(struct wn_size image, struct wn_size out, struct wn_size *resized,
                              struct wn_err *err)
{
    *resized = (struct wn_size){0};
    if (!is_size(image) || !is_size(out))
        return wn_fail(err, WAN_EINVAL, "an image of %d x %d pixels cannot cover %d x %d", image.w, image.h,
                       out.w, out.h);
    double scale = fmax((double)out.w / image.w, (double)out.h / image.h);
    return set_size(image, rint(image.w * scale), rint(image.h * scale), resized, err);
}

enum wan_status wn_size_smart(struct wn_size image, int factor, double min_pixels, double max_pixels,
                              struct wn_size *out, struct wn_err *err)
{
    enum { MAX_RATIO = 200 };
    *out = (struct wn_size){0};
    enum wan_status st = check_image(image, max_pixels, err);
    if (st) return st;
    if (factor < 1 || !(min_pixels >= 0 && min_pixels <= max_pixels))
        return wn_fail(err, WAN_EINVAL, "sides in steps of %d and an area of %g to %g pixels", factor,
                       min_pixels, max_pixels);
    double w = image.w, h = image.h, f = factor;
    if (fmax(w, h) / fmin(w, h) > MAX_RATIO)
        return wn_fail(err, WAN_EINVAL,
                       "an image of %d x %d pixels: one side is more than %d times the other", image.w,
                       image.h, MAX_RATIO);
    double w_new = fmax(f, rint(w / f) * f), h_new = fmax(f, rint(h / f) * f);
    if (h_new * w_new > max_pixels) {
        double beta = sqrt(h * w / max_pixels);
        h_new = floor(h / beta / f) * f;
        w_new = floor(w / beta / f) * f;
    } else if (h_new * w_new < min_pixels) {
        double beta = sqrt(min_pixels / (h * w));
        h_new = ceil(h * beta / f) * f;
        w_new = ceil(w * beta / f) * f;
    }
    return set_size(image, w_new, h_new, out, err);
}

enum wan_status wn_size_smart_video(struct wn_size frame, int64_t n_frames, struct wn_size *out,
                                    struct wn_err *err)
{
    enum { FACTOR = 28, UNIT = FACTOR * FACTOR, LEAST = 128 * UNIT, MOST = 768 * UNIT, ALL = 24576 * UNIT };
    *out = (struct wn_size){0};
    if (n_frames < 1) return wn_fail(err, WAN_EINVAL, "a video of %lld frames", (long long)n_frames);
    double most = fmin(MOST, (double)ALL / (double)n_frames * 2);
    return wn_size_smart(frame, FACTOR, LEAST, fmax(most, floor(LEAST * 1.05)), out, err);
}

/* ---- frames ---- */

enum wan_status wn_frames_count(struct wn_frame_wish wish, int64_t total_frames, double video_fps, int64_t *n,
                                struct wn_err *err)
{
    enum { STEP = 2, FPS = 2, MIN_FRAMES = 4, MAX_FRAMES = 768 };
    *n = 0;
    double total = (double)total_frames, count = wish.n_frames;
    if (count == 0) {
        double fps = wish.fps ? wish.fps : FPS;
        double most = wish.max_frames ? wish.max_frames : fmin(MAX_FRAMES, total);
        double low = ceil((wish.min_frames ? wish.min_frames : MIN_FRAMES) / STEP) * STEP;
        double high = floor(most / STEP) * STEP;
        if (!(video_fps > 0 && fps > 0))
            return wn_fail(err, WAN_EINVAL, "a frame rate of %g, looked at %g times a second", video_fps,
                           fps);
        count = fmin(fmax(total / video_fps * fps, low), high);
    }
    count = rint(count / STEP) * STEP;
    if (!(count >= STEP && count <= total))
        return wn_fail(err, WAN_EINVAL, "%g frames of a video that has %lld; it must be %d to %lld", count,
                       (long long)total_frames, STEP, (long long)total_frames);
    *n = (int64_t)count;
    return WAN_OK;
}

void wn_frames_spread(int64_t total_frames, int64_t n, int64_t *index)
{
    float end = (float)(total_frames - 1), step = n > 1 ? end / (float)(n - 1) : 0;
    for (int64_t i = 0; i < n; i++)
        index[i] = (int64_t)rintf(i < n / 2 || n == 1 ? step * (float)i : end - step * (float)(n - i - 1));
}

void wn_frames_at_rate(int64_t total_frames, double video_fps, double fps, int64_t n, int64_t *index)
{
    double last = (double)(total_frames - 1);
    for (int64_t i = 0; i < n; i++) index[i] = (int64_t)fmin(rint((double)i / fps * video_fps), last);
}

int64_t wn_frames_at_end(int64_t total_frames, double video_fps, double fps, int64_t n, bool from_start,
                         int64_t *index)
{
    double interval = fmax(1, rint(video_fps / fps)), total = (double)total_frames;
    double start = from_start ? 0 : fmax(0, total - (double)(n - 1) * interval - 1);
    int64_t k = 0;
    for (; k < n && start + (double)k * interval < total; k++)
        index[k] = (int64_t)(start + (double)k * interval);
    return k;
}

/* ---- 8-bit pixels ---- */

enum { FIXED_BITS = 22 };

static double sinc(double x)
{
    const double pi = 3.14159265358979323846;
    return x == 0 ? 1 : sin(x * pi) / (x * pi);
}

static double lanczos(double x)
{
    return x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0;
}

static double bicubic(double x)
{
    const double a = -0.5;
    x = fabs(x);
    if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

static const struct kernel {
    double (*weight)(double x);
    double support;
} kernels[] = {{lanczos, 3}, {bicubic, 2}};

/* One pass: output i is the sum of n[i] inputs from first[i] on, weighted by weight[i * width + k]. */
struct taps {
    int32_t *weight;
    int *first, *n;
    size_t width;
};

static void release_taps(struct taps *t)
{
    wn_free(t->weight);
    wn_free(t->first);
    wn_free(t->n);
}

/* Half away from zero. */
static int32_t to_fixed(double weight)
{
    double x = weight * (1 << FIXED_BITS);
    return (int32_t)(x < 0 ? x - 0.5 : x + 0.5);
}

/* `w` is room for t->width doubles. */
static void make_tap(struct taps *t, const struct kernel *kernel, int in, double scale, int i, double *w)
{
    double stretch = fmax(scale, 1), support = kernel->support * stretch, centre = (i + 0.5) * scale, sum = 0;
    int from = (int)(centre - support + 0.5), to = (int)(centre + support + 0.5);
    if (from < 0) from = 0;
    if (to > in) to = in;
    for (int k = 0; k < to - from; k++)
        sum += w[k] = kernel->weight((k + from - centre + 0.5) * (1 / stretch));
    for (int k = 0; k < to - from; k++)
        t->weight[(size_t)i * t->width + (size_t)k] = to_fixed(sum != 0 ? w[k] / sum : w[k]);
    t->first[i] = from;
    t->n[i] = to - from;
}

/* On failure the caller releases `t`. */
static enum wan_status make_taps(struct taps *t, const char *name, enum wn_filter filter, int in, int out,
                                 struct wn_err *err)
{
    const struct kernel *kernel = &kernels[filter];
    double scale = (double)in / out;
    t->width = (size_t)ceil(kernel->support * fmax(scale, 1)) * 2 + 1;
    t->weight = wn_alloc_n(wn_size_mul((size_t)out, t->width), sizeof *t->weight);
    t->first = wn_alloc_n((size_t)out, sizeof *t->first);
    t->n = wn_alloc_n((size_t)out, sizeof *t->n);
    double *w = wn_alloc_n(t->width, sizeof *w);
    bool ok = t->weight && t->first && t->n && w;
    for (int i = 0; ok && i < out; i++) make_tap(t, kernel, in, scale, i, w);
    wn_free(w);
    return ok ? WAN_OK : wn_fail_nomem(err, name, (size_t)out * t->width * sizeof *t->weight);
}

static uint8_t from_fixed(int32_t sum)
{
    int32_t v = sum >> FIXED_BITS;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

enum { HALF = 1 << (FIXED_BITS - 1) };

static void resize_row(const struct taps *t, const uint8_t *in, uint8_t *out, int w_out)
{
    for (int x = 0; x < w_out; x++, out += 3) {
        const int32_t *weight = t->weight + (size_t)x * t->width;
        const uint8_t *p = in + 3 * (size_t)t->first[x];
        int32_t r = HALF, g = HALF, b = HALF;
        for (int k = 0; k < t->n[x]; k++, p += 3) {
            r += weight[k] * p[0];
            g += weight[k] * p[1];
            b += weight[k] * p[2];
        }
        out[0] = from_fixed(r);
        out[1] = from_fixed(g);
        out[2] = from_fixed(b);
    }
}

/* Row y of the result from the rows of `in`, each of n bytes. sums [n]. */
static void resize_column(const struct taps *t, const uint8_t *in, int y, size_t n, int32_t *sums,
                          uint8_t *out)
{
    for (size_t i = 0; i < n; i++) sums[i] = HALF;
    for (int k = 0; k < t->n[y]; k++) {
        const uint8_t *row = in + (size_t)(t->first[y] + k) * n;
        int32_t weight = t->weight[(size_t)y * t->width + (size_t)k];
        for (size_t i = 0; i < n; i++) sums[i] += weight * row[i];
    }
    for (size_t i = 0; i < n; i++) out[i] = from_fixed(sums[i]);
}

static enum wan_status resize_width(const char *name, const struct wn_image *in, int w, enum wn_filter filter,
                                    struct wn_image *out, struct wn_err *err)
{
    struct taps t = {0};
    enum wan_status st = wn_image_alloc(out, name, (uint64_t)w, (uint64_t)in->h, err);
    if (!st) st = make_taps(&t, name, filter, in->w, w, err);
    for (int y = 0; !st && y < in->h; y++)
        resize_row(&t, in->rgb + (size_t)y * 3 * (size_t)in->w, out->rgb + (size_t)y * 3 * (size_t)w, w);
    release_taps(&t);
    return st;
}

static enum wan_status resize_height(const char *name, const struct wn_image *in, int h,
                                     enum wn_filter filter, struct wn_image *out, struct wn_err *err)
{
    struct taps t = {0};
    size_t n = 3 * (size_t)in->w;
    int32_t *sums = NULL;
    enum wan_status st = wn_image_alloc(out, name, (uint64_t)in->w, (uint64_t)h, err);
    if (!st) st = make_taps(&t, name, filter, in->h, h, err);
    if (!st && !(sums = wn_alloc_n(n, sizeof *sums))) st = wn_fail_nomem(err, name, n * sizeof *sums);
    for (int y = 0; !st && y < h; y++) resize_column(&t, in->rgb, y, n, sums, out->rgb + (size_t)y * n);
    wn_free(sums);
    release_taps(&t);
    return st;
}

static enum wan_status copy_image(const char *name, const struct wn_image *in, struct wn_image *out,
                                  struct wn_err *err)
{
    enum wan_status st = wn_image_alloc(out, name, (uint64_t)in->w, (uint64_t)in->h, err);
    if (!st) memcpy(out->rgb, in->rgb, 3 * (size_t)in->w * (size_t)in->h);
    return st;
}

enum wan_status wn_image_resize(const char *name, const struct wn_image *in, struct wn_size size,
                                enum wn_filter filter, struct wn_image *out, struct wn_err *err)
{
    *out = (struct wn_image){0};
    if (!is_size(size) || filter > WN_FILTER_BICUBIC)
        return wn_fail(err, WAN_EINVAL, "%s: cannot be resized to %d x %d pixels", name, size.w, size.h);
    struct wn_image wide = {0};
    const struct wn_image *mid = in;
    enum wan_status st = WAN_OK;
    if (size.w != in->w) {
        st = resize_width(name, in, size.w, filter, &wide, err);
        mid = &wide;
    }
    if (!st && size.h != in->h)
        st = resize_height(name, mid, size.h, filter, out, err);
    else if (!st && mid == in)
        st = copy_image(name, in, out, err);
    else if (!st) {
        *out = wide;
        wide = (struct wn_image){0};
    }
    wn_image_release(&wide);
    if (st) wn_image_release(out);
    return st;
}

enum wan_status wn_image_crop(const char *name, const struct wn_image *in, struct wn_size size,
                              struct wn_image *out, struct wn_err *err)
{
    *out = (struct wn_image){0};
    if (!is_size(size) || size.w > in->w || size.h > in->h)
        return wn_fail(err, WAN_EINVAL, "%s: %d x %d pixels cannot be cut from %d x %d", name, size.w, size.h,
                       in->w, in->h);
    enum wan_status st = wn_image_alloc(out, name, (uint64_t)size.w, (uint64_t)size.h, err);
    if (st) return st;
    size_t x = (size_t)(in->w - size.w) / 2, y = (size_t)(in->h - size.h) / 2, n = 3 * (size_t)size.w;
    for (size_t i = 0; i < (size_t)size.h; i++)
        memcpy(out->rgb + i * n, in->rgb + ((y + i) * (size_t)in->w + x) * 3, n);
    return WAN_OK;
}

/* ---- floats ---- */

void wn_image_to_f32(const struct wn_image *in, float *out)
{
    size_t n = (size_t)in->w * (size_t)in->h;
    for (size_t c = 0; c < 3; c++)
        for (size_t i = 0; i < n; i++) out[c * n + i] = ((float)in->rgb[3 * i + c] / 255.0f - 0.5f) / 0.5f;
}

/* The four inputs of one output, and their weights. */
struct cubic {
    int at[4];
    float weight[4];
};

static float cubic_near(float x)
{
    const float a = -0.75f;
    return ((a + 2) * x - (a + 3)) * x * x + 1;
}

static float cubic_far(float x)
{
    const float a = -0.75f;
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
}

/* Positions as torch's kernels for CPUs with fused products round them: at 2000 pixels one rounding more
 * moves them by 6e-5. */
static void make_cubics(struct cubic *cubic, int in, int out)
{
    float scale = (float)in / (float)out;
    for (int i = 0; i < out; i++) {
        float x = fmaf(scale, (float)i + 0.5f, -0.5f), low = floorf(x), t = x - low;
        const float weight[4] = {cubic_far(t + 1), cubic_near(t), cubic_near(1 - t), cubic_far(2 - t)};
        memcpy(cubic[i].weight, weight, sizeof weight);
        for (int k = 0; k < 4; k++) {
            int at = (int)low - 1 + k;
            cubic[i].at[k] = at < 0 ? 0 : at >= in ? in - 1 : at;
        }
    }
}

/* One output row: four input rows into one [iw], then across. */
static void bicubic_row(const float *in, struct wn_size from, const struct cubic *down,
                        const struct cubic *across, float *row, float *out, int ow)
{
    const float *r[4];
    for (int k = 0; k < 4; k++) r[k] = in + (size_t)down->at[k] * (size_t)from.w;
    const float *u = down->weight;
    for (int x = 0; x < from.w; x++)
        row[x] = u[0] * r[0][x] + u[1] * r[1][x] + u[2] * r[2][x] + u[3] * r[3][x];
    for (int x = 0; x < ow; x++) {
        const struct cubic *c = &across[x];
        out[x] = c->weight[0] * row[c->at[0]] + c->weight[1] * row[c->at[1]] + c->weight[2] * row[c->at[2]] +
                 c->weight[3] * row[c->at[3]];
    }
}

enum wan_status wn_bicubic_f32(const float *in, int n, struct wn_size from, float *out, struct wn_size to,
                               struct wn_err *err)
{
    if (n < 0 || !is_size(from) || !is_size(to))
        return wn_fail(err, WAN_EINVAL, "%d planes of %d x %d cannot be resized to %d x %d", n, from.w,
                       from.h, to.w, to.h);
    size_t n_in = (size_t)from.w * (size_t)from.h, n_cubics = (size_t)to.w + (size_t)to.h;
    struct cubic *across = wn_alloc_n(n_cubics, sizeof *across);
    float *row = wn_alloc_n((size_t)from.w, sizeof *row);
    bool ok = across && row;
    if (ok) {
        struct cubic *down = across + to.w;
        make_cubics(across, from.w, to.w);
        make_cubics(down, from.h, to.h);
        for (int c = 0; c < n; c++)
            for (int y = 0; y < to.h; y++, out += to.w)
                bicubic_row(in + (size_t)c * n_in, from, &down[y], across, row, out, to.w);
    }
    wn_free(row);
    wn_free(across);
    return ok ? WAN_OK : wn_fail_nomem(err, "bicubic resizing", n_cubics * sizeof *across);
}
