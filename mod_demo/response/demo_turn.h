/*
 * demo_turn.h -- how long a thread goes on with one client.
 *
 * A busy client sends its next request as soon as it has the answer.  To give
 * its connection back to the MPM's listener and have another thread woken for
 * that request costs more than a small request as a whole.  So the thread waits
 * for a moment, and goes on with the client:
 *
 *   process_connection  -->  answer, log  -->  demo_turn_end() waits: the MPM
 *          ^                                   finds input and comes again
 *          +-----------------------------------------+
 *
 * A client that is not that fast is not waited for again.  And where every
 * thread of the child is busy and other clients wait to be accepted, a client
 * keeps its thread for a while only: then its connection ends with the answer,
 * by "Connection: close" (httpd itself would make room by closing connections
 * that are idle, into which their clients may just be sending).
 *
 * While many requests are in PHP a thread gives way (demo_yield.h) from when it sends
 * one until another handler has a request, or the thread leaves the client.
 *
 * Asynchronous MPMs only; with the others a thread stays with its client anyway.
 */
#ifndef DEMO_TURN_H
#define DEMO_TURN_H

#include "mod_demo/exchange/demo_client.h"

/* For each child; before its first connection. */
void demo_turn_child_init(void);

/* Around the work of a thread on a client's connection. */
void demo_turn_begin(conn_rec *c);
void demo_turn_end(conn_rec *c);

/* Before the header of an answer is sent: where the client's turn is over, this
 * is its connection's last answer. */
void demo_turn_limit(const demo_exchange *x);

/* The answer went out whole and at once. */
void demo_turn_sent(const demo_exchange *x);

#endif /* DEMO_TURN_H */
