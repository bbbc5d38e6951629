#include "options.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <wan/wan.h>

#include "ui.h"

/* ---- names ---- */

static char fold(char c)
{
    return c == '_' ? '-' : c;
}

/* Is name[0 .. n) the same as `other`, hyphens and underscores alike? */
static bool same_name(const char *name, size_t n, const char *other, size_t n_other)
{
    if (n != n_other) return false;
    for (size_t i = 0; i < n; i++)
        if (fold(name[i]) != fold(other[i])) return false;
    return true;
}

static bool has_name(const struct opt *o, const char *name, size_t n)
{
    if (same_name(name, n, o->name, strlen(o->name))) return true;
    for (const char *a = o->aliases; a && *a;) {
        size_t len = strcspn(a, " ");
        if (same_name(name, n, a, len)) return true;
        a += len + (a[len] == ' ');
    }
    return false;
}

static const struct opt *find_opt(const struct opt_set *set, const char *name, size_t n)
{
    for (size_t i = 0; i < set->n; i++)
        if (has_name(&set->opts[i], name, n)) return &set->opts[i];
    return NULL;
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* Insertions, deletions, replacements and swaps of neighbours that turn a into b; words longer than 63 bytes
 * count as far. */
static int edit_distance(const char *a, const char *b)
{
    int na = (int)strlen(a), nb = (int)strlen(b);
    int row[3][64]; /* of the last three lengths of a */
    if (na > 63 || nb > 63) return INT_MAX;
    for (int j = 0; j <= nb; j++) row[0][j] = j;
    for (int i = 1; i <= na; i++) {
        int *now = row[i % 3];
        const int *before = row[(i + 2) % 3], *two_before = row[(i + 1) % 3];
        now[0] = i;
        for (int j = 1; j <= nb; j++) {
            char p = fold(a[i - 1]), q = fold(b[j - 1]);
            now[j] = least(before[j - 1] + (p != q), 1 + least(before[j], now[j - 1]));
            if (i > 1 && j > 1 && p == fold(b[j - 2]) && q == fold(a[i - 2]))
                now[j] = least(now[j], two_before[j - 2] + 1);
        }
    }
    return row[na % 3][nb];
}

const char *opt_nearest(const char *word, const char *const *names, size_t n)
{
    const char *best = NULL;
    int best_distance = (int)strlen(word) / 3 + 2; /* further away is no likely typing error */
    for (size_t i = 0; i < n; i++) {
        int d = edit_distance(word, names[i]);
        if (d < best_distance) best_distance = d, best = names[i];
    }
    return best;
}

enum { MAX_NAMES = 128 };

static int unknown_option(const struct opt_set *set, const char *arg, const char *name, size_t n)
{
    char word[64];
    const char *names[MAX_NAMES], *near = NULL;
    size_t n_names = 0;
    int shown = (int)(name - arg + (ptrdiff_t)n);
    for (size_t i = 0; i < set->n && n_names < MAX_NAMES; i++)
        if (set->opts[i].help) names[n_names++] = set->opts[i].name;
    if (n > 1 && n < sizeof word) {
        memcpy(word, name, n);
        word[n] = 0;
        near = opt_nearest(word, names, n_names);
    }
    if (near)
        return ui_fail(EXIT_USAGE, "unknown option %.*s of %s; did you mean --%s?", shown, arg, set->command,
                       near);
    return ui_fail(EXIT_USAGE, "unknown option %.*s; see %s --help", shown, arg, set->command);
}

/* ---- values ---- */

static bool starts_number(const char *s)
{
    if (*s == '-' || *s == '+') s++;
    return (*s >= '0' && *s <= '9') || (*s == '.' && s[1] >= '0' && s[1] <= '9');
}

/* A decimal integer up to `end` (one of the characters in `stops`, or the end of the text). */
static bool read_int(const char *s, const char *stops, int64_t *out, const char **end)
{
    char *e;
    if (!starts_number(s)) return false;
    errno = 0;
    long long v = strtoll(s, &e, 10);
    if (errno || e == s || (*e && !strchr(stops, *e))) return false;
    *out = v;
    *end = e;
    return true;
}

static bool read_float(const char *s, const char *stops, double *out, const char **end)
{
    char *e;
    if (!starts_number(s)) return false;
    errno = 0;
    double v = strtod(s, &e);
    if (!isfinite(v) || e == s || (*e && !strchr(stops, *e))) return false;
    for (const char *c = s; c < e; c++)
        if (*c == 'x' || *c == 'X') return false; /* no hexadecimal */
    *out = v;
    *end = e;
    return true;
}

int opt_int_list(const char *text, int64_t *out, int max)
{
    const char *end = text;
    for (int n = 0; n < max; n++) {
        if (!read_int(text, ",", &out[n], &end)) return 0;
        if (!*end) return n + 1;
        text = end + 1;
    }
    return 0;
}

/* What a value of this type looks like, for messages. */
static const char *type_text(enum opt_type type)
{
    switch (type) {
    case OPT_INT:
    case OPT_I64: return "a whole number";
    case OPT_FLOAT: return "a number";
    case OPT_SIZE: return "WIDTHxHEIGHT";
    case OPT_PAIR: return "a number, or two as LOW,HIGH";
    case OPT_BYTES: return "a size such as 8GiB, 500MB or 1000000";
    default: return "a value";
    }
}

static int bad_value(const struct opt *o, const char *text)
{
    return ui_fail(EXIT_USAGE, "--%s takes %s, not '%s'", o->name, type_text(o->type), text);
}

static int check_bounds(const struct opt *o, double v, const char *text)
{
    if (o->min == o->max || (v >= o->min && v <= o->max)) return 0;
    return ui_fail(EXIT_USAGE, "--%s must be between %.17g and %.17g, not %s", o->name, o->min, o->max, text);
}

static int set_integer(const struct opt *o, const char *text)
{
    const char *end;
    int64_t v;
    if (!read_int(text, "", &v, &end)) return bad_value(o, text);
    int code = check_bounds(o, (double)v, text);
    if (code) return code;
    if (o->type == OPT_I64) {
        *(int64_t *)o->value = v;
        return 0;
    }
    if (v <= INT_MIN || v > INT_MAX) return bad_value(o, text);
    *(int *)o->value = (int)v;
    return 0;
}

static int set_float(const struct opt *o, const char *text)
{
    const char *end;
    double v;
    if (!read_float(text, "", &v, &end)) return bad_value(o, text);
    int code = check_bounds(o, v, text);
    if (!code) *(double *)o->value = v;
    return code;
}

static int set_size(const struct opt *o, const char *text)
{
    const char *end;
    int64_t w, h;
    if (!read_int(text, "xX*", &w, &end) || !*end || !read_int(end + 1, "", &h, &end))
        return bad_value(o, text);
    int code = check_bounds(o, (double)w, text);
    if (!code) code = check_bounds(o, (double)h, text);
    if (code) return code;
    if (w > INT_MAX || w <= INT_MIN || h > INT_MAX || h <= INT_MIN) return bad_value(o, text);
    ((int *)o->value)[0] = (int)w;
    ((int *)o->value)[1] = (int)h;
    return 0;
}

static int set_pair(const struct opt *o, const char *text)
{
    const char *end;
    double a, b;
    if (!read_float(text, ",", &a, &end)) return bad_value(o, text);
    b = a;
    if (*end && !read_float(end + 1, "", &b, &end)) return bad_value(o, text);
    int code = check_bounds(o, a, text);
    if (!code) code = check_bounds(o, b, text);
    if (code) return code;
    ((double *)o->value)[0] = a;
    ((double *)o->value)[1] = b;
    return 0;
}

/* What a unit multiplies by, the same in small letters; 0: no such unit. */
static double unit_bytes(const char *unit)
{
    static const char letters[] = "kmgt";
    double decimal = 1, binary = 1;
    if (!*unit || !strcasecmp(unit, "b")) return 1;
    for (const char *l = letters; *l; l++) {
        decimal *= 1000;
        binary *= 1024;
        if ((unit[0] | 0x20) != *l) continue;
        return !strcasecmp(unit + 1, "b") ? decimal : !strcasecmp(unit + 1, "ib") ? binary : 0;
    }
    return 0;
}

static int set_bytes(const struct opt *o, const char *text)
{
    const char *end;
    double v;
    if (!read_float(text, " bBkKmMgGtT", &v, &end)) return bad_value(o, text);
    double unit = unit_bytes(end + strspn(end, " "));
    v *= unit;
    if (unit == 0 || v < 0 || v >= (double)(SIZE_MAX / 2)) return bad_value(o, text);
    *(size_t *)o->value = (size_t)v;
    return 0;
}

static int set_value(const struct opt *o, const char *text)
{
    switch (o->type) {
    case OPT_INT:
    case OPT_I64: return set_integer(o, text);
    case OPT_FLOAT: return set_float(o, text);
    case OPT_SIZE: return set_size(o, text);
    case OPT_PAIR: return set_pair(o, text);
    case OPT_BYTES: return set_bytes(o, text);
    case OPT_FLAG: *(int *)o->value = 1; return 0;
    case OPT_STRING:
    case OPT_OPTIONAL: *(const char **)o->value = text; return 0;
    }
    return 0;
}

/* ---- parsing ---- */

/* The option in argv[*i] (which starts with '-'); moves *i past its value. */
static int parse_one(const struct opt_set *set, int argc, char **argv, int *i)
{
    const char *arg = argv[*i], *name = arg + (arg[1] == '-' ? 2 : 1), *next = argv[*i + 1];
    size_t n = strcspn(name, "=");
    const struct opt *o = find_opt(set, name, n);
    /* one hyphen is for one letter: -m, not -model */
    if (!o || (name == arg + 1) != (n == 1)) return unknown_option(set, arg, name, n);
    if (name[n] == '=') {
        if (o->type == OPT_FLAG) return ui_fail(EXIT_USAGE, "--%s takes no value", o->name);
        return set_value(o, name + n + 1);
    }
    if (o->type == OPT_FLAG) return set_value(o, NULL);
    int64_t list[8];
    bool has_next = *i + 1 < argc && !(next[0] == '-' && next[1] == '-' && next[2]);
    if (o->type == OPT_OPTIONAL && !(has_next && opt_int_list(next, list, 8))) return set_value(o, "");
    if (!has_next) return ui_fail(EXIT_USAGE, "--%s needs a value", o->name);
    ++*i;
    return set_value(o, next);
}

int opt_parse(const struct opt_set *set, int argc, char **argv, const char **args, int max_args)
{
    int n_args = 0;
    bool only_args = false;
    for (int i = 0; i < max_args; i++) args[i] = NULL;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (!only_args && !strcmp(arg, "--")) {
            only_args = true;
        } else if (!only_args && arg[0] == '-' && arg[1]) {
            int code = parse_one(set, argc, argv, &i);
            if (code) return code;
        } else if (n_args == max_args) {
            return ui_fail(EXIT_USAGE, "%s does not know what to do with '%s'; see %s --help", set->command,
                           arg, set->command);
        } else {
            args[n_args++] = arg;
        }
    }
    return 0;
}

