/*
 * demo_send.h -- the request, to the backend.
 *
 * BEGIN_REQUEST, PARAMS, the body as STDIN and its end go out in one system
 * call where they fit.  The backend may answer before it took all of the body,
 * or without taking it: while a write has to wait, the answer is read.
 */
#ifndef DEMO_SEND_H
#define DEMO_SEND_H

#include "mod_demo/exchange/demo_exchange.h"

/* Sends the request on x->conn.  True when it is out, or when the backend
 * stopped taking it (the answer may still be read: demo_recv tells); false
 * after demo_fail(). */
bool demo_send_request(demo_exchange *x);

#endif /* DEMO_SEND_H */
