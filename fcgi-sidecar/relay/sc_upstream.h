/*
 * sc_upstream.h -- kept connections to php-fpm, or to another instance's relay.
 *
 * An idle kept connection pins one worker of php-fpm, END_REQUEST does not say
 * that the script has ended, and a worker that is about to exit closes its
 * connection without a word.  So on a Unix socket no request is bound to a
 * connection before a worker is known to read from it:
 *
 *   connect --> OFFERED --> READY --> BUSY --+
 *                  ^                         | END_REQUEST
 *                  +-------------------------+
 *
 *   OFFERED  no worker is known to read from it. The kernel tells with SIOCOUTQ
 *            whether the peer has read everything, and EPOLLOUT when it does.
 *            A new connection was sent BEGIN_REQUEST (16 bytes, keep) ahead, for
 *            a worker to read. One that has carried a request needs no such
 *            question where the workers read late: php-fpm leaves the end of
 *            STDIN unread until it wants the next request, so in reading it a
 *            worker says that it is back. That holds for a body as long as its
 *            CONTENT_LENGTH said, and is relied on when it was seen: when there
 *            was something unread as END_REQUEST came. Else BEGIN_REQUEST is
 *            sent ahead here, too. Closing such a connection executes nothing.
 *   READY    a worker has read it and waits for the request.
 *   BUSY     (BEGIN_REQUEST,) parameters and body are sent, the answer is passed on.
 *
 * What follows: more connections than workers do no harm (the surplus stays
 * OFFERED), a request never queues behind a script that still runs after its
 * END_REQUEST, and everything up to the first byte of the parameters may be
 * tried again elsewhere, whatever the method.  After it nothing is.
 *
 * Over TCP the kernel knows nothing of the kind: CONNECTING -> READY -> BUSY
 * -> READY, with BEGIN_REQUEST sent along.  There a request that is not safe
 * (RFC 9110 §9.2.1) gets a connection of its own, and a safe one whose kept
 * connection ended without a byte of an answer runs once more.  The other
 * instance's relay is trusted to keep its connections longer than we do, and
 * nothing that was sent to it is sent again unless it refused to run it.
 */
#ifndef SC_UPSTREAM_H
#define SC_UPSTREAM_H

#include "fcgi-sidecar/relay/sc_relay_core.h"

void sc_target_init(sc_target *t, sc_relay *relay, bool is_forward, unsigned max);

/* Another address; connections to the old one are closed, but for those with
 * a request. */
void sc_target_set(sc_target *t, const sc_address *address);

/* Closes all connections. */
void sc_target_close(sc_target *t);

/* A connection was made.  A connection failed in that phase with that errno:
 * none is tried before the backoff is over; told once, until it is up again. */
void sc_target_up(sc_target *t);
void sc_target_down(sc_target *t, const char *phase, int error);
/* A new connection was closed before a worker read from it: a worker that was
 * killed, a restart; down only when it happens again. */
void sc_target_dropped(sc_target *t);

/* Starts a connection.  False: not now (bound reached, or waiting after a
 * failure until t->retry_at). */
bool sc_upstream_open(sc_target *t);

/* OFFERED: has a worker read it? */
void sc_upstream_check_offer(sc_upstream *u);

/* Closes the connection; its client, if any, is the caller's to care for. */
void sc_upstream_close(sc_upstream *u);

/* The client of its request is gone, or answered before its body was sent.  To
 * the peer the connection is closed, which is php-fpm's real abort; but its
 * descriptor is kept until the peer closes too (where a Unix socket tells that),
 * because the script may run on: it counts as after_end as long.  In the middle
 * of the body only our side is closed, and what the script says is read over. */
void sc_upstream_abandon(sc_upstream *u);

/* Oldest moment at which a request that is in flight was bound; 0: none. */
apr_time_t sc_target_oldest(const sc_target *t);

/* Changes the state, the list and the counts; the only place that does. */
void sc_upstream_move(sc_upstream *u, enum sc_upstream_state state);

/* Waits until a worker is there for a request, having sent BEGIN_REQUEST ahead
 * where needed (TCP: it is READY at once). */
void sc_upstream_offer(sc_upstream *u);

/* OFFERED or READY: false when the peer has ended, or said something. */
bool sc_upstream_silent(sc_upstream *u);

/* --- sc_exchange.c: a request on a connection --------------------------------- */

/* Binds the client's request to a READY connection.  False: the connection
 * had gone and nothing was sent; try another. */
bool sc_upstream_run(sc_upstream *u, sc_client *c);

/* Sends what the client's request has to send. */
void sc_upstream_push(sc_upstream *u);

/* Reads the answer, as far as the client takes it. */
void sc_upstream_read(sc_upstream *u);

#endif /* SC_UPSTREAM_H */
