/*
 * fcgiw_stream.h -- incremental demultiplexer of FastCGI records.
 *
 * Bytes go in as they come from the socket, cut at any place; events come out.
 * A feed byte by byte gives the same events as a whole feed, but for data
 * slices, which may come in more pieces.  The stream keeps at most one record
 * header and one 8-byte body; content is never copied, a slice borrows the
 * caller's input.  No allocation; one stream belongs to one thread at a time.
 *
 *      +--------+     +-------+     +-------+
 *   -> | HEADER | --> | BODY  | --> |  PAD  | --+
 *      +--------+     +-------+     +-------+   |
 *           ^                                   |
 *           +-----------------------------------+
 *
 * The first error is final: each later call returns it again.
 */
#ifndef FCGIW_STREAM_H
#define FCGIW_STREAM_H

#include <stdbool.h>

#include "fcgiw.h"

/* Whose records are read; decides which types are allowed. */
enum fcgiw_side {
    FCGIW_FROM_RESPONDER, /* php-fpm to us: END_REQUEST, STDOUT, STDERR, GET_VALUES_RESULT, UNKNOWN_TYPE */
    FCGIW_FROM_CLIENT     /* web server to us: BEGIN, ABORT, PARAMS, STDIN, DATA, GET_VALUES */
};

enum fcgiw_event_kind {
    FCGIW_EV_NONE,    /* bytes were consumed, nothing to tell yet */
    FCGIW_EV_BEGIN,   /* BEGIN_REQUEST read whole, padding included: u.begin */
    FCGIW_EV_DATA,    /* a slice of the content of header.type: data, len > 0 */
    FCGIW_EV_EOS,     /* an empty record of header.type: end of that stream (§3.3).
                       * For STDOUT and STDERR not the end of the response. */
    FCGIW_EV_ABORT,   /* ABORT_REQUEST */
    FCGIW_EV_END,     /* END_REQUEST read whole, padding included: u.end */
    FCGIW_EV_UNKNOWN  /* the header of an unknown type; its content and padding are
                       * skipped exactly, without further events */
};

typedef struct {
    enum fcgiw_event_kind kind;
    fcgiw_header          header; /* of the record that the event belongs to */
    const uint8_t        *data;   /* FCGIW_EV_DATA: borrowed from the input */
    size_t                len;
    union {
        fcgiw_begin begin;
        fcgiw_end   end;
    } u;
} fcgiw_event;

typedef struct {
    enum fcgiw_side side;
    uint16_t     request_id; /* the only id accepted; FCGIW_NULL_ID: any (the client's side) */
    uint8_t      state;      /* private from here */
    uint8_t      part_len;   /* bytes in part */
    uint8_t      part[FCGIW_HEADER_LEN]; /* a header, or an 8-byte body, in pieces */
    uint8_t      pad_left;
    uint16_t     content_left;
    fcgiw_header header;
    bool         ended;      /* END_REQUEST was told, no record may follow */
    fcgiw_event  held;       /* BEGIN or END event, told when its padding is consumed */
    fcgiw_result error;      /* 0, or the final error */
} fcgiw_stream;

/* For the responder's side request_id is the id that was sent (1..65535). */
void fcgiw_stream_init(fcgiw_stream *s, enum fcgiw_side side, uint16_t request_id);

/* Consumes a part of in and tells at most one event.  Returns the bytes
 * consumed (> 0), 0 when len is 0, or an error: FCGIW_EVERSION, FCGIW_EID,
 * FCGIW_ETYPE, FCGIW_EBODY, FCGIW_EORDER.  Call again with the rest until it
 * returns 0.
 *
 * On the responder's side bytes after END_REQUEST are left to the caller: stop
 * feeding at FCGIW_EV_END and look at what remains (left-over bytes forbid a
 * reuse of the connection); feeding them is FCGIW_EORDER.  On the client's
 * side the next BEGIN_REQUEST may follow. */
fcgiw_result fcgiw_stream_feed(fcgiw_stream *s, const uint8_t *in, size_t len,
                               fcgiw_event *ev);

/* Bytes of content that are still to come of the record that is being read, when
 * it is of that type and its content is told as it comes; else 0.  Who has no
 * other bytes left may receive so many straight to where they are wanted, and
 * feed them from there. */
size_t fcgiw_stream_content(const fcgiw_stream *s, uint8_t type);

/* True between two records: no byte of a further record was seen. */
bool fcgiw_stream_idle(const fcgiw_stream *s);

#endif /* FCGIW_STREAM_H */