/* ---- help ---- */

/* At most 40 characters of a text, whole UTF-8 sequences. */
static void shorten(char *out, size_t size, const char *text)
{
    size_t n = 0, chars = 0;
    while (text[n] && n + 8 < size) {
        if (((unsigned char)text[n] & 0xc0) != 0x80 && chars++ == 40) break;
        n++;
    }
    snprintf(out, size, "%.*s%s", (int)n, text, text[n] ? "..." : "");
}

/* The value a variable has now; false when it is not set. */
static bool value_text(const struct opt *o, char *out, size_t size)
{
    const void *v = o->value;
    const int *size_v = v;
    const double *pair = v;
    switch (o->type) {
    case OPT_INT: return snprintf(out, size, "%d", *size_v) > 0 && *size_v != WAN_UNSET;
    case OPT_I64:
        return snprintf(out, size, "%lld", (long long)*(const int64_t *)v) > 0 &&
               *(const int64_t *)v != WAN_UNSET_I64;
    case OPT_FLOAT: return snprintf(out, size, "%g", *pair) > 0 && *pair != WAN_UNSET_F;
    case OPT_SIZE: return snprintf(out, size, "%dx%d", size_v[0], size_v[1]) > 0 && size_v[0] != WAN_UNSET;
    case OPT_PAIR:
        if (pair[0] == WAN_UNSET_F) return false;
        snprintf(out, size, pair[0] == pair[1] ? "%g" : "%g,%g", pair[0], pair[1]);
        return true;
    case OPT_STRING:
        if (!*(const char *const *)v || !**(const char *const *)v) return false;
        shorten(out, size, *(const char *const *)v);
        return true;
    default: return false;
    }
}

