/* Where the time of a session goes: every operation, by stage. */
#ifndef WN_LIB_PROFILE_H
#define WN_LIB_PROFILE_H

#include "backend/op.h"
#include "base/mem.h"

struct wn_profile;

struct wn_profile *wn_profile_new(void); /* NULL: no memory */
void wn_profile_free(struct wn_profile *p);
/* A stage begins, and the one before it ends; NULL: none begins. The name is borrowed. NULL profile is fine.
 */
void wn_profile_stage(struct wn_profile *p, const char *name);
/* For wn_exec's on_op; ctx is the profile. An operation that finds no memory to be remembered is not in the
 * result, which then says so. */
void wn_profile_op(void *ctx, int op, const void *args, struct wn_tensor out, double seconds);
/* The table; shares of the peak where `peak` is known. 0, or -1 for no memory. */
int wn_profile_table(const struct wn_profile *p, const struct wn_peak *peak, struct wn_str *t);
/* All operations in Chrome's trace format. */
int wn_profile_trace(const struct wn_profile *p, struct wn_str *t);

#endif
