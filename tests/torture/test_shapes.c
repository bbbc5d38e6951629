/* Parts on tensors that are not what they should be: each golden's inputs with one or two of them missing, of
 * another type, with other extents or another number of axes. The answer is a result, or WAN_EINVAL (or
 * WAN_EUNSUPPORTED) with a sentence; never WAN_EINTERNAL, which is a bug, and nothing is leaked. */
#include "util.h"

enum { MAX_TENSORS = 16, MAX_ELEMS = 1 << 22, N_MUTANTS = 150 };

static uint64_t rng;

static int64_t below(int64_t n)
{
    uint64_t z = rng += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (int64_t)((z ^ z >> 31) % (uint64_t)n);
}

static size_t type_size(const char *dtype)
{
    static const char *const two = "BF16 F16";
    return strstr(two, dtype) ? 2 : !strcmp(dtype, "I64") || !strcmp(dtype, "F64") ? 8 : 4;
}

static int64_t elems(const struct wan_array *a)
{
    int64_t n = 1;
    for (int i = 0; i < a->n_dims; i++) n *= a->dims[i];
    return n;
}

/* Change one thing about an array; its data is made to fit later. False: leave the array out. */
static bool mutate(struct wan_array *a)
{
    static const char *const types[] = {"F32", "BF16", "F16", "I64", "I32", "F64"};
    static const int64_t extents[] = {0, 1, 2, 3, 4, 5, 7, 8, 16, 17, 33};
    int64_t kind = below(10);
    if (kind == 0) return false;
    if (kind == 1) {
        a->dtype = types[below(6)];
    } else if (kind == 2 && a->n_dims > 0) {
        a->n_dims--;
    } else if (kind == 3 && a->n_dims < 8) {
        a->dims[a->n_dims++] = extents[below(3)];
    } else if (a->n_dims > 0) {
        int64_t *d = &a->dims[below(a->n_dims)];
        *d = kind < 8 ? extents[below((int64_t)(sizeof extents / sizeof *extents))] : *d + 1 - 2 * below(2);
        if (*d < 0) *d = 0;
    }
    return true;
}

/* Of the golden's bytes, over and over; at times a number no one expects. */
static void *data_for(const struct wan_array *a, const struct wan_array *good)
{
    char *data = malloc(a->bytes + 1);
    assert_non_null(data);
    for (size_t i = 0; i < a->bytes; i++)
        data[i] = good->bytes ? ((const char *)good->data)[i % good->bytes] : 0;
    if (!strcmp(a->dtype, "I64") && a->bytes && !below(3)) {
        static const int64_t odd[] = {-1, INT64_MAX, INT64_MIN, (int64_t)1 << 32, 0};
        memcpy(data, &odd[below(5)], 8);
    }
    return data;
}

static void put(struct wan_context *ctx, struct wan_tensors *t, const struct wan_array *good, bool change)
{
    struct wan_array a = *good;
    if (change && !mutate(&a)) return;
    if (elems(&a) > MAX_ELEMS) return;
    a.bytes = (size_t)elems(&a) * type_size(a.dtype);
    void *data = data_for(&a, good);
    a.data = data;
    assert_int_equal(wan_tensors_add(ctx, t, &a), WAN_OK);
    free(data);
}

/* A golden holds inputs and results: what a part reads has one of these names. */
static bool is_input(const struct job *job, const char *name)
{
    static const char *const names[] = {"ids",      "x",      "y",          "t",      "context",
                                        "clip_fea", "video",  "latent",     "q",      "k",
                                        "v",        "k_lens", "grid_sizes", "weight", "position"};
    if (!strncmp(job->part, "vae.", 4)) return !strcmp(name, job->part[4] == 'e' ? "video" : "latent");
    if (!strcmp(job->part, "t5")) return !strcmp(name, "ids");
    if (!strcmp(job->part, "dit") && !strcmp(name, "v")) return false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(name, names[i])) return true;
    return false;
}

static void describe(const struct wan_tensors *in, char *text, size_t bytes)
{
    size_t n = 0;
    text[0] = 0;
    for (size_t i = 0; i < wan_tensors_count(in) && n < bytes; i++) {
        struct wan_array a = wan_tensors_at(in, i);
        n += (size_t)snprintf(text + n, bytes - n, "%s %s [", a.name, a.dtype);
        for (int k = 0; k < a.n_dims && n < bytes; k++)
            n += (size_t)snprintf(text + n, bytes - n, "%s%lld", k ? ", " : "", (long long)a.dims[k]);
        if (n < bytes) n += (size_t)snprintf(text + n, bytes - n, "]  ");
    }
}

