#include <png.h>
#include <setjmp.h>
#include <stdbool.h>
#include <string.h>

#include "base/mem.h"
#include "media/png_hooks.h"
#include "media/image.h"

/* Everything a read needs lives here and not in locals of the function that calls setjmp, where longjmp would
 * leave them undefined. */
struct reader {
    struct wn_png_hooks hooks;
    png_structp png;
    png_infop info;
    const uint8_t *data;
    size_t n, at;
    const char *name;
    struct wn_image *img;
    struct wn_err *err;
    enum wan_status st; /* a failure already in `err` */
    bool cut;
    uint8_t palette[256][3];
};

static void on_read(png_structp png, png_bytep out, size_t n)
{
    struct reader *r = png_get_io_ptr(png);
    if (n > r->n - r->at) {
        r->cut = true;
        png_error(png, "the file is cut off");
    }
    memcpy(out, r->data + r->at, n);
    r->at += n;
}

/* Text, profiles, gamma and transparency change no pixel here: libpng need not unpack them. */
static void skip_remarks(png_structp png)
{
    static const png_byte names[] = "bKGD\0cHRM\0eXIf\0gAMA\0hIST\0iCCP\0iTXt\0oFFs\0pCAL\0pHYs\0sBIT\0sCAL\0"
                                    "sPLT\0sRGB\0tEXt\0tIME\0tRNS\0zTXt";
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, names, (int)(sizeof names / 5));
}

/* Entries that the file does not have are black. */
static void get_palette(struct reader *r)
{
    png_colorp colours;
    int n = 0;
    if (!png_get_PLTE(r->png, r->info, &colours, &n)) return;
    for (int i = 0; i < n && i < 256; i++) {
        r->palette[i][0] = colours[i].red;
        r->palette[i][1] = colours[i].green;
        r->palette[i][2] = colours[i].blue;
    }
}

/* Rows come as 3 bytes a pixel, except palette indices (1 byte) and 16-bit grey (2 bytes, high byte first).
 */
static void set_transforms(struct reader *r, int depth, int type)
{
    if (type == PNG_COLOR_TYPE_PALETTE) {
        png_set_packing(r->png);
        get_palette(r);
        return;
    }
    if (type == PNG_COLOR_TYPE_GRAY && depth == 16) return;
    if (depth == 16) png_set_strip_16(r->png);
    if (depth < 8) png_set_expand_gray_1_2_4_to_8(r->png);
    if (type & PNG_COLOR_MASK_ALPHA) png_set_strip_alpha(r->png);
    if (!(type & PNG_COLOR_MASK_COLOR)) png_set_gray_to_rgb(r->png);
}

/* In place, from the last pixel to the first, since pixels grow. */
static void expand_palette(const struct reader *r, uint8_t *row, int w)
{
    for (int x = w; x-- > 0;) memcpy(row + 3 * (size_t)x, r->palette[row[x]], 3);
}

static void expand_grey16(uint8_t *row, int w)
{
    for (int x = w; x-- > 0;) {
        uint8_t v = row[2 * (size_t)x] ? 255 : row[2 * (size_t)x + 1];
        memset(row + 3 * (size_t)x, v, 3);
    }
}

static void expand_rows(const struct reader *r, size_t row_bytes)
{
    struct wn_image *img = r->img;
    for (int y = 0; y < img->h; y++) {
        uint8_t *row = img->rgb + (size_t)y * 3 * (size_t)img->w;
        if (row_bytes == (size_t)img->w)
            expand_palette(r, row, img->w);
        else if (row_bytes == 2 * (size_t)img->w)
            expand_grey16(row, img->w);
    }
}

/* 0, or -1 with the reason in `r`. */
static int decode(struct reader *r)
{
    r->png = wn_png_reader(&r->hooks);
    if (!r->png) return -1;
    if (setjmp(png_jmpbuf(r->png))) return -1;
    r->info = png_create_info_struct(r->png);
    if (!r->info) return -1;
    png_set_read_fn(r->png, r, on_read);
    png_set_user_limits(r->png, 0x7fffffff, 0x7fffffff); /* wn_image_alloc bounds them, in our words */
    skip_remarks(r->png);
    png_read_info(r->png, r->info);
    png_uint_32 w = png_get_image_width(r->png, r->info), h = png_get_image_height(r->png, r->info);
    if ((r->st = wn_image_alloc(r->img, r->name, w, h, r->err))) return -1;
    set_transforms(r, png_get_bit_depth(r->png, r->info), png_get_color_type(r->png, r->info));
    int n_passes = png_set_interlace_handling(r->png);
    png_read_update_info(r->png, r->info);
    size_t row_bytes = png_get_rowbytes(r->png, r->info);
    if (row_bytes > 3 * (size_t)w) png_error(r->png, "unexpected row size");
    for (int pass = 0; pass < n_passes; pass++)
        for (png_uint_32 y = 0; y < h; y++) png_read_row(r->png, r->img->rgb + (size_t)y * 3 * w, NULL);
    png_read_end(r->png, NULL);
    expand_rows(r, row_bytes);
    return 0;
}

static enum wan_status explain(const struct reader *r)
{
    if (r->st) return r->st;
    if (r->hooks.nomem || !r->png) return wn_fail_nomem(r->err, r->name, r->n);
    if (r->cut) return wn_fail(r->err, WAN_EFORMAT, "%s: the PNG image is cut off", r->name);
    return wn_fail(r->err, WAN_EFORMAT, "%s: the PNG image is damaged: %s", r->name,
                   r->hooks.message[0] ? r->hooks.message : "no reason given");
}

enum wan_status wn_png_decode(const char *name, const uint8_t *data, size_t n, struct wn_image *img,
                              struct wn_err *err)
{
    struct reader r = {.data = data, .n = n, .name = name, .img = img, .err = err};
    enum wan_status st = decode(&r) ? explain(&r) : WAN_OK;
    if (r.png) png_destroy_read_struct(&r.png, &r.info, NULL);
    return st;
}
