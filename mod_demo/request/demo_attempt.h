/*
 * demo_attempt.h -- attempts at backends: which one, how often, how long.
 *
 * An attempt picks an address, gets a connection, sends the request and reads
 * the answer.  What may be tried again (DemoRetry in directives.md: nothing of
 * the request reached PHP, or it is idempotent and no whole header of the answer
 * came) is decided in one place, may_retry().
 */
#ifndef DEMO_ATTEMPT_H
#define DEMO_ATTEMPT_H

#include "mod_demo/exchange/demo_exchange.h"

/* Runs attempts until one brought the answer, which then waits in demo_output,
 * or none may follow.  True: answer.ended; false: x->failure says why (each
 * failed attempt is logged with backend, phase and cause).  The connection is
 * kept or closed when this returns. */
bool demo_attempt_run(demo_exchange *x);

/* Logs x->failure as that of the last attempt, for a request that had none. */
void demo_attempt_none(demo_exchange *x);

#endif /* DEMO_ATTEMPT_H */
