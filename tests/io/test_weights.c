/* Files written by PyTorch and safetensors (tools/oracle/io_fixtures.py), and our own writer. */
#include <math.h>

#include "io/json.h"
#include "tensor/convert.h"
#include "util.h"

#define IO GOLDEN_DIR "/io/"

static struct wn_weights *open_good(const char *path)
{
    struct wn_err err = {0};
    struct wn_weights *w;
    if (wn_weights_open(&w, path, &err)) fail_msg("%s", err.text);
    touch_all(w);
    return w;
}

/* Element k of a fixture tensor, as float: k / 4 - 1, and k for integers. */
static float ramp(const struct wn_weight *t, int64_t k)
{
    if (t->type == WN_BOOL) return (float)(k % 2);
    return wn_dtype_is_float(t->type) ? (float)k / 4 - 1 : (float)k;
}

static int64_t count(const struct wn_weight *t)
{
    return (int64_t)(t->bytes / wn_dtype_size(t->type));
}

static void expect_tensor(const struct wn_weights *w, const char *name, enum wn_dtype type, int n_dims,
                          const int64_t *dim)
{
    const struct wn_weight *t = wn_weights_find(w, name);
    if (!t) fail_msg("no tensor '%s'", name);
    assert_string_equal(t->name, name);
    assert_int_equal(t->type, type);
    assert_int_equal(t->n_dims, n_dims);
    for (int i = 0; i < n_dims; i++) assert_int_equal(t->dim[i], dim[i]);
}

static void expect_ramp(const struct wn_weights *w, const char *name, enum wn_dtype type, int n_dims,
                        const int64_t *dim)
{
    expect_tensor(w, name, type, n_dims, dim);
    const struct wn_weight *t = wn_weights_find(w, name);
    float value[64];
    assert_true(count(t) <= 64);
    wn_to_f32(t->data, t->type, value, count(t));
    for (int64_t k = 0; k < count(t); k++)
        if (value[k] != ramp(t, k))
            fail_msg("%s[%d] is %g, not %g", name, (int)k, (double)value[k], (double)ramp(t, k));
}
#define DIMS(...)                                                                \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]) \
    {                                                                            \
        __VA_ARGS__                                                              \
    }

static void expect_plain(const struct wn_weights *w)
{
    expect_ramp(w, "f32", WN_F32, DIMS(2, 3));
    expect_ramp(w, "bf16", WN_BF16, DIMS(3, 2));
    expect_ramp(w, "f16", WN_F16, DIMS(5));
    expect_ramp(w, "i64", WN_I64, DIMS(4));
    expect_ramp(w, "u8", WN_U8, DIMS(7));
    expect_ramp(w, "bool", WN_BOOL, DIMS(3));
    expect_ramp(w, "f64", WN_F64, DIMS(2));
    expect_ramp(w, "scalar", WN_F32, 0, NULL);
    expect_tensor(w, "empty", WN_F32, DIMS(0, 4));
    assert_null(wn_weights_find(w, "f3"));
    assert_null(wn_weights_find(w, "zzz"));
    assert_null(wn_weights_find(w, ""));
}

static void pth_plain(void **state)
{
    (void)state;
    size_t before = wn_mem_used();
    struct wn_weights *w = open_good(IO "plain.pth");
    expect_plain(w);
    expect_ramp(w, "f8", WN_F8_E4M3, DIMS(6));
    assert_int_equal(wn_weights_count(w), 10);
    assert_int_equal(wn_weights_n_elems(w), 6 + 6 + 5 + 4 + 7 + 3 + 2 + 1 + 6);
    assert_string_equal(wn_weights_path(w), IO "plain.pth");
    assert_string_equal(wn_weights_find(w, "f32")->file, IO "plain.pth");
    wn_weights_release_pages(w);
    expect_plain(w);
    wn_weights_close(w);
    assert_int_equal(wn_mem_used(), before);
    w = open_good(IO "protocol4.pth");
    expect_plain(w);
    wn_weights_close(w);
}

static void pth_views(void **state)
{
    (void)state;
    struct wn_weights *w = open_good(IO "views.pth");
    expect_ramp(w, "base", WN_F32, DIMS(4, 6));
    expect_tensor(w, "transposed", WN_F32, DIMS(6, 4));
    expect_tensor(w, "expanded", WN_F32, DIMS(3, 6));
    const float *t = wn_weights_find(w, "transposed")->data, *e = wn_weights_find(w, "expanded")->data;
    const float *c = wn_weights_find(w, "column")->data, *b = wn_weights_find(w, "block")->data;
    const float *p = wn_weights_find(w, "permuted")->data;
    for (int i = 0; i < 6; i++)
        for (int j = 0; j < 4; j++) assert_true(t[4 * i + j] == (float)(6 * j + i) / 4 - 1);
    for (int i = 0; i < 18; i++) assert_true(e[i] == (float)(i % 6) / 4 - 1);
    for (int i = 0; i < 4; i++) assert_true(c[i] == (float)(6 * i + 2) / 4 - 1);
    for (int i = 0; i < 8; i++) assert_true(b[i] == (float)(6 * (1 + i / 4) + 1 + i % 4) / 4 - 1);
    for (int i = 0; i < 24; i++) assert_true(p[i] == (float)(12 * (i / 3 % 2) + 4 * (i % 3) + i / 6) / 4 - 1);
    /* A run of rows of a shared storage stays in place. */
    const float *base = wn_weights_find(w, "base")->data;
    assert_ptr_equal(wn_weights_find(w, "rows")->data, base + 12);
    wn_weights_close(w);
}

