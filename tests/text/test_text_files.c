/* src/text on bad input: text that is not UTF-8, damaged and unsupported files, allocations that fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/file.h"
#include "io/json.h"
#include "text/text.h"

#define TEXT_DIR GOLDEN_DIR "/text"

static struct wn_tokenizer *open_or_fail(const char *path)
{
    struct wn_err err = {0};
    struct wn_tokenizer *tok;
    if (wn_tokenizer_open(&tok, path, &err)) fail_msg("%s", err.text);
    return tok;
}

/* SHA-256 (FIPS 180-4), for the values that the specification gives. */

static uint32_t rotr(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static void sha_block(uint32_t h[8], const uint8_t *p)
{
    static const uint32_t k[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};
    uint32_t w[64], v[8];
    for (int i = 0; i < 16; i++) {
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 | (uint32_t)p[4 * i + 2] << 8 |
               p[4 * i + 3];
    }
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (rotr(a, 7) ^ rotr(a, 18) ^ a >> 3) +
               (rotr(b, 17) ^ rotr(b, 19) ^ b >> 10);
    }
    memcpy(v, h, sizeof v);
    for (int i = 0; i < 64; i++) {
        uint32_t s1 = rotr(v[4], 6) ^ rotr(v[4], 11) ^ rotr(v[4], 25), ch = (v[4] & v[5]) ^ (~v[4] & v[6]);
        uint32_t s0 = rotr(v[0], 2) ^ rotr(v[0], 13) ^ rotr(v[0], 22);
        uint32_t t1 = v[7] + s1 + ch + k[i] + w[i], t2 = s0 + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof *v);
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++) h[i] += v[i];
}

static void assert_sha256(const char *data, size_t n, const char *want)
{
    uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                     0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    size_t total = (n + 9 + 63) / 64 * 64;
    uint8_t *padded = calloc(total, 1);
    memcpy(padded, data, n);
    padded[n] = 0x80;
    for (int i = 0; i < 8; i++) padded[total - 1 - i] = (uint8_t)((uint64_t)n * 8 >> 8 * i);
    for (size_t i = 0; i < total; i += 64) sha_block(h, padded + i);
    free(padded);
    char hex[65];
    for (int i = 0; i < 8; i++) snprintf(hex + 8 * i, 9, "%08x", h[i]);
    assert_string_equal(hex, want);
}

/* The default negative prompt, raw and cleaned, has the sums that the specification gives (spec/wan.md 1.1).
 */
static void negative_prompt_has_its_sums(void **state)
{
    (void)state;
    static const char prompt[] = "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整"
                                 "体发灰，最差质量，低质量，JPEG压缩残留，"
                                 "丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的"
                                 "，形态畸形的肢体，手指融合，静止不动的画"
                                 "面，杂乱的背景，三条腿，背景人很多，倒着走";
    assert_int_equal(sizeof prompt - 1, 403);
    assert_sha256(prompt, sizeof prompt - 1,
                  "ce96e0324e4b54ce4b6e867f669ca520952e1a34cc116543516b1897f0d3c47e");
    struct wn_str clean = {0};
    assert_int_equal(wn_text_clean(prompt, sizeof prompt - 1, &clean, NULL), WAN_OK);
    assert_sha256(clean.data, clean.n, "42811917cca5c2c7e47e55003083c67a4f9122f03b95a1cfe8a4001ea6a2e5d3");
    wn_str_release(&clean);
}

static void clean_names_the_bad_byte(void **state)
{
    (void)state;
    static const struct {
        const char *s;
        size_t n, at;
    } bad[] = {{"abc\xff", 4, 3},
               {"\x80", 1, 0},
               {"ab\xc3", 3, 2},
               {"\xc0\x80", 2, 0},
               {"\xed\xa0\x80", 3, 0},
               {"x\xf4\x90\x80\x80", 5, 1},
               {"\xe0\x9f\xbf", 3, 0},
               {"\xf0\x8f\xbf\xbf", 4, 0},
               {"\xe4\xbd\xa0\xe4\xbd", 5, 3}};
    struct wn_tokenizer *tok = open_or_fail(TEXT_DIR "/tiny.json");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char want[64];
        snprintf(want, sizeof want, "text is not UTF-8 at byte offset %zu", bad[i].at);
        struct wn_err err = {0};
        struct wn_str out = {0};
        assert_int_equal(wn_str_add(&out, "kept", 4), 0);
        assert_int_equal(wn_text_clean(bad[i].s, bad[i].n, &out, &err), WAN_EINVAL);
        assert_string_equal(err.text, want);
        assert_string_equal(out.data, "kept");
        wn_str_release(&out);
        int32_t *ids;
        size_t n;
        err = (struct wn_err){0};
        assert_int_equal(wn_tokenizer_encode(tok, bad[i].s, bad[i].n, 512, &ids, &n, &err), WAN_EINVAL);
        assert_string_equal(err.text, want);
    }
    wn_tokenizer_close(tok);
    struct wn_err err = {0};
    struct wn_str out = {0};
    char *big = calloc(1 << 21, 1);
    assert_int_equal(wn_text_clean(big, 1 << 21, &out, &err), WAN_EINVAL);
    free(big);
}

