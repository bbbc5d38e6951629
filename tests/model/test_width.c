/* One transformer block at each true width (1.3B, 5B, 14B), about 2,000 tokens at the far end of the official
 * grid, against the official module: float32 within 1e-5, float32-grade within 1e-4, bf16 within 1.2 times
 * the official error. Weights and inputs are made here (gen.h) as tools/oracle/dit_width.py makes them.
 *
 *     test_width [NAME [PLACE [PRECISION]]]
 *
 * NAME 1.3b, 5b, 14b or all; PLACE a level of the device cpu, or mlx:cpu or mlx:cpu-as-gpu. None: all, the
 * two larger ones at the best level of the device cpu only. MLX's own BLAS takes minutes for each; with
 * OpenBLAS in its place (Debian's libopenblas0-pthread) it is seconds: see docs/devices.md.
 */
#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend/device.h"
#include "gen.h"
#include "io/weights.h"
#include "model/dit.h"

enum { TEXT_ROWS = 77, N_STAGE_SAMPLE = 2048 };

static const char *const precision_name[] = {
    [WN_PREC_F32] = "f32", [WN_PREC_F32X] = "f32x", [WN_PREC_BF16] = "bf16"};

static const struct width {
    const char *name;
    int64_t D, F;
    int heads;
    int64_t grid[3], box[3];
} widths[] = {
    {"1.3b", 1536, 8960, 12, {21, 30, 52}, {2, 20, 50}},
    {"5b", 3072, 14336, 24, {31, 22, 40}, {3, 20, 34}},
    {"14b", 5120, 13824, 40, {21, 45, 80}, {2, 20, 50}},
};

static int n_passed, n_failed;

static void die(const char *what)
{
    fprintf(stderr, "test_width: %s\n", what);
    exit(1);
}

static void need(const struct wn_err *err)
{
    if (err->code) die(err->text);
}

/* ---- the checkpoint: a file that is sparse where the test needs no values ---- */

struct spec {
    char name[80];
    const char *type;
    int64_t dim[5];
    int n_dims;
    float scale, offset;
    bool filled;
    size_t offset_bytes, n;
};

struct file {
    struct spec t[64];
    int n;
    size_t bytes;
};

static void add(struct file *f, bool filled, const char *type, float scale, float offset, const char *name,
                int n_dims, int64_t a, int64_t b, int64_t c)
{
    struct spec *s = &f->t[f->n++];
    *s = (struct spec){.type = type,
                       .dim = {a, b, c, 2, 2},
                       .n_dims = n_dims,
                       .scale = scale,
                       .offset = offset,
                       .filled = filled,
                       .offset_bytes = f->bytes,
                       .n = 1};
    snprintf(s->name, sizeof s->name, "%s", name);
    for (int i = 0; i < n_dims; i++) s->n *= (size_t)s->dim[i];
    f->bytes += s->n * (strcmp(type, "F32") ? strcmp(type, "BF16") ? 1 : 2 : 4);
}

static void add_vector(struct file *f, const char *name, float scale, float offset, int64_t n)
{
    add(f, true, "F32", scale, offset, name, 1, n, 0, 0);
}

static void add_linear(struct file *f, const char *base, int64_t out, int64_t in)
{
    char name[80];
    snprintf(name, sizeof name, "%s.weight", base);
    add(f, true, "BF16", (float)sqrt(3.0 / (double)in), 0, name, 2, out, in, 0);
    snprintf(name, sizeof name, "%s.bias", base);
    add_vector(f, name, 0.25f, 0, out);
}

