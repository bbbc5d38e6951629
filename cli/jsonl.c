#include "jsonl.h"

#include <inttypes.h>
#include <math.h>

int utf8_length(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    int n = s[0] < 0x80                   ? 1
            : s[0] >= 0xc2 && s[0] < 0xe0 ? 2
            : (s[0] & 0xf0) == 0xe0       ? 3
            : s[0] >= 0xf0 && s[0] < 0xf5 ? 4
                                          : 0;
    for (int i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    /* overlong forms, surrogates, and what is past U+10FFFF */
    bool bad = (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
               (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f);
    return bad ? 0 : n;
}

static void begin(struct jsonl *j, const char *key)
{
    if (j->more) fputs(", ", j->f);
    if (key) fprintf(j->f, "\"%s\": ", key);
    j->more = true;
}

void jsonl_open(struct jsonl *j, const char *key, char bracket)
{
    begin(j, key);
    putc(bracket, j->f);
    j->more = false;
}

void jsonl_close(struct jsonl *j, char bracket)
{
    putc(bracket, j->f);
    j->more = true;
}

void jsonl_text(struct jsonl *j, const char *key, const char *text)
{
    if (!text) {
        jsonl_null(j, key);
        return;
    }
    begin(j, key);
    putc('"', j->f);
    for (int n; *text; text += n ? n : 1) {
        unsigned char c = (unsigned char)*text;
        n = utf8_length(text);
        if (n == 0)
            fputs("\xef\xbf\xbd", j->f);
        else if (c < 0x20 || c == 0x7f)
            fprintf(j->f, "\\u%04x", c);
        else if (c == '"' || c == '\\')
            fprintf(j->f, "\\%c", c);
        else
            fwrite(text, 1, (size_t)n, j->f);
    }
    putc('"', j->f);
}

void jsonl_int(struct jsonl *j, const char *key, int64_t v)
{
    begin(j, key);
    fprintf(j->f, "%" PRId64, v);
}

void jsonl_number(struct jsonl *j, const char *key, double v)
{
    if (!isfinite(v)) {
        jsonl_null(j, key);
        return;
    }
    begin(j, key);
    fprintf(j->f, "%.10g", v);
}

void jsonl_bool(struct jsonl *j, const char *key, bool v)
{
    begin(j, key);
    fputs(v ? "true" : "false", j->f);
}

void jsonl_null(struct jsonl *j, const char *key)
{
    begin(j, key);
    fputs("null", j->f);
}

void jsonl_end(struct jsonl *j)
{
    putc('\n', j->f);
    fflush(j->f);
    j->more = false;
}
