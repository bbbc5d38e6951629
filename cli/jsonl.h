/* JSON to a stream, one value after the other; nothing is kept in between.
 *
 *     struct jsonl j = {.f = stdout};
 *     jsonl_open(&j, NULL, '{'); jsonl_text(&j, "name", "kite"); jsonl_close(&j, '}'); jsonl_end(&j);
 *
 * Keys are plain ASCII; NULL inside a list and at the top. */
#ifndef CLI_JSONL_H
#define CLI_JSONL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct jsonl {
    FILE *f;
    bool more; /* the next value follows another one */
};
void jsonl_open(struct jsonl *j, const char *key, char bracket); /* '{' or '[' */
void jsonl_close(struct jsonl *j, char bracket);
/* Text of any bytes: what is not UTF-8 becomes U+FFFD. NULL: null. */
void jsonl_text(struct jsonl *j, const char *key, const char *text);
void jsonl_int(struct jsonl *j, const char *key, int64_t v);
void jsonl_number(struct jsonl *j, const char *key, double v); /* not finite: null */
void jsonl_bool(struct jsonl *j, const char *key, bool v);
void jsonl_null(struct jsonl *j, const char *key);
/* The line ends, and goes out. */
void jsonl_end(struct jsonl *j);

/* Bytes of the UTF-8 sequence that `s` starts with; 0: none does. */
int utf8_length(const char *s);

#endif
