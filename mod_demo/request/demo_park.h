/*
 * demo_park.h -- requests whose body trickles in wait without a thread.
 *
 * With an asynchronous MPM (event) a request whose client sends slowly is put
 * aside: the handler returns SUSPENDED and asks the MPM to watch the socket, as
 * a filter does that wants to read.  When bytes are there, the connection comes
 * back on any worker thread, and the request goes on where it was.
 *
 *   handler --SUSPENDED--> MPM polls --resume hook--> process_connection hook
 *      ^                                                      |
 *      +------------------- demo_handler_proceed() <----------+
 *
 * Streams of HTTP/2, sub-requests, internally redirected requests and other
 * MPMs read with a thread that blocks.
 */
#ifndef DEMO_PARK_H
#define DEMO_PARK_H

#include "mod_demo/exchange/demo_exchange.h"

/* May this request be put aside? */
bool demo_park_possible(const demo_exchange *x);

/* Marks it to be put aside until its client sends; SUSPENDED, for the handler to
 * return. */
int demo_park(demo_exchange *x);

/* Hook resume_connection. */
void demo_park_resume(conn_rec *c, request_rec *r);

/* Hook process_connection, after all others but httpd's own for HTTP/1. */
int demo_park_process(conn_rec *c);

#endif /* DEMO_PARK_H */
