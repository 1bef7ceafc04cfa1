/*
 * fcgiw.h -- FastCGI wire codec: records, bodies, name-value pairs.
 *
 * Pure functions over memory that the caller owns: no allocation, no I/O, no
 * global state, so every function may be called from any thread.  Lengths that
 * come from the wire are checked against the bytes that are really there; no
 * function reads past the input it was given.
 *
 * Results (fcgiw_result): > 0 bytes consumed or written, 0 more input is
 * needed, < 0 one of the FCGIW_E… codes below.
 *
 * Source: FastCGI Specification 1.0 (section numbers below are its own).
 */
#ifndef FCGIW_H
#define FCGIW_H

#include <stddef.h>
#include <stdint.h>

#define FCGIW_VERSION       1       /* §3.3 FCGI_VERSION_1 */
#define FCGIW_HEADER_LEN    8       /* §3.3, bytes of a record header */
#define FCGIW_BODY_LEN      8       /* §5.1, §5.5: body of BEGIN and END_REQUEST */
#define FCGIW_CONTENT_MAX   65535   /* §3.3, largest content of one record */
#define FCGIW_PADDING_MAX   255     /* §3.3 */
#define FCGIW_RECORD_MAX    (FCGIW_HEADER_LEN + FCGIW_CONTENT_MAX + FCGIW_PADDING_MAX)
#define FCGIW_PAIR_LEN_MAX  0x7fffffffu /* §3.4, longest name or value (31 bits) */
#define FCGIW_NULL_ID       0       /* §3.3 request id of management records */

/* Record types, §8.  Anything above FCGIW_TYPE_MAX is unknown. */
enum fcgiw_type {
    FCGIW_BEGIN_REQUEST     = 1,
    FCGIW_ABORT_REQUEST     = 2,
    FCGIW_END_REQUEST       = 3,
    FCGIW_PARAMS            = 4,
    FCGIW_STDIN             = 5,
    FCGIW_STDOUT            = 6,
    FCGIW_STDERR            = 7,
    FCGIW_DATA              = 8,
    FCGIW_GET_VALUES        = 9,
    FCGIW_GET_VALUES_RESULT = 10,
    FCGIW_UNKNOWN_TYPE      = 11,
    FCGIW_TYPE_MAX          = 11
};

/* Roles, §6.  php-fpm knows only the responder. */
enum fcgiw_role {
    FCGIW_RESPONDER  = 1,
    FCGIW_AUTHORIZER = 2,
    FCGIW_FILTER     = 3
};

/* Flags of BEGIN_REQUEST, §5.1. */
enum { FCGIW_KEEP_CONN = 1 };

/* protocolStatus of END_REQUEST, §5.5. */
enum fcgiw_protocol_status {
    FCGIW_REQUEST_COMPLETE = 0,
    FCGIW_CANT_MPX_CONN    = 1,
    FCGIW_OVERLOADED       = 2,
    FCGIW_UNKNOWN_ROLE     = 3
};

typedef ptrdiff_t fcgiw_result;

enum {
    FCGIW_EVERSION   = -1, /* record header whose version is not 1 */
    FCGIW_EID        = -2, /* record of a request that was not asked for */
    FCGIW_ETYPE      = -3, /* known type that this side may not send */
    FCGIW_EBODY      = -4, /* BEGIN_REQUEST or END_REQUEST with a body shorter than 8 bytes */
    FCGIW_EPAIR      = -5, /* name-value pair reaches past the content that holds it */
    FCGIW_ETOOBIG    = -6, /* pair that no record can hold, or a length above 31 bits */
    FCGIW_ENOSPACE   = -7, /* output buffer too small */
    FCGIW_EORDER     = -8  /* record after the END_REQUEST of its request */
};

typedef struct {
    uint8_t  type;           /* enum fcgiw_type, or an unknown type */
    uint16_t request_id;
    uint16_t content_length; /* bytes */
    uint8_t  padding_length; /* bytes, after the content */
} fcgiw_header;

typedef struct {
    uint16_t role;  /* enum fcgiw_role */
    uint8_t  flags; /* FCGIW_KEEP_CONN */
} fcgiw_begin;

typedef struct {
    uint32_t app_status;      /* exit status of the application; php-fpm: always 0 */
    uint8_t  protocol_status; /* enum fcgiw_protocol_status, or an unknown value */
} fcgiw_end;

