/* What reading and writing PNG files tell libpng: where memory comes from and what happens on an error. */
#ifndef WN_MEDIA_PNG_HOOKS_H
#define WN_MEDIA_PNG_HOOKS_H

#include <stdbool.h>

#include <png.h>

/* The error and memory pointer of a png_struct. After an error libpng jumps to setjmp(png_jmpbuf(png)). */
struct wn_png_hooks {
    bool nomem;        /* an allocation failed */
    char message[128]; /* libpng's reason, "" where it gave none */
};

png_structp wn_png_reader(struct wn_png_hooks *hooks); /* NULL: no memory */
png_structp wn_png_writer(struct wn_png_hooks *hooks);

#endif
