/* Names of the files of a picture sequence, such as "dir/frame_%04d.png". The file name (never the folder
 * part) holds exactly one %d, %Nd or %0Nd with N in 1..9; "%%" is a percent sign. No part of the name ever
 * reaches printf as a format. */
#ifndef WN_MEDIA_FRAME_NAME_H
#define WN_MEDIA_FRAME_NAME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

bool wn_frame_pattern_has(const char *path); /* is there any '%' in the file name? */
enum wan_status wn_frame_pattern_check(const char *pattern, struct wn_err *err);
/* The name of frame `index` >= 0; free with wn_free. NULL: out of memory, or the pattern is not valid. */
char *wn_frame_pattern_expand(const char *pattern, int64_t index);

#endif
