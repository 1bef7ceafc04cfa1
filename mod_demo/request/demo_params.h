/*
 * demo_params.h -- the FastCGI parameters: what PHP sees in $_SERVER.
 *
 * httpd's own ap_add_common_vars() makes the HTTP_… variables, so that Proxy
 * (httpoxy) and names that would alias another ("X_Y", "X.Y") are dropped as
 * everywhere in httpd; the CGI variables (RFC 3875 §4.1) are set here from
 * demo_script, and DemoParam has the last word.
 */
#ifndef DEMO_PARAMS_H
#define DEMO_PARAMS_H

#include "mod_demo/exchange/demo_exchange.h"

/* Fills x->request.head: BEGIN_REQUEST without FCGI_KEEP_CONN, all PARAMS and
 * their end.  x->script and x->request.stated_len are known.  OK, or a status:
 * 414 or 431 when a pair fits into no record or DemoLimit params= is exceeded,
 * 500 when an expression of DemoParam fails.  Why is logged. */
int demo_params_build(demo_exchange *x);

/* Sets or clears FCGI_KEEP_CONN in the encoded request. */
void demo_params_keep(demo_request *request, bool keep);

#endif /* DEMO_PARAMS_H */
