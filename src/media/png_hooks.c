#include "media/png_hooks.h"

#include <string.h>

#include "base/mem.h"

static void on_error(png_structp png, png_const_charp message)
{
    struct wn_png_hooks *h = png_get_error_ptr(png);
    size_t n = strlen(message);
    if (n >= sizeof h->message) n = sizeof h->message - 1;
    memcpy(h->message, message, n);
    h->message[n] = 0;
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

static png_voidp on_alloc(png_structp png, png_alloc_size_t bytes)
{
    struct wn_png_hooks *h = png_get_mem_ptr(png);
    void *p = wn_alloc(bytes);
    if (!p) h->nomem = true;
    return p;
}

static void on_free(png_structp png, png_voidp p)
{
    (void)png;
    wn_free(p);
}

png_structp wn_png_reader(struct wn_png_hooks *h)
{
    return png_create_read_struct_2(PNG_LIBPNG_VER_STRING, h, on_error, on_warning, h, on_alloc, on_free);
}

png_structp wn_png_writer(struct wn_png_hooks *h)
{
    return png_create_write_struct_2(PNG_LIBPNG_VER_STRING, h, on_error, on_warning, h, on_alloc, on_free);
}
