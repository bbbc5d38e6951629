/* Files: read-only maps, bounded reads, and writes that appear whole or not at all. Paths are UTF-8. */
#ifndef WN_BASE_FILE_H
#define WN_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/status.h"

/* A whole file mapped read-only and shared with other processes' page cache. */
struct wn_map {
    const uint8_t *data; /* NULL for an empty file */
    size_t size;
    char *path; /* as opened, for messages */
};
enum wan_status wn_map_open(struct wn_map *map, const char *path, struct wn_err *err);
void wn_map_close(struct wn_map *map); /* fine on a zeroed or closed map */
/* Tell the kernel that [offset, offset + bytes) will not be needed soon: its pages leave this process. */
void wn_map_release_pages(const struct wn_map *map, size_t offset, size_t bytes);

/* Read a whole file of at most `max` bytes. *data is NUL-terminated past *n and freed with wn_free. */
enum wan_status wn_file_read(const char *path, size_t max, char **data, size_t *n, struct wn_err *err);

enum wn_file_kind { WN_FILE_NONE, WN_FILE_REGULAR, WN_FILE_DIR, WN_FILE_OTHER };
enum wn_file_kind wn_file_kind(const char *path);

/* Names in a folder, sorted bytewise, without "." and "..". Free with wn_names_free. */
enum wan_status wn_dir_list(const char *path, char ***names, size_t *n, struct wn_err *err);
void wn_names_free(char **names, size_t n);

/* a + "/" + b; NULL when out of memory. */
char *wn_path_join(const char *a, const char *b);
/* The part after the last '/', inside `path`. */
const char *wn_path_base(const char *path);
/* Extension with its dot, lower case compare is the caller's; "" when there is none. Points into `path`. */
const char *wn_path_ext(const char *path);

/* Could a file be made at `path`, or replaced there? Touches nothing; another process may still change the
 * answer. */
enum wan_status wn_place_check(const char *path, struct wn_err *err);

/* A file being written beside its final place ("NAME.part-PID-N"): commit renames it there after fsync, abort
 * removes it. */
struct wn_new_file {
    FILE *f;
    char *path, *tmp;
};
enum wan_status wn_new_file_open(struct wn_new_file *nf, const char *path, struct wn_err *err);
enum wan_status wn_new_file_commit(struct wn_new_file *nf, struct wn_err *err);
void wn_new_file_abort(struct wn_new_file *nf); /* fine after commit and on a zeroed struct */
/* A temporary name for `path`, another one each time, for writers that open files themselves; free with
 * wn_free. NULL: no memory.
 */
char *wn_tmp_name(const char *path);

/* Bytes that may still be written in a folder; UINT64_MAX: the system does not tell. */
uint64_t wn_disk_free(const char *folder);

/* A folder being written beside its final place ("NAME.part-PID"), which must not be there yet (an empty
 * folder may): commit renames it there, abort removes it with all that is in it. */
struct wn_new_folder {
    char *path, *tmp;
};
enum wan_status wn_new_folder_open(struct wn_new_folder *nf, const char *path, struct wn_err *err);
enum wan_status wn_new_folder_commit(struct wn_new_folder *nf, struct wn_err *err);
void wn_new_folder_abort(struct wn_new_folder *nf); /* fine after commit and on a zeroed struct */
/* A folder in it; there already is fine. */
enum wan_status wn_folder_make(const char *path, struct wn_err *err);

#endif
