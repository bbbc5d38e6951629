#include "base/digest.h"

#include <stdio.h>
#include <string.h>

/* The finaliser of splitmix64. */
static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void add_word(struct wn_digest *d, uint64_t word)
{
    d->value = mix(d->value + 0x9e3779b97f4a7c15u + mix(word));
}

/* Bytes in the order of a little-endian number, whatever the machine. */
static uint64_t load(const unsigned char *p, size_t n)
{
    uint64_t word = 0;
    for (size_t i = 0; i < n; i++) word |= (uint64_t)p[i] << 8 * i;
    return word;
}

void wn_digest_add(struct wn_digest *d, const void *data, size_t n)
{
    const unsigned char *p = data;
    add_word(d, n);
    for (; n >= 8; n -= 8, p += 8) add_word(d, load(p, 8));
    if (n) add_word(d, load(p, n));
}

void wn_digest_add_text(struct wn_digest *d, const char *s)
{
    if (s)
        wn_digest_add(d, s, strlen(s));
    else
        add_word(d, UINT64_MAX);
}

void wn_digest_hex(const struct wn_digest *d, char text[17])
{
    snprintf(text, 17, "%016llx", (unsigned long long)d->value);
}
