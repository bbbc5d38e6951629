#define _GNU_SOURCE /* madvise */
#include "base/pages.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/thread.h"

/* Values of Linux that older headers lack. A system that does not know them says so. */
#if defined(__linux__)
enum { ADVICE_PAGEOUT = 21, ADVICE_POPULATE_READ = 22 };
#endif
/* Ranges that can wait: several blocks of a transformer. Bytes asked for at a time, between looks at `quit`.
 */
enum { MAX_WAITING = 256, PIECE = 8 << 20 };

struct range {
    uintptr_t from, to;
    bool soon;
};

struct wn_pages {
    struct wn_thread *thread;
    pthread_mutex_t lock;
    pthread_cond_t change;
    struct range range[MAX_WAITING]; /* a ring */
    size_t first, n;
    bool busy, quit;
};

/* ---- the machine ---- */

static size_t read_limit(const char *path)
{
    unsigned long long n = 0;
    FILE *f = fopen(path, "r");
    if (!f) return 0;
    if (fscanf(f, "%llu", &n) != 1) n = 0; /* "max" */
    fclose(f);
    return n > SIZE_MAX ? 0 : (size_t)n;
}

/* The least limit from a group up to the root of the groups; `path` is cut. */
static size_t group_limit(const char *root, char *path, const char *file, size_t least)
{
    char name[4400];
    for (;;) {
        snprintf(name, sizeof name, "%s%s/%s", root, path, file);
        size_t limit = read_limit(name);
        if (limit && limit < least) least = limit;
        char *slash = strrchr(path, '/');
        if (!slash) return least;
        *slash = 0;
    }
}

size_t wn_machine_memory(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    if (pages <= 0 || size <= 0) return 0;
    size_t least = (size_t)pages * (size_t)size;
    char line[4200];
    FILE *f = fopen("/proc/self/cgroup", "r");
    while (f && fgets(line, sizeof line, f)) {
        char *path = strchr(line, '/');
        line[strcspn(line, "\n")] = 0;
        if (!path) continue;
        if (!strncmp(line, "0::", 3))
            least = group_limit("/sys/fs/cgroup", path, "memory.max", least);
        else if (strstr(line, ":memory:"))
            least = group_limit("/sys/fs/cgroup/memory", path, "memory.limit_in_bytes", least);
    }
    if (f) fclose(f);
    return least;
}

/* ---- the thread ---- */

/* Pages of a piece come in whole or are left to be read when they are touched. */
static void bring(uintptr_t from, size_t bytes)
{
#if defined(__linux__)
    if (!madvise((void *)from, bytes, ADVICE_POPULATE_READ)) return;
#endif
    posix_madvise((void *)from, bytes, POSIX_MADV_WILLNEED);
}

static void give_back(uintptr_t from, size_t bytes)
{
#if defined(__linux__)
    madvise((void *)from, bytes, ADVICE_PAGEOUT);
#else
    (void)from, (void)bytes;
#endif
}

static void serve(void *arg)
{
    struct wn_pages *p = arg;
    pthread_mutex_lock(&p->lock);
    while (!p->quit) {
        if (p->n == 0) {
            p->busy = false;
            pthread_cond_broadcast(&p->change);
            pthread_cond_wait(&p->change, &p->lock);
            continue;
        }
        p->busy = true;
        struct range *r = &p->range[p->first], now = *r;
        if (now.to - now.from > PIECE) {
            r->from = now.to = now.from + PIECE;
        } else {
            p->first = (p->first + 1) % MAX_WAITING;
            p->n--;
        }
        pthread_mutex_unlock(&p->lock);
        (now.soon ? bring : give_back)(now.from, now.to - now.from);
        pthread_mutex_lock(&p->lock);
    }
    pthread_mutex_unlock(&p->lock);
}

enum wan_status wn_pages_new(struct wn_pages **out, struct wn_err *err)
{
    *out = NULL;
    struct wn_pages *p = wn_zalloc(sizeof *p);
    if (!p) return wn_fail_nomem(err, "a thread", sizeof *p);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->change, NULL);
    if (wn_thread_start(&p->thread, serve, p, err)) {
        wn_pages_free(p);
        return err->code;
    }
    *out = p;
    return WAN_OK;
}

void wn_pages_free(struct wn_pages *p)
{
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    p->quit = true;
    pthread_cond_broadcast(&p->change);
    pthread_mutex_unlock(&p->lock);
    wn_thread_join(p->thread);
    pthread_cond_destroy(&p->change);
    pthread_mutex_destroy(&p->lock);
    wn_free(p);
}

static void add(struct wn_pages *p, struct range r)
{
    if (r.from >= r.to) return;
    pthread_mutex_lock(&p->lock);
    if (p->n < MAX_WAITING) {
        p->range[(p->first + p->n++) % MAX_WAITING] = r;
        p->busy = true;
        pthread_cond_broadcast(&p->change);
    }
    pthread_mutex_unlock(&p->lock);
}

void wn_pages_soon(struct wn_pages *p, const void *data, size_t bytes)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)data;
    add(p, (struct range){at / page * page, (at + bytes + page - 1) / page * page, true});
}

/* Only pages that hold nothing else. */
void wn_pages_later(struct wn_pages *p, const void *data, size_t bytes)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)data;
    add(p, (struct range){(at + page - 1) / page * page, (at + bytes) / page * page, false});
}

void wn_pages_wait(struct wn_pages *p)
{
    pthread_mutex_lock(&p->lock);
    while (p->busy) pthread_cond_wait(&p->change, &p->lock);
    pthread_mutex_unlock(&p->lock);
}
