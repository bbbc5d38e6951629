/* Random numbers: PyTorch's generators, so that a seed means what it means there, and a small one of our own
 * for tests. All functions are pure: the same arguments give the same values on every machine, up to the last
 * bit of libm's log, sin and cos. A tensor of any shape is just its n elements in C order. Thread-safe. */
#ifndef WN_BASE_RNG_H
#define WN_BASE_RNG_H

#include <stdint.h>

#include "base/status.h"

/* torch.randn(n, generator=torch.Generator("cpu").manual_seed(seed)), float32: MT19937 seeded with the low 32
 * bits of `seed`. n < 16 equals torch to the bit; above that torch uses its own vectorised log, sin and cos,
 * and the values agree to 1e-6. out [n]. n <= 0 does nothing. */
void wn_torch_randn(uint64_t seed, float *out, int64_t n);

/* The longest draw whose order of elements is known here: above it torch splits the tensor (32-bit indexing).
 */
#define WN_TORCH_CUDA_MAX_ELEMS ((int64_t)1 << 29)

/* torch.randn(n, device="cuda") from a fresh generator: Philox4x32-10, in the order of a grid of 256-thread
 * blocks on a GPU with n_sms multiprocessors of threads_per_sm threads each (H100, H200: 132 x 2048; A100:
 * 108 x 2048; RTX 4090: 128 x 1536). The order depends on the GPU only when n is larger than n_sms *
 * threads_per_sm. CUDA's own fast sin and cos differ by about 1e-6. out [n]. Errors: WAN_EINVAL for n_sms <
 * 1, threads_per_sm < 256, or n < 0 or past WN_TORCH_CUDA_MAX_ELEMS. */
enum wan_status wn_torch_cuda_randn(uint64_t seed, float *out, int64_t n, int n_sms, int threads_per_sm,
                                    struct wn_err *err);

/* Philox4x32-10 (Salmon et al., 2011): 128-bit counter and 64-bit key to 128 random bits. */
void wn_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* splitmix64: a small generator for tests and for choosing a seed. The state is the whole generator. */
struct wn_rng {
    uint64_t state; /* any value, 0 included */
};
uint64_t wn_rng_u64(struct wn_rng *r);
float wn_rng_uniform(struct wn_rng *r); /* [0, 1), multiples of 2^-24 */
float wn_rng_normal(struct wn_rng *r);  /* mean 0, variance 1 */

#endif
