/* Levels of the instruction sets, and which this machine has and its system saves the registers of. */
#if defined(__linux__)
#define _GNU_SOURCE /* syscall */
#endif
#include <pthread.h>

#include "backend/cpu/cpu.h"

#if defined(WN_HAVE_AVX2)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif
#if defined(WN_HAVE_NEONBF16)
#if defined(__linux__)
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif
#endif

static bool always(void)
{
    return true;
}

#if defined(WN_HAVE_AVX2)
static uint64_t xcr0(void)
{
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

static bool has_avx2(void)
{
    enum { XSAVE_AVX = 0x6 };
    unsigned a, b, c, d;
    if (!__get_cpuid_count(1, 0, &a, &b, &c, &d)) return false;
    bool osxsave = c & bit_OSXSAVE, avx = (c & bit_AVX) && (c & bit_FMA) && (c & bit_F16C);
    if (!osxsave || !avx || (xcr0() & XSAVE_AVX) != XSAVE_AVX) return false;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX2);
}
#endif

#if defined(WN_ISA_EMULATION) /* what avx2 lacks is plain C */
#define has_avx512 always
#define has_avx512bf16 always
#define has_amx always
#elif defined(WN_HAVE_AVX512)
static bool has_avx512(void)
{
    enum { XSAVE_AVX512 = 0xe6, F = 1 << 16, DQ = 1 << 17, BW = 1 << 30 };
    const unsigned VL = 1u << 31, all = F | DQ | BW | VL;
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & all) == all &&
           (xcr0() & XSAVE_AVX512) == XSAVE_AVX512;
}

static bool has_avx512bf16(void)
{
    enum { BF16 = 1 << 5 };
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & BF16);
}

#if defined(WN_HAVE_AMX)
/* Linux gives a process tile registers only on request; all its threads have the permission then. */
static bool request_tiles(void)
{
#if defined(__linux__)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
    return false;
#endif
}

/* The tiles that leaf_amx.c configures: palette 1 with 8 of 16 rows x 64 bytes, and products as large. */
static bool tiles_fit(void)
{
    enum { PALETTES = 0x1d, PRODUCTS = 0x1e, ROWS = 16, ROW_BYTES = 64, TILES = 8 };
    unsigned a, b, c, d;
    if (!__get_cpuid_count(PALETTES, 0, &a, &b, &c, &d) || a < 1) return false;
    if (!__get_cpuid_count(PALETTES, 1, &a, &b, &c, &d)) return false;
    if (b >> 16 < TILES || (b & 0xffff) < ROW_BYTES || (c & 0xffff) < ROWS) return false;
    if (!__get_cpuid_count(PRODUCTS, 0, &a, &b, &c, &d)) return false;
    return (b & 0xff) >= ROWS && (b >> 8 & 0xffff) >= ROW_BYTES;
}

static bool has_amx(void)
{
    enum { AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24, XSAVE_TILES = 0x60000 };
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & AMX_BF16) && (d & AMX_TILE) &&
           (xcr0() & XSAVE_TILES) == XSAVE_TILES && tiles_fit() && request_tiles();
}
#endif
#endif

#if defined(WN_HAVE_NEONBF16)
static bool has_neonbf16(void)
{
#if defined(__linux__)
    enum { BF16 = 1 << 14 }; /* HWCAP2_BF16, which older headers lack */
    return getauxval(AT_HWCAP2) & BF16;
#elif defined(__APPLE__)
    int has = 0;
    size_t size = sizeof has;
    return !sysctlbyname("hw.optional.arm.FEAT_BF16", &has, &size, NULL, 0) && has;
#else
    return false;
#endif
}
#endif

/* Those in this build, lowest first. Each has what those before it have, and is asked for after them. */
static const struct level {
    const char *name;
    bool (*present)(void);
    void (*fill)(struct wn_leaf *);
} levels[] = {
    {"portable", always, wn_leaf_portable},
#if defined(WN_HAVE_AVX2)
    {"avx2", has_avx2, wn_leaf_avx2},
#endif
#if defined(WN_HAVE_AVX512)
    {"avx512", has_avx512, wn_leaf_avx512},
    {"avx512bf16", has_avx512bf16, wn_leaf_avx512bf16},
#endif
#if defined(WN_HAVE_AMX)
    {"amx", has_amx, wn_leaf_amx},
#endif
#if defined(WN_HAVE_NEON)
    {"neon", always, wn_leaf_neon},
#endif
#if defined(WN_HAVE_NEONBF16)
    {"neonbf16", has_neonbf16, wn_leaf_neonbf16},
#endif
};
enum { N_LEVELS = sizeof levels / sizeof *levels };

static const char *present[N_LEVELS]; /* names of the first n_present levels */
static int n_present;

static void detect(void)
{
    while (n_present < N_LEVELS && levels[n_present].present()) {
        present[n_present] = levels[n_present].name;
        n_present++;
    }
}

const char *const *wn_cpu_isa_list(int *n)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, detect);
    *n = n_present;
    return present;
}

void wn_isa_fill(struct wn_leaf *leaf, int level)
{
    for (int i = 0; i <= level; i++) levels[i].fill(leaf);
}
