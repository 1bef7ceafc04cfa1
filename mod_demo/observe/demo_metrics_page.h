/*
 * demo_metrics_page.h -- the page of `SetHandler demo-metrics`.
 */
#ifndef DEMO_METRICS_PAGE_H
#define DEMO_METRICS_PAGE_H

#include "httpd.h"

/* The handler of demo-metrics: GET and HEAD, else 405.  DECLINED when the
 * handler's name is another. */
int demo_metrics_handler(request_rec *r);

#endif /* DEMO_METRICS_PAGE_H */
