/*
 * stub_http.h -- one request of one client, for the harnesses of mod_demo's
 * request path.
 *
 * The module's own files run, with APR; here is as much of httpd as they call,
 * and the system calls that reach a peer (linked with -Wl,--wrap=…):
 *
 *   plan.wire --recv--> demo_recv -> demo_header, demo_output --ap_pass_brigade--> body
 *
 * What the module allocates with apr_palloc() comes in blocks of its own, and
 * behind what a read brought the connection's buffer is poisoned, so that
 * AddressSanitizer sees each byte too many.  One thread.
 */
#ifndef STUB_HTTP_H
#define STUB_HTTP_H

#include <stdbool.h>

#include "tests/fuzz/fuzz.h"

#include "mod_demo/exchange/demo_exchange.h"

enum { STUB_NEVER = -1 };

/* How backend and client behave. */
typedef struct {
    const uint8_t *wire;  /* what the backend sends; borrowed */
    size_t len;
    size_t piece;         /* bytes a read; 1 and up */
    bool waits;           /* each read says EAGAIN once before it brings something */
    bool reset;           /* at the end of wire a reset, not an orderly end */
    bool brief, head, http2;
    bool keep;            /* the connection may be kept */
    bool client_socket;   /* the client's socket can be looked at */
    int slow_after;       /* bytes of body that the client takes at once, or STUB_NEVER: all */
    int lost_after;       /* bytes of body after which it is gone, or STUB_NEVER */
    int disk_full_after;  /* bytes that a temporary file takes, or STUB_NEVER: all */
    demo_dir_conf dir;
} stub_plan;

/* Bytes that grow; text of the harness, not of the module. */
typedef struct {
    char *data;
    size_t len, cap;
} stub_bytes;

/* What came of it. */
typedef struct {
    demo_exchange *x;
    request_rec *r;
    stub_bytes body;      /* passed down the filters */
    stub_bytes log;       /* the lines of STDERR and other messages of level warn and above */
    bool eos, error;      /* buckets that were seen */
} stub_result;

/* All defaults of docs/directives.md that the response path reads. */
void stub_dir_defaults(demo_dir_conf *dir);

/* A request that was sent and waits for its answer.  Ends with stub_end(). */
stub_result *stub_begin(const stub_plan *plan);
void stub_end(stub_result *s);

/* Another request_rec without any exchange, for harnesses that need one. */
request_rec *stub_request(stub_result *s);

void stub_append(stub_bytes *b, const void *data, size_t len);

#endif /* STUB_HTTP_H */
