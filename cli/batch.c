#include "batch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <wan/wan.h>

#include "jsonl.h"
#include "options.h"
#include "ui.h"

enum { MAX_VIDEOS = 10000, MAX_FILE = 1 << 26, MAX_PROMPT = 1 << 20, MAX_NAME = 4096 };

static int no_memory(void)
{
    return ui_fail(EXIT_MEMORY, "out of memory: the list of videos");
}

/* ---- prompts ---- */

static int read_all(FILE *f, const char *path, char **text, size_t *n)
{
    size_t cap = 1 << 16;
    *text = NULL;
    *n = 0;
    do {
        char *grown = realloc(*text, cap = *n ? 2 * cap : cap);
        if (!grown) return no_memory();
        *text = grown;
        *n += fread(*text + *n, 1, cap - *n - 1, f);
        if (ferror(f)) return ui_fail(EXIT_ERROR, "cannot read %s: %s", path, strerror(errno));
        if (*n > MAX_FILE)
            return ui_fail(EXIT_ERROR, "%s: more than %d MiB of prompts", path, MAX_FILE >> 20);
    } while (!feof(f));
    (*text)[*n] = 0;
    return 0;
}

/* One line without its end. NULL, or what is wrong with it. */
static const char *check_line(const char *line, size_t n)
{
    if (n > MAX_PROMPT) return "is longer than 1 MiB";
    for (size_t i = 0, len; i < n; i += len) {
        if (!line[i]) return "holds a zero byte";
        if (!(len = (size_t)utf8_length(line + i))) return "is not UTF-8";
    }
    return NULL;
}

static int split_lines(struct batch *b, char *text, size_t n, const char *path)
{
    size_t cap = 0;
    char *end = text + n;
    long number = 1;
    for (char *line = text, *next; line < end; line = next, number++) {
        char *stop = memchr(line, '\n', (size_t)(end - line));
        if (!stop) stop = end;
        next = stop + 1;
        if (stop > line && stop[-1] == '\r') stop--;
        *stop = 0;
        const char *why = check_line(line, (size_t)(stop - line));
        if (why) return ui_fail_as(WAN_EINVAL, EXIT_ERROR, "%s: line %ld %s", path, number, why);
        if (*line == '#' || !line[strspn(line, " \t\r")]) continue;
        if (b->n_prompts == cap) {
            const char **grown = realloc(b->prompt, (cap = cap ? 2 * cap : 64) * sizeof *grown);
            if (!grown) return no_memory();
            b->prompt = grown;
        }
        b->prompt[b->n_prompts++] = line;
    }
    if (b->n_prompts) return 0;
    return ui_fail_as(WAN_EINVAL, EXIT_ERROR,
                      "%s: no prompt in it: one a line, not empty, not beginning with '#'", path);
}

int batch_read_prompts(struct batch *b, const char *path)
{
    static const char mark[] = "\xef\xbb\xbf"; /* that some editors put first */
    size_t n;
    bool standard = !strcmp(path, "-");
    FILE *f = standard ? stdin : fopen(path, "rb");
    if (standard) path = "standard input";
    if (!f) return ui_fail(EXIT_ERROR, "cannot open %s: %s", path, strerror(errno));
    int code = read_all(f, path, &b->text, &n);
    if (!standard) fclose(f);
    if (code) return code;
    size_t skip = strncmp(b->text, mark, 3) ? 0 : 3;
    return split_lines(b, b->text + skip, n - skip, path);
}

/* ---- seeds ---- */

static int bad_seeds(const char *list)
{
    return ui_fail(EXIT_USAGE, "--seeds takes whole numbers and ranges of them, as 1,5,9-12, not '%s'", list);
}

static bool read_seed(const char **s, int64_t *out)
{
    char *end;
    if (**s < '0' || **s > '9') return false;
    errno = 0;
    *out = strtoll(*s, &end, 10);
    *s = end;
    return !errno;
}

int batch_read_seeds(struct batch *b, const char *list)
{
    for (const char *s = list;; s++) {
        int64_t from, to;
        if (!read_seed(&s, &from)) return bad_seeds(list);
        to = from;
        if (*s == '-' && (s++, !read_seed(&s, &to) || to < from)) return bad_seeds(list);
        if (to - from >= MAX_VIDEOS - (int64_t)b->n_seeds)
            return ui_fail(EXIT_USAGE, "--seeds %s: more than %d", list, MAX_VIDEOS);
        int64_t *grown = realloc(b->seed, (b->n_seeds + (size_t)(to - from) + 1) * sizeof *grown);
        if (!grown) return no_memory();
        b->seed = grown;
        for (int64_t k = from;; k++) {
            b->seed[b->n_seeds++] = k;
            if (k == to) break;
        }
        if (!*s) return 0;
        if (*s != ',') return bad_seeds(list);
    }
}

/* ---- names ---- */

size_t name_of_prompt(char *out, const char *prompt)
{
    size_t n = 0;
    for (int chars = 0; prompt[n] && n < 200; n++) {
        unsigned char c = (unsigned char)prompt[n];
        if ((c & 0xc0) != 0x80 && chars++ == 50) break;
        out[n] =
            c <= ' ' || c == '/' || c == '\\' || c == '%' || c == 127 || (n == 0 && (c == '.' || c == '-'))
                ? '_'
                : (char)c;
    }
    out[n] = 0;
    return n;
}

