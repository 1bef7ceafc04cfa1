/*
 * demo_exchange.h -- one request on its way to php-fpm and back.
 *
 * The record that the files of the request path hand on, in this direction:
 *
 *   demo_handler -> demo_path, demo_body, demo_params -> demo_attempt -> demo_send
 *                -> demo_recv -> demo_header, demo_output -> demo_handler
 *
 * It lives in r->pool and belongs to the thread that works on the request.
 */
#ifndef DEMO_EXCHANGE_H
#define DEMO_EXCHANGE_H

#include <stdbool.h>

#include "httpd.h"

#include "lib/cgih.h"
#include "lib/fcgiw_stream.h"
#include "mod_demo/backend/demo_balance.h"
#include "mod_demo/config/demo_config.h"
#include "mod_demo/exchange/demo_spool.h"
#include "mod_demo/pool/demo_conn.h"
#include "mod_demo/shm/demo_metrics.h"

#define DEMO_REQUEST_ID 1 /* one request at a time on a connection; php-fpm does not multiplex */
#define DEMO_STATUS_CLIENT_GONE 499 /* for the access log: the client went away first */

/* Why an attempt failed. */
typedef struct {
    enum demo_phase phase; /* DEMO_PHASE_NONE: it did not */
    int status;            /* for the client, if this is the last attempt */
    apr_status_t cause;    /* of the system; 0: what says it all */
    const char *what;      /* "connection refused by …"; static or r->pool */
    bool untouched;        /* nothing of the request can have reached PHP */
    bool queueable;        /* the backend refuses or is saturated: waiting may help */
    bool elsewhere_only;   /* trying the same address again is of no use */
    bool blameless;        /* httpd itself is short of something: nothing is held against the backend */
    bool unseen;           /* php-fpm ended a kept connection within an answer of which the client
                            * has nothing yet: as if it had never come */
} demo_failure;

/* Which script the request is for, see demo_path.h. */
typedef struct {
    const char *name;      /* SCRIPT_NAME, path of the URL */
    const char *filename;  /* SCRIPT_FILENAME, as php-fpm sees it */
    const char *path_info; /* PATH_INFO; "" without */
    const char *root;      /* DOCUMENT_ROOT, as php-fpm sees it; no trailing slash */
} demo_script;

/* The request, encoded once for all attempts. */
typedef struct {
    uint8_t *head;        /* BEGIN_REQUEST, PARAMS…, end of PARAMS; r->pool */
    size_t head_len;
    demo_spool body;      /* DemoRequestBuffering on: all of it */
    bool has_body;        /* the client announced one */
    bool streamed;        /* DemoRequestBuffering off: body is read while it is sent */
    bool may_wait;        /* it can be put aside while its client is slow, see demo_park.h */
    bool put_aside;       /* it was, once */
    apr_off_t stated_len; /* CONTENT_LENGTH as sent; -1: none is */
    apr_bucket_brigade *incoming; /* empty between two reads: one for all, pools give nothing back */
} demo_request;

/* What the header of an answer changes of the request_rec, as it was before. */
typedef struct {
    bool kept;                /* false: nothing was, the rest means nothing */
    apr_table_t *headers_out; /* a copy; NULL: there were none, as nearly always */
    const char *content_type;
    const char *status_line;
    apr_off_t clength;
    int status;
} demo_before;

/* The answer of one attempt. */
typedef struct {
    fcgiw_stream stream;
    cgih_scan scan;
    char *header;           /* piecewise header, collected in r->pool; or NULL */
    size_t header_len, header_cap;
    bool started;           /* a byte came from the backend */
    bool header_done;
    bool discard;           /* what follows is drained: HEAD, 204, 304, a local redirect */
    bool overlong;          /* more came than Content-Length or END_REQUEST allow: cut, connection not kept */
    bool ended;             /* END_REQUEST */
    apr_off_t stated_len;   /* Content-Length, or -1 */
    apr_off_t body_len;     /* body received */
    const char *redirect;   /* local Location: path of the site, or NULL */
    char *error_line;       /* a line of STDERR that has no end yet; r->pool */
    size_t error_len;
    demo_before before;
} demo_answer;

/* How the body goes to the client, see demo_output.h. */
typedef struct {
    apr_bucket_brigade *bb;
    apr_size_t held;        /* bytes in bb */
    demo_spool spool;       /* the file, once the client is slower than PHP */
    bool immediate;         /* each piece is flushed */
    bool passed;            /* something went down the filters: the answer is committed */
    bool slow;              /* the client does not keep up: to the file */
    bool spool_full;        /* the file is at its cap: streaming, at the client's pace */
    bool eos;               /* EOS was passed */
    bool replaced;          /* a filter of httpd sent another answer: nothing more is passed */
} demo_output;

typedef struct {
    request_rec *r;
    const demo_server_conf *server;
    const demo_dir_conf *dir;
    demo_script script;
    demo_request request;
    demo_target target;     /* of this attempt; slot -1: none */
    demo_conn *conn;        /* of this attempt, or NULL */
    demo_answer answer;
    demo_output output;
    demo_failure failure;
    demo_sample sample;
    int client_fd;          /* to see the client go, or -1 (HTTP/2 stream) */
    apr_time_t started;     /* when the handler began; this and the next two: demo_now() */
    apr_time_t deadline;    /* DemoTimeout total=, or 0 */
    apr_time_t sent;        /* when the request was sent */
    bool sent_whole;        /* of this attempt: the connection may be kept */
    bool brief;             /* the backend answers within microseconds */
    bool refused;           /* an attempt of this request was queueable */
    bool fresh_only;        /* a kept connection turned out dead: no other is tried */
    bool counted;           /* the sample was given to the counters */
} demo_exchange;

/* Records why the attempt failed; always false, so that a caller can return it.
 * what must outlive the request. */
bool demo_fail(demo_exchange *x, enum demo_phase phase, int status, apr_status_t cause,
               const char *what);

/* Is DemoTimeout total= over? */
bool demo_total_is_over(const demo_exchange *x);

/* demo_fail() for it: always 504, whatever the request was busy with, which
 * meanwhile says (or NULL); it must outlive the request. */
bool demo_fail_total(demo_exchange *x, const char *meanwhile);

/* Waits until fd is ready for events (POLLIN, POLLOUT), the client is gone, or
 * a time ran out: limit (of phase, 0: none) or DemoTimeout total=.  The ready
 * events, or 0 after demo_fail(). */
short demo_wait(demo_exchange *x, int fd, short events, enum demo_phase phase,
                apr_interval_time_t limit);

/* While the client's body is awaited: POLLIN when the backend has something to
 * say, POLLOUT when the client has, or 0 after demo_fail(). */
short demo_wait_client(demo_exchange *x, int fd);

#endif /* DEMO_EXCHANGE_H */
