#include "base/rng.h"

#include <math.h>

static const double two_pi = 6.283185307179586476925286766559;

/* MT19937 (Matsumoto and Nishimura, 1998), as torch's CPU generator runs it. */
struct mt {
    uint32_t word[624];
    int next; /* 624: all used */
};

static void mt_seed(struct mt *m, uint32_t seed)
{
    m->word[0] = seed;
    for (uint32_t i = 1; i < 624; i++)
        m->word[i] = 1812433253u * (m->word[i - 1] ^ (m->word[i - 1] >> 30)) + i;
    m->next = 624;
}

static void mt_refill(struct mt *m)
{
    uint32_t *w = m->word;
    for (int i = 0; i < 624; i++) {
        uint32_t y = (w[i] & 0x80000000u) | (w[(i + 1) % 624] & 0x7fffffffu);
        w[i] = w[(i + 397) % 624] ^ (y >> 1) ^ (y & 1 ? 0x9908b0dfu : 0);
    }
    m->next = 0;
}

static uint32_t mt_u32(struct mt *m)
{
    if (m->next == 624) mt_refill(m);
    uint32_t y = m->word[m->next++];
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c5680u;
    y ^= (y << 15) & 0xefc60000u;
    return y ^ (y >> 18);
}

static float mt_uniform_f32(struct mt *m)
{
    return (float)(mt_u32(m) & 0xffffff) * 0x1p-24f;
}

static double mt_uniform_f64(struct mt *m)
{
    uint64_t high = mt_u32(m);
    return (double)((high << 32 | mt_u32(m)) & 0x1fffffffffffffu) * 0x1p-53;
}

/* sqrt(-2 ln u) with each step rounded to float32, as float32 code does it. */
static float radius_of(float u)
{
    return sqrtf(-2.0f * (float)log((double)u));
}

/* 16 uniforms to 16 normals in place: 8 pairs (d[j], d[j + 8]). */
static void normal16(float *d)
{
    for (int j = 0; j < 8; j++) {
        float radius = radius_of(1.0f - d[j]);
        float theta = (float)two_pi * d[j + 8];
        d[j] = radius * (float)cos((double)theta);
        d[j + 8] = radius * (float)sin((double)theta);
    }
}

/* Below 16 elements torch draws doubles, two at a time. */
static void randn_few(struct mt *m, float *out, int64_t n)
{
    for (int64_t i = 0; i < n; i += 2) {
        double theta = two_pi * mt_uniform_f64(m);
        double radius = sqrt(-2.0 * log1p(-mt_uniform_f64(m)));
        out[i] = (float)(radius * cos(theta));
        if (i + 1 < n) out[i + 1] = (float)(radius * sin(theta));
    }
}

void wn_torch_randn(uint64_t seed, float *out, int64_t n)
{
    struct mt m;
    mt_seed(&m, (uint32_t)seed);
    if (n < 16) {
        randn_few(&m, out, n);
        return;
    }
    for (int64_t i = 0; i < n; i++) out[i] = mt_uniform_f32(&m);
    for (int64_t i = 0; i + 16 <= n; i += 16) normal16(out + i);
    if (n % 16 == 0) return;
    float *tail = out + n - 16; /* redrawn whole, over what the last full group left there */
    for (int i = 0; i < 16; i++) tail[i] = mt_uniform_f32(&m);
    normal16(tail);
}

void wn_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xd2511f53u * c0, b = (uint64_t)0xcd9e8d57u * c2;
        c0 = (uint32_t)(b >> 32) ^ c1 ^ k0;
        c2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)b;
        c3 = (uint32_t)a;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* cuRAND's Box-Muller on two words, in float32 with the constants it uses. */
static void box_muller(uint32_t a, uint32_t b, float *z0, float *z1)
{
    const float step = 0x1p-32f * 6.2831855f;
    float u = (float)a * 0x1p-32f + 0x1p-33f;
    float w = fmaf((float)b, step, step / 2);
    float radius = radius_of(u);
    *z0 = radius * (float)sin((double)w);
    *z1 = radius * (float)cos((double)w);
}

/* The grid has `lanes` threads. Thread `lane` in round r draws four values, for elements
 * (4 r + ii) lanes + lane, ii = 0..3. Checked against published torch output on GPUs for n <= lanes (all of
 * it from the first value of round 0) and against PyTorch's kernel source for the rest; no GPU has confirmed
 * the order past the first `lanes` elements. */
enum wan_status wn_torch_cuda_randn(uint64_t seed, float *out, int64_t n, int n_sms, int threads_per_sm,
                                    struct wn_err *err)
{
    const int64_t block = 256;
    if (n < 0 || n > WN_TORCH_CUDA_MAX_ELEMS)
        return wn_fail(err, WAN_EINVAL, "CUDA noise of %lld elements: at most %lld can be drawn",
                       (long long)n, (long long)WN_TORCH_CUDA_MAX_ELEMS);
    if (n_sms < 1 || threads_per_sm < block)
        return wn_fail(err, WAN_EINVAL,
                       "CUDA noise for %d multiprocessors of %d threads: needs at least 1 of 256", n_sms,
                       threads_per_sm);
    int64_t blocks = (n + block - 1) / block, most = (int64_t)n_sms * (threads_per_sm / block);
    int64_t lanes = block * (blocks < most ? blocks : most);
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    uint32_t round = 0;
    for (int64_t first = 0; first < n; first += 4 * lanes, round++)
        for (int64_t lane = 0; lane < lanes && first + lane < n; lane++) {
            uint32_t bits[4];
            float z[4];
            wn_philox((const uint32_t[4]){round, 0, (uint32_t)lane, 0}, key, bits);
            box_muller(bits[0], bits[1], &z[0], &z[1]);
            box_muller(bits[2], bits[3], &z[2], &z[3]);
            for (int ii = 0; ii < 4; ii++) {
                int64_t at = first + ii * lanes + lane;
                if (at < n) out[at] = z[ii];
            }
        }
    return WAN_OK;
}

uint64_t wn_rng_u64(struct wn_rng *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

float wn_rng_uniform(struct wn_rng *r)
{
    return (float)(wn_rng_u64(r) >> 40) * 0x1p-24f;
}

float wn_rng_normal(struct wn_rng *r)
{
    double radius = sqrt(-2.0 * log1p(-(double)wn_rng_uniform(r)));
    return (float)(radius * cos(two_pi * (double)wn_rng_uniform(r)));
}
