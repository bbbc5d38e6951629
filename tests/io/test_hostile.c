/* Files that are cut short, damaged, or lie: each must open sanely or fail with a sentence, under sanitizers
 * too. */
#include "io/json.h"
#include "util.h"

#define IO GOLDEN_DIR "/io/"

/* ---- damage to good files ---- */

/* Every length from nothing to all but one byte must fail. */
static void truncate_everywhere(const char *good, const char *as)
{
    const char *path = in_scratch(as);
    char *data;
    size_t n;
    read_file(good, &data, &n);
    write_file(path, data, n);
    for (size_t k = n; k-- > 0;) {
        assert_int_equal(truncate(path, (off_t)k), 0);
        if (!open_either_way(path)) fail_msg("%s cut to %zu of %zu bytes was accepted", good, k, n);
    }
    wn_free(data);
}

static void truncated(void **state)
{
    (void)state;
    truncate_everywhere(IO "plain.pth", "t.pth");
    truncate_everywhere(IO "module.pth", "t.pth");
    truncate_everywhere(IO "types.safetensors", "t.safetensors");
}

/* Change bytes [0, end) one by one (end 0: all). */
static void mutate_everywhere(const char *good, const char *as, size_t end)
{
    static const uint8_t flips[] = {0x01, 0x10, 0x80, 0xff};
    const char *path = in_scratch(as);
    char *data;
    size_t n;
    unsigned opened = 0;
    read_file(good, &data, &n);
    write_file(path, data, n);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    for (size_t k = 0; k < (end ? end : n); k++)
        for (size_t f = 0; f <= sizeof flips; f++) { /* the last time round: as it was */
            const char c = (char)(data[k] ^ (f < sizeof flips ? flips[f] : 0));
            assert_int_equal(pwrite(fileno(file), &c, 1, (off_t)k), 1);
            if (f < sizeof flips) opened += open_either_way(path) == WAN_OK;
        }
    fclose(file);
    assert_true(opened < 4 * n);
    wn_free(data);
}

static void mutated(void **state)
{
    (void)state;
    mutate_everywhere(IO "plain.pth", "m.pth", 0);
    mutate_everywhere(IO "views.pth", "m.pth", 0);
    mutate_everywhere(IO "module.pth", "m.pth", 0);
    mutate_everywhere(IO "protocol4.pth", "m.pth", 1200);
    mutate_everywhere(IO "types.safetensors", "m.safetensors", 0);
}

/* Random bytes inside a well-formed archive reach the pickle reader itself. */
static void random_pickles(void **state)
{
    (void)state;
    static const char ops[] = "()]}tdlaeusN.KMJXhqjrcQRb012\x80\x85\x86\x87\x88\x89\x8a\x8c\x93\x94\x95";
    uint64_t seed = 7;
    for (int run = 0; run < 3000; run++) {
        struct wn_str s = {0};
        PK(&s, "\x80\x02");
        for (int i = 0; i < 60; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            char c = seed >> 60 < 11 ? ops[(seed >> 33) % (sizeof ops - 1)] : (char)(seed >> 40 & 3);
            pk(&s, &c, 1);
        }
        open_either_way(write_pth("r.pth", &s));
    }
}

/* ---- safetensors that lie ---- */

static void expect_header(const char *header, size_t data_bytes, enum wan_status code, const char *word)
{
    const char *path = in_scratch("lie.safetensors");
    struct wn_str s = {0};
    put(&s, strlen(header), 8);
    pk(&s, header, strlen(header));
    for (size_t i = 0; i < data_bytes; i++) put(&s, i, 1);
    write_file(path, s.data, s.n);
    wn_str_release(&s);
    if (code)
        expect_failure(path, code, word);
    else
        assert_int_equal(open_either_way(path), WAN_OK);
}

#define T(name, dtype, shape, offsets) \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" offsets "]}"