static void repeat(struct wn_str *s, const char *what, size_t bytes)
{
    size_t len = strlen(what);
    while (len && s->n + len <= bytes) assert_int_equal(wn_str_add(s, what, len), 0);
}

/* Text made to cost time in the square of its length is cleaned, or refused, all the same. */
static void hostile_text_is_bounded(void **state)
{
    (void)state;
    static const struct {
        const char *start, *part;
        enum wan_status st;
    } cases[] = {
        {"", "\xcc\x81\xcc\xa3", WAN_OK},              /* marks in the wrong order */
        {"e", "\xe0\xbd\xb3\xcd\x84\xcc\xb4", WAN_OK}, /* marks that decompose */
        {"", "\xc3\x83\xc2\x83\xc3\x82\xc2\x83", WAN_OK},
        {"\xe7\x8c\xab", "\xc3\x83\xc2\xa9\xe2\x82\xac", WAN_OK},
        {"", "\xc3\xa2\xe2\x82\xac\xef\xbf\xbd ", WAN_OK},
        {"", "\xc3\x83 ", WAN_OK},
        {"", "&#x26;", WAN_OK},
        {"", "&amp;", WAN_OK},
        {"", "\x1b[", WAN_OK},
        {"", "\x1b[1;", WAN_OK},
        {"&", "amp;", WAN_EINVAL}, /* each pass takes one */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct wn_str text = {0}, out = {0};
        struct wn_err err = {0};
        repeat(&text, cases[i].start, strlen(cases[i].start));
        repeat(&text, cases[i].part, 1 << 20);
        clock_t begin = clock();
        assert_int_equal(wn_text_clean(text.data, text.n, &out, &err), cases[i].st);
        print_message("case %zu: %.2f s\n", i, (double)(clock() - begin) / CLOCKS_PER_SEC);
        wn_str_release(&text);
        wn_str_release(&out);
    }
}

static void check_special(const char *name, int32_t n_vocab, struct wn_token_ids want)
{
    char *path = wn_path_join(TEXT_DIR, name);
    struct wn_tokenizer *tok = open_or_fail(path);
    struct wn_token_ids got = wn_tokenizer_special(tok);
    assert_int_equal(wn_tokenizer_vocab_size(tok), n_vocab);
    assert_int_equal(got.pad, want.pad);
    assert_int_equal(got.eos, want.eos);
    assert_int_equal(got.unk, want.unk);
    wn_tokenizer_close(tok);
    wn_free(path);
}

static void vocabulary_is_as_the_files_say(void **state)
{
    (void)state;
    check_special("nmt", 1200, (struct wn_token_ids){0, 1, 3});
    check_special("nmt/spiece.model", 1200, (struct wn_token_ids){0, 1, 3});
    check_special("first/spiece.model", 800, (struct wn_token_ids){0, 1, 3});
    check_special("tiny.json", 22, (struct wn_token_ids){0, 1, 3});
}

