#include "mod_demo/request/demo_handler.h"

#include "apr_strings.h"
#include "http_core.h"
#include "http_log.h"
#include "http_protocol.h"
#include "http_request.h"

#include "mod_demo/exchange/demo_client.h"
#include "mod_demo/request/demo_attempt.h"
#include "mod_demo/request/demo_body.h"
#include "mod_demo/request/demo_params.h"
#include "mod_demo/request/demo_park.h"
#include "mod_demo/request/demo_path.h"
#include "mod_demo/response/demo_output.h"
#include "mod_demo/shm/demo_clock.h"
#include "mod_demo/shm/demo_gauges.h"
#include "mod_demo/shm/demo_hand_on.h"
#include "mod_demo/shm/demo_yield.h"

APLOG_USE_MODULE(demo);

#define RETRY_AFTER_S "1" /* a backend that refuses is mostly one that restarts */

static demo_exchange *exchange_begin(request_rec *r)
{
    demo_exchange *x = apr_pcalloc(r->pool, sizeof *x);

    x->r = r;
    x->server = demo_server_conf_get(r->server);
    x->dir = demo_dir_conf_get(r);
    x->target.slot = -1;
    x->client_fd = demo_client_fd(r->connection);
    x->started = demo_now();
    x->deadline = x->dir->timeout.total > 0 ? x->started + x->dir->timeout.total : 0;
    x->sample = (demo_sample){ .method = r->method_number, .header_only = r->header_only,
                               .queue_us = -1, .connect_us = -1, .first_byte_us = -1 };
    return x;
}

static const char *number(apr_pool_t *p, apr_int64_t n)
{
    char *end = apr_palloc(p, 21), *at = end + 20;

    *at = '\0';
    if (n < 0) {
        return "-";
    }
    do {
        *--at = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    return at;
}

/* For LogFormat, and for the counters; before the end of the answer goes out. */
static void account(demo_exchange *x, int status)
{
    apr_table_t *notes = x->r->notes;
    apr_pool_t *p = x->r->pool;
    demo_sample *s = &x->sample;

    s->status = status == AP_FILTER_ERROR ? x->r->status : status;
    s->error = x->failure.phase;
    s->total_us = demo_now() - x->started;
    if (x->target.name[0] != '\0') {
        apr_table_setn(notes, "demo-backend", x->target.name);
    }
    apr_table_setn(notes, "demo-attempts", number(p, s->attempts));
    apr_table_setn(notes, "demo-connect-us", number(p, s->connect_us));
    apr_table_setn(notes, "demo-first-byte-us", number(p, s->first_byte_us));
    apr_table_setn(notes, "demo-total-us", number(p, s->total_us));
    if (x->failure.phase != DEMO_PHASE_NONE) {
        apr_table_setn(notes, "demo-error",
                       apr_pstrcat(p, demo_phase_names[x->failure.phase], ": ",
                                   x->failure.what != NULL ? x->failure.what : "", NULL));
    }
    demo_metrics_request(s);
}

/* RFC 3875 §6.2.2: the answer is that to another path, asked for by GET. */
static int redirect_locally(demo_exchange *x)
{
    request_rec *r = x->r;

    account(x, HTTP_OK);
    r->method = "GET";
    r->method_number = M_GET;
    apr_table_unset(r->headers_in, "Content-Length");
    apr_table_unset(r->headers_in, "Transfer-Encoding");
    ap_internal_redirect_handler(x->answer.redirect, r);
    return OK;
}

/* No answer, or not all of it. */
static int give_up(demo_exchange *x)
{
    request_rec *r = x->r;
    int status = x->failure.status;

    if (r->connection->aborted || x->failure.phase == DEMO_PHASE_CLIENT) {
        account(x, status);
        if (!x->answer.header_done && !r->connection->aborted) {
            return status;
        }
        if (!x->answer.header_done) {
            r->status = status;
        }
        r->connection->aborted = 1;
        r->connection->keepalive = AP_CONN_CLOSE;
        return DONE;
    }
    if (x->answer.header_done && x->answer.redirect == NULL) {
        account(x, r->status);
        demo_output_abort(x);
        return OK;
    }
    account(x, status);
    if (status == HTTP_SERVICE_UNAVAILABLE) {
        apr_table_setn(r->err_headers_out, "Retry-After", RETRY_AFTER_S);
    }
    return status;
}

static int finish(demo_exchange *x)
{
    request_rec *r = x->r;

    if (x->answer.redirect != NULL) {
        return redirect_locally(x);
    }
    account(x, r->status);
    if (!demo_output_end(x)) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, x->failure.cause, r, "DM1004: the client went away "
                      "before it had the whole answer");
        return DONE;
    }
    return OK;
}

