#include "media/png.h"

#include <errno.h>
#include <png.h>
#include <setjmp.h>
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "media/png_hooks.h"

/* Everything a write needs lives here and not in locals of the function that calls setjmp, where longjmp
 * would leave them undefined. */
struct writer {
    struct wn_png_hooks hooks;
    png_structp png;
    png_infop info;
    FILE *file;
    const uint8_t *rgb;
    int w, h;
    png_text *text;
    size_t n_text;
    int io_errno; /* of a failed write, or 0 */
};

static void on_write(png_structp png, png_bytep data, size_t n)
{
    struct writer *w = png_get_io_ptr(png);
    errno = 0;
    if (fwrite(data, 1, n, w->file) == n) return;
    w->io_errno = errno ? errno : EIO;
    png_error(png, "write failed");
}

static void on_flush(png_structp png)
{
    (void)png; /* wn_new_file_commit does */
}

/* 0, or -1 with the reason in `w`. */
static int encode(struct writer *w)
{
    w->png = wn_png_writer(&w->hooks);
    if (!w->png) return -1;
    if (setjmp(png_jmpbuf(w->png))) return -1;
    w->info = png_create_info_struct(w->png);
    if (!w->info) return -1;
    png_set_write_fn(w->png, w, on_write, on_flush);
    png_set_IHDR(w->png, w->info, (png_uint_32)w->w, (png_uint_32)w->h, 8, PNG_COLOR_TYPE_RGB,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (w->n_text) png_set_text(w->png, w->info, w->text, (int)w->n_text);
    png_write_info(w->png, w->info);
    for (int y = 0; y < w->h; y++) png_write_row(w->png, w->rgb + (size_t)y * 3 * (size_t)w->w);
    png_write_end(w->png, w->info);
    return 0;
}

static bool is_key(const char *key)
{
    size_t n = strlen(key);
    if (n < 1 || n > 79 || key[0] == ' ' || key[n - 1] == ' ') return false;
    for (const char *p = key; *p; p++)
        if (*p < 0x20 || *p > 0x7e || (*p == ' ' && p[1] == ' ')) return false;
    return true;
}

static bool is_ascii(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s > 0x7e) return false;
    return true;
}

/* Plain ASCII goes into tEXt, which every reader knows; the rest into iTXt, which is UTF-8. */
static enum wan_status set_text(struct writer *w, const char *path, const struct wn_media_text *text,
                                size_t n, struct wn_err *err)
{
    enum { MAX_TEXT = 1000 };
    static char none[] = "";
    if (n > MAX_TEXT) return wn_fail(err, WAN_EINVAL, "%s: %zu remarks, more than %d", path, n, MAX_TEXT);
    if (!n) return WAN_OK;
    if (!(w->text = wn_zalloc_n(n, sizeof *w->text)))
        return wn_fail_nomem(err, "remarks", n * sizeof *w->text);
    for (size_t i = 0; i < n; i++) {
        size_t length = strlen(text[i].value);
        if (!is_key(text[i].key))
            return wn_fail(err, WAN_EINVAL, "%s: \"%s\" cannot be a PNG keyword (1 to 79 ASCII characters)",
                           path, text[i].key);
        if (length > WN_REMARK_MAX_BYTES)
            return wn_fail(err, WAN_EINVAL, "%s: the remark \"%s\" has %zu bytes, more than %d", path,
                           text[i].key, length, WN_REMARK_MAX_BYTES);
        bool plain = is_ascii(text[i].value);
        w->text[i].compression = plain ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE;
        w->text[i].key = (char *)text[i].key;
        w->text[i].text = (char *)text[i].value;
        w->text[i].text_length = plain ? length : 0;
        w->text[i].itxt_length = plain ? 0 : length;
        w->text[i].lang = w->text[i].lang_key = none;
    }
    w->n_text = n;
    return WAN_OK;
}

static enum wan_status explain(const struct writer *w, const char *path, struct wn_err *err)
{
    if (w->hooks.nomem || !w->png) return wn_fail_nomem(err, path, 3ull * (unsigned)w->w * (unsigned)w->h);
    if (w->io_errno) return wn_fail(err, WAN_EIO, "%s: cannot write: %s", path, strerror(w->io_errno));
    return wn_fail(err, WAN_EINTERNAL, "%s: libpng: %s", path,
                   w->hooks.message[0] ? w->hooks.message : "failed");
}

enum wan_status wn_png_begin(struct wn_new_file *file, const char *path, const uint8_t *rgb, int width,
                             int height, const struct wn_media_text *text, size_t n_text, struct wn_err *err)
{
    *file = (struct wn_new_file){0};
    if (width < 1 || height < 1 || width > 65535 || height > 65535)
        return wn_fail(err, WAN_EINVAL, "%s: a PNG of %d x %d pixels: sides must be 1 to 65535", path, width,
                       height);
    struct writer w = {.rgb = rgb, .w = width, .h = height};
    enum wan_status st = set_text(&w, path, text, n_text, err);
    if (!st) st = wn_new_file_open(file, path, err);
    w.file = file->f;
    if (!st && encode(&w)) st = explain(&w, path, err);
    if (w.png) png_destroy_write_struct(&w.png, &w.info);
    wn_free(w.text);
    if (st) wn_new_file_abort(file);
    return st;
}

enum wan_status wn_png_write(const char *path, const uint8_t *rgb, int w, int h,
                             const struct wn_media_text *text, size_t n_text, struct wn_err *err)
{
    struct wn_new_file file;
    enum wan_status st = wn_png_begin(&file, path, rgb, w, h, text, n_text, err);
    return st ? st : wn_new_file_commit(&file, err);
}