static void add_block(struct file *f, const struct width *w)
{
    char name[64];
    int64_t D = w->D;
    add(f, true, "F32", 0.5f, 0, "blocks.0.modulation", 3, 1, 6, D);
    for (int k = 0; k < 2; k++) {
        const char *which = k ? "cross_attn" : "self_attn";
        for (const char *p = "qkvo"; *p; p++) {
            snprintf(name, sizeof name, "blocks.0.%s.%c", which, *p);
            add_linear(f, name, D, D);
        }
        for (const char *p = "qk"; *p; p++) {
            snprintf(name, sizeof name, "blocks.0.%s.norm_%c.weight", which, *p);
            add_vector(f, name, 0.5f, 1.5f, D);
        }
    }
    add_vector(f, "blocks.0.norm3.weight", 0.25f, 1, D);
    add_vector(f, "blocks.0.norm3.bias", 0.25f, 0, D);
    add_linear(f, "blocks.0.ffn.0", w->F, D);
    add_linear(f, "blocks.0.ffn.2", D, w->F);
}

/* What surrounds the block, all zeros. */
static void add_rest(struct file *f, int64_t D)
{
    static const struct {
        const char *name;
        int64_t out_per_D, in_per_D, in;
    } lin[] = {{"text_embedding.0", 1, 0, 1}, {"text_embedding.2", 1, 1, 0},  {"time_embedding.0", 1, 0, 2},
               {"time_embedding.2", 1, 1, 0}, {"time_projection.1", 6, 1, 0}, {"head.head", 0, 1, 0}};
    char name[80];
    for (size_t i = 0; i < sizeof lin / sizeof *lin; i++) {
        int64_t out = lin[i].out_per_D ? lin[i].out_per_D * D : 4;
        snprintf(name, sizeof name, "%s.weight", lin[i].name);
        add(f, false, "F8_E4M3", 0, 0, name, 2, out, lin[i].in_per_D * D + lin[i].in, 0);
        snprintf(name, sizeof name, "%s.bias", lin[i].name);
        add(f, false, "F8_E4M3", 0, 0, name, 1, out, 0, 0);
    }
    add(f, false, "F8_E4M3", 0, 0, "patch_embedding.weight", 5, D, 1, 1);
    add(f, false, "F8_E4M3", 0, 0, "patch_embedding.bias", 1, D, 0, 0);
    add(f, false, "F8_E4M3", 0, 0, "head.modulation", 3, 1, 2, D);
}

static size_t write_header(const struct file *f, char *text)
{
    size_t n = (size_t)sprintf(text, "{");
    for (int i = 0; i < f->n; i++) {
        const struct spec *s = &f->t[i];
        size_t end = i + 1 < f->n ? f->t[i + 1].offset_bytes : f->bytes;
        n += (size_t)sprintf(text + n, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", i ? "," : "", s->name,
                             s->type);
        for (int k = 0; k < s->n_dims; k++)
            n += (size_t)sprintf(text + n, "%s%lld", k ? "," : "", (long long)s->dim[k]);
        n += (size_t)sprintf(text + n, "],\"data_offsets\":[%zu,%zu]}", s->offset_bytes, end);
    }
    n += (size_t)sprintf(text + n, "}");
    while (n % 8) text[n++] = ' ';
    return n;
}

static void fill(const struct width *w, const struct spec *s, void *data)
{
    char stream[128];
    snprintf(stream, sizeof stream, "width.%s.%s", w->name, s->name + strlen("blocks.0."));
    if (!strcmp(s->type, "BF16"))
        gen_fill_bf16(data, s->n, stream, s->scale, s->offset);
    else
        gen_fill_f32(data, s->n, stream, s->scale, s->offset);
}

static void write_checkpoint(const struct width *w, const char *path)
{
    static struct file f;
    static char header[32768];
    f = (struct file){0};
    add_block(&f, w);
    add_rest(&f, w->D);
    uint64_t n = write_header(&f, header);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    size_t bytes = 8 + n + f.bytes;
    if (fd < 0 || ftruncate(fd, (off_t)bytes)) die("cannot write the temporary checkpoint");
    char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) die("cannot map the temporary checkpoint");
    close(fd);
    memcpy(p, &n, 8);
    memcpy(p + 8, header, n);
    for (int i = 0; i < f.n; i++)
        if (f.t[i].filled) fill(w, &f.t[i], p + 8 + n + f.t[i].offset_bytes);
    munmap(p, bytes);
}

