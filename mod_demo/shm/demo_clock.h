/*
 * demo_clock.h -- the time that all processes share.
 *
 * Microseconds of CLOCK_MONOTONIC: a step of the wall clock neither ages a
 * result nor lengthens a backoff or a time-out.  Any thread.
 */
#ifndef DEMO_CLOCK_H
#define DEMO_CLOCK_H

#include <stdint.h>

int64_t demo_now(void);

/* As demo_now(), but behind it by up to a tick of the kernel (some milliseconds),
 * at a fifth of the cost. */
int64_t demo_now_coarse(void);

#endif /* DEMO_CLOCK_H */
