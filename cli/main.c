/* The program `wan`: picks the command. It uses nothing of the library but what <wan/wan.h> and <wan/parts.h>
 * promise. */
#include <stdio.h>
#include <string.h>

#include <wan/wan.h>

#include "run.h"
#include "ui.h"

static int print_help(void)
{
    printf("wan %s: text to video with the Wan models\n\n", wan_version());
    for (int i = 0; i < N_COMMANDS; i++) printf("  wan %-46s%s\n", commands[i].usage, commands[i].help);
    printf("\n`wan COMMAND --help` lists the options of a command; `wan --version` prints the version.\n");
    return ui_flush_output(0);
}

static int unknown_command(const char *word)
{
    const char *names[N_COMMANDS];
    for (int i = 0; i < N_COMMANDS; i++) names[i] = commands[i].name;
    const char *near = opt_nearest(word, names, N_COMMANDS);
    if (near) return ui_fail(EXIT_USAGE, "there is no command '%s'; did you mean %s?", word, near);
    return ui_fail(EXIT_USAGE, "there is no command '%s'; see wan --help", word);
}

/* Asked before the options are parsed, so that what is wrong with them is JSON too. No value of an option can
 * be this word. */
static bool wants_json(int argc, char **argv)
{
    for (int i = 2; i < argc && strcmp(argv[i], "--"); i++)
        if (!strcmp(argv[i], "--json")) return true;
    return false;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return ui_fail(EXIT_USAGE,
                       "give a command: generate, inspect, convert, eval or bench; see wan --help");
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) return print_help();
    if (!strcmp(argv[1], "--version")) {
        printf("wan %s\n", wan_version());
        return ui_flush_output(0);
    }
    for (int i = 0; i < N_COMMANDS; i++) {
        if (strcmp(argv[1], commands[i].name) != 0) continue;
        run_catch_signals();
        if (wants_json(argc, argv)) ui_set_json();
        return commands[i].run(argc - 1, argv + 1);
    }
    return unknown_command(argv[1]);
}
