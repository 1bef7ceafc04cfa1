/*
 * demo_handler.h -- the handler of demo-fcgi: a request from start to end.
 */
#ifndef DEMO_HANDLER_H
#define DEMO_HANDLER_H

#include "mod_demo/exchange/demo_exchange.h"

/* Before any handler: a thread that gave way (demo_turn.h) does so no more where the
 * request is another handler's, which may work, wait or start a program.  DECLINED. */
int demo_handler_before(request_rec *r);

/* DECLINED when the handler's name is another; OK, DONE, or a status that httpd
 * answers with (ErrorDocument applies). */
int demo_handler(request_rec *r);

/* The rest of it, from the request's body on; as demo_handler(), or SUSPENDED:
 * put aside until the client sends more (demo_park.h). */
int demo_handler_proceed(demo_exchange *x);

/* The client stopped sending and its connection is closed: for the logs. */
void demo_handler_abandon(demo_exchange *x);

/* Hook log_transaction: "%{demo-error}n" means the request that an internal
 * redirect ended at, so an ErrorDocument's gets the notes of the one that failed.
 * OK. */
int demo_handler_log(request_rec *r);

#endif /* DEMO_HANDLER_H */