/* ---- running and comparing ---- */

static float *input(const struct width *w, const char *what, size_t n, float scale)
{
    char stream[64];
    float *p = malloc(n * sizeof *p);
    if (!p) die("out of memory");
    snprintf(stream, sizeof stream, "width.%s.input.%s", w->name, what);
    gen_fill_f32(p, n, stream, scale, 0);
    return p;
}

static int64_t n_tokens(const struct width *w)
{
    return w->box[0] * w->box[1] * w->box[2];
}

static struct wn_tensor rope_of(struct wn_exec *ex, const struct width *w)
{
    int64_t T = n_tokens(w), (*coord)[3] = malloc((size_t)T * sizeof *coord);
    int hd = (int)(w->D / w->heads);
    float *table = malloc((size_t)T * (size_t)hd * sizeof *table);
    if (!coord || !table) die("out of memory");
    for (int64_t i = 0; i < T; i++) {
        coord[i][0] = w->grid[0] - w->box[0] + i / (w->box[1] * w->box[2]);
        coord[i][1] = w->grid[1] - w->box[1] + i / w->box[2] % w->box[1];
        coord[i][2] = w->grid[2] - w->box[2] + i % w->box[2];
    }
    wn_rope_table(table, (const int64_t(*)[3])coord, T, hd);
    struct wn_tensor t = wn_upload(ex, wn_shape_of(WN_F32, T, hd), table);
    free(coord);
    free(table);
    return t;
}

static void read_golden(const struct wn_weights *golden, const char *name, float *out, size_t n)
{
    const struct wn_weight *g = wn_weights_find(golden, name);
    if (!g || g->bytes != n * sizeof *out) die("golden without the tensor expected");
    memcpy(out, g->data, g->bytes);
}

static void compare(const struct width *w, const char *where, enum wn_precision precision, const float *out,
                    const struct wn_weights *golden)
{
    static float want[N_STAGE_SAMPLE], rough[N_STAGE_SAMPLE];
    float top;
    read_golden(golden, "out", want, N_STAGE_SAMPLE);
    read_golden(golden, "out_bf16", rough, N_STAGE_SAMPLE);
    read_golden(golden, "out.max", &top, 1);
    size_t n = (size_t)(n_tokens(w) * w->D);
    double worst = 0, d2 = 0, o2 = 0;
    for (size_t k = 0; k < N_STAGE_SAMPLE; k++) {
        double d = fabs((double)out[gen_sample(k, n)] - want[k]), o = (double)rough[k] - want[k];
        if (!(d <= worst)) worst = d;
        d2 += d * d;
        o2 += o * o;
    }
    bool bf16 = precision == WN_PREC_BF16;
    double value = bf16 ? sqrt(d2 / o2) : worst / top;
    double limit = bf16 ? 1.2 : precision == WN_PREC_F32 ? 1e-5 : 1e-4;
    bool good = value <= limit;
    printf("%-4s %-14s %-4s %s %.3g (limit %g)%s\n", w->name, where, precision_name[precision],
           bf16 ? "error over the official one's" : "max error", value, limit, good ? "" : "  FAILED");
    n_passed += good;
    n_failed += !good;
}

