/*
 * sc_peer.h -- client of another sidecar's control port (and of one's own).
 *
 * One request, one connection.  Every phase has a limit: resolving and
 * connecting, and each wait for bytes in either direction (timeout_ms).  An
 * sc_peer belongs to one thread; sc_peer_abort() may be called by another.
 */
#ifndef SC_PEER_H
#define SC_PEER_H

#include "fcgi-sidecar/control/sc_frame.h"
#include "fcgi-sidecar/control/sc_message.h"

typedef struct sc_peer sc_peer;

typedef struct {
    const char *address;      /* HOST:PORT */
    const char *path;         /* "/v1/…" */
    const sc_secret *secret;
    const char *lineage;      /* of the caller */
    uint64_t    epoch;
    const char *uid;          /* of the caller */
    const char *to;           /* uid that must answer, or "" */
    int         timeout_ms;   /* of each wait */
} sc_peer_call;

/* Sends the request (body NULL: {}) and reads an answer in JSON.  *answer is a
 * new reference, or NULL.  An answer that tells an error gives the status of
 * its exit code and its text, with the address in front; errno values for the
 * connection, SC_EAUTH when the answer's MAC is wrong. */
apr_status_t sc_peer_request(const sc_peer_call *call, const json_t *body, json_t **answer,
                             sc_error *err);

/* The same for an answer that is a stream. */
apr_status_t sc_peer_open(sc_peer **peer, const sc_peer_call *call, const json_t *body,
                          sc_error *err);

/* Next message; the payload is valid until the next call.  errno, SC_EAUTH,
 * SC_ECORRUPT. */
apr_status_t sc_peer_next(sc_peer *peer, enum sc_frame_type *type, const uint8_t **payload,
                          size_t *len, sc_error *err);

/* Gives the buffer of the last message away (its payload stays valid in it) and takes
 * another, which the caller had from here or is NULL, in its place. */
void sc_peer_swap(sc_peer *peer, uint8_t **buffer, size_t *capacity);

/* Makes a blocked sc_peer_next() return; any thread. */
void sc_peer_abort(sc_peer *peer);

/* Safe on NULL. */
void sc_peer_close(sc_peer *peer);

#endif /* SC_PEER_H */
