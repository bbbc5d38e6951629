#include "ui.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "jsonl.h"
#include "options.h"

/* One terminal, one program: what stands on the last line of it. */
static struct {
    enum ui_level level;
    bool json, few_codes;
    const char *output; /* what is worked on, of several */
    bool line_open;     /* a progress line without its end stands on the terminal */
    size_t line_len;    /* of the line before, which a shorter one must blank */
    char stage[32];     /* of the last progress report */
    int step;
    double printed_at; /* seconds of the session */
} ui = {.level = UI_NORMAL};

void ui_set_level(enum ui_level level)
{
    ui.level = level;
}

void ui_set_json(void)
{
    ui.json = true;
    setvbuf(stderr, NULL, _IOFBF, BUFSIZ); /* each line is flushed, in one piece where it is not very long */
}

bool ui_is_json(void)
{
    return ui.json;
}

void ui_set_few_codes(void)
{
    ui.few_codes = true;
}

void ui_set_output(const char *name)
{
    ui.output = name;
}

static void end_line(void)
{
    if (ui.line_open) fputc('\n', stderr);
    ui.line_open = false;
    ui.line_len = 0;
}

/* ---- failures ---- */

enum { MAX_SENTENCE = 8192 };

static int say_failure(enum wan_status status, int code, const char *format, va_list args)
{
    char text[MAX_SENTENCE];
    end_line();
    vsnprintf(text, sizeof text, format, args);
    if (ui.json) {
        struct jsonl j = {.f = stderr};
        jsonl_open(&j, NULL, '{');
        jsonl_open(&j, "error", '{');
        jsonl_text(&j, "status", wan_status_name(status));
        jsonl_int(&j, "exit", code);
        jsonl_text(&j, "message", text);
        if (ui.output) jsonl_text(&j, "output", ui.output);
        jsonl_close(&j, '}');
        jsonl_close(&j, '}');
        jsonl_end(&j);
    } else
        fprintf(stderr, "wan: %s%s%s\n", ui.output ? ui.output : "", ui.output ? ": " : "", text);
    return code;
}

int ui_fail(int code, const char *format, ...)
{
    enum wan_status status = code == EXIT_USAGE         ? WAN_EINVAL
                             : code == EXIT_MEMORY      ? WAN_ENOMEM
                             : code == EXIT_NUMERIC     ? WAN_ENUMERIC
                             : code == EXIT_INTERNAL    ? WAN_EINTERNAL
                             : code == EXIT_INTERRUPTED ? WAN_ECANCELED
                                                        : WAN_EIO;
    va_list args;
    va_start(args, format);
    say_failure(status, code, format, args);
    va_end(args);
    return code;
}

int ui_fail_as(enum wan_status status, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say_failure(status, code, format, args);
    va_end(args);
    return code;
}

static int exit_code(enum wan_status status, int einval)
{
    switch (status) {
    case WAN_EINVAL: return einval;
    case WAN_ECANCELED: return EXIT_INTERRUPTED;
    case WAN_ENOMEM: return ui.few_codes ? EXIT_ERROR : EXIT_MEMORY;
    case WAN_ENUMERIC: return ui.few_codes ? EXIT_ERROR : EXIT_NUMERIC;
    case WAN_EINTERNAL: return ui.few_codes ? EXIT_ERROR : EXIT_INTERNAL;
    default: return EXIT_ERROR;
    }
}

int ui_fail_status(enum wan_status status, const struct wan_context *ctx, int einval)
{
    const char *sentence = wan_error(ctx);
    if (status == WAN_ECANCELED) sentence = "interrupted";
    if (!*sentence) sentence = wan_status_name(status);
    return ui_fail_as(status, exit_code(status, einval), "%s", sentence);
}

/* ---- notices ---- */

static void say(const char *key, const char *format, va_list args)
{
    char text[MAX_SENTENCE];
    end_line();
    vsnprintf(text, sizeof text, format, args);
    if (!ui.json) {
        fprintf(stderr, "%s%s\n", strcmp(key, "warning") ? "" : "warning: ", text);
        return;
    }
    struct jsonl j = {.f = stderr};
    jsonl_open(&j, NULL, '{');
    jsonl_text(&j, key, text);
    jsonl_close(&j, '}');
    jsonl_end(&j);
}

void ui_note(const char *format, ...)
{
    va_list args;
    if (ui.level == UI_QUIET) return;
    va_start(args, format);
    say("note", format, args);
    va_end(args);
}

