#include "mod_demo/request/demo_body.h"

#include <poll.h>

#include "apr_strings.h"
#include "http_core.h"
#include "http_log.h"
#include "http_protocol.h"
#include "util_filter.h"

#include "mod_demo/shm/demo_clock.h"

APLOG_USE_MODULE(demo);

#define PIECE 65536
/* So long a thread waits for a client, then others may have it; less for one
 * that was put aside before: it is known to be slow, and each of its pieces would
 * hold a thread so long. */
#define PATIENCE_US 100000
#define PATIENCE_AGAIN_US 1000

/* The length that the client stated, or -1. */
static apr_off_t length_stated(const request_rec *r)
{
    const char *text = apr_table_get(r->headers_in, "Content-Length");
    apr_off_t len;

    return text != NULL && ap_parse_strict_length(&len, text) ? len : -1;
}

/* Does a header field say that there is a body, empty or not? */
static bool is_declared(const request_rec *r)
{
    return apr_table_get(r->headers_in, "Content-Length") != NULL
           || apr_table_get(r->headers_in, "Transfer-Encoding") != NULL;
}

/* What a filter makes of the body (mod_deflate's inflates it) is as long as it
 * turns out, whatever the client stated. */
static bool is_filtered(const request_rec *r)
{
    return r->input_filters != r->proto_input_filters;
}

/* An ErrorDocument: the request that failed may have read the body already. */
static bool is_after_error(const request_rec *r)
{
    return r->prev != NULL && r->status != HTTP_OK;
}

/* HTTP/2 needs no header field for it, so there only reading tells. */
static bool announced(const request_rec *r, apr_off_t stated)
{
    /* A sub-request has the headers of its main request, not its body. */
    if (r->main != NULL) {
        return false;
    }
    return stated > 0 || apr_table_get(r->headers_in, "Transfer-Encoding") != NULL
           || (r->proto_num >= HTTP_VERSION(2, 0) && stated < 0);
}

/* One brigade from the client to the spool; *eos at the end. */
static apr_status_t spool_brigade(demo_spool *spool, apr_bucket_brigade *bb, bool *eos)
{
    for (apr_bucket *b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb);
         b = APR_BUCKET_NEXT(b)) {
        const char *data;
        apr_size_t len;
        apr_status_t rv;
        if (APR_BUCKET_IS_EOS(b)) {
            *eos = true;
            return APR_SUCCESS;
        }
        if (APR_BUCKET_IS_METADATA(b)) {
            continue;
        }
        rv = apr_bucket_read(b, &data, &len, APR_BLOCK_READ);
        if (rv == APR_SUCCESS) {
            rv = demo_spool_write(spool, data, len);
        }
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    return APR_SUCCESS;
}

static int too_large(demo_exchange *x)
{
    demo_fail(x, DEMO_PHASE_SPOOL, HTTP_REQUEST_ENTITY_TOO_LARGE, 0,
              "the request body exceeds DemoSpool max=");
    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, x->r, "DM1030: the request body exceeds DemoSpool "
                  "max=%" APR_OFF_T_FMT " bytes", x->dir->spool.max);
    return HTTP_REQUEST_ENTITY_TOO_LARGE;
}

/* httpd's own filter would say so when the body is read: after the client was
 * invited to send it, and with DemoRequestBuffering off after PHP has begun. */
static int over_limit(demo_exchange *x, apr_off_t stated)
{
    demo_fail(x, DEMO_PHASE_CLIENT, HTTP_REQUEST_ENTITY_TOO_LARGE, 0,
              "the request body exceeds httpd's LimitRequestBody");
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, x->r, "DM1036: the request body of %" APR_OFF_T_FMT
                  " bytes exceeds httpd's LimitRequestBody of %" APR_OFF_T_FMT, stated,
                  ap_get_limit_req_body(x->r));
    return HTTP_REQUEST_ENTITY_TOO_LARGE;
}

