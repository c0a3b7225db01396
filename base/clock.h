/*
 * clock.h - the loop's time: read at most once per turn of a thread's loop.
 *
 * Monotonic milliseconds are for waiting, wall seconds for Last-Modified, Date and
 * message ids. Each thread has a clock of its own. Tests set it, so that expiry
 * needs no sleep.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* A new turn of this thread's loop begins: the next reader asks the kernel. */
void clock_turn(void);

/* Milliseconds since an arbitrary start; never goes back. */
uint64_t clock_ms(void);

/* Seconds since 1970, UTC; may jump both ways. */
int64_t clock_wall_s(void);

/* Wall time in one reading, of the kernel or as it was set: seconds and microseconds. */
void clock_wall_now(int64_t *second, int64_t *us);

/* For tests: this thread's clock stands at these values until it is set again. */
void clock_set(uint64_t ms, int64_t wall_s);

#endif
