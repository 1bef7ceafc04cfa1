/*
 * demo_body.h -- the request body, from the client.
 *
 * DemoRequestBuffering on: all of it is received before a backend is occupied,
 * so that a slow upload holds no PHP worker, and a body without a length
 * (chunked, HTTP/2) has one when PHP gets it.  off: it is read while it is
 * sent, where the client stated its length.
 */
#ifndef DEMO_BODY_H
#define DEMO_BODY_H

#include "mod_demo/exchange/demo_exchange.h"

/* Looks at the headers: request.has_body, .streamed and .stated_len as far as
 * it is known.  OK, or 413 when the stated length exceeds DemoSpool max=. */
int demo_body_begin(demo_exchange *x);

/* With buffering receives the body; request.stated_len is known afterwards.  OK;
 * SUSPENDED when the client is slow and request.may_wait: call again when
 * there is more; or a status: 413 above DemoSpool max=, 400 or 408 for what the
 * client did, 500 for the disk; 504 when bytes still come after DemoTimeout total=,
 * which alone is not logged here. */
int demo_body_receive(demo_exchange *x);

/* The next piece of a streamed body.  APR_SUCCESS and *len > 0; APR_EOF at the
 * end; APR_EAGAIN when nothing is there yet (never with block); else the error
 * of the client's side. */
apr_status_t demo_body_next(demo_exchange *x, char *buf, apr_size_t cap, apr_size_t *len,
                            bool block);

/* demo_fail() for an error of the client's side; always false.  failure.status
 * may be AP_FILTER_ERROR: httpd's filters have answered already. */
bool demo_body_failed(demo_exchange *x, apr_status_t rv);

#endif /* DEMO_BODY_H */
