/* Time that only goes forward. */
#ifndef WN_BASE_CLOCK_H
#define WN_BASE_CLOCK_H

/* Seconds since some moment; differences are what counts. */
double wn_now(void);

#endif