static void ids_are_cut_to_the_limit(void **state)
{
    (void)state;
    static const char *const names[] = {"tiny.json", "bytes.json", "first/spiece.model", "bare.json"};
    for (size_t k = 0; k < 4; k++) {
        char *path = wn_path_join(TEXT_DIR, names[k]);
        struct wn_tokenizer *tok = open_or_fail(path);
        int32_t *whole, *ids;
        size_t n_whole, n, n_around = k == 1 ? 3 : k == 3 ? 0 : 1;
        static const char text[] = "the cat sat at the beach [TAG] a cat";
        assert_int_equal(wn_tokenizer_encode(tok, text, strlen(text), 512, &whole, &n_whole, NULL), WAN_OK);
        for (size_t max = 0; max < n_whole + 3; max++) {
            struct wn_err err = {0};
            enum wan_status st = wn_tokenizer_encode(tok, text, strlen(text), max, &ids, &n, &err);
            assert_int_equal(st, max < n_around ? WAN_EINVAL : WAN_OK);
            if (st) continue;
            assert_int_equal(n, max < n_whole ? max : n_whole);
            if (k != 3) assert_int_equal(ids[n - 1], 1);
            for (size_t i = 0; i + 1 < n; i++) assert_int_equal(ids[i], whole[i]);
            wn_free(ids);
        }
        wn_free(whole);
        wn_tokenizer_close(tok);
        wn_free(path);
    }
}

static char temp_path[64];

static void write_temp(const char *ext, const char *data, size_t n)
{
    snprintf(temp_path, sizeof temp_path, "text-test-%ld%s", (long)getpid(), ext);
    unlink(temp_path); /* ext4 flushes a file that is truncated and written again */
    FILE *f = fopen(temp_path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* Open temp_path; if that works, it must encode, or say why not. Returns the status of opening. */
static enum wan_status try_temp(struct wn_err *err)
{
    static const char *const texts[] = {
        "", "a cat at the beach", "\xef\xbc\xa1\xef\xac\x81 e\xcc\x81 [TAG] </s> 猫 ~~~ <0x41>\xe2\x80\x8b"};
    struct wn_tokenizer *tok;
    enum wan_status st = wn_tokenizer_open(&tok, temp_path, err);
    assert_int_equal(st, err->code);
    assert_int_equal(st == WAN_OK, tok != NULL);
    for (size_t i = 0; !st && i < sizeof texts / sizeof *texts; i++) {
        int32_t *ids;
        size_t n;
        struct wn_err e = {0};
        if (!wn_tokenizer_encode(tok, texts[i], strlen(texts[i]), 512, &ids, &n, &e)) wn_free(ids);
    }
    wn_tokenizer_close(tok);
    return st;
}

static uint32_t rng_state;

static uint32_t rnd(uint32_t below)
{
    rng_state = rng_state * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)rng_state * below >> 32);
}

/* Damage data[n] in one of the ways files are damaged; returns its new length, at most n. */
static size_t mutate(char *data, size_t n)
{
    static const char bits[] = "[]{}\":,-.e0179\\ntrue\xff\x80\x00\x01";
    size_t at = rnd((uint32_t)n), len = 1 + rnd(16);
    if (len > n - at) len = n - at;
    switch (rnd(6)) {
    case 0: return at;
    case 1: memmove(data + at, data + at + len, n - at - len); return n - len;
    case 2: memmove(data + at, data + rnd((uint32_t)(n - len + 1)), len); return n;
    case 3: data[at] = bits[rnd(sizeof bits)]; return n;
    case 4: data[at] = (char)(data[at] ^ 1 << rnd(8)); return n;
    default:
        for (size_t i = 0; i < len; i++) data[at + i] = (char)rnd(256);
        return n;
    }
}

static void mutate_file(const char *name, const char *ext, int n_times)
{
    struct wn_err err = {0};
    size_t n, used = wn_mem_used(), n_ok = 0;
    char *path = wn_path_join(TEXT_DIR, name), *data;
    if (wn_file_read(path, 1 << 24, &data, &n, &err)) fail_msg("%s", err.text);
    size_t held = wn_mem_used();
    char *copy = malloc(n);
    for (int i = 0; i < n_times; i++) {
        rng_state = (uint32_t)i;
        size_t len = n;
        memcpy(copy, data, n);
        for (uint32_t k = 1 + rnd(3); k > 0 && len > 0; k--) len = mutate(copy, len);
        write_temp(ext, copy, len);
        err = (struct wn_err){0};
        n_ok += try_temp(&err) == WAN_OK;
        if (wn_mem_used() != held) fail_msg("%s: mutation %d leaks", name, i);
    }
    print_message("%s: %d mutations, %zu of them still open\n", name, n_times, n_ok);
    free(copy);
    wn_free(data);
    wn_free(path);
    assert_int_equal(wn_mem_used(), used);
    unlink(temp_path);
}

