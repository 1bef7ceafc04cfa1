/*
 * demo_yield.h -- a thread lets others run, and what that tells.
 *
 * Where answers take microseconds, what a thread waits for is nearly always there
 * once those have run that can: cheaper than to sleep and be woken.  How long it
 * is away meanwhile tells how many want to run, and nothing else tells as cheaply
 * that a machine has more to do than it can.
 */
#ifndef DEMO_YIELD_H
#define DEMO_YIELD_H

#include <stdbool.h>

/* Any thread. */
void demo_yield(void);

/* Was it away for milliseconds, the last few times?  Of this child; any thread. */
bool demo_is_crowded(void);

#endif /* DEMO_YIELD_H */
