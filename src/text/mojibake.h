/* Text that was written as UTF-8 and read as something else. */
#ifndef WN_TEXT_MOJIBAKE_H
#define WN_TEXT_MOJIBAKE_H

#include <stdbool.h>
#include <stddef.h>

#include "text/utf.h"

/* Undo misreadings as ftfy 6.3.1's fix_encoding does: what looks like mojibake is written again in the codecs
 * that it may have been read in (Latin-1, Windows and Mac code pages, cp437) and read as UTF-8, wholly or,
 * where that fails, in the sequences that look most like it; C1 controls become what Windows-1252 has there.
 * Repeated until nothing changes. Each pass takes the length of what it reads from *budget; false when that
 * is spent. */
bool wn_mojibake_repair(struct wn_u32 *text, size_t *budget);

#endif
