/* What the program says: one sentence for an error, notices, and progress, all on standard error; as text, or
 * each as a line of JSON. */
#ifndef CLI_UI_H
#define CLI_UI_H

#include <stdbool.h>
#include <stddef.h>

#include <wan/wan.h>

#if defined(__GNUC__)
#define UI_PRINTF(a, b) __attribute__((format(printf, a, b)))
#else
#define UI_PRINTF(a, b)
#endif

enum ui_level { UI_QUIET, UI_NORMAL, UI_VERBOSE };
void ui_set_level(enum ui_level level);

/* From now on everything said is JSON (docs/usage.md). Before anything is said. */
void ui_set_json(void);
bool ui_is_json(void);
/* From now on no exit code but 0, 1, 2 and 130: the contract of `wan eval`. */
void ui_set_few_codes(void);
/* What is worked on, where that is one of several: goes along with what is said. NULL: one thing alone. Kept
 * by the caller. */
void ui_set_output(const char *name);

/* "wan: <sentence>"; returns `code`, for `return ui_fail(…)`. Of the status that usually has this code. */
int ui_fail(int code, const char *format, ...) UI_PRINTF(2, 3);
int ui_fail_as(enum wan_status status, int code, const char *format, ...) UI_PRINTF(3, 4);
/* The exit code of a failed library call, after its sentence; `einval` is the one for WAN_EINVAL. */
int ui_fail_status(enum wan_status status, const struct wan_context *ctx, int einval);
/* A line for the user; nothing when quiet. */
void ui_note(const char *format, ...) UI_PRINTF(1, 2);
/* A report on standard output, with a line end; frees it with wan_string_free. 0, or 1 after a sentence. */
int ui_print(char *text);
/* Standard output has everything: 0, or 1 after a sentence. */
int ui_flush_output(int code);

/* Callbacks for wan_context_params and wan_session_on_progress; `user` is not used. */
void ui_log(void *user, enum wan_log_level level, const char *line);
void ui_progress(void *user, const struct wan_progress *p);

/* "1.2 GiB", "3 min 05 s" in a buffer of the caller. */
struct ui_text {
    char s[32];
};
struct ui_text ui_bytes(double bytes);
struct ui_text ui_seconds(double seconds);

#endif