static void damaged_json_fails_cleanly(void **state)
{
    (void)state;
    mutate_file("tiny.json", ".json", 6000);
    mutate_file("chain.json", ".json", 500);
}

static void damaged_models_fail_cleanly(void **state)
{
    (void)state;
    mutate_file("first/spiece.model", ".model", 2000);
    mutate_file("nmt/spiece.model", ".model", 300);
}

static void truncated_files_fail(void **state)
{
    (void)state;
    static const char *const names[] = {"tiny.json", "first/spiece.model"};
    for (int k = 0; k < 2; k++) {
        char *path = wn_path_join(TEXT_DIR, names[k]), *data;
        size_t n;
        assert_int_equal(wn_file_read(path, 1 << 20, &data, &n, NULL), WAN_OK);
        for (size_t len = 0; len < n - 1; len += 1 + len / 40) {
            struct wn_err err = {0};
            write_temp(k ? ".model" : ".json", data, len);
            enum wan_status st = try_temp(&err);
            if (!k) assert_int_equal(st, WAN_EFORMAT);
            if (st) assert_non_null(strstr(err.text, temp_path));
        }
        unlink(temp_path);
        wn_free(data);
        wn_free(path);
    }
}

#define VOCAB \
    "\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"<unk>\",0.0],[\"a\",-1.5],[\"</s>\",0]]}"

static void unsupported_parts_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        enum wan_status st;
        const char *says;
    } cases[] = {
        {"{" VOCAB "}", WAN_OK, ""},
        {"{" VOCAB ",\"normalizer\":{\"type\":\"Lowercase\"}}", WAN_EUNSUPPORTED, "\"Lowercase\""},
        {"{" VOCAB
         ",\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"\\\\s+\"},\"content\":\" \"}}",
         WAN_EUNSUPPORTED, "\"\\s+\""},
        {"{" VOCAB ",\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"!\"}}", WAN_EFORMAT,
         "base64"},
        {"{" VOCAB ",\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAA\"}}",
         WAN_EFORMAT, "charsmap"},
        {"{" VOCAB ",\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"AAAAAAA=\"}}",
         WAN_EFORMAT, "charsmap"},
        {"{" VOCAB ",\"pre_tokenizer\":{\"type\":\"ByteLevel\"}}", WAN_EUNSUPPORTED, "\"ByteLevel\""},
        {"{" VOCAB ",\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"__\"}}", WAN_EFORMAT,
         "\"replacement\""},
        {"{" VOCAB
         ",\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"last\"}}",
         WAN_EFORMAT, "\"prepend_scheme\""},
        {"{" VOCAB ",\"post_processor\":{\"type\":\"RobertaProcessing\"}}", WAN_EUNSUPPORTED,
         "\"RobertaProcessing\""},
        {"{" VOCAB ",\"version\":\"2.0\"}", WAN_EUNSUPPORTED, "\"version\""},
        {"{" VOCAB ",\"added_tokens\":[{\"content\":\"x\"}]}", WAN_EFORMAT, "\"single_word\""},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{}}}", WAN_EUNSUPPORTED, "\"BPE\""},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}", WAN_EFORMAT, "0 pieces"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[[\"a\",\"b\"]]}}", WAN_EFORMAT, "entry 0"},
        {"{\"model\":{\"type\":\"Unigram\",\"unk_id\":3,\"vocab\":[[\"a\",0]]}}", WAN_EFORMAT, "\"unk_id\""},
        {"{\"model\":{\"type\":\"Unigram\",\"voc\\u0061b\":[[\"a\",0]]}}", WAN_EFORMAT, "escapes"},
        {"{}", WAN_EFORMAT, "\"model\" is missing"},
        {"[]", WAN_EFORMAT, "\"model\" is missing"},
        {"{\"model\":{},\"model\":{}}", WAN_EFORMAT, "duplicate"},
        {"", WAN_EFORMAT, "0 bytes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct wn_err err = {0};
        write_temp(".json", cases[i].json, strlen(cases[i].json));
        assert_int_equal(try_temp(&err), cases[i].st);
        if (!strstr(err.text, cases[i].says)) fail_msg("\"%s\" does not say %s", err.text, cases[i].says);
        if (cases[i].st) assert_non_null(strstr(err.text, temp_path));
    }
    unlink(temp_path);
    struct wn_err err = {0};
    struct wn_tokenizer *tok;
    assert_int_equal(wn_tokenizer_open(&tok, "no-such-folder", &err), WAN_EIO);
    assert_non_null(strstr(err.text, "no-such-folder"));
    err = (struct wn_err){0};
    assert_int_equal(wn_tokenizer_open(&tok, SOURCE_DIR, &err), WAN_EIO);
    assert_non_null(strstr(err.text, "neither tokenizer.json nor spiece.model"));
}

