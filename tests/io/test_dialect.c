/* Models in the layouts for MLX: read as MLX wrote them, and written as MLX would
 * (tools/oracle/mlx_layouts.py). */
#include <jansson.h>

#include "io/checkpoint.h"
#include "io/dialect.h"
#include "io/json.h"
#include "util.h"
#include "wan/wan.h"

#define MODEL(name) GOLDEN_DIR "/model/" name

static struct wan_context *ctx;
static json_t *golden; /* mlx_layouts.json */

/* ---- checksums ---- */

static uint32_t crc_table[256];

static void fill_crc_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        crc_table[i] = i;
        for (int k = 0; k < 8; k++) crc_table[i] = crc_table[i] >> 1 ^ (crc_table[i] & 1 ? 0xedb88320u : 0);
    }
}

/* CRC-32, as zlib has it. */
static uint32_t crc(uint32_t c, const void *data, size_t n)
{
    const uint8_t *p = data;
    c = ~c;
    for (size_t i = 0; i < n; i++) c = crc_table[(c ^ p[i]) & 255] ^ c >> 8;
    return ~c;
}

/* All elements of a tensor, read in panels of `each` rows. Free with wn_free. */
static uint8_t *elements(const struct wn_weight *t, int64_t each)
{
    uint8_t *data = wn_alloc(t->bytes + 1);
    const int64_t rows = wn_weight_n_rows(t);
    assert_non_null(data);
    for (int64_t r = 0; r < rows; r += each)
        wn_weight_read(t, r, rows - r < each ? rows - r : each, data + t->bytes / (size_t)rows * (size_t)r);
    return data;
}

