/* Where in a model a bad number came from: a run that failed is done again with every named result looked at.
 */
#ifndef WN_PIPE_TRIPWIRE_H
#define WN_PIPE_TRIPWIRE_H

#include "ops/exec.h"

enum wn_bad { WN_BAD_NOT_FINITE, WN_BAD_ALL_ZERO };

struct wn_tripwire {
    enum wn_bad what;
    const char *part; /* "transformer" */
    int n_blocks;     /* of the part, where its results are "block.0", …; 0: they have other names */
    char where[96];   /* "the transformer, block 3 of 30", once found; else "" */
};

/* Look for tripwire->what in every result that ex names from now on. When one is found the exec fails, so
 * that what follows is not computed. */
void wn_tripwire_set(struct wn_exec *ex, struct wn_tripwire *tripwire);
/* WAN_ENUMERIC: "CONTEXT is not a finite number; the first is in WHERE". */
enum wan_status wn_tripwire_fail(const struct wn_tripwire *tripwire, struct wn_err *err, const char *fmt, ...)
    WN_PRINTF(3, 4);

bool wn_all_finite(const float *x, int64_t n);

#endif
