#include "mod_demo/response/demo_output.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "apr_buckets.h"
#include "http_connection.h"
#include "http_log.h"
#include "http_protocol.h"
#include "util_filter.h"

#include "mod_demo/response/demo_turn.h"

APLOG_USE_MODULE(demo);

/* Held before it is passed on.  httpd's core keeps up to FlushMaxThreshold
 * (64 KiB) for a client that does not take it, and blocks beyond. */
#define HOLD_MAX 32768

static apr_size_t hold_max(const demo_exchange *x)
{
    return x->dir->spool.memory < HOLD_MAX ? (apr_size_t)x->dir->spool.memory : HOLD_MAX;
}

/* Of an answer of which the script gives all, without a range of its own. */
static bool wants_range(const request_rec *r)
{
    return r->status == HTTP_OK && apr_table_get(r->headers_in, "Range") != NULL;
}

void demo_output_begin(demo_exchange *x, bool immediate)
{
    demo_output *o = &x->output;

    demo_turn_limit(x);
    o->bb = apr_brigade_create(x->r->pool, x->r->connection->bucket_alloc);
    o->immediate = immediate;
    /* A stream of HTTP/2 has no socket to look at: its buffers block.  And httpd
     * cuts a range out of an answer that it gets whole. */
    o->slow = !immediate && (x->r->connection->master != NULL || wants_range(x->r));
    demo_spool_init(&o->spool, &x->dir->spool, DEMO_DIR_RESPONSE, x->r->pool);
}

static bool client_lost(demo_exchange *x, apr_status_t rv)
{
    x->r->connection->aborted = 1;
    return demo_fail(x, DEMO_PHASE_CLIENT, DEMO_STATUS_CLIENT_GONE, rv, "the client went away");
}

/* A filter would not have the answer and has sent one of its own: 416 for a range
 * that is not there, what a filter that looks into bodies says.  What the
 * backend still sends is for nobody. */
static void replaced(demo_exchange *x)
{
    x->output.replaced = x->output.eos = true;
    x->answer.discard = true;
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, x->r, "DM1053: a filter of httpd answered %d instead "
                  "of passing the answer on", x->r->status);
}

/* What is held, down the filters. */
static bool pass(demo_exchange *x)
{
    demo_output *o = &x->output;
    apr_status_t rv = APR_SUCCESS;

    o->passed = true;
    o->held = 0;
    if (!o->replaced) {
        rv = ap_pass_brigade(x->r->output_filters, o->bb);
    }
    apr_brigade_cleanup(o->bb);
    if (rv == AP_FILTER_ERROR && !x->r->connection->aborted) {
        replaced(x);
        return true;
    }
    if (rv != APR_SUCCESS || x->r->connection->aborted) {
        return client_lost(x, rv);
    }
    return true;
}

static bool pass_now(demo_exchange *x, const char *data, size_t len)
{
    apr_bucket_alloc_t *alloc = x->r->connection->bucket_alloc;

    APR_BRIGADE_INSERT_TAIL(x->output.bb, apr_bucket_transient_create(data, len, alloc));
    if (x->output.immediate) {
        APR_BRIGADE_INSERT_TAIL(x->output.bb, apr_bucket_flush_create(alloc));
    }
    return pass(x);
}

bool demo_output_header(demo_exchange *x)
{
    demo_output *o = &x->output;

    if (!o->immediate || o->passed) {
        return true;
    }
    APR_BRIGADE_INSERT_TAIL(o->bb, apr_bucket_flush_create(x->r->connection->bucket_alloc));
    return pass(x);
}

/* The file so far, as a bucket behind what is held. */
static void file_append(demo_exchange *x)
{
    demo_output *o = &x->output;
    apr_bucket *first;

    if (o->spool.file_len == 0) {
        return;
    }
    first = apr_brigade_insert_file(o->bb, o->spool.file, 0, o->spool.file_len, x->r->pool);
    /* Mapped, the file would count as this process's memory. */
    for (apr_bucket *b = first; b != APR_BRIGADE_SENTINEL(o->bb); b = APR_BUCKET_NEXT(b)) {
        if (APR_BUCKET_IS_FILE(b)) {
            apr_bucket_file_enable_mmap(b, 0);
        }
    }
    o->spool.file_len = 0;
}

/* To the file; when it can take no more, what is in it goes out and from then
 * on the client's pace is PHP's. */
static bool write_slow(demo_exchange *x, const char *data, size_t len)
{
    demo_output *o = &x->output;
    apr_off_t before = o->spool.file_len;
    apr_status_t rv = demo_spool_write_file(&o->spool, data, len);

    if (rv == APR_SUCCESS) {
        return true;
    }
    if (rv == DEMO_SPOOL_EXCEEDED) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, x->r, "DM1050: the answer exceeds DemoSpool max=, "
                      "PHP now waits for the client");
    }
    else {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, rv, x->r, "DM1051: the answer can not be stored in a "
                      "temporary file in %s (the environment variable TMPDIR says where), PHP now "
                      "waits for the client", demo_spool_folder());
    }
    o->spool.file_len = before; /* of a write that failed half-way nothing counts */
    o->slow = false;
    o->spool_full = true;
    file_append(x);
    return pass_now(x, data, len);
}