static void warn(const char *format, ...) UI_PRINTF(1, 2);
static void warn(const char *format, ...)
{
    va_list args;
    if (ui.level == UI_QUIET) return;
    va_start(args, format);
    say("warning", format, args);
    va_end(args);
}

int ui_flush_output(int code)
{
    if (!fflush(stdout) && !ferror(stdout)) return code;
    return ui_fail(EXIT_ERROR, "cannot write standard output: %s", strerror(errno));
}

int ui_print(char *text)
{
    size_t n = strlen(text);
    fputs(text, stdout);
    if (n == 0 || text[n - 1] != '\n') fputc('\n', stdout);
    wan_string_free(text);
    return ui_flush_output(0);
}

void ui_log(void *user, enum wan_log_level level, const char *line)
{
    (void)user;
    /* errors come back as a status, and are told once, with it */
    if (level == WAN_LOG_ERROR && ui.level != UI_VERBOSE) return;
    if (level > WAN_LOG_NOTICE && ui.level != UI_VERBOSE) return;
    (level == WAN_LOG_WARN ? warn : ui_note)("%s", line);
}

struct ui_text ui_bytes(double bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    struct ui_text t;
    int u = 0;
    while (bytes >= 1000 && u < 4) bytes /= 1024, u++;
    snprintf(t.s, sizeof t.s, u && bytes < 9.95 ? "%.1f %s" : "%.0f %s", bytes, units[u]);
    return t;
}

struct ui_text ui_seconds(double seconds)
{
    struct ui_text t;
    long whole = seconds > 0 && seconds < 1e9 ? (long)(seconds + 0.5) : 0;
    if (whole >= 3600)
        snprintf(t.s, sizeof t.s, "%ld h %02ld min", whole / 3600, whole / 60 % 60);
    else if (whole >= 60)
        snprintf(t.s, sizeof t.s, "%ld min %02ld s", whole / 60, whole % 60);
    else
        snprintf(t.s, sizeof t.s, "%.1f s", seconds > 0 ? seconds : 0);
    return t;
}

static void progress_text(char *out, size_t size, const struct wan_progress *p)
{
    char steps[48] = "", left[48] = "";
    if (p->n_steps > 0) snprintf(steps, sizeof steps, " %d/%d", p->step, p->n_steps);
    if (p->seconds_left >= 0 && p->step < p->n_steps)
        snprintf(left, sizeof left, ", %s left", ui_seconds(p->seconds_left).s);
    snprintf(out, size, "%s%s, %s%s, %s", p->stage, steps, ui_seconds(p->seconds).s, left,
             ui_bytes((double)p->memory).s);
}

static void json_progress(const struct wan_progress *p)
{
    struct jsonl j = {.f = stderr};
    jsonl_open(&j, NULL, '{');
    jsonl_open(&j, "progress", '{');
    jsonl_text(&j, "stage", p->stage);
    jsonl_int(&j, "step", p->step);
    jsonl_int(&j, "steps", p->n_steps);
    jsonl_number(&j, "seconds", p->seconds);
    jsonl_number(&j, "seconds_left", p->seconds_left < 0 ? NAN : p->seconds_left);
    jsonl_int(&j, "memory", (int64_t)p->memory);
    if (ui.output) jsonl_text(&j, "output", ui.output);
    jsonl_close(&j, '}');
    jsonl_close(&j, '}');
    jsonl_end(&j);
}

/* A terminal has one line that changes; a file gets a line for each stage's first and last step and one every
 * ten seconds between. */
void ui_progress(void *user, const struct wan_progress *p)
{
    char line[160];
    (void)user;
    if (ui.level == UI_QUIET) return;
    if (ui.json) {
        json_progress(p);
        return;
    }
    bool terminal = isatty(STDERR_FILENO), stage_new = strcmp(ui.stage, p->stage) != 0;
    bool last = p->n_steps > 0 && p->step >= p->n_steps && ui.step != p->step;
    double pause = terminal ? 0.1 : 10;
    if (!stage_new && !last && p->seconds - ui.printed_at < pause) return;
    if (stage_new) end_line();
    snprintf(ui.stage, sizeof ui.stage, "%s", p->stage);
    ui.step = p->step;
    ui.printed_at = p->seconds;
    progress_text(line, sizeof line, p);
    if (!terminal) {
        fprintf(stderr, "%s\n", line);
        return;
    }
    size_t len = strlen(line);
    int blank = ui.line_len > len ? (int)(ui.line_len - len) : 0;
    fprintf(stderr, "\r%s%*s", line, blank, "");
    fflush(stderr);
    ui.line_open = true;
    ui.line_len = len;
}
