/* A device that computes with a library of others proves itself before it is used. */
#ifndef WN_SELFTEST_H
#define WN_SELFTEST_H

#include "backend/op.h"

/* Compares every operation of `dev` with ref on small shapes, in f32 and bf16. WAN_EUNSUPPORTED names the
 * first that fails or differs; takes some milliseconds. */
enum wan_status wn_selftest(struct wn_device *dev, struct wn_err *err);

#endif
