#define _GNU_SOURCE /* sched_getaffinity */
#include "base/thread.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/mem.h"

struct worker {
    struct wn_pool *pool;
    pthread_t id;
    int index;
};

struct wn_pool {
    int n_threads; /* workers + the caller */
    int n_started;
    struct worker *worker;
    pthread_mutex_t lock;
    pthread_cond_t start, done;
    uint64_t generation; /* a new value is a new run */
    int busy;            /* workers still inside the current run */
    bool quit;

    void (*fn)(void *, int64_t, int);
    void *arg;
    int64_t n_tasks;
    atomic_llong next;
    atomic_bool stop;

    int (*cancelled)(void *);
    void *cancel_ctx;
};

int wn_cpu_count(void)
{
#if defined(__linux__)
    cpu_set_t set;
    if (!sched_getaffinity(0, sizeof set, &set)) return CPU_COUNT(&set);
#endif
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

static void take_tasks(struct wn_pool *p, int thread)
{
    for (;;) {
        if (atomic_load_explicit(&p->stop, memory_order_relaxed)) return;
        int64_t task = atomic_fetch_add(&p->next, 1);
        if (task >= p->n_tasks) return;
        p->fn(p->arg, task, thread);
        if (thread == 0 && p->cancelled && p->cancelled(p->cancel_ctx)) atomic_store(&p->stop, true);
    }
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct wn_pool *p = w->pool;
    uint64_t seen = 0;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->quit && p->generation == seen) pthread_cond_wait(&p->start, &p->lock);
        if (p->quit) break;
        seen = p->generation;
        pthread_mutex_unlock(&p->lock);
        take_tasks(p, w->index);
        pthread_mutex_lock(&p->lock);
        if (--p->busy == 0) pthread_cond_signal(&p->done);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

enum wan_status wn_pool_new(struct wn_pool **out, int n_threads, struct wn_err *err)
{
    *out = NULL;
    if (n_threads <= 0) n_threads = wn_cpu_count();
    if (n_threads > 1024) return wn_fail(err, WAN_EINVAL, "%d threads: more than 1024", n_threads);
    struct wn_pool *p = wn_zalloc(sizeof *p);
    if (!p) return wn_fail_nomem(err, "a thread pool", sizeof *p);
    p->n_threads = n_threads;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->start, NULL);
    pthread_cond_init(&p->done, NULL);
    p->worker = wn_zalloc_n((size_t)n_threads, sizeof *p->worker);
    if (!p->worker) {
        wn_pool_free(p);
        return wn_fail_nomem(err, "a thread pool", (size_t)n_threads * sizeof *p->worker);
    }
    for (int i = 1; i < n_threads; i++) {
        struct worker *w = &p->worker[p->n_started];
        *w = (struct worker){.pool = p, .index = i};
        if (pthread_create(&w->id, NULL, work, w)) {
            wn_pool_free(p);
            return wn_fail(err, WAN_ENOMEM, "cannot start thread %d of %d", i + 1, n_threads);
        }
        p->n_started++;
    }
    *out = p;
    return WAN_OK;
}

void wn_pool_free(struct wn_pool *p)
{
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    p->quit = true;
    pthread_cond_broadcast(&p->start);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < p->n_started; i++) pthread_join(p->worker[i].id, NULL);
    pthread_cond_destroy(&p->done);
    pthread_cond_destroy(&p->start);
    pthread_mutex_destroy(&p->lock);
    wn_free(p->worker);
    wn_free(p);
}

int wn_pool_n_threads(const struct wn_pool *p)
{
    return p->n_threads;
}

void wn_pool_set_cancel(struct wn_pool *p, int (*cancelled)(void *), void *ctx)
{
    p->cancelled = cancelled;
    p->cancel_ctx = ctx;
}

bool wn_pool_run(struct wn_pool *p, int64_t n_tasks, void (*fn)(void *, int64_t, int), void *arg)
{
    if (p->cancelled && p->cancelled(p->cancel_ctx)) return false;
    p->fn = fn;
    p->arg = arg;
    p->n_tasks = n_tasks;
    atomic_store(&p->next, 0);
    atomic_store(&p->stop, false);
    bool alone = p->n_started == 0 || n_tasks < 2;
    if (!alone) {
        pthread_mutex_lock(&p->lock);
        p->busy = p->n_started;
        p->generation++;
        pthread_cond_broadcast(&p->start);
        pthread_mutex_unlock(&p->lock);
    }
    take_tasks(p, 0);
    if (!alone) {
        pthread_mutex_lock(&p->lock);
        while (p->busy) pthread_cond_wait(&p->done, &p->lock);
        pthread_mutex_unlock(&p->lock);
    }
    return !atomic_load(&p->stop);
}

/* ---- one thread ---- */

struct wn_thread {
    pthread_t id;
    void (*fn)(void *arg);
    void *arg;
};

static void *thread_main(void *arg)
{
    struct wn_thread *t = arg;
    t->fn(t->arg);
    return NULL;
}

enum wan_status wn_thread_start(struct wn_thread **out, void (*fn)(void *arg), void *arg, struct wn_err *err)
{
    *out = NULL;
    struct wn_thread *t = wn_zalloc(sizeof *t);
    if (!t) return wn_fail_nomem(err, "a thread", sizeof *t);
    t->fn = fn;
    t->arg = arg;
    if (pthread_create(&t->id, NULL, thread_main, t)) {
        wn_free(t);
        return wn_fail(err, WAN_ENOMEM, "cannot start a thread");
    }
    *out = t;
    return WAN_OK;
}

void wn_thread_join(struct wn_thread *t)
{
    if (!t) return;
    pthread_join(t->id, NULL);
    wn_free(t);
}
