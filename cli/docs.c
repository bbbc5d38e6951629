/* docs FORMAT FILE: write the manual page (man) or the completions for a shell (bash, zsh, fish) from the
 * tables that the program parses its options with. Runs while wan is built; not installed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <wan/parts.h>
#include <wan/wan.h>

#include "run.h"

/* ---- the tables ---- */

enum { MAX_OPTIONS = 96, MAX_PARTS = 32 };

/* What a command parses, as it hands it to opt_print_help. The last RUN_N_OPTIONS are those of every command.
 */
static struct table {
    struct opt opts[MAX_OPTIONS];
    size_t n;
} tables[N_COMMANDS], *current;

static const char *parts[MAX_PARTS];
static size_t n_parts;

static void keep(const struct opt_set *set)
{
    for (size_t i = 0; i < set->n && current->n < MAX_OPTIONS; i++)
        if (set->opts[i].help) current->opts[current->n++] = set->opts[i];
}

static int collect(void)
{
    char help[] = "--help";
    opt_on_help(keep);
    if (!freopen("/dev/null", "w", stdout)) return -1; /* the rest of what --help says */
    for (int i = 0; i < N_COMMANDS; i++) {
        char name[32];
        char *argv[] = {name, help, NULL};
        snprintf(name, sizeof name, "%s", commands[i].name);
        current = &tables[i];
        if (commands[i].run(2, argv) || current->n < RUN_N_OPTIONS) return -1;
    }
    for (const char *part; n_parts + 2 < MAX_PARTS && (part = wan_part_name(n_parts, NULL, NULL));)
        parts[n_parts++] = part;
    parts[n_parts++] = "tokenize";
    parts[n_parts++] = "schedule";
    return 0;
}

static char letter(const struct opt *o)
{
    for (const char *a = o->aliases; a && *a;) {
        size_t len = strcspn(a, " ");
        if (len == 1) return *a;
        a += len + (a[len] == ' ');
    }
    return 0;
}

