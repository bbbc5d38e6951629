/* Command-line options from tables.
 *
 * A command describes its options in an array of struct opt, each with a pointer to the variable that it
 * sets, and calls opt_parse once. Names are kebab-case; an underscore means the same as a hyphen everywhere.
 * Accepted:
 * `--name value`, `--name=value`, `-m value` for one-letter aliases, and `--` before arguments that start
 * with '-'. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* docs/usage.md says what each stands for; they are stable. */
enum {
    EXIT_ERROR = 1,
    EXIT_USAGE = 2,
    EXIT_MEMORY = 3,
    EXIT_NUMERIC = 4,
    EXIT_INTERNAL = 5,
    EXIT_INTERRUPTED = 130
};

/* The first seven are those of enum wan_option_type, in its order. */
enum opt_type {
    OPT_STRING,   /* const char * */
    OPT_INT,      /* int */
    OPT_I64,      /* int64_t */
    OPT_FLOAT,    /* double, finite */
    OPT_FLAG,     /* int, becomes 1; takes no value */
    OPT_SIZE,     /* int[2], from "WxH" or "W*H" */
    OPT_PAIR,     /* double[2], from "LOW,HIGH", or "G" for both */
    OPT_OPTIONAL, /* const char *: digits and commas when they follow, else "" */
    OPT_BYTES     /* size_t, from "8GiB", "500MB", "1.5 GB" or bytes */
};

struct opt {
    const char *name; /* "steps" */
    const char
        *aliases; /* other names, separated by spaces, "sample_steps"; one letter means -x; NULL: none */
    enum opt_type type;
    void *value;
    double min, max;            /* bounds of each number, both included; equal: no bounds */
    const char *unit, *example; /* NULL or "": none */
    const char *help;           /* NULL: understood, but not listed */
};

/* Options and the command they belong to, "wan generate", for messages. */
struct opt_set {
    const char *command;
    const struct opt *opts;
    size_t n;
};

/* Set the variables of `set` from argv[1 .. argc-1]. Other arguments go to args [max_args], NULL where there
 * are fewer. Strings point into argv. 0, or EXIT_USAGE after one sentence on standard error. */
int opt_parse(const struct opt_set *set, int argc, char **argv, const char **args, int max_args);

/* Every option with its unit, the value its variable has now ("default"), an example and its help. */
void opt_print_help(FILE *out, const struct opt_set *set);
/* Hand the set to `visit` instead, from now on. This is how the manual is made from the same tables: see
 * docs.c. */
void opt_on_help(void (*visit)(const struct opt_set *set));

/* Text for what stands after --NAME, " N", or the unit of a text in capitals, " FILE". */
void opt_placeholder(const struct opt *o, char *out, size_t size);

/* "1,2,-3" to integers; returns how many there are, 0 when the text is anything else or more than max. */
int opt_int_list(const char *text, int64_t *out, int max);

/* The entry of names[n] nearest to `word`, or NULL when none is near. */
const char *opt_nearest(const char *word, const char *const *names, size_t n);

#endif
