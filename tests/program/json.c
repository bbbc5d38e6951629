/* A tool for the program's tests: what JSON lines hold, by a parser that is not ours.
 *
 *     json lines FILE              every line is one JSON object; prints how many
 *     json get FILE LINE PATH      the value at PATH, as "params.size.0", of a line (from 1; -1: the last): a
 *                                  string as it is, anything else as JSON
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

static void die(const char *what, const char *why)
{
    fprintf(stderr, "json: %s: %s\n", what, why);
    exit(1);
}

/* The objects of all lines. */
static json_t *read_lines(const char *path)
{
    FILE *f = fopen(path, "r");
    json_t *all = json_array();
    char *line = NULL;
    size_t size = 0;
    ssize_t n;
    if (!f) die(path, "cannot open");
    while ((n = getline(&line, &size, f)) >= 0) {
        json_error_t error;
        json_t *v = json_loadb(line, (size_t)n, JSON_REJECT_DUPLICATES, &error);
        if (!v) die(line, error.text);
        if (!json_is_object(v)) die(line, "not an object");
        json_array_append_new(all, v);
    }
    free(line);
    fclose(f);
    return all;
}

static const json_t *step_into(const json_t *v, const char *key)
{
    return json_is_array(v) ? json_array_get(v, (size_t)atoi(key)) : json_object_get(v, key);
}

static int get(const char *path, int line, char *keys)
{
    json_t *all = read_lines(path);
    int n = (int)json_array_size(all);
    const json_t *v = json_array_get(all, (size_t)(line < 0 ? n + line : line - 1));
    for (char *key = strtok(keys, "."); key && v; key = strtok(NULL, ".")) v = step_into(v, key);
    if (!v) die(path, "no such value");
    if (json_is_string(v)) {
        puts(json_string_value(v));
    } else {
        char *text = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
        puts(text);
        free(text);
    }
    json_decref(all);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "lines")) {
        json_t *all = read_lines(argv[2]);
        printf("%zu\n", json_array_size(all));
        json_decref(all);
        return 0;
    }
    if (argc == 5 && !strcmp(argv[1], "get")) return get(argv[2], atoi(argv[3]), argv[4]);
    fprintf(stderr, "usage: json lines FILE | json get FILE LINE PATH\n");
    return 2;
}