/* A name-value pair; both slices borrow the decoded input and are not
 * NUL-terminated. */
typedef struct {
    const uint8_t *name;
    size_t         name_len;
    const uint8_t *value;
    size_t         value_len;
} fcgiw_pair;

/* --- records ------------------------------------------------------------- */

/* Writes the 8 bytes of a record header to out. */
void fcgiw_header_encode(uint8_t out[FCGIW_HEADER_LEN], const fcgiw_header *h);

/* FCGIW_HEADER_LEN, 0 (len < 8; a wrong first byte is told at once), or
 * FCGIW_EVERSION. */
fcgiw_result fcgiw_header_decode(fcgiw_header *h, const uint8_t *in, size_t len);

/* Whole records, header and body, no padding. */
void fcgiw_begin_encode(uint8_t out[FCGIW_HEADER_LEN + FCGIW_BODY_LEN],
                        uint16_t request_id, const fcgiw_begin *b);
void fcgiw_end_encode(uint8_t out[FCGIW_HEADER_LEN + FCGIW_BODY_LEN],
                      uint16_t request_id, const fcgiw_end *e);

/* The 8-byte bodies alone. */
void fcgiw_begin_decode(fcgiw_begin *b, const uint8_t body[FCGIW_BODY_LEN]);
void fcgiw_end_decode(fcgiw_end *e, const uint8_t body[FCGIW_BODY_LEN]);

/* --- name-value pairs, §3.4 ------------------------------------------------ */

/* Encoded size of a pair, or FCGIW_ETOOBIG when a length exceeds 31 bits or
 * the sum does not fit fcgiw_result. */
fcgiw_result fcgiw_pair_size(size_t name_len, size_t value_len);

/* Bytes written, FCGIW_ENOSPACE or FCGIW_ETOOBIG; on an error out is
 * untouched. */
fcgiw_result fcgiw_pair_encode(uint8_t *out, size_t cap, const fcgiw_pair *pair);

/* Bytes consumed, or 0 when in holds only a part of the pair (at the end of
 * the stream that is FCGIW_EPAIR, which is the caller's to say), or
 * FCGIW_ETOOBIG when the sum of the lengths does not fit fcgiw_result. */
fcgiw_result fcgiw_pair_decode(fcgiw_pair *pair, const uint8_t *in, size_t len);

/*
 * A PARAMS stream built in place.
 *
 *      buf                                              buf + cap
 *      | rec rec rec | hdr | pair pair …    | free        |
 *      0             open                   len           cap
 *
 * A record is closed before a pair that does not fit into it, so that no pair
 * is split over two records: php-fpm decodes each record on its own and resets
 * the connection when a pair is cut (proved by tests against php-fpm).  A pair
 * whose encoding exceeds FCGIW_CONTENT_MAX is FCGIW_ETOOBIG: it cannot reach
 * php-fpm at all.
 */
typedef struct {
    uint8_t *buf;        /* borrowed; may be moved by the caller between calls (grow) */
    size_t   cap;        /* bytes at buf */
    size_t   len;        /* bytes used, header of the open record included */
    size_t   open;       /* where the open record's header starts; == len: none is open */
    uint16_t request_id;
} fcgiw_params;

void fcgiw_params_init(fcgiw_params *p, uint8_t *buf, size_t cap, uint16_t request_id);

/* Bytes that p->len grew by, FCGIW_ETOOBIG, or FCGIW_ENOSPACE (p unchanged;
 * grow buf to at least p->len + FCGIW_HEADER_LEN + fcgiw_pair_size() and call
 * again).  p->buf always holds valid records up to p->len. */
fcgiw_result fcgiw_params_add(fcgiw_params *p, const fcgiw_pair *pair);

/* Ends the stream with the empty PARAMS record (§3.3); FCGIW_HEADER_LEN or
 * FCGIW_ENOSPACE. */
fcgiw_result fcgiw_params_end(fcgiw_params *p);

/* --- names, for logs --------------------------------------------------------- */

/* Static strings, never NULL: "STDOUT", "OVERLOADED", "unsupported version". */
const char *fcgiw_type_name(unsigned type);
const char *fcgiw_protocol_status_name(unsigned status);
const char *fcgiw_error_name(fcgiw_result error);

#endif /* FCGIW_H */
