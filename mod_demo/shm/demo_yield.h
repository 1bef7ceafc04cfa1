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

/* way: from now on the calling thread does not interrupt whoever runs when it is woken,
 * it waits until that one sleeps or has used up its slice (SCHED_BATCH).  Else it is
 * as it was.  A thread whose policy is the administrator's choice keeps it. */
void demo_give_way(bool way);

/* Was it away for milliseconds, the last few times?  Of this child; any thread. */
bool demo_is_crowded(void);

#endif /* DEMO_YIELD_H */