/* A character that is no piece, where the file names no unknown id. */
static void unknown_without_an_id_is_an_error(void **state)
{
    (void)state;
    static const char json[] = "{\"model\":{\"vocab\":[[\"a\",-1]]}}";
    write_temp(".json", json, strlen(json));
    struct wn_tokenizer *tok = open_or_fail(temp_path);
    struct wn_err err = {0};
    int32_t *ids;
    size_t n;
    assert_int_equal(wn_tokenizer_encode(tok, "aa", 2, 512, &ids, &n, &err), WAN_OK);
    assert_int_equal(n, 2);
    wn_free(ids);
    assert_int_equal(wn_tokenizer_encode(tok, "ab", 2, 512, &ids, &n, &err), WAN_EINVAL);
    wn_tokenizer_close(tok);
    unlink(temp_path);
}

static enum wan_status open_and_encode(const char *path, struct wn_err *err)
{
    static const char text[] =
        " &amp;lt;the\r\ncat zq\xe2\x80\x99s \xef\xbc\xa1 beach [TAG] e\xcc\x81 \xe7\x8c\xab</s>a"
        "\n\xc3\x83 la \xc3\xa2\xe2\x82\xac\xef\xbf\xbd \xe7\x8c\xab "
        "\xc3\x83\xc2\xa9\n\xce\xb1\xcc\x81\xcc\xa3\xc2\x85";
    struct wn_str clean = {0};
    struct wn_tokenizer *tok = NULL;
    int32_t *ids = NULL;
    size_t n;
    enum wan_status st = wn_text_clean(text, strlen(text), &clean, err);
    if (!st) st = wn_tokenizer_open(&tok, path, err);
    if (!st) st = wn_tokenizer_encode(tok, clean.data, clean.n, 512, &ids, &n, err);
    wn_free(ids);
    wn_tokenizer_close(tok);
    wn_str_release(&clean);
    return st;
}

/* strict: each failure is reported as what it is. */
static void fail_each_allocation(const char *path, bool strict)
{
    size_t used = wn_mem_used();
    for (int64_t i = 0;; i++) {
        struct wn_err err = {0};
        wn_mem_fail_after(i);
        enum wan_status st = open_and_encode(path, &err);
        wn_mem_fail_after(-1);
        if (wn_mem_used() != used)
            fail_msg("%s: request %lld failed, and something leaked", path, (long long)i);
        if (!st) {
            print_message("%s: %lld allocations\n", path, (long long)i);
            assert_true(i > 20);
            return;
        }
        if (strict && st != WAN_ENOMEM) fail_msg("%s: request %lld failed: %s", path, (long long)i, err.text);
    }
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    fail_each_allocation(TEXT_DIR "/tiny.json", true);
    fail_each_allocation(TEXT_DIR "/first/spiece.model", true);
}

/* jansson blames the syntax for some of its own. */
static void every_allocation_of_jansson_may_fail(void **state)
{
    (void)state;
    json_malloc_t old_alloc;
    json_free_t old_free;
    json_get_alloc_funcs(&old_alloc, &old_free);
    wn_json_hook_memory();
    fail_each_allocation(TEXT_DIR "/tiny.json", false);
    json_set_alloc_funcs(old_alloc, old_free);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(negative_prompt_has_its_sums),
        cmocka_unit_test(clean_names_the_bad_byte),
        cmocka_unit_test(hostile_text_is_bounded),
        cmocka_unit_test(vocabulary_is_as_the_files_say),
        cmocka_unit_test(ids_are_cut_to_the_limit),
        cmocka_unit_test(unsupported_parts_are_named),
        cmocka_unit_test(unknown_without_an_id_is_an_error),
        cmocka_unit_test(truncated_files_fail),
        cmocka_unit_test(damaged_json_fails_cleanly),
        cmocka_unit_test(damaged_models_fail_cleanly),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(every_allocation_of_jansson_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
