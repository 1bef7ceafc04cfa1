/*
 * demo_resolve.h -- names to addresses, again and again.
 *
 * The leader (demo_leader.h) asks the system's resolver for each backend's name
 * every DEMO_RESOLVE_INTERVAL, and within a second after an attempt at one of
 * its addresses failed.  Each question has a thread of its own, at most one a
 * backend, so that a resolver that hangs delays neither requests, nor checks,
 * nor other names.  A resolution that fails keeps the addresses known so far.
 */
#ifndef DEMO_RESOLVE_H
#define DEMO_RESOLVE_H

#include <stdint.h>

#include "httpd.h"

#define DEMO_RESOLVE_INTERVAL 5000000LL /* microseconds */
#define DEMO_RESOLVE_AGAIN    1000000LL /* after a failure, of a request or of the resolver */

/* Leader's thread only.  Takes answers in and asks what is due; returns when it
 * wants to be called at the latest. */
int64_t demo_resolve_tick(server_rec *s, int64_t now);

/* Forgets the questions that are still open. */
void demo_resolve_finish(void);

#endif /* DEMO_RESOLVE_H */