void opt_placeholder(const struct opt *o, char *out, size_t size)
{
    static const char *const names[] = {
        [OPT_STRING] = " VALUE", [OPT_INT] = " N",    [OPT_I64] = " N",         [OPT_FLOAT] = " X",
        [OPT_FLAG] = "",         [OPT_SIZE] = " WxH", [OPT_PAIR] = " LOW,HIGH", [OPT_OPTIONAL] = " [C,F,H,W]",
        [OPT_BYTES] = " SIZE"};
    snprintf(out, size, "%s", names[o->type]);
    if (o->type != OPT_STRING || !o->unit || !*o->unit) return;
    snprintf(out, size, " %s", o->unit);
    for (char *c = out; *c; c++)
        if (*c >= 'a' && *c <= 'z') *c += 'A' - 'a';
}

static void print_opt(FILE *out, const struct opt *o)
{
    char left[80], after[32], value[256], letter[8] = "    ";
    bool unit = o->type != OPT_STRING && o->unit && *o->unit;
    for (const char *a = o->aliases; a && *a;) {
        size_t len = strcspn(a, " ");
        if (len == 1) snprintf(letter, sizeof letter, "-%c, ", *a);
        a += len + (a[len] == ' ');
    }
    opt_placeholder(o, after, sizeof after);
    snprintf(left, sizeof left, "  %s--%s%s", letter, o->name, after);
    fprintf(out, "%-28s  %s%s%s%s\n", left, o->help, unit ? " (" : "", unit ? o->unit : "", unit ? ")" : "");
    if (value_text(o, value, sizeof value)) fprintf(out, "%30sdefault: %s\n", "", value);
    if (o->example && *o->example) fprintf(out, "%30sexample: --%s %s\n", "", o->name, o->example);
}

static void (*on_help)(const struct opt_set *set);

void opt_on_help(void (*visit)(const struct opt_set *set))
{
    on_help = visit;
}

void opt_print_help(FILE *out, const struct opt_set *set)
{
    if (on_help) {
        on_help(set);
        return;
    }
    for (size_t i = 0; i < set->n; i++)
        if (set->opts[i].help) print_opt(out, &set->opts[i]);
}
