/* Several videos from one command: every prompt of a file with every seed of a list, and their names. */
#ifndef CLI_BATCH_H
#define CLI_BATCH_H

#include <stddef.h>
#include <stdint.h>

struct video {
    const char *prompt;     /* NULL: none was given */
    int64_t seed;           /* WAN_UNSET_I64: none was given */
    char *output, *latents; /* files to write, or NULL */
};

struct batch {
    char *text;          /* the file of prompts, which `prompt` points into */
    const char **prompt; /* [n_prompts] */
    int64_t *seed;       /* [n_seeds] */
    size_t n_prompts, n_seeds;
    struct video *video; /* [n]: prompt by prompt, and for each seed by seed */
    size_t n;
};

/* Prompts from the lines of a file, "-": standard input. Empty lines and those that begin with '#' do not
 * count. 0, or an exit code after a sentence. */
int batch_read_prompts(struct batch *b, const char *path);
/* "1,5,9-12" */
int batch_read_seeds(struct batch *b, const char *list);
/* The videos, with names made from `output` and `latents` (NULL: none) by the rules in docs/usage.md.
 * `prompt`, `seed`: where there is no list of them. Two videos of one name are refused. */
int batch_plan(struct batch *b, const char *prompt, int64_t seed, const char *output, const char *latents);
void batch_release(struct batch *b); /* fine on a zeroed struct */

/* The first 50 characters of a prompt as a part of a file's name, into out [256]. Returns its length. */
size_t name_of_prompt(char *out, const char *prompt);

#endif
