/*
 * demo_metrics.h -- what is counted.
 *
 * Counting is a handful of relaxed atomic additions in shared memory, spread
 * over shards so that threads seldom meet on a cache line: no lock, no
 * allocation, no system call.  The numbers are exact over all children and stay
 * so over graceful restarts; a child that crashes loses nothing it counted.
 *
 * Any thread of a child may call the counting functions at any time; before
 * the shared memory exists (configuration test) they do nothing.
 */
#ifndef DEMO_METRICS_H
#define DEMO_METRICS_H

#include <stdint.h>

#include "httpd.h"

/* Where a request or an attempt failed.  The names (demo_phase_names) are
 * those of the log, of the demo-error note and of the label "phase". */
enum demo_phase {
    DEMO_PHASE_NONE,    /* nothing failed; not counted as an error */
    DEMO_PHASE_QUEUE,   /* no backend free in time, or the queue was full */
    DEMO_PHASE_RESOLVE, /* the name has no address */
    DEMO_PHASE_CONNECT, /* refused, unreachable, or no answer in time */
    DEMO_PHASE_SEND,    /* the backend did not take the request in time, or closed */
    DEMO_PHASE_READ,    /* no byte in time, or closed before the end */
    DEMO_PHASE_RESPONSE,/* malformed record or header, or an END_REQUEST that is no success */
    DEMO_PHASE_TOTAL,   /* DemoTimeout total= ran out */
    DEMO_PHASE_SPOOL,   /* a temporary file could not be written, or its cap was reached */
    DEMO_PHASE_CLIENT,  /* the client went away or sent a bad body */
    DEMO_PHASE_COUNT
};
extern const char *const demo_phase_names[DEMO_PHASE_COUNT];

enum demo_direction { DEMO_DIR_REQUEST, DEMO_DIR_RESPONSE, DEMO_DIR_COUNT };
extern const char *const demo_direction_names[DEMO_DIR_COUNT];

enum demo_conn_kind { DEMO_CONN_NEW, DEMO_CONN_KEPT, DEMO_CONN_COUNT };
extern const char *const demo_conn_names[DEMO_CONN_COUNT];

/* How an attempt at an address ended; label "outcome" of demo_backend_requests. */
enum demo_outcome {
    DEMO_OUTCOME_OK,       /* the backend answered, whatever the status: clears its failures */
    DEMO_OUTCOME_FAILED,   /* refused, reset, timed out or malformed: held back with backoff */
    DEMO_OUTCOME_BUSY,     /* OVERLOADED, or a full listen queue (EAGAIN): held back shortly */
    DEMO_OUTCOME_ABORTED,  /* the client's fault, or ours: says nothing about the backend */
    DEMO_OUTCOME_COUNT
};

/* DEMO_C_<id>: the plain counters of demo_metrics.def. */
enum demo_counter {
#define DEMO_COUNTER(id, name, unit, help) DEMO_C_##id,
#include "mod_demo/shm/demo_metrics.def"
    DEMO_C_COUNT
};

/* One request, filled in by the handler. */
typedef struct {
    int          status;         /* as the client gets it, 100..599 */
    int          method;         /* r->method_number; r->header_only makes it HEAD */
    int          header_only;    /* r->header_only */
    unsigned     attempts;       /* 1 and up; 0: no backend was asked */
    enum demo_phase error;       /* that failed the request, or DEMO_PHASE_NONE */
    apr_int64_t  queue_us;       /* waited for a backend, or -1 */
    apr_int64_t  connect_us;     /* to connect, or -1 when no connection was made */
    apr_int64_t  first_byte_us;  /* request sent until first byte, or -1 */
    apr_int64_t  total_us;       /* the whole request */
    apr_off_t    request_bytes;  /* body sent to the backend */
    apr_off_t    response_bytes; /* body received from the backend */
} demo_sample;

/* Counts one request.  Call it once, and before the end of the answer (EOS) is
 * passed on: whoever has the whole answer finds it counted. */
void demo_metrics_request(const demo_sample *sample);

/* Everything that is not told by a sample. */
void demo_metrics_count(enum demo_counter id, uint64_t n);
void demo_metrics_retry(enum demo_phase failed);
void demo_metrics_connection(enum demo_conn_kind kind);
void demo_metrics_spool_file(enum demo_direction direction);
void demo_metrics_spool_bytes(enum demo_direction direction, uint64_t n);

/* Counts a request of whatever handler.  Hook log_transaction; OK. */
int demo_metrics_log(request_rec *r);

#endif /* DEMO_METRICS_H */