/* The words that an option takes, where there are few; separated by spaces. */
static const char *choices(const struct opt *o)
{
    static const struct {
        const char *option, *words;
    } known[] = {
        {"device", "auto cpu ref"},
        {"isa", "portable avx2 avx512 avx512bf16 amx neon neonbf16"},
        {"precision", "f32 f32x bf16"},
        {"t5-precision", "f32 f32x bf16"},
        {"vae-precision", "f32 f32x bf16"},
        {"solver", "unipc dpm++ euler"},
        {"rng", "torch-cpu torch-cuda"},
        {"expert", "high low"},
        {"to", "mlx mlx-video"},
        {"type", "bf16 f16 f32"},
        {"quantize", "4 8"},
        {"group-size", "32 64 128"},
        {"model-type", "t2v i2v ti2v t2v-a14b i2v-a14b"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(known[i].option, o->name)) return known[i].words;
    return NULL;
}

static bool takes_file(const struct opt *o)
{
    static const char *const units[] = {"file", "path", "folder"};
    for (size_t i = 0; i < sizeof units / sizeof *units && o->unit; i++)
        if (o->type == OPT_STRING && !strcmp(o->unit, units[i])) return true;
    return false;
}

static bool takes_value(const struct opt *o)
{
    return o->type != OPT_FLAG && o->type != OPT_OPTIONAL;
}

/* ---- the manual page ---- */

/* Text in which hyphens are hyphens and nothing at the start of a line is a request. */
static void roff(FILE *f, const char *s)
{
    if (*s == '.' || *s == '\'') fputs("\\&", f);
    for (; *s; s++) {
        if (*s == '-')
            fputs("\\-", f);
        else if (*s == '\\')
            fputs("\\e", f);
        else
            putc(*s, f);
    }
}

static void roff_option(FILE *f, const struct opt *o)
{
    char after[64];
    opt_placeholder(o, after, sizeof after);
    fputs(".TP\n", f);
    if (letter(o)) fprintf(f, "\\fB\\-%c\\fR, ", letter(o));
    fputs("\\fB\\-\\-", f);
    roff(f, o->name);
    fputs("\\fR", f);
    if (*after) {
        fputs(" \\fI", f);
        roff(f, after + 1);
        fputs("\\fR", f);
    }
    putc('\n', f);
    roff(f, o->help);
    if (o->type != OPT_STRING && o->unit && *o->unit) {
        fputs(" (", f);
        roff(f, o->unit);
        putc(')', f);
    }
    if (o->min != o->max && takes_value(o) && o->max < 1e15) fprintf(f, ", %g to %g", o->min, o->max);
    fputs(".\n", f);
    for (const char *a = o->aliases; a && *a;) {
        size_t len = strcspn(a, " ");
        if (len > 1 && strlen(o->name) != len) fprintf(f, "Also \\fB\\-\\-%.*s\\fR.\n", (int)len, a);
        a += len + (a[len] == ' ');
    }
    if (o->example && *o->example && takes_value(o)) {
        fputs("Example: \\fB\\-\\-", f);
        roff(f, o->name);
        putc(' ', f);
        roff(f, o->example);
        fputs("\\fR\n", f);
    }
}

static void write_man(FILE *f)
{
    fprintf(f, ".TH WAN 1 \"\" \"wan %s\" \"User Commands\"\n", wan_version());
    fputs(".SH NAME\nwan \\- text to video with the Wan models\n.SH SYNOPSIS\n", f);
    for (int i = 0; i < N_COMMANDS; i++) {
        fputs(i ? ".br\n.B wan " : ".B wan ", f);
        roff(f, commands[i].usage);
        putc('\n', f);
    }
    fputs(".SH DESCRIPTION\n"
          "Makes videos from text with the Wan models, from the checkpoint files as they are published, on a "
          "plain CPU.\n"
          "Options are written \\fB\\-\\-steps 20\\fR or \\fB\\-\\-steps=20\\fR; a hyphen and an underscore "
          "mean the "
          "same. Where an option is given twice, the last one counts.\n",
          f);
    for (int i = 0; i < N_COMMANDS; i++) {
        fputs(".SH WAN ", f);
        for (const char *c = commands[i].name; *c; c++) putc(*c - 'a' + 'A', f);
        putc('\n', f);
        roff(f, commands[i].help);
        fputs(".\n", f);
        if (!strcmp(commands[i].name, "eval")) {
            fputs("PART is one of", f);
            for (size_t k = 0; k < n_parts; k++) {
                fputs(k ? k + 1 == n_parts ? " or " : ", " : " ", f);
                roff(f, parts[k]);
            }
            fputs("; \\fBwan eval\\fR \\fIPART\\fR \\fB\\-\\-help\\fR lists the options that one takes.\n",
                  f);
        }
        for (size_t k = 0; k + RUN_N_OPTIONS < tables[i].n; k++) roff_option(f, &tables[i].opts[k]);
    }
    fputs(".SH OPTIONS OF EVERY COMMAND\n", f);
    for (size_t k = tables[0].n - RUN_N_OPTIONS; k < tables[0].n; k++) roff_option(f, &tables[0].opts[k]);
    fputs(".SH EXIT STATUS\n"
          ".TP\n0\ndone\n"
          ".TP\n1\na file is missing, damaged or of the wrong kind, or cannot be written\n"
          ".TP\n2\nthe command line is wrong; nothing was computed\n"
          ".TP\n3\nnot enough memory\n"
          ".TP\n4\nthe model gave numbers that are none (NaN, infinity), or zeros alone\n"
          ".TP\n5\na bug in wan\n"
          ".TP\n130\ninterrupted\n"
          ".PP\nOf these \\fBwan eval\\fR has 0, 1 (for 3 to 5 too), 2 and 130. "
          "One sentence on standard error says what is wrong.\n"
          ".SH EXAMPLES\n.nf\n"
          "wan inspect Wan2.1\\-T2V\\-1.3B\n"
          "wan generate \\-m Wan2.1\\-T2V\\-1.3B \\-\\-prompt \"a red kite over the sea\" \\-o kite.mp4\n"
          ".fi\n",
          f);
}

/* ---- completions ---- */

/* Text inside single quotes of a shell. */
static void quoted(FILE *f, const char *s, const char *escape)
{
    for (; *s; s++) {
        if (*s == '\'')
            fputs(escape, f);
        else
            putc(*s, f);
    }
}

static void words_of_commands(FILE *f)
{
    for (int i = 0; i < N_COMMANDS; i++) fprintf(f, "%s%s", i ? " " : "", commands[i].name);
}

static void words_of_parts(FILE *f)
{
    for (size_t i = 0; i < n_parts; i++) fprintf(f, "%s%s", i ? " " : "", parts[i]);
}

static void bash_names(FILE *f, const struct opt *o)
{
    if (letter(o)) fprintf(f, "-%c|", letter(o));
    fprintf(f, "--%s", o->name);
}

static void write_bash(FILE *f)
{
    fputs("# Completions of bash for wan.\n"
          "_wan() {\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]} "
          "options=\n"
          "    COMPREPLY=()\n"
          "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
          "        COMPREPLY=($(compgen -W '",
          f);
    words_of_commands(f);
    fputs(" --help --version' -- \"$cur\"))\n"
          "        return\n"
          "    fi\n"
          "    case $command in\n",
          f);
    for (int i = 0; i < N_COMMANDS; i++) {
        fprintf(f, "    %s)\n        options='", commands[i].name);
        for (size_t k = 0; k < tables[i].n; k++) fprintf(f, "%s--%s", k ? " " : "", tables[i].opts[k].name);
        fputs("'\n        case $prev in\n", f);
        for (size_t k = 0; k < tables[i].n; k++) {
            const struct opt *o = &tables[i].opts[k];
            if (!takes_value(o)) continue;
            fputs("        ", f);
            bash_names(f, o);
            if (choices(o))
                fprintf(f, ") COMPREPLY=($(compgen -W '%s' -- \"$cur\")); return ;;\n", choices(o));
            else if (takes_file(o))
                fputs(") compopt -o filenames; COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n", f);
            else
                fputs(") return ;;\n", f);
        }
        fputs("        esac ;;\n", f);
    }
    fputs("    esac\n"
          "    case $cur in\n"
          "    -*) COMPREPLY=($(compgen -W \"$options\" -- \"$cur\")) ;;\n"
          "    *)\n"
          "        if [ \"$command\" = eval ] && [ \"$COMP_CWORD\" -eq 2 ]; then\n"
          "            COMPREPLY=($(compgen -W '",
          f);
    words_of_parts(f);
    fputs("' -- \"$cur\"))\n"
          "        elif [ \"$command\" = inspect ]; then\n"
          "            compopt -o filenames\n"
          "            COMPREPLY=($(compgen -f -- \"$cur\"))\n"
          "        fi ;;\n"
          "    esac\n"
          "}\n"
          "complete -F _wan wan\n",
          f);
}

/* Text inside the brackets of a specification of _arguments, inside single quotes. */
static void zsh_text(FILE *f, const char *s)
{
    for (; *s; s++) {
        if (strchr("[]:\\", *s)) putc('\\', f);
        if (*s == '\'')
            fputs("'\\''", f);
        else
            putc(*s, f);
    }
}

static void zsh_option(FILE *f, const struct opt *o)
{
    fputs(" \\\n            ", f);
    if (letter(o))
        fprintf(f, "'(-%c --%s)'{-%c,--%s}'[", letter(o), o->name, letter(o), o->name);
    else
        fprintf(f, "'--%s[", o->name);
    zsh_text(f, o->help);
    putc(']', f);
    if (takes_value(o)) {
        fputs(":value:", f);
        if (choices(o))
            fprintf(f, "(%s)", choices(o));
        else if (takes_file(o))
            fputs("_files", f);
    }
    putc('\'', f);
}

static void write_zsh(FILE *f)
{
    fputs("#compdef wan\n"
          "_wan() {\n"
          "    local -a names\n"
          "    names=(",
          f);
    for (int i = 0; i < N_COMMANDS; i++) {
        fprintf(f, "\n        '%s:", commands[i].name);
        zsh_text(f, commands[i].help);
        putc('\'', f);
    }
    fputs(")\n"
          "    if (( CURRENT == 2 )); then\n"
          "        _describe command names\n"
          "        return\n"
          "    fi\n"
          "    local command=$words[2]\n"
          "    shift words\n"
          "    (( CURRENT-- ))\n"
          "    case $command in\n",
          f);
    for (int i = 0; i < N_COMMANDS; i++) {
        fprintf(f, "    %s)\n        _arguments", commands[i].name);
        if (!strcmp(commands[i].name, "eval")) {
            fputs(" '1:part:(", f);
            words_of_parts(f);
            fputs(")'", f);
        }
        if (!strcmp(commands[i].name, "inspect")) fputs(" '1:checkpoint:_files'", f);
        for (size_t k = 0; k < tables[i].n; k++) zsh_option(f, &tables[i].opts[k]);
        fputs(" ;;\n", f);
    }
    fputs("    esac\n"
          "}\n"
          "_wan \"$@\"\n",
          f);
}

static void write_fish(FILE *f)
{
    fputs("# Completions of fish for wan.\ncomplete -c wan -f\n", f);
    for (int i = 0; i < N_COMMANDS; i++) {
        fprintf(f, "complete -c wan -n __fish_use_subcommand -a %s -d '", commands[i].name);
        quoted(f, commands[i].help, "\\'");
        fputs("'\n", f);
    }
    fputs("complete -c wan -n __fish_use_subcommand -l help\ncomplete -c wan -n __fish_use_subcommand -l "
          "version\n",
          f);
    fputs("complete -c wan -n '__fish_seen_subcommand_from eval' -a '", f);
    words_of_parts(f);
    fputs("'\ncomplete -c wan -n '__fish_seen_subcommand_from inspect' -F\n", f);
    for (int i = 0; i < N_COMMANDS; i++) {
        for (size_t k = 0; k < tables[i].n; k++) {
            const struct opt *o = &tables[i].opts[k];
            fprintf(f, "complete -c wan -n '__fish_seen_subcommand_from %s' -l %s", commands[i].name,
                    o->name);
            if (letter(o)) fprintf(f, " -s %c", letter(o));
            if (takes_value(o)) fputs(takes_file(o) ? " -r -F" : " -x", f);
            if (choices(o)) fprintf(f, " -a '%s'", choices(o));
            fputs(" -d '", f);
            quoted(f, o->help, "\\'");
            fputs("'\n", f);
        }
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*write)(FILE *f);
    } formats[] = {{"man", write_man}, {"bash", write_bash}, {"zsh", write_zsh}, {"fish", write_fish}};
    if (argc != 3 || collect()) return EXIT_ERROR;
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++) {
        if (strcmp(argv[1], formats[i].name) != 0) continue;
        FILE *f = fopen(argv[2], "w");
        if (!f) return EXIT_ERROR;
        formats[i].write(f);
        int bad = ferror(f);
        return fclose(f) || bad ? EXIT_ERROR : 0;
    }
    return EXIT_USAGE;
}
