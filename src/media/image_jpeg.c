#include <setjmp.h>
#include <stdio.h> /* jpeglib.h needs it */
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#include "base/mem.h"
#include "media/image.h"

enum {
    MAX_SCANS = 200 /* a progressive file of usual making has about 10; each goes over the whole image */
};

/* Everything a read needs lives here and not in locals of the function that calls setjmp, where longjmp would
 * leave them undefined. */
struct reader {
    struct jpeg_decompress_struct j;
    struct jpeg_error_mgr errors;
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
    jmp_buf out;
    const char *name;
    struct wn_image *img;
    struct wn_err *err;
    enum wan_status st; /* why the read ended, already in `err` */
    uint8_t *row;       /* [w, 4], of a four-colour image */
};

static void on_error(j_common_ptr j)
{
    struct reader *r = j->client_data;
    char text[JMSG_LENGTH_MAX];
    r->errors.format_message(j, text);
    switch (r->errors.msg_code) {
    case JERR_OUT_OF_MEMORY: r->st = wn_fail_nomem(r->err, r->name, 0); break;
    case JERR_SOF_UNSUPPORTED:
    case JERR_BAD_PRECISION:
    case JERR_ARITH_NOTIMPL:
        r->st = wn_fail(r->err, WAN_EUNSUPPORTED, "%s: this kind of JPEG cannot be read: %s", r->name, text);
        break;
    default: r->st = wn_fail(r->err, WAN_EFORMAT, "%s: the JPEG image is damaged: %s", r->name, text);
    }
    longjmp(r->out, 1);
}

/* Warnings (data that can be made up for) are ignored, as Pillow does. */
static void on_message(j_common_ptr j, int level)
{
    if (level < 0) j->err->num_warnings++;
}

static void on_output(j_common_ptr j)
{
    (void)j;
}

static void on_start(j_decompress_ptr j)
{
    (void)j;
}

/* Asked for more than there is. */
static boolean on_fill(j_decompress_ptr j)
{
    struct reader *r = j->client_data;
    r->st = wn_fail(r->err, WAN_EFORMAT, "%s: the JPEG image is cut off", r->name);
    longjmp(r->out, 1);
}

static void on_skip(j_decompress_ptr j, long n)
{
    if (n <= 0) return;
    if ((unsigned long)n > j->src->bytes_in_buffer) on_fill(j);
    j->src->next_input_byte += n;
    j->src->bytes_in_buffer -= (size_t)n;
}

static void on_progress(j_common_ptr j)
{
    struct reader *r = j->client_data;
    if (r->j.input_scan_number <= MAX_SCANS) return;
    r->st = wn_fail(r->err, WAN_EFORMAT, "%s: the JPEG image has more than %d scans", r->name, MAX_SCANS);
    longjmp(r->out, 1);
}

static void set_up(struct reader *r, const uint8_t *data, size_t n)
{
    r->source = (struct jpeg_source_mgr){.next_input_byte = data,
                                         .bytes_in_buffer = n,
                                         .init_source = on_start,
                                         .fill_input_buffer = on_fill,
                                         .skip_input_data = on_skip,
                                         .resync_to_restart = jpeg_resync_to_restart,
                                         .term_source = on_start};
    r->progress.progress_monitor = on_progress;
    r->j.src = &r->source;
    r->j.progress = &r->progress;
}

/* (a / 255) * b, rounded, as Pillow computes it. */
static int mul_255(int a, int b)
{
    int t = a * b + 128;
    return ((t >> 8) + t) >> 8;
}

/* Four-colour files are taken as written by Adobe, inverted: 0 is full ink. */
static void cmyk_to_rgb(const uint8_t *cmyk, uint8_t *rgb, int w)
{
    for (int x = 0; x < w; x++, cmyk += 4, rgb += 3) {
        int white = cmyk[3];
        for (int c = 0; c < 3; c++) rgb[c] = (uint8_t)(white - mul_255(255 - cmyk[c], white));
    }
}

static enum wan_status prepare(struct reader *r)
{
    int n_colours = r->j.num_components;
    if (n_colours != 1 && n_colours != 3 && n_colours != 4)
        return wn_fail(r->err, WAN_EUNSUPPORTED,
                       "%s: a JPEG image of %d colour components; 1, 3 and 4 can be read", r->name,
                       n_colours);
    enum wan_status st = wn_image_alloc(r->img, r->name, r->j.image_width, r->j.image_height, r->err);
    if (st) return st;
    r->j.out_color_space = n_colours == 4 ? JCS_CMYK : JCS_RGB;
    size_t row_bytes = 4 * (size_t)r->img->w;
    if (n_colours == 4 && !(r->row = wn_alloc(row_bytes))) return wn_fail_nomem(r->err, r->name, row_bytes);
    return WAN_OK;
}

/* 0, or -1 with the failure in r->st. The decoder's defaults are Pillow's settings: exact integer DCT, smooth
 * upsampling, block smoothing. */
static int decode(struct reader *r, const uint8_t *data, size_t n)
{
    r->j.err = jpeg_std_error(&r->errors);
    r->errors.error_exit = on_error;
    r->errors.emit_message = on_message;
    r->errors.output_message = on_output;
    r->j.client_data = r;
    if (setjmp(r->out)) return -1;
    jpeg_create_decompress(&r->j); /* keeps err and client_data */
    set_up(r, data, n);
    jpeg_read_header(&r->j, TRUE);
    if ((r->st = prepare(r))) return -1;
    jpeg_start_decompress(&r->j);
    while (r->j.output_scanline < r->j.output_height) {
        uint8_t *rgb = r->img->rgb + (size_t)r->j.output_scanline * 3 * (size_t)r->img->w;
        JSAMPROW row = r->row ? r->row : rgb;
        if (jpeg_read_scanlines(&r->j, &row, 1) != 1) on_fill(&r->j);
        if (r->row) cmyk_to_rgb(r->row, rgb, r->img->w);
    }
    jpeg_finish_decompress(&r->j);
    return 0;
}

enum wan_status wn_jpeg_decode(const char *name, const uint8_t *data, size_t n, struct wn_image *img,
                               struct wn_err *err)
{
    struct reader *r = wn_zalloc(sizeof *r);
    if (!r) return wn_fail_nomem(err, name, sizeof *r);
    r->name = name;
    r->img = img;
    r->err = err;
    enum wan_status st = decode(r, data, n) ? r->st : WAN_OK;
    jpeg_destroy_decompress(&r->j); /* also after a failed create: it is all zero then */
    wn_free(r->row);
    wn_free(r);
    return st;
}
