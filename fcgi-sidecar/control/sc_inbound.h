/*
 * sc_inbound.h -- one request on the control port and its answer, as FastCGI
 * 1.0 records on a connection of their own.
 *
 * What comes in is not trusted: it is read before anybody knows who sent it.
 * Every length is checked against what is there, the parameters, the body and
 * the time that all of it may take have limits, and anything but one request
 * of a responder ends the conversation.  (libfcgi's reader believes the lengths
 * of names and values, CVE-2025-23016, and takes the process down.)
 */
#ifndef SC_INBOUND_H
#define SC_INBOUND_H

#include <stdbool.h>

#include "fcgi-sidecar/base/sc_error.h"
#include "lib/fcgiw_stream.h"

#define SC_INBOUND_PARAMS_MAX 4096  /* bytes, encoded */
#define SC_INBOUND_RECORD     65528 /* content of a record of the answer; a multiple of 8 */
#define SC_INBOUND_HEAD_MS    2000  /* longest time for its parameters to come in whole */
#define SC_INBOUND_WAIT_MS    30000 /* and for the body, too */

/* Plain data of one thread; the members are private. */
typedef struct {
    int fd;                    /* borrowed */
    fcgiw_stream demux;
    uint16_t id;
    bool begun, params_whole, whole;
    size_t params_len;
    uint8_t params[SC_INBOUND_PARAMS_MAX];
    char *body;                /* owned */
    size_t body_len, body_cap;
    bool broken;               /* the peer takes no more */
    bool ended;                /* END_REQUEST was sent */
    size_t out_len;
    uint8_t out[FCGIW_HEADER_LEN + SC_INBOUND_RECORD];
} sc_inbound;

/* Reads a request whole from fd, whose SO_RCVTIMEO bounds each read.  APR_EOF:
 * closed before a byte came; SC_ECORRUPT: no request, or more of it than
 * body_max; ETIMEDOUT; or the error of the socket.  In any case call
 * sc_inbound_free(). */
apr_status_t sc_inbound_read(sc_inbound *in, int fd, size_t body_max);
void sc_inbound_free(sc_inbound *in);

/* The value of a parameter as a string; false when there is none, or it holds a
 * NUL, or does not fit.  The first of that name counts. */
bool sc_inbound_param(const sc_inbound *in, const char *name, char *out, size_t size);

/* The body; *len bytes, valid until sc_inbound_free(). */
const char *sc_inbound_body(const sc_inbound *in, size_t *len);

/* The answer: bytes, collected into full records; flush sends what is there;
 * end flushes, says REQUEST_COMPLETE and that nothing follows; once, a further
 * call does nothing. */
apr_status_t sc_inbound_write(sc_inbound *in, const void *data, size_t len);
apr_status_t sc_inbound_flush(sc_inbound *in);
apr_status_t sc_inbound_end(sc_inbound *in);

#endif /* SC_INBOUND_H */