/* The client is not to blame for a full disk, and its request would have been
 * right: RFC 4918 §11.5. */
static int spool_failed(demo_exchange *x, apr_status_t rv)
{
    if (rv == DEMO_SPOOL_EXCEEDED) {
        return too_large(x);
    }
    if (demo_spool_is_full(rv)) {
        demo_fail(x, DEMO_PHASE_SPOOL, HTTP_INSUFFICIENT_STORAGE, rv,
                  "no space left for the request body");
        ap_log_rerror(APLOG_MARK, APLOG_ERR, rv, x->r, "DM1034: no space left in %s (TMPDIR) for the "
                      "request body, of which %" APR_OFF_T_FMT " bytes were stored: free some, or "
                      "bound what a request may take with DemoSpool max=",
                      demo_spool_folder(), demo_spool_len(&x->request.body));
        return HTTP_INSUFFICIENT_STORAGE;
    }
    demo_fail(x, DEMO_PHASE_SPOOL, HTTP_INTERNAL_SERVER_ERROR, rv,
              "the request body can not be stored");
    ap_log_rerror(APLOG_MARK, APLOG_ERR, rv, x->r, "DM1031: the request body can not be stored in "
                  "a temporary file in %s (the environment variable TMPDIR says where)",
                  demo_spool_folder());
    return HTTP_INTERNAL_SERVER_ERROR;
}

bool demo_body_failed(demo_exchange *x, apr_status_t rv)
{
    int status = ap_map_http_request_error(rv, HTTP_BAD_REQUEST);

    if (rv == AP_FILTER_ERROR) { /* no errno of any system */
        return demo_fail(x, DEMO_PHASE_CLIENT, status, 0,
                         "the request body did not arrive whole: httpd refused it");
    }
    return demo_fail(x, DEMO_PHASE_CLIENT, status, rv, "the request body did not arrive whole");
}

static int client_failed(demo_exchange *x, apr_status_t rv)
{
    demo_body_failed(x, rv);
    ap_log_rerror(APLOG_MARK, APLOG_INFO, x->failure.cause, x->r, "DM1032: %s", x->failure.what);
    return x->failure.status;
}

/* The rest of the body is not read: who takes that long is not waited for to keep
 * his connection. */
static int total_over(demo_exchange *x)
{
    demo_fail_total(x, "the request body took that long");
    x->r->connection->keepalive = AP_CONN_CLOSE;
    return x->failure.status;
}

/* Nothing is there: waits a little, most clients are fast.  False: this one is
 * not.  *patience: what is left of the time that a thread spends so. */
static bool wait_briefly(demo_exchange *x, apr_interval_time_t *patience)
{
    struct pollfd p = { .fd = x->client_fd, .events = POLLIN };
    apr_time_t before = demo_now();
    int n = *patience > 0 ? poll(&p, 1, (int)(*patience / 1000)) : 0;

    *patience -= demo_now() - before;
    return n != 0;
}

/* "Expect: 100-continue": httpd's own filter answers only to a read that blocks. */
static void invite(request_rec *r)
{
    int status = r->status;

    if (r->expecting_100) {
        r->status = HTTP_CONTINUE;
        ap_send_interim_response(r, 0);
        r->status = status;
        r->expecting_100 = 0;
    }
}