static void pth_module(void **state)
{
    (void)state;
    struct wn_weights *w = open_good(IO "module.pth");
    assert_int_equal(wn_weights_count(w), 6);
    expect_ramp(w, "0.weight", WN_F32, DIMS(2, 3));
    expect_ramp(w, "0.bias", WN_F32, DIMS(2));
    expect_ramp(w, "1.weight", WN_F32, DIMS(2));
    expect_ramp(w, "parameter", WN_F32, DIMS(3));
    expect_ramp(w, "nested.inner", WN_F32, DIMS(2));
    wn_weights_close(w);
}

static void pth_rejected(void **state)
{
    (void)state;
    expect_failure(IO "legacy.pth", WAN_EUNSUPPORTED, "old format");
    expect_failure(IO "deflated.pth", WAN_EUNSUPPORTED, "compressed");
    expect_failure(IO "big_endian.pth", WAN_EUNSUPPORTED, "'big'");
}

static void safetensors_types(void **state)
{
    (void)state;
    struct wn_weights *w = open_good(IO "types.safetensors");
    expect_plain(w);
    expect_ramp(w, "f8", WN_F8_E4M3, DIMS(6));
    expect_ramp(w, "f8_e5m2", WN_F8_E5M2, DIMS(5));
    expect_ramp(w, "i32", WN_I32, DIMS(3));
    expect_ramp(w, "i16", WN_I16, DIMS(3));
    expect_ramp(w, "i8", WN_I8, DIMS(3));
    assert_string_equal(wn_weights_metadata(w, "note"), "quote \" backslash \\ \xc3\xa9");
    assert_null(wn_weights_metadata(w, "nothing"));
    for (size_t i = 1; i < wn_weights_count(w); i++)
        assert_true(strcmp(wn_weights_at(w, i - 1)->name, wn_weights_at(w, i)->name) < 0);
    wn_weights_close(w);
}

static void expect_sharded(struct wn_weights *w)
{
    assert_int_equal(wn_weights_count(w), 3);
    expect_ramp(w, "a.weight", WN_F32, DIMS(2, 2));
    expect_ramp(w, "b.weight", WN_BF16, DIMS(3));
    expect_ramp(w, "c.weight", WN_F32, DIMS(5));
    assert_non_null(strstr(wn_weights_find(w, "c.weight")->file, "00002-of-00002"));
    assert_int_equal(wn_weights_n_bytes(w), 42);
    wn_weights_close(w);
}

static void shards(void **state)
{
    (void)state;
    expect_sharded(open_good(IO "sharded"));
    expect_sharded(open_good(IO "sharded/model.safetensors.index.json"));
    const char *const files[] = {IO "sharded/model-00001-of-00002.safetensors",
                                 IO "sharded/model-00002-of-00002.safetensors"};
    struct wn_weights *w;
    struct wn_err err = {0};
    assert_int_equal(wn_weights_open_files(&w, "both", files, 2, &err), WAN_OK);
    expect_sharded(w);
    const char *const twice[] = {files[0], files[0]};
    assert_int_equal(wn_weights_open_files(&w, "both", twice, 2, &err), WAN_EFORMAT);
    assert_non_null(strstr(err.text, "twice"));
}

static void prefix_comes_off(void **state)
{
    (void)state;
    struct wn_weights *w = open_good(IO "module.pth");
    wn_weights_strip_prefix(w, "0.");
    assert_int_equal(wn_weights_count(w), 2);
    expect_ramp(w, "weight", WN_F32, DIMS(2, 3));
    expect_ramp(w, "bias", WN_F32, DIMS(2));
    assert_null(wn_weights_find(w, "parameter"));
    wn_weights_close(w);
}

/* ---- writing ---- */

