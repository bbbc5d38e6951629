/* Code points and UTF-8. */
#ifndef WN_TEXT_UTF_H
#define WN_TEXT_UTF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mem.h"

/* Growable array of code points; zero-initialise. A failed allocation sticks: later puts do nothing, and
 * whoever made it checks `failed` once at the end. */
struct wn_u32 {
    int32_t *v;
    size_t n, cap;
    bool failed;
};
void wn_u32_put(struct wn_u32 *s, int32_t c);
void wn_u32_add(struct wn_u32 *s, const int32_t *v, size_t n);
void wn_u32_release(struct wn_u32 *s);

/* The code point at s[0], n > 0 bytes there; its length in *len. -1 where that is not UTF-8 (RFC 3629: no
 * surrogates, no overlong forms). */
int32_t wn_utf8_get(const char *s, size_t n, size_t *len);
/* Offset of the first byte that is not UTF-8; n when all is. */
size_t wn_utf8_check(const char *s, size_t n);
/* Bytes that are not UTF-8 become '?'. */
void wn_utf8_repair(char *s);
/* Length of the character that starts with this byte of valid UTF-8. */
size_t wn_utf8_len(char first);
/* Up to 4 bytes; returns their number. */
size_t wn_utf8_put(int32_t c, char out[4]);
/* -1 when out of memory. */
int wn_utf8_add(struct wn_str *s, const int32_t *v, size_t n);
void wn_utf8_decode(const char *s, size_t n, struct wn_u32 *out); /* s: valid UTF-8 */

/* Unicode White_Space. */
bool wn_is_space(int32_t c);

/* A C1 control as the character that windows-1252 has at its place; the five places that it leaves empty, and
 * all other code points, stay. */
int32_t wn_c1_as_1252(int32_t c);

enum wn_norm_form { WN_NFC, WN_NFD, WN_NFKC, WN_NFKD };
/* Replace *s by its normal form (Unicode 15). */
void wn_normal_form(struct wn_u32 *s, enum wn_norm_form form);

#endif
