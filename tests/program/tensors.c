/* A tool for the program's tests: look into, compare and make safetensors files.
 *
 *     tensors list FILE                        name dtype extents, one line each
 *     tensors compare FILE A FILE B TOL        same shape, and |a - b| <= TOL * (largest |b|) everywhere;
 * where B has one axis more, A is compared with the last of it tensors make FILE NAME DTYPE EXTENTS VALUES …
 * VALUES: numbers with commas between, or rand:K; DTYPE F32 or I64
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <wan/parts.h>

static struct wan_context *ctx;

static void die(const char *what, const char *why)
{
    fprintf(stderr, "tensors: %s: %s\n", what, why);
    exit(2);
}

static struct wan_tensors *open_file(const char *path)
{
    struct wan_tensors *t;
    if (wan_tensors_read(ctx, &t, path)) die(path, wan_error(ctx));
    return t;
}

static struct wan_array find(const struct wan_tensors *t, const char *path, const char *name)
{
    struct wan_array a;
    if (!wan_tensors_find(t, name, &a)) die(path, name);
    return a;
}

static size_t n_elems(const struct wan_array *a)
{
    size_t n = 1;
    for (int i = 0; i < a->n_dims; i++) n *= (size_t)a->dims[i];
    return n;
}

static int list(const char *path)
{
    struct wan_tensors *t = open_file(path);
    for (size_t i = 0; i < wan_tensors_count(t); i++) {
        struct wan_array a = wan_tensors_at(t, i);
        printf("%s %s ", a.name, a.dtype);
        for (int d = 0; d < a.n_dims; d++) printf("%s%lld", d ? "," : "", (long long)a.dims[d]);
        printf("\n");
    }
    wan_tensors_free(t);
    return 0;
}

static float float_at(const struct wan_array *a, size_t i)
{
    float f;
    memcpy(&f, (const char *)a->data + i * sizeof f, sizeof f);
    return f;
}

/* x [n, ..] -> x[n - 1] */
static struct wan_array last_of(struct wan_array x)
{
    size_t n = (size_t)x.dims[0];
    x.bytes /= n;
    x.data = (const char *)x.data + (n - 1) * x.bytes;
    memmove(x.dims, x.dims + 1, sizeof *x.dims * (size_t)--x.n_dims);
    return x;
}

static int compare(char **argv)
{
    struct wan_tensors *ta = open_file(argv[0]), *tb = open_file(argv[2]);
    struct wan_array a = find(ta, argv[0], argv[1]), b = find(tb, argv[2], argv[3]);
    double tolerance = atof(argv[4]), largest = 0, worst = 0;
    if (strcmp(a.dtype, "F32") || strcmp(b.dtype, "F32")) die(argv[0], "not F32");
    if (b.n_dims == a.n_dims + 1) b = last_of(b);
    if (a.n_dims != b.n_dims || memcmp(a.dims, b.dims, sizeof *a.dims * (size_t)a.n_dims))
        die(argv[0], "the shapes differ");
    for (size_t i = 0; i < n_elems(&a); i++) {
        double d = fabs((double)float_at(&a, i) - float_at(&b, i)), m = fabs((double)float_at(&b, i));
        if (!(d <= worst)) worst = d; /* a NaN stays */
        if (m > largest) largest = m;
    }
    wan_tensors_free(ta);
    wan_tensors_free(tb);
    if (worst <= tolerance * largest) return 0;
    fprintf(stderr, "tensors: %s and %s differ by %g of %g\n", argv[1], argv[3], worst, largest);
    return 1;
}

/* The numbers of `text` as `is_float` says, or n pseudo-random ones in [-1, 1). */
static void *values(const char *text, size_t n, int is_float)
{
    void *data = calloc(n ? n : 1, 8);
    unsigned long state = strncmp(text, "rand:", 5) ? 0 : strtoul(text + 5, NULL, 10) + 1;
    int is_random = state != 0;
    if (!data) die(text, "out of memory");
    for (size_t i = 0; i < n; i++) {
        char *end = (char *)text;
        state = (state * 1103515245 + 12345) & 0x7fffffff;
        double v = is_random ? (double)state / 0x40000000 - 1 : strtod(text, &end);
        if (is_float)
            ((float *)data)[i] = (float)v;
        else
            ((int64_t *)data)[i] = (int64_t)v;
        if (!is_random && end == text) die(text, "too few numbers");
        text = is_random ? text : end + (*end == ',');
    }
    return data;
}

static int make(int argc, char **argv)
{
    struct wan_tensors *t;
    if (wan_tensors_new(ctx, &t)) die("new", wan_error(ctx));
    for (int i = 1; i + 3 < argc; i += 4) {
        struct wan_array a = {.name = argv[i], .dtype = argv[i + 1]};
        int is_float = !strcmp(a.dtype, "F32");
        for (char *s = argv[i + 2]; *s && a.n_dims < 8; s += *s == ',')
            a.dims[a.n_dims++] = strtol(s, &s, 10);
        void *data = values(argv[i + 3], n_elems(&a), is_float);
        a.data = data;
        a.bytes = n_elems(&a) * (is_float ? 4 : 8);
        if (wan_tensors_add(ctx, t, &a)) die(a.name, wan_error(ctx));
        free(data);
    }
    if (wan_tensors_write(ctx, t, argv[0])) die(argv[0], wan_error(ctx));
    wan_tensors_free(t);
    return 0;
}

int main(int argc, char **argv)
{
    if (wan_context_new(&ctx, wan_context_params(.threads = 1))) die("context", wan_error(ctx));
    int code = 2;
    if (argc == 3 && !strcmp(argv[1], "list"))
        code = list(argv[2]);
    else if (argc == 7 && !strcmp(argv[1], "compare"))
        code = compare(argv + 2);
    else if (argc >= 7 && !strcmp(argv[1], "make"))
        code = make(argc - 2, argv + 2);
    else
        fprintf(stderr, "usage: tensors list FILE | compare … | make …\n");
    wan_context_free(ctx);
    return code;
}
