/*
 * sc_client.h -- what the two halves of a client's connection share:
 * sc_client.c (life, and what goes to the client) and sc_client_input.c (what
 * comes from it).  The rest of the relay uses sc_relay_core.h.
 *
 *             BEGIN_REQUEST       ready             connection
 *       IDLE ------------> RECEIVING ---> QUEUED ----------> RUNNING
 *        ^                     |             |  refused         | answered
 *        |   end of the body   v             v                  v
 *        +----------------- DRAINING <-------+------------------+
 *                              |  (straight to IDLE when the request is whole)
 *                              v  closing
 *                          LINGERING
 */
#ifndef SC_CLIENT_H
#define SC_CLIENT_H

#include "fcgi-sidecar/relay/sc_relay_core.h"

/* Changes the state; the only place that does. */
void sc_client_move(sc_client *c, enum sc_client_state state);

/* The client broke the protocol, or a time-out, or there is no memory for it: told
 * with its address (SC0321), counted, closed. */
void sc_client_fault(sc_client *c, const char *what);

/* The client has closed its side, or its socket is broken. */
void sc_client_gone(sc_client *c);

/* Sends what waits; false: the client is closed. */
bool sc_client_flush(sc_client *c);

/* A record of the relay's own, put between two records of the answer; false:
 * the client is closed. */
bool sc_client_reply(sc_client *c, const uint8_t *record, size_t len);
bool sc_client_reply_end(sc_client *c, uint16_t id, uint32_t app_status,
                         enum fcgiw_protocol_status status);

/* The request's last byte was read and its answer given. */
void sc_client_request_over(sc_client *c);

/* sc_client_input.c: epoll's word, and the timers' */
void sc_client_event(sc_io *io, uint32_t events);
void sc_client_timeout(sc_timer *timer);
void sc_client_send_timeout(sc_timer *timer);
void sc_client_queue_timeout(sc_timer *timer);

#endif /* SC_CLIENT_H */
