/* docs/ops.md lists the operations of src/backend/ops.def: this writes the page, or checks that it is up to
 * date.
 *
 *     test_ops_doc            compare, exit 1 when they differ
 *     test_ops_doc --print    the page, for docs/ops.md
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/op.h"
#include "base/file.h"
#include "base/mem.h"

static const char intro[] = "# Operations\n\n"
                            "What model code is written in and what a device runs. This page is made from "
                            "`src/backend/ops.def` (`test_ops_doc --print`);\n"
                            "arguments, shapes and exact semantics are in `src/backend/op.h`.\n\n"
                            "| operation | computes | its gradient needs |\n|---|---|---|\n";

static const char *needs_text(const char *needs)
{
    return !strcmp(needs, "x") ? "inputs" : !strcmp(needs, "xo") ? "inputs and output" : "nothing";
}

static void write_page(struct wn_str *page)
{
    wn_str_addf(page, "%s", intro);
    for (int i = 0; i < WN_OP_COUNT; i++)
        wn_str_addf(page, "| `%s` | %s | %s |\n", wn_op_name((enum wn_op)i), wn_op_summary((enum wn_op)i),
                    needs_text(wn_op_grad_needs((enum wn_op)i)));
}

int main(int argc, char **argv)
{
    struct wn_str page = {0};
    char *have = NULL;
    size_t n;
    struct wn_err err = {0};
    write_page(&page);
    if (argc > 1 && !strcmp(argv[1], "--print")) {
        fputs(page.data, stdout);
        return 0;
    }
    if (wn_file_read(SOURCE_DIR "/docs/ops.md", 1 << 20, &have, &n, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    int differ = strcmp(have, page.data) != 0;
    if (differ) fprintf(stderr, "docs/ops.md is out of date: test_ops_doc --print > docs/ops.md\n");
    wn_free(have);
    wn_str_release(&page);
    printf("%d passed, %d failed\n", !differ, differ);
    return differ;
}