static void lying_offsets(void **state)
{
    (void)state;
    const enum wan_status bad = WAN_EFORMAT;
    expect_header("{" T("a", "F32", "2", "0,8") "}", 8, WAN_OK, NULL);
    expect_header("{" T("a", "F32", "2", "0,8") "}   ", 8, WAN_OK, NULL);
    expect_header("{" T("a", "F32", "2", "0,8") "," T("e", "F32", "0", "0,0") "}", 8, WAN_OK, NULL);
    expect_header("{}", 0, WAN_OK, NULL);
    expect_header("{" T("a", "F32", "2", "0,8") "}", 7, bad, "outside");
    expect_header("{" T("a", "F32", "2", "0,8") "}", 9, bad, "1 bytes after");
    expect_header("{" T("a", "F32", "2", "1,9") "}", 9, bad, "belong to no tensor");
    expect_header("{" T("a", "F32", "3", "0,8") "}", 8, bad, "need 12 bytes");
    expect_header("{" T("a", "F32", "2", "8,0") "}", 8, bad, "outside");
    expect_header("{" T("a", "F32", "2", "-8,0") "}", 8, bad, "outside");
    expect_header("{" T("a", "F32", "2", "0,8") "," T("b", "F32", "2", "4,12") "}", 12, bad, "overlaps");
    expect_header("{" T("a", "F32", "2", "0,8") "," T("b", "F32", "2", "0,8") "}", 8, bad, "overlaps");
    expect_header("{" T("a", "F32", "2", "0,8") "," T("b", "F32", "1", "12,16") "}", 16, bad,
                  "belong to no tensor");
    expect_header("{" T("a", "F32", "2", "0,8") "," T("a", "F32", "2", "8,16") "}", 16, bad, "duplicate");
    expect_header("{" T("a", "F32", "2", "0,9223372036854775807") "}", 8, bad, "outside");
    expect_header("{" T("a", "F32", "2", "0,99999999999999999999") "}", 8, bad, "JSON");
    expect_header("{" T("a", "F32", "2", "0,8.0") "}", 8, bad, "whole numbers");
    expect_header("{" T("a", "F32", "2", "0") "}", 8, bad, "whole numbers");
    expect_header("{" T("a", "F32", "2", "0,8,9") "}", 8, bad, "whole numbers");
}

static void lying_shapes(void **state)
{
    (void)state;
    const enum wan_status bad = WAN_EFORMAT;
    expect_header("{" T("a", "F32", "-2", "0,8") "}", 8, bad, "whole number");
    expect_header("{" T("a", "F32", "2.0", "0,8") "}", 8, bad, "whole number");
    expect_header("{" T("a", "F32", "\"2\"", "0,8") "}", 8, bad, "whole number");
    expect_header("{" T("a", "F32", "4611686018427387904,4", "0,0") "}", 0, bad, "too large");
    expect_header("{" T("a", "F32", "4611686018427387904,4611686018427387904,0", "0,0") "}", 0, bad,
                  "too large");
    expect_header("{" T("a", "F32", "9223372036854775807", "0,0") "}", 0, bad, "too large");
    expect_header("{" T("a", "F32", "1,1,1,1,1,1,1,1,2", "0,8") "}", 8, WAN_EUNSUPPORTED, "9 dimensions");
    expect_header("{" T("a", "F33", "2", "0,8") "}", 8, WAN_EUNSUPPORTED, "'F33'");
    expect_header("{\"a\":{\"dtype\":7,\"shape\":[2],\"data_offsets\":[0,8]}}", 8, bad, "no dtype");
    expect_header("{\"a\":{\"dtype\":\"F32\",\"shape\":2,\"data_offsets\":[0,8]}}", 8, bad, "no shape");
    expect_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, bad, "data_offsets");
    expect_header("{\"a\":[1,2]}", 0, bad, "no dtype");
    expect_header("{\"__metadata__\":[]}", 0, bad, "__metadata__");
    expect_header("{\"__metadata__\":{\"a\":1}}", 0, bad, "not a string");
    expect_header("{\"a\\u0000b\":{}}", 0, bad, "JSON");
    expect_header("{\"a\":\"\xff\"}", 0, bad, "JSON");
    expect_header("{\"a\":{}", 0, bad, "JSON");
    expect_header("[]", 0, bad, "not JSON");
}