static void run(const struct width *w, struct wn_device *dev, const char *where, enum wn_precision precision,
                const struct wn_dit *dit, const struct wn_weights *golden)
{
    struct wn_exec ex = {.dev = dev, .precision = precision};
    struct wn_scope scope;
    struct wn_dit_text *text;
    int64_t T = n_tokens(w);
    float *x = input(w, "x", (size_t)(T * w->D), 2), *e0 = input(w, "e0", (size_t)(6 * w->D), 0.5f);
    float *rows = input(w, "context", (size_t)((TEXT_ROWS + 1) * w->D), 1.5f);
    wn_scope_begin(&ex, &scope);
    struct wn_dit_grid grid = {.F = w->box[0], .H = w->box[1], .W = w->box[2], .rope = rope_of(&ex, w)};
    wn_dit_text_from_rows(&text, &ex, dit, rows, TEXT_ROWS);
    struct wn_tensor tx = wn_upload(&ex, wn_shape_of(WN_F32, T, w->D), x);
    struct wn_tensor te = wn_upload(&ex, wn_shape_of(WN_F32, 1, 6, w->D), e0);
    need(&ex.err);
    tx = wn_dit_block_forward(&ex, dit, 0, tx, te, &grid, text);
    wn_download(&ex, tx, x);
    need(&ex.err);
    compare(w, where, precision, x, golden);
    wn_dit_text_free(text);
    wn_scope_end(&ex, &scope);
    free(x);
    free(e0);
    free(rows);
}

/* In each precision, or the one wanted. */
static void run_at(const struct width *w, const char *device, const char *isa, const char *where,
                   const char *precision_wanted, const struct wn_dit_config *config,
                   const struct wn_weights *weights, const struct wn_weights *golden)
{
    struct wn_err err = {0};
    struct wn_device *dev;
    struct wn_dit *dit;
    wn_device_open(&dev, &(struct wn_device_params){.name = device, .isa = isa}, &err);
    need(&err);
    wn_dit_new(&dit, dev, weights, config, &err);
    need(&err);
    for (int p = WN_PREC_F32; p <= WN_PREC_BF16; p++)
        if (precision_wanted ? !strcmp(precision_name[p], precision_wanted)
                             : p != WN_PREC_F32X || !strcmp(isa, "amx")) /* elsewhere f32x is f32 */
            run(w, dev, where, (enum wn_precision)p, dit, golden);
    wn_dit_free(dit);
    wn_device_close(dev);
}

static void test_width(const struct width *w, const char *wanted, const char *precision_wanted,
                       bool best_only)
{
    char path[64], golden_path[512];
    struct wn_err err = {0};
    struct wn_weights *weights, *golden;
    snprintf(path, sizeof path, "/tmp/wan-width-%ld.safetensors", (long)getpid());
    snprintf(golden_path, sizeof golden_path, GOLDEN_DIR "/model/dit_width_%s.safetensors", w->name);
    write_checkpoint(w, path);
    wn_weights_open(&weights, path, &err);
    unlink(path);
    need(&err);
    wn_weights_open(&golden, golden_path, &err);
    need(&err);
    struct wn_dit_config config = {.model_type = "t2v",
                                   .dim = w->D,
                                   .ffn_dim = w->F,
                                   .freq_dim = 2,
                                   .in_dim = 1,
                                   .out_dim = 1,
                                   .text_len = 512,
                                   .text_dim = 1,
                                   .n_heads = w->heads,
                                   .n_layers = 1,
                                   .eps = 1e-6f};
    int n_isa;
    const char *const *isa = wn_cpu_isa_list(&n_isa);
    for (int i = 0; i < n_isa; i++)
        if (wanted ? !strcmp(isa[i], wanted) : !best_only || i + 1 == n_isa)
            run_at(w, "cpu", isa[i], isa[i], precision_wanted, &config, weights, golden);
    if (wanted && !strncmp(wanted, "mlx:", 4))
        run_at(w, "mlx", wanted + 4, wanted, precision_wanted, &config, weights, golden);
    wn_weights_close(weights);
    wn_weights_close(golden);
}

int main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
        if (argc < 2 || !strcmp(argv[1], "all") || !strcmp(argv[1], widths[i].name))
            test_width(&widths[i], argc > 2 ? argv[2] : NULL, argc > 3 ? argv[3] : NULL, i > 0);
    printf("%d passed, %d failed\n", n_passed, n_failed);
    return n_failed || !n_passed;
}