int demo_body_receive(demo_exchange *x)
{
    request_rec *r = x->r;
    demo_spool *spool = &x->request.body;
    apr_read_type_e mode = x->request.may_wait ? APR_NONBLOCK_READ : APR_BLOCK_READ;
    apr_interval_time_t patience = x->request.put_aside ? PATIENCE_AGAIN_US : PATIENCE_US;
    apr_bucket_brigade *bb = x->request.incoming;
    bool eos = false;

    if (!x->request.has_body || x->request.streamed) {
        return OK;
    }
    if (mode == APR_NONBLOCK_READ) {
        invite(r);
    }
    while (!eos) {
        apr_status_t rv;
        if (demo_total_is_over(x)) {
            return total_over(x);
        }
        rv = ap_get_brigade(r->input_filters, bb, AP_MODE_READBYTES, mode, PIECE);
        if (mode == APR_NONBLOCK_READ
            && (APR_STATUS_IS_EAGAIN(rv) || (rv == APR_SUCCESS && APR_BRIGADE_EMPTY(bb)))) {
            if (wait_briefly(x, &patience)) {
                continue;
            }
            x->request.put_aside = true;
            return SUSPENDED;
        }
        if (rv != APR_SUCCESS) {
            return client_failed(x, rv);
        }
        rv = spool_brigade(spool, bb, &eos);
        apr_brigade_cleanup(bb);
        if (rv != APR_SUCCESS) {
            return spool_failed(x, rv);
        }
    }
    if (demo_spool_len(spool) > 0 || is_declared(r)) {
        x->request.stated_len = demo_spool_len(spool);
    }
    return OK;
}

int demo_body_begin(demo_exchange *x)
{
    request_rec *r = x->r;
    apr_off_t stated = length_stated(r);
    demo_request *request = &x->request;

    request->stated_len = stated == 0 || is_after_error(r) ? 0 : -1;
    demo_spool_init(&request->body, &x->dir->spool, DEMO_DIR_REQUEST, r->pool);
    request->has_body = announced(r, stated) && !is_after_error(r);
    if (!request->has_body) {
        return OK;
    }
    if (ap_get_limit_req_body(r) > 0 && stated > ap_get_limit_req_body(r)) {
        return over_limit(x, stated);
    }
    request->incoming = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    if (!x->dir->request_buffering && stated > 0 && !is_filtered(r)) {
        request->streamed = true;
        request->stated_len = stated;
        return OK;
    }
    if (stated > x->dir->spool.memory && stated - x->dir->spool.memory > x->dir->spool.max) {
        return too_large(x); /* known before a byte of it is read */
    }
    demo_spool_expect(&request->body, stated);
    return OK;
}

/* Copies what fits out of the brigade and deletes it there. */
static apr_status_t brigade_take(apr_bucket_brigade *bb, char *buf, apr_size_t cap,
                                 apr_size_t *len, bool *eos)
{
    while (!APR_BRIGADE_EMPTY(bb) && *len < cap) {
        apr_bucket *b = APR_BRIGADE_FIRST(bb);
        const char *data;
        apr_size_t n;
        apr_status_t rv;
        if (APR_BUCKET_IS_EOS(b)) {
            *eos = true;
            break;
        }
        if (!APR_BUCKET_IS_METADATA(b)) {
            rv = apr_bucket_read(b, &data, &n, APR_BLOCK_READ);
            if (rv != APR_SUCCESS) {
                return rv;
            }
            if (n > cap - *len) {
                n = cap - *len;
                apr_bucket_split(b, n);
            }
            memcpy(buf + *len, data, n);
            *len += n;
        }
        apr_bucket_delete(b);
    }
    return APR_SUCCESS;
}

apr_status_t demo_body_next(demo_exchange *x, char *buf, apr_size_t cap, apr_size_t *len,
                            bool block)
{
    request_rec *r = x->r;
    apr_bucket_brigade *bb = x->request.incoming;
    bool eos = false;
    apr_status_t rv;

    if (!block) {
        invite(r);
    }
    rv = ap_get_brigade(r->input_filters, bb, AP_MODE_READBYTES,
                        block ? APR_BLOCK_READ : APR_NONBLOCK_READ, (apr_off_t)cap);
    *len = 0;
    if (rv == APR_SUCCESS) {
        rv = brigade_take(bb, buf, cap, len, &eos);
    }
    apr_brigade_cleanup(bb);
    if (rv != APR_SUCCESS || *len > 0) {
        return rv;
    }
    return eos ? APR_EOF : APR_EAGAIN;
}
