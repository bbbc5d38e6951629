/* A 64-bit digest to tell inputs apart: fast, the same on every machine, and no defence against an adversary.
 */
#ifndef WN_BASE_DIGEST_H
#define WN_BASE_DIGEST_H

#include <stddef.h>
#include <stdint.h>

/* Zero-initialise, add, read `value`. Adding "ab" and adding "a", then "b", differ. */
struct wn_digest {
    uint64_t value;
};
void wn_digest_add(struct wn_digest *d, const void *data, size_t n);
void wn_digest_add_text(struct wn_digest *d, const char *s); /* NULL differs from "" */
/* Sixteen hexadecimal digits and a NUL. */
void wn_digest_hex(const struct wn_digest *d, char text[17]);

#endif