static uint32_t add_tensor(uint32_t c, const struct wn_weight *t)
{
    char text[512];
    size_t n = (size_t)snprintf(text, sizeof text, "%s %s ", t->name, wn_dtype_name(t->type));
    for (int i = 0; i < t->n_dims; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%lld", i ? "," : "", (long long)t->dim[i]);
    n += (size_t)snprintf(text + n, sizeof text - n, ";");
    uint8_t *data = elements(t, 1 << 20);
    c = crc(crc(c, text, n), data, t->bytes);
    wn_free(data);
    return c;
}

/* ---- written ---- */

static void check(enum wan_status st)
{
    if (st) fail_msg("%s: %s", wan_status_name(st), wan_error(ctx));
}

static void read_params(struct wan_convert_params *p, const json_t *o)
{
    *p = *wan_convert_params(.to = json_string_value(json_object_get(o, "to")),
                             .type = json_string_value(json_object_get(o, "type")),
                             .bits = (int)json_integer_value(json_object_get(o, "quantize")),
                             .group_size = (int)json_integer_value(json_object_get(o, "group_size")));
}

/* The files of `folder` have the tensors that MLX made, as it would store them, and no others. */
static void expect_files(const char *folder, const json_t *files)
{
    const char *name;
    json_t *want;
    json_object_foreach((json_t *)files, name, want)
    {
        struct wn_weights *w;
        struct wn_err err = {0};
        uint32_t c = 0;
        char *path = wn_path_join(folder, name);
        if (wn_weights_open(&w, path, &err)) fail_msg("%s", err.text);
        const size_t n = wn_weights_count(w);
        for (size_t i = 0; i < n; i++) c = add_tensor(c, wn_weights_at(w, i));
        if (n != (size_t)json_integer_value(json_array_get(want, 0)) ||
            c != (uint32_t)json_integer_value(json_array_get(want, 1)))
            fail_msg("%s: %zu tensors, checksum %u; MLX's file has %lld, %lld", path, n, c,
                     (long long)json_integer_value(json_array_get(want, 0)),
                     (long long)json_integer_value(json_array_get(want, 1)));
        assert_string_equal(wn_weights_metadata(w, "format"), "mlx");
        wn_weights_close(w);
        wn_free(path);
    }
}

static void conversions_are_those_of_mlx(void **state)
{
    (void)state;
    size_t i;
    json_t *o;
    json_array_foreach(json_object_get(golden, "conversions"), i, o)
    {
        char model[512];
        struct wan_convert_params p;
        const char *out = in_scratch("converted");
        snprintf(model, sizeof model, MODEL("%s"), json_string_value(json_object_get(o, "model")));
        read_params(&p, o);
        check(wan_convert(ctx, model, out, &p));
        expect_files(out, json_object_get(o, "files"));
        remove_tree(out);
    }
    assert_true(i > 20);
}

/* From one layout for MLX to the other: as from the official files. */
static void conversions_chain(void **state)
{
    (void)state;
    size_t i;
    json_t *o;
    json_array_foreach(json_object_get(golden, "conversions"), i, o)
    {
        struct wan_convert_params p;
        if (strcmp(json_string_value(json_object_get(o, "model")), "tiny-ti2v") || json_object_get(o, "type"))
            continue;
        read_params(&p, o);
        const char *middle = in_scratch("middle"), *out = in_scratch("out");
        check(wan_convert(ctx, MODEL("mlx-ti2v"), middle, wan_convert_params(.to = "mlx-video")));
        check(wan_convert(ctx, middle, out, &p));
        expect_files(out, json_object_get(o, "files"));
        remove_tree(middle);
        remove_tree(out);
    }
}

/* ---- read ---- */

static struct wn_weights *open_part(const char *path, enum wn_part part)
{
    struct wn_checkpoint ck;
    struct wn_weights *w = NULL;
    struct wn_err err = {0};
    if (wn_checkpoint_open(&ck, path, &err) || wn_checkpoint_weights(&ck, part, &w, &err))
        fail_msg("%s: %s", path, err.text);
    wn_checkpoint_release(&ck);
    return w;
}

static void expect_same(const struct wn_weights *a, const struct wn_weights *b)
{
    assert_int_equal(wn_weights_count(a), wn_weights_count(b));
    for (size_t i = 0; i < wn_weights_count(a); i++) {
        const struct wn_weight *x = wn_weights_at(a, i), *y = wn_weights_at(b, i);
        assert_string_equal(x->name, y->name);
        assert_int_equal(x->type, y->type);
        assert_int_equal(x->n_dims, y->n_dims);
        assert_memory_equal(x->dim, y->dim, (size_t)x->n_dims * sizeof *x->dim);
        uint8_t *p = elements(x, 3), *q = elements(y, 1 << 20);
        if (memcmp(p, q, x->bytes)) fail_msg("tensor '%s' differs", x->name);
        wn_free(p);
        wn_free(q);
    }
    assert_int_equal(wn_weights_n_elems(a), wn_weights_n_elems(b));
}

static void a_folder_of_mlx_is_the_official_one(void **state)
{
    (void)state;
    static const enum wn_part parts[] = {WN_PART_DIT, WN_PART_T5, WN_PART_VAE};
    for (size_t i = 0; i < 3; i++) {
        struct wn_weights *a = open_part(MODEL("mlx-ti2v"), parts[i]),
                          *b = open_part(MODEL("tiny-ti2v"), parts[i]);
        expect_same(a, b);
        wn_weights_close(a);
        wn_weights_close(b);
    }
}

/* Groups of 4 and of 8 bits, as mx.dequantize makes them; what they stand for is what is counted. */
static void groups_are_dequantised_as_by_mlx(void **state)
{
    (void)state;
    struct wn_weights *w = open_part(MODEL("mlx-video-t2v"), WN_PART_DIT),
                      *official = open_part(MODEL("tiny-t2v"), WN_PART_DIT);
    const char *name;
    json_t *want;
    size_t stored = 0, n4 = 0, n8 = 0;
    json_object_foreach(json_object_get(golden, "dequantised"), name, want)
    {
        const struct wn_weight *t = wn_weights_find(w, name);
        assert_non_null(t);
        assert_null(t->data);
        n4 += wn_weight_bits(t) == 4;
        n8 += wn_weight_bits(t) == 8;
        if (add_tensor(0, t) != (uint32_t)json_integer_value(want)) fail_msg("tensor '%s' differs", name);
    }
    assert_int_equal(n4, 20);
    assert_int_equal(n8, 10);
    assert_int_equal(wn_weights_n_elems(w), wn_weights_n_elems(official));
    assert_int_equal(wn_weights_count(w), wn_weights_count(official));
    for (size_t i = 0; i < wn_weights_count(w); i++) stored += wn_weight_stored_bytes(wn_weights_at(w, i));
    assert_int_equal(stored, wn_weights_n_bytes(w));
    assert_true(stored < (size_t)wn_weights_n_elems(w) * 5 / 4);
    wn_weights_close(w);
    wn_weights_close(official);
}

/* ---- other spellings of the same ---- */

struct spelling {
    const char *from, *to;
};

static void replace_all(char *name, size_t size, struct spelling s)
{
    char out[512];
    size_t n = 0;
    for (const char *p = name; *p;) {
        const size_t k = strlen(s.from);
        if (!strncmp(p, s.from, k)) {
            n += (size_t)snprintf(out + n, sizeof out - n, "%s", s.to);
            p += k;
        } else
            out[n++] = *p++;
        out[n] = 0;
    }
    snprintf(name, size, "%s", out);
}

/* The tensors of a part under names that the spellings make, as one file. */
static const char *write_spelt(const struct wn_weights *w, const char *prefix, const struct spelling *s,
                               size_t n_s)
{
    const size_t n = wn_weights_count(w);
    struct wn_weight *t = calloc(n + 1, sizeof *t);
    char(*name)[512] = calloc(n, sizeof *name);
    static const float computed[2];
    const char *path = in_scratch("spelt.safetensors");
    for (size_t i = 0; i < n; i++) {
        t[i] = *wn_weights_at(w, i);
        snprintf(name[i], sizeof name[i], "%s%s", prefix, t[i].name);
        for (size_t k = 0; k < n_s; k++) replace_all(name[i], sizeof name[i], s[k]);
        t[i].name = name[i];
    }
    t[n] = (struct wn_weight){
        .name = "freqs", .type = WN_F32, .n_dims = 1, .dim = {2}, .data = computed, .bytes = 8};
    assert_int_equal(wn_safetensors_write(path, t, n + (*prefix == 0 && n_s > 4), NULL, NULL), WAN_OK);
    free(t);
    free(name);
    return path;
}

static void other_spellings_are_understood(void **state)
{
    (void)state;
    static const struct spelling listed[] = {{"ffn.0", "ffn.layer_0"},
                                             {"ffn.2", "ffn.layer_2"},
                                             {"head.head", "head.1"},
                                             {"head.modulation", "head_modulation"},
                                             {"text_embedding.", "text_embedding.layers."}};
    static const struct spelling padded[] = {{"conv1.", "conv1.conv."},
                                             {"conv2.", "conv2.conv."},
                                             {"residual.2.", "residual.layers.2.conv."},
                                             {"upsamples.", "upsamples.layers."}};
    struct wn_weights *dit = open_part(MODEL("tiny-ti2v"), WN_PART_DIT),
                      *vae = open_part(MODEL("tiny-t2v"), WN_PART_VAE), *w;
    w = open_part(write_spelt(dit, "", listed, 5), WN_PART_DIT);
    expect_same(w, dit);
    wn_weights_close(w);
    w = open_part(write_spelt(dit, "model.diffusion_model.", listed, 4), WN_PART_DIT);
    expect_same(w, dit);
    wn_weights_close(w);
    w = open_part(write_spelt(vae, "", padded, 4), WN_PART_VAE);
    expect_same(w, vae);
    wn_weights_close(w);
    wn_weights_close(dit);
    wn_weights_close(vae);
}

/* A folder may have the index of the files that the one in it was made of. */
static void a_stale_index_does_not_count(void **state)
{
    (void)state;
    struct wn_checkpoint ck;
    const char *folder = in_scratch("stale");
    check(wan_convert(ctx, MODEL("tiny-ti2v"), folder, wan_convert_params(.to = "mlx")));
    write_text(in_scratch("stale/wan_model_mlx.safetensors.index.json"),
               "{\"weight_map\": {\"patch_embedding.weight\": "
               "\"diffusion_pytorch_model-00001-of-00003.safetensors\"}}");
    assert_int_equal(wn_checkpoint_open(&ck, folder, NULL), WAN_OK);
    assert_string_equal(wn_path_base(ck.part[WN_PART_DIT].path), "wan_model_mlx.safetensors");
    assert_int_equal(ck.problems.n, 0);
    wn_checkpoint_release(&ck);
}

/* ---- files that lie ---- */

/* A quantised matrix [4, 64] in a file that is otherwise just enough of a transformer. */
struct groups {
    enum wn_dtype scales_type, biases_type;
    int64_t words, scales_rows, scales, biases;
    const char *config; /* NULL: none */
    bool no_scales, no_biases, no_width;
    int n_dims;
};

static const struct groups good = {
    WN_BF16, WN_BF16, 8,     4, 2, 2, "{\"quantization\":{\"bits\":4,\"group_size\":32}}",
    false,   false,   false, 2};

static const char *write_groups(struct groups g)
{
    static const uint8_t zeros[4096];
    const struct wn_weight all[] = {
        {.name = "patch_embedding.weight", .type = WN_F32, .n_dims = 5, .dim = {4, 1, 1, 2, 2}, .bytes = 64},
        {.name = "blocks.0.modulation", .type = WN_F32, .n_dims = 3, .dim = {1, 6, 4}, .bytes = 96},
        {.name = g.no_width ? "blocks.0.other" : "blocks.0.self_attn.norm_q.weight",
         .type = WN_F32,
         .n_dims = 1,
         .dim = {64},
         .bytes = 256},
        {.name = "blocks.0.self_attn.q.weight",
         .type = WN_U32,
         .n_dims = g.n_dims,
         .dim = {4, g.words, 1},
         .bytes = (size_t)g.words * 16},
        {.name = g.no_scales ? "x" : "blocks.0.self_attn.q.scales",
         .type = g.scales_type,
         .n_dims = 2,
         .dim = {g.scales_rows, g.scales},
         .bytes = (size_t)(g.scales_rows * g.scales) * wn_dtype_size(g.scales_type)},
        {.name = g.no_biases ? "y" : "blocks.0.self_attn.q.biases",
         .type = g.biases_type,
         .n_dims = 2,
         .dim = {4, g.biases},
         .bytes = (size_t)(4 * g.biases) * wn_dtype_size(g.biases_type)},
    };
    struct wn_weight t[6];
    memcpy(t, all, sizeof t);
    for (int i = 0; i < 6; i++) t[i].data = zeros;
    const char *path = in_scratch("groups/model.safetensors");
    mkdir(in_scratch("groups"), 0755);
    unlink(in_scratch("groups/config.json"));
    if (g.config) write_text(in_scratch("groups/config.json"), g.config);
    assert_int_equal(wn_safetensors_write(path, t, 6, NULL, NULL), WAN_OK);
    return path;
}

static void expect_refused(struct groups g, const char *word)
{
    const char *path = write_groups(g);
    const size_t before = wn_mem_used();
    struct wn_checkpoint ck;
    struct wn_err err = {0};
    enum wan_status st = wn_checkpoint_open(&ck, path, &err);
    if (!st || !strstr(err.text, word) || !strstr(err.text, in_scratch("groups")))
        fail_msg("expected \"%s\", got %s \"%s\"", word, wan_status_name(st), err.text);
    if (!st) wn_checkpoint_release(&ck);
    assert_int_equal(wn_mem_used(), before);
}

#define WITH(change)                                                                           \
    (struct groups)                                                                            \
    {                                                                                          \
        .words = good.words, .scales_type = good.scales_type, .biases_type = good.biases_type, \
        .scales_rows = good.scales_rows, .scales = good.scales, .biases = good.biases,         \
        .config = good.config, .n_dims = good.n_dims, change                                   \
    }

static void groups_that_lie_are_refused(void **state)
{
    (void)state;
    struct wn_weights *w = open_part(write_groups(good), WN_PART_DIT);
    const struct wn_weight *t = wn_weights_find(w, "blocks.0.self_attn.q.weight");
    assert_int_equal(t->type, WN_BF16);
    assert_int_equal(t->dim[1], 64);
    wn_weights_close(w);
    expect_refused(WITH(.no_scales = true), "scales are missing");
    expect_refused(WITH(.no_biases = true), "biases are missing");
    expect_refused(WITH(.n_dims = 3), "not a matrix");
    expect_refused(WITH(.scales_rows = 3), "as many rows");
    expect_refused(WITH(.scales = 0), "as many rows");
    expect_refused(WITH(.words = 0), "not a matrix");
    expect_refused(WITH(.biases = 3), "shape of its scales");
    expect_refused(WITH(.scales_type = WN_I32), "not F32, BF16 or F16");
    expect_refused(WITH(.biases_type = WN_F16), "differ in type");
    expect_refused(WITH(.config = "{\"quantization\":{\"bits\":4,\"group_size\":64}}"),
                   "groups of 32 at 4 bits");
    expect_refused(WITH(.config = "{\"quantization\":{\"bits\":3,\"group_size\":64}}"),
                   "quantised to 3 bits");
    expect_refused(WITH(.config = "{\"quantization\":{\"bits\":-4,\"group_size\":64}}"),
                   "quantised to -4 bits");
    expect_refused(WITH(.config = "{\"quantization\":{\"bits\":9223372036854775807}}"), "quantised to 9");
    expect_refused(WITH(.config = "{\"quantization\":{\"bits\":8,\"group_size\":-1}}"),
                   "groups of 16 at 8 bits");
    expect_refused(WITH(.config = "{\"quantization\":{\"bits\":4},"), "config.json: not valid JSON");
    struct groups g = WITH(.no_width = true);
    g.config = "{}";
    expect_refused(g, "no config.json that says");
    g = WITH(.scales = 3);
    g.biases = 3;
    expect_refused(g, "do not fit its width");
    g = WITH(.scales = 16);
    g.biases = 16;
    g.config = "{\"quantization\":{\"bits\":4}}";
    expect_refused(g, "groups of 4 elements");
}

/* No group size of 0, as it comes, and none at all: what the shapes say. */
static void groups_without_a_size_are_told_by_shapes(void **state)
{
    (void)state;
    static const char *const configs[] = {"{\"quantization\":{\"bits\":4,\"group_size\":0}}", "{}", NULL};
    for (int i = 0; i < 3; i++) {
        struct groups g = good;
        g.config = configs[i];
        struct wn_weights *w = open_part(write_groups(g), WN_PART_DIT);
        const struct wn_weight *t = wn_weights_find(w, "blocks.0.self_attn.q.weight");
        assert_int_equal(t->dim[1], 64);
        assert_int_equal(wn_weight_bits(t), 4);
        wn_weights_close(w);
    }
}

/* Convolutions of both orders in one file. */
static void mixed_orders_are_refused(void **state)
{
    (void)state;
    static const float zeros[512];
    const struct wn_weight t[] = {{.name = "decoder.conv1.weight",
                                   .type = WN_F32,
                                   .n_dims = 5,
                                   .dim = {2, 4, 3, 3, 3},
                                   .data = zeros,
                                   .bytes = 864},
                                  {.name = "encoder.conv1.weight",
                                   .type = WN_F32,
                                   .n_dims = 5,
                                   .dim = {2, 3, 3, 3, 4},
                                   .data = zeros,
                                   .bytes = 864},
                                  {.name = "decoder.upsamples.0.residual.2.weight",
                                   .type = WN_F32,
                                   .n_dims = 1,
                                   .dim = {1},
                                   .data = zeros,
                                   .bytes = 4}};
    const char *path = in_scratch("mixed.safetensors");
    struct wn_checkpoint ck;
    struct wn_err err = {0};
    assert_int_equal(wn_safetensors_write(path, t, 3, NULL, NULL), WAN_OK);
    assert_int_equal(wn_checkpoint_open(&ck, path, &err), WAN_EFORMAT);
    assert_non_null(strstr(err.text, "input channels last"));
}

/* ---- what can go wrong while writing ---- */

static void a_folder_that_is_there_is_refused(void **state)
{
    (void)state;
    const char *folder = in_scratch("taken");
    mkdir(folder, 0755);
    write_text(in_scratch("taken/notes"), "mine");
    assert_int_equal(wan_convert(ctx, MODEL("tiny-ti2v"), folder, wan_convert_params(.to = "mlx")), WAN_EIO);
    assert_non_null(strstr(wan_error(ctx), "there already"));
    assert_int_equal(
        wan_convert(ctx, MODEL("tiny-ti2v"), in_scratch("taken/notes"), wan_convert_params(.to = "mlx")),
        WAN_EIO);
    char *text;
    size_t n;
    read_file(in_scratch("taken/notes"), &text, &n);
    assert_string_equal(text, "mine");
    wn_free(text);
    unlink(in_scratch("taken/notes"));
    check(wan_convert(ctx, MODEL("tiny-ti2v"), folder, wan_convert_params(.to = "mlx"))); /* empty: fine */
    remove_tree(folder);
}

static void options_are_checked(void **state)
{
    (void)state;
    static const struct {
        struct wan_convert_params p;
        const char *model, *word;
    } bad[] = {
        {{sizeof bad[0].p, .to = "onnx"}, MODEL("tiny-ti2v"), "--to 'onnx'"},
        {{sizeof bad[0].p, .to = "mlx", .type = "int8"}, MODEL("tiny-ti2v"), "--type 'int8'"},
        {{sizeof bad[0].p, .to = "mlx", .bits = 5}, MODEL("tiny-ti2v"), "--quantize 5"},
        {{sizeof bad[0].p, .to = "mlx", .bits = 4, .group_size = 48}, MODEL("tiny-ti2v"), "--group-size 48"},
        {{sizeof bad[0].p, .to = "mlx", .bits = 4}, MODEL("tiny-ti2v"), "do not make groups of 64"},
        {{sizeof bad[0].p, .to = "mlx", .bits = 4}, MODEL("vae22_tiny.pth"), "has no transformer"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *folder = in_scratch("never");
        assert_int_equal(wan_convert(ctx, bad[i].model, folder, &bad[i].p), WAN_EINVAL);
        if (!strstr(wan_error(ctx), bad[i].word)) fail_msg("%s", wan_error(ctx));
        assert_int_equal(wn_file_kind(folder), WN_FILE_NONE);
    }
}

static void expect_nothing_left(const char *name)
{
    char **names;
    size_t n;
    assert_int_equal(wn_dir_list(scratch, &names, &n, NULL), WAN_OK);
    for (size_t i = 0; i < n; i++)
        if (!strncmp(names[i], name, strlen(name))) fail_msg("%s is left", names[i]);
    wn_names_free(names, n);
}

static int left; /* questions until the answer is yes */

static int stop_after(void *user)
{
    (void)user;
    return left-- <= 0;
}

static void a_stop_leaves_nothing(void **state)
{
    (void)state;
    struct wan_context *own;
    assert_int_equal(
        wan_context_new(&own, wan_context_params(.device = "cpu", .threads = 1, .cancelled = stop_after)),
        WAN_OK);
    for (int at = 0; at < 400; at += 97) {
        left = at;
        assert_int_equal(
            wan_convert(own, MODEL("tiny-t2v"), in_scratch("stopped"), wan_convert_params(.to = "mlx")),
            at < 322 ? WAN_ECANCELED : WAN_OK);
        if (at < 322) expect_nothing_left("stopped");
    }
    wan_context_free(own);
    remove_tree(in_scratch("stopped"));
}

static enum wan_status open_job(void *path, struct wn_err *err)
{
    struct wn_checkpoint ck;
    struct wn_weights *w;
    enum wan_status st = wn_checkpoint_open(&ck, path, err);
    if (st) return st;
    if (!(st = wn_checkpoint_weights(&ck, WN_PART_DIT, &w, err))) wn_weights_close(w);
    wn_checkpoint_release(&ck);
    return st;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    char folder[512];
    enum wan_status st = WAN_ENOMEM;
    snprintf(folder, sizeof folder, "%s", in_scratch("nomem"));
    fail_every_allocation(open_job, MODEL("mlx-video-t2v"));
    const size_t before = wn_mem_used();
    for (int64_t i = 0; st; i++) {
        wn_mem_fail_after(i);
        st = wan_convert(ctx, MODEL("tiny-t2v-a14b/high_noise_model"), folder,
                         wan_convert_params(.to = "mlx-video", .type = "bf16"));
        wn_mem_fail_after(-1);
        if (st && st != WAN_ENOMEM) fail_msg("allocation %lld: %s", (long long)i, wan_error(ctx));
        assert_int_equal(wn_mem_used(), before);
        if (st) expect_nothing_left("nomem");
        if (!st) assert_true(i > 1000);
    }
    remove_tree(folder);
}

static int set_up(void **state)
{
    struct wn_err err = {0};
    fill_crc_table();
    wn_json_hook_memory();
    if (make_scratch(state) || wan_context_new(&ctx, wan_context_params(.device = "cpu", .threads = 1)))
        return -1;
    return wn_json_read(&golden, MODEL("mlx_layouts.json"), 1 << 20, 0, &err) ? -1 : 0;
}

static int tear_down(void **state)
{
    json_decref(golden);
    wan_context_free(ctx);
    return remove_scratch(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conversions_are_those_of_mlx),
        cmocka_unit_test(conversions_chain),
        cmocka_unit_test(a_folder_of_mlx_is_the_official_one),
        cmocka_unit_test(groups_are_dequantised_as_by_mlx),
        cmocka_unit_test(other_spellings_are_understood),
        cmocka_unit_test(a_stale_index_does_not_count),
        cmocka_unit_test(groups_that_lie_are_refused),
        cmocka_unit_test(groups_without_a_size_are_told_by_shapes),
        cmocka_unit_test(mixed_orders_are_refused),
        cmocka_unit_test(a_folder_that_is_there_is_refused),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(a_stop_leaves_nothing),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
