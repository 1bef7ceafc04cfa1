/*
 * demo_recv.h -- the answer, from the backend.
 *
 * Reads into the connection's buffer, takes the records apart and hands the
 * CGI header to demo_header, the body to demo_output, STDERR to the error log.
 */
#ifndef DEMO_RECV_H
#define DEMO_RECV_H

#include "mod_demo/exchange/demo_exchange.h"

/* A fresh attempt: nothing of an answer yet. */
void demo_recv_init(demo_exchange *x);

/* Reads until END_REQUEST.  True: answer.ended, the whole answer went to
 * demo_output; false after demo_fail(). */
bool demo_recv_answer(demo_exchange *x);

/* Takes what is there without waiting; false after demo_fail(). */
bool demo_recv_ready(demo_exchange *x);

#endif /* DEMO_RECV_H */
