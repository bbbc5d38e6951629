/* What every command that computes shares: device options, the context, and signals. */
#ifndef CLI_RUN_H
#define CLI_RUN_H

#include <wan/wan.h>

#include "options.h"

struct run_args {
    const char *device, *isa;
    int threads;
    size_t max_memory;
    int json, quiet, verbose, trace, help;
};

/* The options of `a`, appended to opts[*n]. */
enum { RUN_N_OPTIONS = 9 };
void run_options(struct run_args *a, struct opt *opts, size_t *n);

/* A context as asked for, with the program's log and its signals. 0, or an exit code after a sentence; free
 * *ctx in any case. */
int run_context(struct wan_context **ctx, const struct run_args *a);

/* Of a clock that only runs forward. */
double seconds_now(void);

/* Is `name` (NULL: not given) "f32", "f32x" or "bf16"? 0, or EXIT_USAGE after a sentence that names --option.
 */
int run_check_precision(const char *option, const char *name);

/* Ctrl-C, TERM and HUP ask the library to stop, and the second one kills. A mapped file that shrank (SIGBUS)
 * ends the program with a sentence that names it. */
void run_catch_signals(void);

/* The commands: argv[0] is the command's own name. They return the exit code. */
struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *usage, *help;
};
enum { N_COMMANDS = 5 };
extern const struct command commands[N_COMMANDS];

int cmd_generate(int argc, char **argv);
int cmd_inspect(int argc, char **argv);
int cmd_convert(int argc, char **argv);
int cmd_eval(int argc, char **argv);
int cmd_bench(int argc, char **argv);

#endif
