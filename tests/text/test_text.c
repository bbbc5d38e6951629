/* src/text against what the official code makes of hard strings (tests/golden/text, by tools/oracle/text.py).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/file.h"
#include "text/text.h"

#define STRINGS GOLDEN_DIR "/text/strings.jsonl"

enum { MAX_IDS = 512, MAX_GOLDEN = 64 << 20 };

static const char *const tokenizers[] = {"nmt",      "nmt/spiece.model", "first",      "first/spiece.model",
                                         "old.json", "chain.json",       "bytes.json", "bare.json",
                                         "tiny.json"};
enum { N_TOKENIZERS = sizeof tokenizers / sizeof *tokenizers };

static struct wn_tokenizer *open_golden(const char *name)
{
    struct wn_err err = {0};
    struct wn_tokenizer *tok;
    char *path = wn_path_join(GOLDEN_DIR "/text", name);
    if (wn_tokenizer_open(&tok, path, &err)) fail_msg("%s", err.text);
    wn_free(path);
    return tok;
}

/* Call `row` for every line of a file; returns their number. */
static size_t each_row(const char *path, void (*row)(void *ctx, const json_t *row, size_t line), void *ctx)
{
    struct wn_err err = {0};
    char *data;
    size_t n, line = 0;
    if (wn_file_read(path, MAX_GOLDEN, &data, &n, &err)) fail_msg("%s", err.text);
    for (char *p = data, *end; p < data + n; p = end + 1) {
        end = memchr(p, '\n', (size_t)(data + n - p));
        assert_non_null(end);
        json_error_t why;
        json_t *json = json_loadb(p, (size_t)(end - p), JSON_ALLOW_NUL, &why);
        if (!json) fail_msg("line %zu: %s", line + 1, why.text);
        row(ctx, json, ++line);
        json_decref(json);
    }
    wn_free(data);
    return line;
}

struct clean_count {
    size_t n_bad, n_changed;
};

static void check_clean(void *ctx, const json_t *row, size_t line)
{
    struct clean_count *count = ctx;
    const json_t *text = json_object_get(row, "text"), *want = json_object_get(row, "clean");
    struct wn_err err = {0};
    struct wn_str got = {0};
    if (wn_text_clean(json_string_value(text), json_string_length(text), &got, &err))
        fail_msg("%s", err.text);
    count->n_changed += !json_equal(text, want);
    if (got.n != json_string_length(want) || memcmp(got.data, json_string_value(want), got.n)) {
        print_error("line %zu: got \"%s\", not \"%s\"\n", line, got.data, json_string_value(want));
        count->n_bad++;
    }
    wn_str_release(&got);
}

static void clean_agrees(const char *path, size_t min, size_t min_changed)
{
    struct clean_count count = {0};
    size_t n = each_row(path, check_clean, &count);
    print_message("%zu strings, %zu of them changed\n", n, count.n_changed);
    assert_true(n >= min);
    assert_true(count.n_changed >= min_changed);
    assert_int_equal(count.n_bad, 0);
}

static void clean_agrees_with_ftfy(void **state)
{
    (void)state;
    clean_agrees(STRINGS, 600, 200);
}

static void repair_agrees_with_ftfy(void **state)
{
    (void)state;
    clean_agrees(GOLDEN_DIR "/text/mojibake.jsonl", 2000, 1500);
}

struct id_count {
    struct wn_tokenizer *tok;
    const char *name;
    size_t n_bad, n_lists;
};

static void print_ids(const char *what, const int32_t *ids, const json_t *list, size_t n)
{
    print_error("  %s:", what);
    for (size_t i = 0; i < n && i < 60; i++) {
        print_error(" %lld",
                    ids ? (long long)ids[i] : (long long)json_integer_value(json_array_get(list, i)));
    }
    print_error("\n");
}

static void check_ids(struct id_count *count, const json_t *text, const json_t *want, size_t line)
{
    if (!want) return;
    struct wn_err err = {0};
    int32_t *ids;
    size_t n;
    if (wn_tokenizer_encode(count->tok, json_string_value(text), json_string_length(text), MAX_IDS, &ids, &n,
                            &err)) {
        fail_msg("%s", err.text);
    }
    bool same = n == json_array_size(want);
    for (size_t i = 0; i < n; i++) {
        same = same && ids[i] == json_integer_value(json_array_get(want, i));
        assert_in_range(ids[i], 0, wn_tokenizer_vocab_size(count->tok) - 1);
    }
    count->n_lists++;
    if (!same) {
        count->n_bad++;
        print_error("%s, line %zu: \"%.200s\"\n", count->name, line, json_string_value(text));
        print_ids("got ", ids, NULL, n);
        print_ids("want", NULL, want, json_array_size(want));
    }
    wn_free(ids);
}

static void check_row_ids(void *ctx, const json_t *row, size_t line)
{
    struct id_count *count = ctx;
    check_ids(count, json_object_get(row, "clean"), json_object_get(json_object_get(row, "ids"), count->name),
              line);
    check_ids(count, json_object_get(row, "text"), json_object_get(json_object_get(row, "raw"), count->name),
              line);
}

static void ids_agree_with_the_official_tokenizer(void **state)
{
    (void)state;
    size_t n_bad = 0;
    for (size_t i = 0; i < N_TOKENIZERS; i++) {
        struct id_count count = {.tok = open_golden(tokenizers[i]), .name = tokenizers[i]};
        each_row(STRINGS, check_row_ids, &count);
        assert_true(count.n_lists >= 900);
        print_message("%s: %zu lists of ids, %zu wrong\n", count.name, count.n_lists, count.n_bad);
        n_bad += count.n_bad;
        wn_tokenizer_close(count.tok);
    }
    assert_int_equal(n_bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clean_agrees_with_ftfy),
        cmocka_unit_test(repair_agrees_with_ftfy),
        cmocka_unit_test(ids_agree_with_the_official_tokenizer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