static const float three[3] = {1.5f, -2, 3};
static const uint8_t five[5] = {1, 2, 3, 4, 5};
static const struct wn_weight sample[] = {
    {.name = "b", .type = WN_U8, .n_dims = 1, .dim = {5}, .data = five, .bytes = 5},
    {.name = "a \"quoted\" \xc3\xa9\n",
     .type = WN_F32,
     .n_dims = 2,
     .dim = {3, 1},
     .data = three,
     .bytes = 12},
    {.name = "none", .type = WN_F32, .n_dims = 2, .dim = {0, 3}, .data = NULL, .bytes = 0},
    {.name = "scalar", .type = WN_F32, .n_dims = 0, .data = three, .bytes = 4},
};
static const char *const sample_meta[] = {"format", "pt", "k\"", "v\\\t", NULL};

static void written_is_read(void **state)
{
    (void)state;
    const char *path = in_scratch("out.safetensors");
    struct wn_err err = {0};
    assert_int_equal(wn_safetensors_write(path, sample, 4, sample_meta, &err), WAN_OK);
    struct wn_weights *w = open_good(path);
    assert_int_equal(wn_weights_count(w), 4);
    for (int i = 0; i < 4; i++) {
        const struct wn_weight *t = wn_weights_find(w, sample[i].name);
        expect_tensor(w, sample[i].name, sample[i].type, sample[i].n_dims, sample[i].dim);
        assert_int_equal(t->bytes, sample[i].bytes);
        if (t->bytes) assert_memory_equal(t->data, sample[i].data, t->bytes);
        assert_int_equal((uintptr_t)t->data % wn_dtype_size(t->type), 0);
    }
    assert_string_equal(wn_weights_metadata(w, "k\""), "v\\\t");
    wn_weights_close(w);
    assert_int_equal(wn_safetensors_write(path, NULL, 0, NULL, &err), WAN_OK);
    w = open_good(path);
    assert_int_equal(wn_weights_count(w), 0);
    assert_null(wn_weights_find(w, "a"));
    wn_weights_close(w);
}

static void bad_input_is_not_written(void **state)
{
    (void)state;
    const char *path = in_scratch("never.safetensors");
    struct wn_weight t = sample[0], two[2] = {sample[0], sample[0]};
    assert_int_equal(wn_safetensors_write(path, two, 2, NULL, NULL), WAN_EINVAL);
    t.bytes = 4;
    assert_int_equal(wn_safetensors_write(path, &t, 1, NULL, NULL), WAN_EINVAL);
    t = sample[0], t.name = "\xff";
    assert_int_equal(wn_safetensors_write(path, &t, 1, NULL, NULL), WAN_EINVAL);
    t = sample[0], t.name = "__metadata__";
    assert_int_equal(wn_safetensors_write(path, &t, 1, NULL, NULL), WAN_EINVAL);
    t = sample[0], t.dim[0] = -5;
    assert_int_equal(wn_safetensors_write(path, &t, 1, NULL, NULL), WAN_EINVAL);
    assert_int_equal(wn_safetensors_write(path, sample, 1, (const char *const[]){"a", NULL}, NULL),
                     WAN_EINVAL);
    assert_int_equal(
        wn_safetensors_write(path, sample, 1, (const char *const[]){"a", "1", "a", "2", NULL}, NULL),
        WAN_EINVAL);
    assert_int_equal(wn_safetensors_write(in_scratch("no/such/x"), sample, 1, NULL, NULL), WAN_EIO);
    assert_int_equal(wn_file_kind(path), WN_FILE_NONE);
}

/* ---- no memory ---- */

static enum wan_status open_and_close(void *path, struct wn_err *err)
{
    struct wn_weights *w;
    enum wan_status st = wn_weights_open(&w, path, err);
    wn_weights_close(w);
    return st;
}

static enum wan_status write_sample(void *path, struct wn_err *err)
{
    return wn_safetensors_write(path, sample, 4, sample_meta, err);
}

static void out_of_memory(void **state)
{
    (void)state;
    fail_every_allocation(open_and_close, IO "plain.pth");
    fail_every_allocation(open_and_close, IO "views.pth");
    fail_every_allocation(open_and_close, IO "module.pth");
    fail_every_allocation(open_and_close, IO "types.safetensors");
    fail_every_allocation(open_and_close, IO "sharded");
    fail_every_allocation(open_and_close, IO "sharded/model.safetensors.index.json");
    fail_every_allocation(write_sample, (void *)in_scratch("oom.safetensors"));
    char **names;
    size_t n;
    assert_int_equal(wn_dir_list(scratch, &names, &n, NULL), WAN_OK);
    for (size_t i = 0; i < n; i++) assert_null(strstr(names[i], ".part"));
    wn_names_free(names, n);
}

int main(void)
{
    wn_json_hook_memory(); /* so that its allocations are failed too */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pth_plain),
        cmocka_unit_test(pth_views),
        cmocka_unit_test(pth_module),
        cmocka_unit_test(pth_rejected),
        cmocka_unit_test(safetensors_types),
        cmocka_unit_test(shards),
        cmocka_unit_test(prefix_comes_off),
        cmocka_unit_test(written_is_read),
        cmocka_unit_test(bad_input_is_not_written),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
