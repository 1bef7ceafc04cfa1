/*
 * sc_control.h -- the control port: a FastCGI responder for the other
 * sidecars and for the hooks of this one.
 *
 * A few worker threads accept; each handles one request at a time, from accept
 * to end, so a handler may block.  Every request is authenticated before its
 * handler sees it (sc_message.h).  The listener's receive and send time-outs
 * and TCP_USER_TIMEOUT are inherited by accepted connections (Linux), so a
 * peer that is half open holds a worker for SC_CONTROL_IO_TIMEOUT_S at most, and
 * one that never said what it wants for SC_INBOUND_HEAD_MS.
 */
#ifndef SC_CONTROL_H
#define SC_CONTROL_H

#include "fcgi-sidecar/control/sc_frame.h"
#include "fcgi-sidecar/control/sc_message.h"

#define SC_CONTROL_WORKERS      16
#define SC_CONTROL_IO_TIMEOUT_S 10
#define SC_CONTROL_STREAM_TIMEOUT_S 120 /* a standby takes nothing while it checks its base */

typedef struct sc_control sc_control;
typedef struct sc_control_request sc_control_request;

typedef void (*sc_control_handler)(void *context, sc_control_request *request);

typedef struct {
    const char *path;
    sc_control_handler handle;
} sc_control_route;

typedef struct {
    const char *listen;             /* HOST:PORT, port 0: any */
    const char *uid;                /* requests to another uid are refused; borrowed */
    const sc_secret *secret;        /* borrowed */
    const sc_control_route *routes; /* ends with a NULL path; borrowed */
    void *context;                  /* of the handlers */
} sc_control_config;

/* Binds; nothing is accepted before start. */
apr_status_t sc_control_create(sc_control **control, const sc_control_config *config,
                               sc_error *err);
apr_status_t sc_control_start(sc_control *control, sc_error *err);

/* No new request, nor the rest of one that still comes in; waits for the handlers.  Make
 * blocked ones end first. */
void sc_control_stop(sc_control *control);
void sc_control_destroy(sc_control *control); /* stops; safe on NULL */

uint16_t sc_control_port(const sc_control *control);

/* Requests refused because their MAC, time or nonce was wrong. */
uint64_t sc_control_refused(const sc_control *control);

/* --- for handlers ---------------------------------------------------------- */

const sc_message *sc_control_message(const sc_control_request *request);
const json_t     *sc_control_body(const sc_control_request *request);

/* Answers with json (reference stolen; NULL: {}), or with an error. */
void sc_control_answer(sc_control_request *request, json_t *json);
void sc_control_fail(sc_control_request *request, const sc_error *err);
/* One of the two, as rv says; json is released either way. */
void sc_control_reply(sc_control_request *request, apr_status_t rv, const sc_error *err, json_t *json);

/* Sends the answer now: the handler goes on with what nobody waits for. */
void sc_control_finish(sc_control_request *request);

/* Ends a stream from another thread: its writes fail from now on.  The request
 * must not have been left by its handler. */
void sc_control_abort(sc_control_request *request);

/* Starts a stream instead; *writer belongs to the request.  Writes fail once
 * the peer has gone. */
apr_status_t sc_control_stream(sc_control_request *request, sc_frame_writer **writer);

/* Sends what is buffered. */
apr_status_t sc_control_flush(sc_control_request *request);

/* A message whose payload is one JSON value (reference stolen), flushed. */
apr_status_t sc_control_send_json(sc_control_request *request, enum sc_frame_type type,
                                  json_t *json);

#endif /* SC_CONTROL_H */
