/* Which instruction sets this machine has and its system saves the registers of. */
#if defined(__linux__)
#define _GNU_SOURCE /* syscall */
#endif
#include "backend/cpu/cpu.h"

#include <pthread.h>

#if defined(WN_HAVE_AVX2)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

const char *const wn_isa_name[WN_ISA_COUNT] = {"portable", "avx2", "avx512", "avx512bf16", "amx"};

static bool present[WN_ISA_COUNT];
static pthread_once_t once = PTHREAD_ONCE_INIT;

#if defined(WN_HAVE_AVX2)
static uint64_t xcr0(void)
{
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

#if defined(WN_HAVE_AMX) && !defined(WN_ISA_EMULATION)
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
#endif

#if defined(WN_HAVE_AVX512) && !defined(WN_ISA_EMULATION)
/* Registers b of leaf 7 and a of its sub-leaf 1. */
static bool has_avx512(unsigned b)
{
    enum { XSAVE_AVX512 = 0xe6, F = 1 << 16, DQ = 1 << 17, BW = 1 << 30 };
    const unsigned VL = 1u << 31, all = F | DQ | BW | VL;
    return (b & all) == all && (xcr0() & XSAVE_AVX512) == XSAVE_AVX512;
}

static bool has_avx512bf16(void)
{
    enum { BF16 = 1 << 5 };
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & BF16);
}
#endif

static void detect(void)
{
    enum { XSAVE_AVX = 0x6 };
    unsigned a, b, c, d;
    present[WN_ISA_PORTABLE] = true;
    if (!__get_cpuid_count(1, 0, &a, &b, &c, &d)) return;
    bool osxsave = c & bit_OSXSAVE, avx = (c & bit_AVX) && (c & bit_FMA) && (c & bit_F16C);
    if (!osxsave || !avx || (xcr0() & XSAVE_AVX) != XSAVE_AVX) return;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return;
    present[WN_ISA_AVX2] = b & bit_AVX2;
#if defined(WN_ISA_EMULATION)
    for (int i = WN_ISA_AVX512; i < WN_ISA_COUNT; i++) present[i] = present[WN_ISA_AVX2];
#elif defined(WN_HAVE_AVX512)
    present[WN_ISA_AVX512] = present[WN_ISA_AVX2] && has_avx512(b);
    present[WN_ISA_AVX512BF16] = present[WN_ISA_AVX512] && has_avx512bf16();
#if defined(WN_HAVE_AMX)
    enum { AMX_BF16 = 1 << 22, AMX_TILE = 1 << 24, XSAVE_TILES = 0x60000 };
    present[WN_ISA_AMX] = present[WN_ISA_AVX512BF16] && (d & AMX_BF16) && (d & AMX_TILE) &&
                          (xcr0() & XSAVE_TILES) == XSAVE_TILES && tiles_fit() && request_tiles();
#endif
#endif
}
#else
static void detect(void)
{
    present[WN_ISA_PORTABLE] = true;
}
#endif

bool wn_isa_present(enum wn_isa isa)
{
    pthread_once(&once, detect);
    return present[isa];
}

const char *const *wn_cpu_isa_list(int *n)
{
    /* Levels build on one another, so those present are the first ones. */
    *n = 0;
    while (*n < WN_ISA_COUNT && wn_isa_present((enum wn_isa) * n)) ++*n;
    return wn_isa_name;
}