static void nested_and_endless_headers(void **state)
{
    (void)state;
    struct wn_str s = {0};
    PK(&s, "{\"a\":");
    for (int i = 0; i < 100000; i++) PK(&s, "[");
    expect_header(s.data, 0, WAN_EFORMAT, "nested deeper");
    wn_str_clear(&s);
    PK(&s, "{\"a\":[");
    for (int i = 0; i < 2100000; i++) PK(&s, "1,");
    PK(&s, "1]}");
    expect_header(s.data, 0, WAN_EFORMAT, "more than 2000000 values");
    wn_str_clear(&s);
    put(&s, 100 * 1000 * 1000 + 1, 8);
    PK(&s, "{}");
    write_file(in_scratch("h.safetensors"), s.data, s.n);
    expect_failure(in_scratch("h.safetensors"), WAN_EFORMAT, "header of 100000001 bytes");
    wn_str_clear(&s);
    put(&s, UINT64_MAX - 4, 8);
    PK(&s, "{}");
    write_file(in_scratch("h.safetensors"), s.data, s.n);
    expect_failure(in_scratch("h.safetensors"), WAN_EFORMAT, "not a safetensors file");
    wn_str_release(&s);
}

/* ---- other kinds ---- */

static void other_files(void **state)
{
    (void)state;
    const char *path = in_scratch("other.safetensors");
    write_text(path, "");
    expect_failure(path, WAN_EFORMAT, "too short");
    write_text(path, "GGUF\3\0\0\0 and more");
    expect_failure(path, WAN_EUNSUPPORTED, "GGUF");
    write_text(path, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n");
    expect_failure(path, WAN_EFORMAT, "Git LFS");
    write_text(path, "<html><body>404</body></html>");
    expect_failure(path, WAN_EFORMAT, "not a safetensors file");
    path = in_scratch("other.bin");
    write_text(path, "<html><body>404</body></html>");
    expect_failure(path, WAN_EFORMAT, "neither");
    write_text(path, " {\"weight_map\": {}}");
    expect_failure(path, WAN_EFORMAT, "weight_map");
    expect_failure(in_scratch("nothing"), WAN_EIO, "nothing");
    assert_int_equal(mkdir(in_scratch("empty"), 0700), 0);
    expect_failure(in_scratch("empty"), WAN_EFORMAT, "no .safetensors");
}

static void expect_index(const char *json, enum wan_status code, const char *word)
{
    const char *path = in_scratch("index/x.safetensors.index.json");
    write_text(path, json);
    if (code)
        expect_failure(path, code, word);
    else
        assert_int_equal(open_either_way(path), WAN_OK);
}

static void lying_index(void **state)
{
    (void)state;
    const float v[2] = {1, 2};
    const struct wn_weight t[] = {
        {.name = "a", .type = WN_F32, .n_dims = 1, .dim = {2}, .data = v, .bytes = 8},
        {.name = "b", .type = WN_F32, .n_dims = 1, .dim = {2}, .data = v, .bytes = 8}};
    assert_int_equal(mkdir(in_scratch("index"), 0700), 0);
    assert_int_equal(wn_safetensors_write(in_scratch("index/1.safetensors"), &t[0], 1, NULL, NULL), WAN_OK);
    assert_int_equal(wn_safetensors_write(in_scratch("index/2.safetensors"), &t[1], 1, NULL, NULL), WAN_OK);
    assert_int_equal(wn_safetensors_write(in_scratch("index/3.safetensors"), t, 2, NULL, NULL), WAN_OK);
    assert_int_equal(wn_safetensors_write(in_scratch("up.safetensors"), &t[0], 1, NULL, NULL), WAN_OK);
    expect_index("{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\"}}", WAN_OK, NULL);
    expect_index("{\"weight_map\":{\"a\":\"2.safetensors\",\"b\":\"1.safetensors\"}}", WAN_EFORMAT,
                 "where the index says");
    expect_index("{\"weight_map\":{\"a\":\"1.safetensors\",\"c\":\"2.safetensors\"}}", WAN_EFORMAT,
                 "tensor 'c'");
    expect_index("{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"3.safetensors\"}}", WAN_EFORMAT, "twice");
    expect_index("{\"weight_map\":{\"a\":\"4.safetensors\"}}", WAN_EIO, "4.safetensors");
    expect_index("{\"weight_map\":{\"a\":\"../up.safetensors\"}}", WAN_EFORMAT, "beside the index");
    expect_index("{\"weight_map\":{\"a\":\"/etc/passwd\"}}", WAN_EFORMAT, "beside the index");
    expect_index("{\"weight_map\":{\"a\":\"..\"}}", WAN_EFORMAT, "beside the index");
    expect_index("{\"weight_map\":{\"a\":\"\"}}", WAN_EFORMAT, "beside the index");
    expect_index("{\"weight_map\":{\"a\":1}}", WAN_EFORMAT, "beside the index");
    expect_index("{\"weight_map\":[]}", WAN_EFORMAT, "no weight_map");
    expect_index("[1]", WAN_EFORMAT, "neither");
    /* An index that names itself must not be followed round and round. */
    expect_index("{\"weight_map\":{\"a\":\"x.safetensors.index.json\"}}", WAN_EFORMAT, "neither");
    write_text(in_scratch("index/y.safetensors.index.json"), "{}");
    expect_failure(in_scratch("index"), WAN_EFORMAT, "");
}

/* ---- pickles that lie or attack ---- */

static void expect_pickle(struct wn_str *s, enum wan_status code, const char *word)
{
    const char *path = write_pth("p.pth", s);
    if (code)
        expect_failure(path, code, word);
    else
        assert_int_equal(open_either_way(path), WAN_OK);
}

static void expect_ops(const char *ops, size_t n, const char *word)
{
    struct wn_str s = {0};
    pk(&s, ops, n);
    expect_pickle(&s, WAN_EFORMAT, word);
}
#define OPS(literal, word) expect_ops(literal, sizeof literal - 1, word)

static void code_is_never_run(void **state)
{
    (void)state;
    const char *mark = in_scratch("executed");
    char ops[700];
    struct wn_str s = {0};
    PK(&s, "\x80\x02"
           "cos\nsystem\n(");
    snprintf(ops, sizeof ops, "touch %s", mark);
    pk_text(&s, ops);
    PK(&s, "tR.");
    expect_pickle(&s, WAN_EFORMAT, "os.system");
    assert_int_equal(wn_file_kind(mark), WN_FILE_NONE);
    OPS("\x80\x02"
        "cposix\nsystem\n.",
        "posix.system");
    OPS("\x80\x02"
        "cbuiltins\neval\n.",
        "builtins.eval");
    OPS("\x80\x04\x8c\x02os\x8c\x06system\x93.", "os.system");
    OPS("\x80\x02"
        "ctorch._utils\n_rebuild_tensor_v2.x\n.",
        "_rebuild_tensor_v2.x");
    OPS("\x80\x02"
        "ctorch\n_utils._rebuild_tensor_v2\n.",
        "no named tensors");                                    /* the same function, spelled oddly */
    OPS("\x80\x02(ios\nsystem\n.", "0x69");                     /* INST */
    OPS("\x80\x02(cos\nsystem\no.", "os.system");               /* OBJ */
    OPS("\x80\x02\x82\x01.", "0x82");                           /* extension registry */
    OPS("\x80\x02}(X\1\0\0\0aX\1\0\0\0bRu.", "not a function"); /* calls a text */
    OPS("\x80\x02"
        "ctorch\nFloatStorage\n)R.",
        "as if it were a function");
    OPS("\x80\x02"
        "ccollections\nOrderedDict\nK\1R.",
        "not a function");
    OPS("\x80\x02"
        "ctorch._utils\n_rebuild_parameter\n)R.",
        "without its tensor");
    OPS("\x80\x02"
        "ctorch._utils\n_rebuild_tensor_v2\n)R.",
        "odd arguments");
}

static void broken_machines(void **state)
{
    (void)state;
    OPS("", "ends in the middle");
    OPS("\x80\x02", "ends in the middle");
    OPS("}.", "protocol");
    OPS("\x80\x01}.", "protocol");
    OPS("\x80\x06}.", "protocol");
    OPS("\x80\x02.", "empty");
    OPS("\x80\x02"
        "0.",
        "empty");
    OPS("\x80\x02(0.", "empty"); /* must not take what lies below a mark */
    OPS("\x80\x02}(a.", "empty");
    OPS("\x80\x02t.", "mark");
    OPS("\x80\x02u.", "mark");
    OPS("\x80\x02}(NNNu.", "without a value");
    OPS("\x80\x02](NNu.", "holds none");
    OPS("\x80\x02}Na.", "holds none");
    OPS("\x80\x02NNNs.", "holds none");
    OPS("\x80\x02Nb.", "empty");
    OPS("\x80\x02NNb.", "has none");
    OPS("\x80\x02h\0.", "never set");
    OPS("\x80\x02Nq\0h\1.", "never set");
    OPS("\x80\x02Nr\xff\xff\xff\xff.", "memo index");
    OPS("\x80\x02Nr\xff\xff\x0f\0.", "memo index");
    OPS("\x80\x02j\xff\xff\xff\xff.", "never set");
    OPS("\x80\x02X\xff\xff\xff\xff.", "ends in the middle");
    OPS("\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", "ends in the middle");
    OPS("\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xff", "ends in the middle");
    OPS("\x80\x02\x8b\xff\xff\xff\xff.", "ends in the middle");
    OPS("\x80\x02\x8a\x09\1\2\3\4\5\6\7\x08\x09.", "64 bits");
    OPS("\x80\x02"
        "cabc",
        "ends in the middle");
    OPS("\x80\x02NQ.", "not a storage");
    OPS("\x80\x02(X\7\0\0\0storageNNNNtQ.", "not a storage");
    OPS("\x80\x02N.", "no named tensors");
    OPS("\x80\x02}.", "no named tensors");
}

/* Deep recursion, doubling through the memo, a dict in itself, huge stacks and memos: bounded in time and
 * memory. */
static void bombs(void **state)
{
    (void)state;
    struct wn_str s = {0};
    PK(&s, "\x80\x02");
    for (int i = 0; i < 1000000; i++) PK(&s, "]");
    for (int i = 0; i < 999999; i++) PK(&s, "a");
    PK(&s, ".");
    expect_pickle(&s, WAN_EFORMAT, "no named tensors");
    PK(&s, "\x80\x02}q");
    put(&s, 0, 1);
    PK(&s, "X\1\0\0\0ah\0s."); /* d = {}; d["a"] = d */
    expect_pickle(&s, WAN_EFORMAT, "too long");
    PK(&s, "\x80\x02}q");
    put(&s, 0, 1);
    for (int level = 1; level < 200; level++) { /* each dict holds the one before ten times */
        PK(&s, "0}q");
        put(&s, (unsigned)level, 1);
        for (int i = 0; i < 10; i++) {
            char key[2] = {(char)('a' + i), 0};
            pk_text(&s, key);
            PK(&s, "h");
            put(&s, (unsigned)level - 1, 1);
            PK(&s, "s");
        }
    }
    PK(&s, ".");
    expect_pickle(&s, WAN_EFORMAT, "");
    PK(&s, "\x80\x02");
    for (int i = 0; i < 2100000; i++) PK(&s, "N");
    expect_pickle(&s, WAN_EFORMAT, "too many values");
    PK(&s, "\x80\x02N");
    for (int i = 0; i < 9000000; i++) PK(&s, "2");
    expect_pickle(&s, WAN_EFORMAT, "stack grows");
    PK(&s, "\x80\x02");
    for (int i = 0; i < 9000000; i++) PK(&s, "(");
    expect_pickle(&s, WAN_EFORMAT, "stack grows");
    PK(&s, "\x80\x04N");
    for (int i = 0; i < 5000000; i++) PK(&s, "\x94");
    expect_pickle(&s, WAN_EFORMAT, "memo index");
    for (int i = 0; i < (33 << 20) / 16; i++) PK(&s, "\x80\x02NNNNNNNNNNNNNN");
    expect_pickle(&s, WAN_EFORMAT, "too large");
}

/* One tensor named "w" over the 64 bytes of storage "0". */
static void expect_tensor(struct fake_tensor t, enum wan_status code, const char *word)
{
    struct wn_str s = {0};
    PK(&s, "\x80\x02}");
    pk_text(&s, "w");
    pk_tensor(&s, &t);
    PK(&s, "s.");
    expect_pickle(&s, code, word);
}

static void lying_tensors(void **state)
{
    (void)state;
    const char *F = "FloatStorage";
    const enum wan_status bad = WAN_EFORMAT;
    expect_tensor((struct fake_tensor){F, 16, 0, 2, 2, {4, 4}, {4, 1}}, WAN_OK, NULL);
    expect_tensor((struct fake_tensor){F, 16, 12, 1, 1, {4}, {1}}, WAN_OK, NULL);
    expect_tensor((struct fake_tensor){F, 16, 15, 0, 0, {0}, {0}}, WAN_OK, NULL);
    expect_tensor((struct fake_tensor){F, 16, 3, 2, 2, {4, 4}, {0, 1}}, WAN_OK, NULL);
    expect_tensor((struct fake_tensor){F, 16, 0, 2, 2, {0, 1LL << 40}, {9, 9}}, WAN_OK, NULL);
    expect_tensor((struct fake_tensor){F, 16, 9, 3, 3, {2, 1, 2}, {1, INT64_MAX, 2}}, WAN_OK, NULL);
    expect_tensor((struct fake_tensor){F, 17, 0, 1, 1, {4}, {1}}, bad, "shorter");
    expect_tensor((struct fake_tensor){F, INT64_MAX, 0, 1, 1, {4}, {1}}, bad, "shorter");
    expect_tensor((struct fake_tensor){F, -1, 0, 1, 1, {4}, {1}}, bad, "not a storage");
    expect_tensor((struct fake_tensor){F, 16, 13, 1, 1, {4}, {1}}, bad, "outside");
    expect_tensor((struct fake_tensor){F, 16, 16, 0, 0, {0}, {0}}, bad, "outside");
    expect_tensor((struct fake_tensor){F, 16, -1, 1, 1, {4}, {1}}, bad, "outside");
    expect_tensor((struct fake_tensor){F, 16, INT64_MAX, 1, 1, {4}, {1}}, bad, "outside");
    expect_tensor((struct fake_tensor){F, 16, 0, 1, 1, {17}, {1}}, bad, "outside");
    expect_tensor((struct fake_tensor){F, 16, 0, 1, 1, {2}, {16}}, bad, "outside");
    expect_tensor((struct fake_tensor){F, 16, 15, 1, 1, {2}, {-1}}, bad, "outside");
    expect_tensor((struct fake_tensor){F, 16, 0, 1, 1, {2}, {INT64_MAX}}, bad, "outside");
    expect_tensor((struct fake_tensor){F, 16, 0, 2, 2, {1LL << 31, 1LL << 29}, {1LL << 33, 1LL << 35}}, bad,
                  "outside");
    expect_tensor((struct fake_tensor){F, 16, 0, 1, 1, {-4}, {1}}, bad, "negative");
    expect_tensor((struct fake_tensor){F, 16, 0, 2, 2, {1LL << 40, 1LL << 40}, {0, 0}}, bad, "too large");
    expect_tensor((struct fake_tensor){F, 16, 0, 1, 1, {1LL << 40}, {0}}, bad, "expanded");
    expect_tensor((struct fake_tensor){F, 16, 0, 2, 1, {2, 2}, {1}}, bad, "odd arguments");
    expect_tensor((struct fake_tensor){F, 16, 0, 9, 9, {1, 1, 1, 1, 1, 1, 1, 1, 1}, {0}}, bad, "dimensions");
    expect_tensor((struct fake_tensor){"QInt8Storage", 16, 0, 1, 1, {4}, {1}}, bad, "torch.QInt8Storage");
}

/* A copy of each of many expanded tensors: together they may not pass the limit either. */
static void many_expansions(void **state)
{
    (void)state;
    struct wn_str s = {0};
    PK(&s, "\x80\x02}");
    for (int i = 0; i < 10; i++) {
        char name[16];
        snprintf(name, sizeof name, "w%d", i);
        pk_text(&s, name);
        pk_tensor(&s, &(struct fake_tensor){"FloatStorage", 16, 0, 1, 1, {2 << 20}, {0}});
        PK(&s, "s");
    }
    PK(&s, ".");
    expect_pickle(&s, WAN_EFORMAT, "expanded");
}

static void odd_names(void **state)
{
    (void)state;
    const struct fake_tensor t = {"FloatStorage", 16, 0, 1, 1, {4}, {1}};
    static const char *const bad[] = {"\xff", "\xc3"};
    struct wn_str s = {0};
    for (size_t i = 0; i < 2; i++) {
        PK(&s, "\x80\x02}");
        pk_text(&s, bad[i]);
        pk_tensor(&s, &t);
        PK(&s, "s.");
        expect_pickle(&s, WAN_EFORMAT, "UTF-8");
    }
    PK(&s, "\x80\x02}X\3\0\0\0a\0b");
    pk_tensor(&s, &t);
    PK(&s, "s.");
    expect_pickle(&s, WAN_EFORMAT, "UTF-8");
    PK(&s, "\x80\x02}"); /* the same name twice */
    for (int i = 0; i < 2; i++) {
        pk_text(&s, "w");
        pk_tensor(&s, &t);
        PK(&s, "s");
    }
    PK(&s, ".");
    expect_pickle(&s, WAN_EFORMAT, "twice");
}

/* ---- zip archives that lie ---- */

static void good_pickle(struct wn_str *s)
{
    PK(s, "\x80\x02}");
    pk_text(s, "w");
    pk_tensor(s, &(struct fake_tensor){"FloatStorage", 16, 0, 1, 1, {16}, {1}});
    PK(s, "s.");
}

static void zip64_archives(void **state)
{
    (void)state;
    static const char data[64] = "0123456789abcdef";
    const char *path = in_scratch("z64.pth");
    struct wn_str s = {0};
    good_pickle(&s);
    struct zip_writer z = {.zip64 = 1};
    zip_add(&z, "y/data.pkl", s.data, s.n);
    zip_add(&z, "y/data/0", data, sizeof data);
    zip_write(&z, path);
    wn_str_release(&s);
    struct wn_weights *w;
    assert_int_equal(wn_weights_open(&w, path, NULL), WAN_OK);
    assert_memory_equal(wn_weights_find(w, "w")->data, data, 64);
    wn_weights_close(w);
    truncate_everywhere(path, "z.pth");
    mutate_everywhere(path, "z.pth", 0);
}

/* A storage that lies beyond 4 GiB, as most of T5 does: the file is sparse. */
static void beyond_4_gib(void **state)
{
    (void)state;
    const char *path = in_scratch("big.pth");
    const uint64_t far = (uint64_t)5 << 30;
    struct wn_str s = {0}, local = {0}, tail = {0};
    good_pickle(&s);
    struct zip_writer z = {.zip64 = 1};
    zip_add(&z, "y/data.pkl", s.data, s.n);
    zip_entry_at(&z, "y/data/0", 64, 0, far);
    zip_local(&local, "y/data/0", 0);
    for (unsigned i = 0; i < 64; i++) put(&local, i, 1);
    zip_end(&z, far + local.n, &tail);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(z.body.data, 1, z.body.n, f), z.body.n);
    assert_int_equal(fseeko(f, (off_t)far, SEEK_SET), 0);
    assert_int_equal(fwrite(local.data, 1, local.n, f), local.n);
    assert_int_equal(fwrite(tail.data, 1, tail.n, f), tail.n);
    assert_int_equal(fclose(f), 0);
    struct wn_weights *w;
    struct wn_err err = {0};
    if (wn_weights_open(&w, path, &err)) fail_msg("%s", err.text);
    for (int i = 0; i < 64; i++) assert_int_equal(((const uint8_t *)wn_weights_find(w, "w")->data)[i], i);
    wn_weights_close(w);
    unlink(path);
    wn_str_release(&s), wn_str_release(&local), wn_str_release(&tail);
    wn_str_release(&z.body), wn_str_release(&z.directory);
}

