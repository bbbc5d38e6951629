/* The table of contents of a zip archive in memory (zip64 too). Nothing is unpacked: torch.save stores its
 * entries. */
#ifndef WN_IO_ZIP_H
#define WN_IO_ZIP_H

#include "base/file.h"

struct wn_zip_entry {
    const char *name; /* inside the map, not NUL-terminated */
    size_t name_len;
    const uint8_t *data; /* inside the map */
    size_t size;         /* bytes of `data` */
    int method;          /* 0: stored as it is; anything else is packed */
};

struct wn_zip {
    const struct wn_map *map;
    struct wn_zip_entry *entry; /* in name order, no two the same */
    size_t n;
};

/* `map` must outlive the zip. Every offset and size is checked; entries may not overlap. */
enum wan_status wn_zip_open(struct wn_zip *z, const struct wn_map *map, struct wn_err *err);
void wn_zip_close(struct wn_zip *z); /* fine on a zeroed struct */
const struct wn_zip_entry *wn_zip_find(const struct wn_zip *z, const char *name,
                                       size_t name_len); /* NULL: not there */

#endif