/* What needs no body; OK or a status. */
static int prepare(demo_exchange *x)
{
    int status;

    if (x->server->cluster == NULL) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, x->r, "DM1005: this server has no backend: neither "
                      "DemoBackend nor the environment variable " DEMO_BACKEND_ENV " names one");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    status = demo_path_map(x->r, x->dir, &x->script);
    if (status == OK) {
        status = demo_body_begin(x);
        x->request.may_wait = x->request.has_body && demo_park_possible(x);
    }
    return status;
}

int demo_handler_proceed(demo_exchange *x)
{
    int status = demo_body_receive(x);
    bool ok;

    if (status == SUSPENDED) {
        return demo_park(x);
    }
    if (status == OK) {
        status = demo_params_build(x);
    }
    if (status != OK && x->failure.phase == DEMO_PHASE_TOTAL) {
        demo_attempt_none(x);
    }
    if (status != OK) {
        account(x, status);
        return status;
    }
    demo_in_flight(1);
    ok = demo_attempt_run(x);
    demo_in_flight(-1);
    if (demo_client_of(x->r->connection) == NULL) {
        demo_give_way(false); /* no demo_turn_end() follows */
    }
    return ok ? finish(x) : give_up(x);
}

void demo_handler_abandon(demo_exchange *x)
{
    demo_fail(x, DEMO_PHASE_CLIENT, HTTP_REQUEST_TIME_OUT, APR_TIMEUP,
              "the client sent nothing for httpd's Timeout");
    ap_log_rerror(APLOG_MARK, APLOG_INFO, APR_TIMEUP, x->r, "DM1033: the client stopped sending its "
                  "request body, its connection is closed");
    account(x, HTTP_REQUEST_TIME_OUT);
    x->r->status = HTTP_REQUEST_TIME_OUT;
    ap_run_log_transaction(x->r);
}

static bool is_ours(const request_rec *r)
{
    return r->handler != NULL && strcmp(r->handler, DEMO_HANDLER_FCGI) == 0;
}

int demo_handler_before(request_rec *r)
{
    if (!is_ours(r)) {
        demo_give_way(false);
    }
    return DECLINED;
}

int demo_handler(request_rec *r)
{
    demo_exchange *x;
    int status;

    if (!is_ours(r)) {
        return DECLINED;
    }
    demo_hand_on_taken();
    x = exchange_begin(r);
    status = prepare(x);
    if (status != OK) {
        account(x, status);
    }
    else {
        status = demo_handler_proceed(x);
    }
    demo_hand_on_given();
    return status;
}

int demo_handler_log(request_rec *r)
{
    static const char *const names[] = {
        "demo-backend", "demo-attempts", "demo-connect-us", "demo-first-byte-us", "demo-total-us",
        "demo-error"
    };
    request_rec *last = r;

    while (last->next != NULL) {
        last = last->next;
    }
    for (; r != last; r = r->next) {
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
            const char *value = apr_table_get(r->notes, names[i]);
            if (value != NULL && apr_table_get(last->notes, names[i]) == NULL) {
                apr_table_setn(last->notes, names[i], value);
            }
        }
    }
    return OK;
}
