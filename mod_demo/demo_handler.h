/*
 * demo_handler.h -- the handler of demo-fcgi: a request from start to end.
 */
#ifndef DEMO_HANDLER_H
#define DEMO_HANDLER_H

#include "httpd.h"

/* DECLINED when the handler's name is another; OK, DONE, or a status that httpd
 * answers with (ErrorDocument applies). */
int demo_handler(request_rec *r);

#endif /* DEMO_HANDLER_H */