static void run_mutant(struct wan_context *ctx, const struct job *job, const struct wan_array *good, int n,
                       uint64_t seed, int *n_refused)
{
    struct wan_tensors *in, *out;
    struct wan_part_params p = job->params;
    char text[512];
    p.model = job->model;
    rng = seed;
    assert_int_equal(wan_tensors_new(ctx, &in), WAN_OK);
    assert_int_equal(wan_tensors_new(ctx, &out), WAN_OK);
    int64_t first = below(n), second = below(3) ? first : below(n);
    for (int i = 0; i < n; i++) put(ctx, in, &good[i], i == first || i == second);
    describe(in, text, sizeof text);
    enum wan_status st = wan_part_run(ctx, job->part, &p, in, out, NULL);
    if (st && st != WAN_EINVAL && st != WAN_EUNSUPPORTED)
        fail_msg("%s, seed %llu: %s: %s (%s)", job->name, (unsigned long long)seed, text, wan_status_name(st),
                 wan_error(ctx));
    if (st && !*wan_error(ctx)) fail_msg("%s, seed %llu: no message", job->name, (unsigned long long)seed);
    *n_refused += st != WAN_OK;
    wan_tensors_free(in);
    wan_tensors_free(out);
}

static void mutants(void **state)
{
    const struct job *job = *state;
    struct wan_context *ctx;
    struct wan_tensors *file;
    struct wan_array good[MAX_TENSORS];
    int n = 0, n_refused = 0;
    size_t used = wn_mem_used();
    assert_int_equal(
        wan_context_new(&ctx, wan_context_params(.device = job->device ? job->device : "cpu", .threads = 2)),
        WAN_OK);
    assert_int_equal(wan_tensors_read(ctx, &file, job->file), WAN_OK);
    for (size_t i = 0; i < wan_tensors_count(file) && n < MAX_TENSORS; i++)
        if (is_input(job, wan_tensors_at(file, i).name)) good[n++] = wan_tensors_at(file, i);
    assert_true(n > 0);
    for (int i = 0; i < N_MUTANTS; i++) run_mutant(ctx, job, good, n, (uint64_t)i, &n_refused);
    wan_tensors_free(file);
    wan_context_free(ctx);
    if (wn_mem_used() != used) fail_msg("%s: %zu bytes leaked", job->name, wn_mem_used() - used);
    assert_true(n_refused > N_MUTANTS / 4); /* the mutants are ones */
    print_message("             %d of %d refused\n", n_refused, N_MUTANTS);
}

/* Shapes whose size is that of the data only when the product wraps around. */
static void shapes_that_lie(void **state)
{
    (void)state;
    static const struct {
        int n_dims;
        int64_t dims[8];
        size_t bytes;
    } lies[] = {
        {2, {(int64_t)1 << 32, (int64_t)1 << 32}, 0},
        {2, {(int64_t)1 << 62, 4}, 0},
        {2, {-1, -4}, 16},
        {1, {-4}, 16},
        {3, {INT64_MAX, INT64_MAX, 0}, 0},
        {2, {INT64_MAX, 2}, (size_t)-2 * 4},
        {1, {INT64_MIN}, 0},
        {9, {1, 1, 1, 1, 1, 1, 1, 1}, 4},
        {-1, {1}, 4},
        {1, {3}, 16},
    };
    static const float data[4];
    struct wan_context *ctx;
    struct wan_tensors *t;
    assert_int_equal(wan_context_new(&ctx, wan_context_params(.device = "ref")), WAN_OK);
    assert_int_equal(wan_tensors_new(ctx, &t), WAN_OK);
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        struct wan_array a = {
            .name = "lie", .dtype = "F32", .n_dims = lies[i].n_dims, .data = data, .bytes = lies[i].bytes};
        memcpy(a.dims, lies[i].dims, sizeof a.dims);
        if (wan_tensors_add(ctx, t, &a) != WAN_EINVAL) fail_msg("lie %zu was believed", i);
    }
    assert_int_equal(wan_tensors_count(t), 0);
    wan_tensors_free(t);
    wan_context_free(ctx);
}

int main(void)
{
    struct CMUnitTest tests[1 + N_JOBS] = {cmocka_unit_test(shapes_that_lie)};
    size_t n = 1;
    for (int i = 0; i < N_JOBS; i++)
        if (jobs[i].run == run_part && jobs[i].file)
            tests[n++] = (struct CMUnitTest){jobs[i].name, mutants, NULL, NULL, (void *)(uintptr_t)&jobs[i]};
    return _cmocka_run_group_tests("shapes", tests, n, NULL, NULL);
}