/* What {word} stands for. NULL: nothing. */
static const char *value_of(const char *word, size_t n, const struct video *v, size_t index, char out[256])
{
    if (n == 5 && !memcmp(word, "index", n))
        snprintf(out, 256, "%04zu", index + 1);
    else if (n == 4 && !memcmp(word, "seed", n) && v->seed != WAN_UNSET_I64)
        snprintf(out, 256, "%" PRId64, v->seed);
    else if (n == 6 && !memcmp(word, "prompt", n) && v->prompt)
        name_of_prompt(out, v->prompt);
    else
        return NULL;
    return out;
}

static int bad_word(const char *option, const char *pattern, const char *word, size_t n)
{
    if (n == 4 && !memcmp(word, "seed", n))
        return ui_fail(EXIT_USAGE, "%s %s: {seed} needs --seed or --seeds", option, pattern);
    if (n == 6 && !memcmp(word, "prompt", n))
        return ui_fail(EXIT_USAGE, "%s %s: {prompt} needs --prompt or --prompts", option, pattern);
    return ui_fail(EXIT_USAGE,
                   "%s %s: there is no {%.*s}; there are {index}, {prompt} and {seed}, and {{ for a brace",
                   option, pattern, (int)n, word);
}

static int expand(char **out, const char *option, const char *pattern, const struct video *v, size_t index)
{
    char name[MAX_NAME], value[256];
    size_t n = 0;
    for (const char *s = pattern; *s; s++) {
        const char *add = s;
        size_t len = 1;
        if (*s == '{' && s[1] == '{') {
            s++;
        } else if (*s == '{') {
            size_t word = strcspn(s + 1, "}");
            add = s[1 + word] ? value_of(s + 1, word, v, index, value) : NULL;
            if (!add) return bad_word(option, pattern, s + 1, word);
            len = strlen(add);
            s += word + 1;
        }
        if (n + len >= sizeof name)
            return ui_fail(EXIT_USAGE, "%s %s: the name is too long", option, pattern);
        memcpy(name + n, add, len);
        n += len;
    }
    name[n] = 0;
    return (*out = strdup(name)) ? 0 : no_memory();
}

static bool is_folder(const char *path)
{
    struct stat st;
    size_t n = strlen(path);
    return (n > 0 && path[n - 1] == '/') || (!stat(path, &st) && S_ISDIR(st.st_mode));
}

/* A folder is one for files of the usual names. NULL: no memory. */
static char *usual_pattern(const char *path, const struct batch *b, const char *kind)
{
    size_t n = strlen(path) + 64;
    char *pattern = malloc(n);
    bool folder = is_folder(path);
    if (!pattern) return NULL;
    const struct video *v = &b->video[0];
    snprintf(pattern, n, "%s%s%s%s%s%s", path, !folder || path[strlen(path) - 1] == '/' ? "" : "/",
             folder ? "{index}" : "", folder && v->prompt ? "_{prompt}" : "",
             folder && v->seed != WAN_UNSET_I64 ? "_{seed}" : "", folder ? kind : "");
    return pattern;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int check_names(const struct batch *b, size_t offset, const char *option, const char *pattern)
{
    char **name = malloc(b->n * sizeof *name), *twice = NULL;
    if (!name) return no_memory();
    for (size_t i = 0; i < b->n; i++) memcpy(&name[i], (const char *)&b->video[i] + offset, sizeof *name);
    qsort(name, b->n, sizeof *name, by_name);
    for (size_t i = 1; i < b->n && !twice; i++)
        if (!strcmp(name[i - 1], name[i])) twice = name[i];
    free(name);
    if (!twice) return 0;
    return ui_fail(
        EXIT_USAGE,
        "%s %s: two videos would be %s; tell them apart by {index}, {prompt} or {seed} in the name, or "
        "give a folder",
        option, pattern, twice);
}

/* Names of all videos into the field at `offset`. */
static int name_all(struct batch *b, size_t offset, const char *option, const char *path, const char *kind)
{
    if (!path) return 0;
    char *pattern = usual_pattern(path, b, kind);
    int code = pattern ? 0 : no_memory();
    for (size_t i = 0; i < b->n && !code; i++) {
        char *name = NULL;
        code = expand(&name, option, pattern, &b->video[i], i);
        memcpy((char *)&b->video[i] + offset, &name, sizeof name);
    }
    if (!code) code = check_names(b, offset, option, path);
    free(pattern);
    return code;
}

int batch_plan(struct batch *b, const char *prompt, int64_t seed, const char *output, const char *latents)
{
    size_t n_prompts = b->prompt ? b->n_prompts : 1, n_seeds = b->seed ? b->n_seeds : 1;
    if (n_prompts > MAX_VIDEOS / n_seeds)
        return ui_fail(EXIT_USAGE, "%zu prompts with %zu seeds are more than %d videos", n_prompts, n_seeds,
                       MAX_VIDEOS);
    b->n = n_prompts * n_seeds;
    b->video = calloc(b->n, sizeof *b->video);
    if (!b->video) return no_memory();
    for (size_t i = 0; i < b->n; i++) {
        b->video[i].prompt = b->prompt ? b->prompt[i / n_seeds] : prompt;
        b->video[i].seed = b->seed ? b->seed[i % n_seeds] : seed;
    }
    int code = name_all(b, offsetof(struct video, output), "-o", output, ".mp4");
    return code ? code
                : name_all(b, offsetof(struct video, latents), "--save-latents", latents, ".safetensors");
}

void batch_release(struct batch *b)
{
    for (size_t i = 0; i < b->n && b->video; i++) {
        free(b->video[i].output);
        free(b->video[i].latents);
    }
    free(b->video);
    free(b->prompt);
    free(b->seed);
    free(b->text);
    *b = (struct batch){0};
}
