/*
 * demo_gauges.h -- numbers over all children, given back when a child dies.
 *
 * Atomic additions in shared memory; any thread, no lock, no wait.  Before the
 * shared memory exists (configuration test) nothing is counted and nothing
 * refused.
 */
#ifndef DEMO_GAUGES_H
#define DEMO_GAUGES_H

#include <stdbool.h>

#include "apr_time.h"

/* Connections open to the address of a slot.  demo_conns_acquire counts one in
 * unless that makes more than max (0: no bound); 1 when counted. */
int  demo_conns_acquire(int slot, unsigned max);
void demo_conns_release(int slot);
unsigned demo_conns_count(int slot);

/* A child that holds less than its share could not have another; when that was
 * last, or 0.  Who holds more than his share gives up one then. */
void demo_conns_want(int slot);
apr_time_t demo_conns_wanted(int slot);

/* How many children hold connections, or wanted one after this time. */
unsigned demo_conns_parties(int slot, apr_time_t since);

/* Of these, the ones that are idle: a gauge of demo_pool_connections. */
void demo_conns_idle(int slot, int delta);

/* Requests that wait (DemoQueue): 1 and counted in, or 0: the queue is full. */
int  demo_queue_enter(unsigned max);
void demo_queue_leave(void);

/* Requests in work: demo_requests_in_flight. */
void demo_in_flight(int delta);

/* Are there more of them than this machine has processors? */
bool demo_in_flight_is_high(void);

#endif /* DEMO_GAUGES_H */
