/*
 * demo_health.h -- background health checks and the page of `SetHandler
 * demo-health`.
 *
 * One thread of one child (demo_leader.h) asks each address for php-fpm's ping
 * page over FastCGI and keeps the result in shared memory, so that the cost is
 * the same with one child and with a hundred, and no request waits for it.
 */
#ifndef DEMO_HEALTH_H
#define DEMO_HEALTH_H

#include "httpd.h"

/* DemoHealthCheck. */
typedef struct {
    const char         *uri;      /* php-fpm's ping.path; starts with a slash */
    const char         *expect;   /* the body must hold this; "" any body */
    apr_interval_time_t interval; /* between two checks of an address, > 0 */
    apr_interval_time_t timeout;  /* of one check, connect included, > 0 */
    int                 fall;     /* failures in a row that make it down, >= 1 */
    int                 rise;     /* successes in a row that make it up, >= 1 */
} demo_health_conf;

#define DEMO_HEALTH_TEXT_MAX 192 /* longest uri, expect, and text of a result */

/* uri=/ping expect=pong interval=2s timeout=1s fall=2 rise=1 */
void demo_health_defaults(demo_health_conf *conf);

/* The handler of demo-health.  The last segment of the path decides: livez,
 * readyz, healthz (as readyz); else 404.  DECLINED when the handler's name is
 * another. */
int demo_health_handler(request_rec *r);

#endif /* DEMO_HEALTH_H */
