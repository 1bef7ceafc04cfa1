/*
 * demo_health_page.h -- the page of `SetHandler demo-health`.
 */
#ifndef DEMO_HEALTH_PAGE_H
#define DEMO_HEALTH_PAGE_H

#include "httpd.h"

/* The handler of demo-health.  The last segment of the path decides: livez,
 * readyz, healthz (as readyz); else 404.  DECLINED when the handler's name is
 * another. */
int demo_health_handler(request_rec *r);

#endif /* DEMO_HEALTH_PAGE_H */
