/*
 * sc_request.h -- one request on its way from a client to the upstream.
 *
 * Takes the content of the client's records and keeps it as the records that
 * the upstream is to read, with request id SC_REQUEST_ID and no padding:
 *
 *      wire   | PARAMS … | PARAMS end | STDIN … | STDIN end |
 *             0                  sent                       len
 *
 * BEGIN_REQUEST is not part of it (see sc_upstream.h).  No pair is split over
 * two PARAMS records, however the client cut them.  No I/O; one thread.
 */
#ifndef SC_REQUEST_H
#define SC_REQUEST_H

#include "fcgi-sidecar/relay/sc_buffer.h"
#include "lib/fcgiw.h"

#define SC_REQUEST_ID 1 /* on every upstream connection */

enum sc_request_state {
    SC_REQUEST_NONE,   /* no request, or the last one is over */
    SC_REQUEST_PARAMS, /* parameters are coming in */
    SC_REQUEST_BODY,   /* parameters are whole, the body is coming in */
    SC_REQUEST_WHOLE   /* the end of the body was seen */
};

enum {
    SC_REQUEST_EMEMORY = -101, /* memory has run out */
    SC_REQUEST_EBIG    = -102  /* more parameters than params_max */
};

typedef struct {
    enum sc_request_state state;
    uint16_t  id;      /* the client's */
    bool      keep;    /* FCGI_KEEP_CONN of the client */
    bool      safe;    /* GET, HEAD or OPTIONS: running it twice would do no harm */
    bool      intact;  /* wire still holds all of it, however much was sent */
    bool      retried; /* ran into a dead kept connection once */
    uint64_t  announced; /* CONTENT_LENGTH; 0 without one, UINT64_MAX when it is no number */
    uint64_t  body;    /* bytes of STDIN so far */
    unsigned  hop;     /* SIDECAR_HOP, 0: came from a web server */
    uint64_t  epoch;   /* SIDECAR_EPOCH */
    sc_buffer wire;
    size_t    sent;    /* bytes of wire that went to the upstream */
} sc_request;

/* BEGIN_REQUEST with that id and FCGI_KEEP_CONN; drops what was before. */
void sc_request_begin(sc_request *r, uint16_t id, bool keep);

/* Content of PARAMS; 0, SC_REQUEST_EBIG or SC_REQUEST_EMEMORY. */
int sc_request_params(sc_request *r, const uint8_t *data, size_t len, size_t params_max);

/* The empty PARAMS record: decodes the pairs.  0, FCGIW_EPAIR, FCGIW_ETOOBIG
 * (a pair that no record can hold) or SC_REQUEST_EMEMORY. */
int sc_request_params_end(sc_request *r);

/* Content of STDIN (len <= FCGIW_CONTENT_MAX), and its end; 0 or SC_REQUEST_EMEMORY. */
int sc_request_body(sc_request *r, const uint8_t *data, size_t len);
int sc_request_body_end(sc_request *r);

/* Bytes to send now, borrowed until the next call that is not const; NULL and
 * *len = 0 when there are none.  sent: the first n of them went out. */
const uint8_t *sc_request_pending(const sc_request *r, size_t *len);
void sc_request_sent(sc_request *r, size_t n);

/* True when the upstream has been sent the request to its end. */
bool sc_request_all_sent(const sc_request *r);

/* True when the body is whole and as long as CONTENT_LENGTH said: who reads that
 * much of it has not read its end. */
bool sc_request_measured(const sc_request *r);

/* Starts over on another connection; only when intact. */
void sc_request_rewind(sc_request *r);

/* Frees the memory; state becomes SC_REQUEST_NONE. */
void sc_request_reset(sc_request *r);

#endif /* SC_REQUEST_H */