static void lying_archives(void **state)
{
    (void)state;
    const char *path = in_scratch("lie.pth");
    static const char data[64];
    struct wn_str s = {0};
    good_pickle(&s);
    struct zip_writer z = {0};
    zip_add(&z, "y/data.pkl", s.data, s.n);
    zip_write(&z, path);
    expect_failure(path, WAN_EFORMAT, "data/0) is missing");
    zip_add(&z, "y/data.pkl", s.data, s.n);
    zip_add(&z, "z/data.pkl", s.data, s.n);
    z.n = 2;
    zip_write(&z, path);
    expect_failure(path, WAN_EFORMAT, "more than one data.pkl");
    z = (struct zip_writer){0};
    zip_add(&z, "y/data.pkl", s.data, s.n);
    zip_add(&z, "y/data/0", data, 64);
    zip_add(&z, "y/data/0", data, 64);
    zip_write(&z, path);
    expect_failure(path, WAN_EFORMAT, "same name");
    z = (struct zip_writer){0};
    zip_add(&z, "y/data.pkl", s.data, s.n);
    zip_add(&z, "y/data/0", data, 64);
    zip_entry_at(&z, "y/data.pkl", 10, 0, 0); /* a second entry over the first's bytes */
    zip_write(&z, path);
    expect_failure(path, WAN_EFORMAT, "overlap");
    z = (struct zip_writer){0};
    zip_add(&z, "y/readme", data, 64);
    zip_write(&z, path);
    expect_failure(path, WAN_EFORMAT, "no data.pkl");
    z = (struct zip_writer){0};
    zip_write(&z, path);
    expect_failure(path, WAN_EFORMAT, "no data.pkl");
    z = (struct zip_writer){0};
    zip_add(&z, "y/data.pkl", s.data, s.n);
    zip_entry_at(&z, "y/data/0", (uint64_t)1 << 31, 0, 0);
    zip_write(&z, path);
    expect_failure(path, WAN_EFORMAT, "damaged zip");
    wn_str_release(&s);
}

int main(void)
{
    wn_json_hook_memory(); /* so that its allocations are failed too */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(truncated),
        cmocka_unit_test(mutated),
        cmocka_unit_test(random_pickles),
        cmocka_unit_test(lying_offsets),
        cmocka_unit_test(lying_shapes),
        cmocka_unit_test(nested_and_endless_headers),
        cmocka_unit_test(other_files),
        cmocka_unit_test(lying_index),
        cmocka_unit_test(code_is_never_run),
        cmocka_unit_test(broken_machines),
        cmocka_unit_test(bombs),
        cmocka_unit_test(lying_tensors),
        cmocka_unit_test(many_expansions),
        cmocka_unit_test(odd_names),
        cmocka_unit_test(zip64_archives),
        cmocka_unit_test(beyond_4_gib),
        cmocka_unit_test(lying_archives),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
