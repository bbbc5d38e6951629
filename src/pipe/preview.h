/* A small picture of latents without a VAE: each position becomes one pixel, by a linear map of its channels.
 */
#ifndef WN_PIPE_PREVIEW_H
#define WN_PIPE_PREVIEW_H

#include <stdbool.h>
#include <stdint.h>

bool wn_preview_knows(int64_t z); /* is there a map for so many channels? */
/* n positions of latents [z, ..], normalised, `plane` floats from one channel to the next: rgb [n, 3], of
 * which
 * [-1, 1] is black to white, not clamped. */
void wn_preview_rgb(const float *latent, int64_t plane, int64_t z, int64_t n, float *rgb);

#endif
