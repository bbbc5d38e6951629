/* Advice about pages of mapped files. */
#define _GNU_SOURCE /* mincore */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/pages.h"

enum { N = 20 << 20, PAGE = 4096 };

static uint8_t value(size_t i)
{
    return (uint8_t)(i / PAGE * 31 + i % 251);
}

/* A file of N bytes out of the page cache, mapped. */
static const uint8_t *map_cold(void)
{
    char name[] = "pages-XXXXXX";
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    unlink(name);
    uint8_t *data = malloc(N);
    assert_non_null(data);
    for (size_t i = 0; i < N; i++) data[i] = value(i);
    assert_int_equal(write(fd, data, N), N);
    free(data);
    fsync(fd);
    posix_fadvise(fd, 0, N, POSIX_FADV_DONTNEED);
    void *map = mmap(NULL, N, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(map != MAP_FAILED);
    close(fd);
    return map;
}

static void assert_whole(const uint8_t *map)
{
    for (size_t i = 0; i < N; i += 997) assert_int_equal(map[i], value(i));
}

static size_t n_present(const uint8_t *map, size_t from, size_t bytes)
{
    static unsigned char page[N / PAGE];
    size_t n = 0;
    assert_int_equal(mincore((void *)(uintptr_t)(map + from), bytes, page), 0);
    for (size_t i = 0; i < bytes / PAGE; i++) n += page[i] & 1;
    return n;
}

static void come_and_go(void **state)
{
    (void)state;
    struct wn_err err = {0};
    struct wn_pages *p;
    const uint8_t *map = map_cold();
    assert_int_equal(wn_pages_new(&p, &err), WAN_OK);
    enum { FROM = 3 * PAGE, BYTES = 17 << 20 }; /* more than one piece */
    wn_pages_soon(p, map + FROM + 100, BYTES - 200);
    wn_pages_wait(p);
    if (!madvise((void *)(uintptr_t)map, PAGE, 22)) /* a system that populates brings all of it */
        assert_int_equal(n_present(map, FROM, BYTES), BYTES / PAGE);
    wn_pages_later(p, map + 1, N - 1);
    wn_pages_wait(p);
    assert_whole(map);
    wn_pages_free(p);
    munmap((void *)(uintptr_t)map, N);
}

/* Ranges that are empty, too many, or still waiting when there is an end. */
static void ends_in_the_middle(void **state)
{
    (void)state;
    struct wn_err err = {0};
    struct wn_pages *p;
    const uint8_t *map = map_cold();
    assert_int_equal(wn_pages_new(&p, &err), WAN_OK);
    wn_pages_soon(p, map + 5, 0);
    wn_pages_later(p, map + 5, PAGE); /* holds no whole page */
    wn_pages_wait(p);
    for (size_t i = 0; i < 2000; i++)
        (i % 3 ? wn_pages_soon : wn_pages_later)(p, map + i * 4999 % (N / 2), N / 2);
    wn_pages_free(p);
    assert_whole(map);
    munmap((void *)(uintptr_t)map, N);
    wn_pages_free(NULL);
}

static void machine_has_memory(void **state)
{
    (void)state;
    size_t n = wn_machine_memory();
    assert_true(n >= (size_t)64 << 20);
    assert_true(n <= (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(come_and_go),
        cmocka_unit_test(ends_in_the_middle),
        cmocka_unit_test(machine_has_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
