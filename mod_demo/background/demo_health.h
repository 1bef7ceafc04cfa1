/*
 * demo_health.h -- health checks in the background.
 *
 * One thread of one child (demo_leader.h) asks each address for php-fpm's ping
 * page over FastCGI and keeps the result in shared memory, so that the cost is
 * the same with one child and with a hundred, and no request waits for it.
 *
 * A state changes after `fall` failures or `rise` successes in a row; the very
 * first result counts at once.  A ping that runs into its time-out, or is
 * refused for want of room (OVERLOADED, a full listen queue), while requests to
 * the same address succeed is no failure: the pool is busy, not dead.  php-fpm that
 * answers but has no ping page counts as up, and the text says what to set.
 *
 * Leader's thread only (demo_leader.h).
 */
#ifndef DEMO_HEALTH_H
#define DEMO_HEALTH_H

#include "httpd.h"

/* A result that is good, but with something to mend, starts with this. */
#define DEMO_HEALTH_NO_PING "no ping page"

struct pollfd;

#define DEMO_CHECKS_MAX 32 /* at the same time */

/* Prepares the checks; APR_ENOMEM.  Everything is due at once. */
apr_status_t demo_health_begin(void);

/* Goes on with what runs, starts what is due, the longest overdue first; of an
 * address one check at a time.
 * Then fills in the descriptors to wait for (room for DEMO_CHECKS_MAX), their
 * number in *n, and returns when it wants to be called at the latest. */
int64_t demo_health_tick(int64_t now, struct pollfd *fds, int *n);

/* Closes what runs. */
void demo_health_finish(void);

#endif /* DEMO_HEALTH_H */
