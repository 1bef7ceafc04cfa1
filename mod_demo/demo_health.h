/*
 * demo_health.h -- background health checks and the page of `SetHandler
 * demo-health`.
 *
 * One thread of one child (demo_leader.h) asks each address for php-fpm's ping
 * page over FastCGI and keeps the result in shared memory, so that the cost is
 * the same with one child and with a hundred, and no request waits for it.
 *
 * A state changes after `fall` failures or `rise` successes in a row; the very
 * first result counts at once.  A ping that runs into its time-out while
 * requests to the same address succeed is no failure: the pool is busy, not
 * dead.  php-fpm that answers but has no ping page counts as up, and the text
 * says what to set.
 */
#ifndef DEMO_HEALTH_H
#define DEMO_HEALTH_H

#include "httpd.h"

#define DEMO_HEALTH_TEXT_MAX 192 /* longest text of a result, NUL included */

/* DemoHealthCheck. */
typedef struct {
    const char         *uri;      /* php-fpm's ping.path; starts with a slash */
    const char         *expect;   /* the body must begin with this; "" any body */
    apr_interval_time_t interval; /* between two checks of an address, > 0 */
    apr_interval_time_t timeout;  /* of one check, connect included, > 0 */
    int                 fall;     /* failures in a row that make it down, >= 1 */
    int                 rise;     /* successes in a row that make it up, >= 1 */
} demo_health_conf;

/* uri=/ping expect=pong interval=2s timeout=1s fall=2 rise=1 */
void demo_health_defaults(demo_health_conf *conf);

/* A result that is good, but with something to mend, starts with this. */
#define DEMO_HEALTH_NO_PING "no ping page"

/* The handler of demo-health.  The last segment of the path decides: livez,
 * readyz, healthz (as readyz); else 404.  DECLINED when the handler's name is
 * another. */
int demo_health_handler(request_rec *r);

/* --- the leader's part (demo_leader.h) ------------------------------------------- */

struct pollfd;

#define DEMO_CHECKS_MAX 32 /* at the same time */

/* Prepares the checks; APR_ENOMEM.  Everything is due at once. */
apr_status_t demo_health_begin(void);

/* Starts what is due, goes on with what runs.  Then fills in the descriptors to
 * wait for (room for DEMO_CHECKS_MAX), their number in *n, and returns when it
 * wants to be called at the latest. */
int64_t demo_health_tick(server_rec *s, int64_t now, struct pollfd *fds, int *n);

/* Closes what runs. */
void demo_health_finish(void);

#endif /* DEMO_HEALTH_H */
