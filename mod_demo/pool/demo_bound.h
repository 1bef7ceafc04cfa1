/*
 * demo_bound.h -- how many connections to an address may be kept where DemoPool
 * has no max=.
 *
 * More of them are faster, but each takes a worker from everybody else who uses
 * the same php-fpm, and that shows at php-fpm's listen queue: a new connection
 * then waits there, which a kept one never does.  So each new connection tells
 * what the bound should be: answered about as fast as kept ones are, nobody
 * queues and the bound may grow; much slower, and it shrinks.
 *
 * The bound is one for all children, in shared memory.  Any thread; no lock.
 */
#ifndef DEMO_BOUND_H
#define DEMO_BOUND_H

#include "apr_time.h"

#define DEMO_BOUND_MIN 6  /* of 20 workers, php-fpm's usual number here, the others keep 14 */
#define DEMO_BOUND_MAX 16 /* more bring nothing: there are fewer processors than that */

/* For the address of this slot; DEMO_BOUND_MIN where nothing is known. */
unsigned demo_bound_get(int slot);

/* After this much of PHP's time (µs) a kept connection is closed, however busy:
 * short where others wait, longer where nobody is seen to. */
apr_interval_time_t demo_bound_slice(int slot);

/* A request took `fresh` on a connection opened for it, where one on a kept
 * connection takes `kept` on average (0: not known). */
void demo_bound_note(int slot, apr_interval_time_t fresh, apr_interval_time_t kept);

#endif /* DEMO_BOUND_H */