/* Passes data on in pieces that httpd's core takes without blocking, as long
 * as it is not left with bytes of the piece before. */
static bool write_through(demo_exchange *x, const char *data, size_t len)
{
    demo_output *o = &x->output;

    /* By itself: together with the next piece it would be more than the core
     * takes without blocking. */
    if (o->held > 0 && !o->slow) {
        if (!pass(x)) {
            return false;
        }
        o->slow = !o->immediate && x->r->connection->data_in_output_filters != 0;
    }
    while (len > 0) {
        size_t part = len < HOLD_MAX ? len : HOLD_MAX;
        if (o->slow) {
            return write_slow(x, data, len);
        }
        if (!pass_now(x, data, part)) {
            return false;
        }
        if (!o->immediate && !o->spool_full) {
            o->slow = x->r->connection->data_in_output_filters != 0;
        }
        data += part;
        len -= part;
    }
    return true;
}

/* Cuts the body at Content-Length, drops what the client must not get. */
static size_t admitted(demo_exchange *x, size_t len)
{
    demo_answer *a = &x->answer;
    apr_off_t before = a->body_len;

    a->body_len += (apr_off_t)len;
    x->sample.response_bytes += (apr_off_t)len;
    if (a->discard) {
        return 0;
    }
    if (a->stated_len >= 0 && a->body_len > a->stated_len) {
        if (!a->overlong) {
            ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, x->r, "DM1052: backend %s: the body exceeds "
                          "its Content-Length of %" APR_OFF_T_FMT ", the rest is cut",
                          x->target.name, a->stated_len);
        }
        a->overlong = true;
        return before >= a->stated_len ? 0 : (size_t)(a->stated_len - before);
    }
    return len;
}

bool demo_output_write(demo_exchange *x, const char *data, size_t len)
{
    demo_output *o = &x->output;

    len = admitted(x, len);
    if (len == 0) {
        return true;
    }
    if (!o->immediate && !o->passed && o->spool.file == NULL && o->held + len <= hold_max(x)) {
        APR_BRIGADE_INSERT_TAIL(o->bb, apr_bucket_heap_create(data, len, NULL,
                                x->r->connection->bucket_alloc));
        o->held += len;
        return true;
    }
    return write_through(x, data, len);
}

bool demo_output_take_back(demo_exchange *x)
{
    demo_output *o = &x->output;

    if (o->passed || o->spool.file != NULL) {
        return false;
    }
    if (o->bb != NULL) {
        apr_brigade_destroy(o->bb);
    }
    *o = (demo_output){ .bb = NULL };
    return true;
}

/* Is this the whole of a small answer on a connection that takes it at once? */
static bool goes_out_at_once(const demo_exchange *x)
{
    const demo_output *o = &x->output;
    int unsent = 0;

    return !o->passed && o->spool.file_len == 0 && x->client_fd >= 0 && x->r->main == NULL
           && x->r->connection->data_in_output_filters == 0
           && ioctl(x->client_fd, SIOCOUTQ, &unsent) == 0 && unsent == 0;
}

bool demo_output_end(demo_exchange *x)
{
    demo_output *o = &x->output;
    conn_rec *c = x->r->connection;
    bool at_once = goes_out_at_once(x);

    file_append(x);
    if (at_once) {
        APR_BRIGADE_INSERT_TAIL(o->bb, apr_bucket_flush_create(c->bucket_alloc));
    }
    APR_BRIGADE_INSERT_TAIL(o->bb, apr_bucket_eos_create(c->bucket_alloc));
    o->eos = true;
    if (!pass(x)) {
        return false;
    }
    if (at_once) {
        demo_turn_sent(x);
    }
    return true;
}

/* An answer whose end is the end of the connection: only a reset tells that it
 * is not whole. */
static void reset_at_close(conn_rec *c, int fd)
{
    struct linger now = { .l_onoff = 1, .l_linger = 0 };

    if (fd >= 0) {
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    c->aborted = 1;
}

void demo_output_abort(demo_exchange *x)
{
    request_rec *r = x->r;
    conn_rec *c = r->connection;
    demo_output *o = &x->output;

    if (c->aborted || o->eos) {
        return;
    }
    file_append(x);
    APR_BRIGADE_INSERT_TAIL(o->bb, apr_bucket_flush_create(c->bucket_alloc));
    if (!pass(x)) {
        return;
    }
    c->keepalive = AP_CONN_CLOSE;
    /* The HTTP filters write no last chunk after an error bucket, HTTP/2 resets
     * the stream. */
    APR_BRIGADE_INSERT_TAIL(o->bb, ap_bucket_error_create(HTTP_BAD_GATEWAY, NULL, r->pool,
                                                          c->bucket_alloc));
    APR_BRIGADE_INSERT_TAIL(o->bb, ap_bucket_eoc_create(c->bucket_alloc));
    APR_BRIGADE_INSERT_TAIL(o->bb, apr_bucket_eos_create(c->bucket_alloc));
    o->eos = true;
    (void)ap_pass_brigade(r->output_filters, o->bb);
    apr_brigade_cleanup(o->bb);
    if (c->master == NULL && !r->chunked
        && apr_table_get(r->headers_out, "Content-Length") == NULL) {
        reset_at_close(c, x->client_fd);
    }
}
