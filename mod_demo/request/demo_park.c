#include "mod_demo/request/demo_park.h"

#include "ap_mpm.h"
#include "http_config.h"
#include "http_protocol.h"
#include "http_request.h"
#include "scoreboard.h"

#include "mod_demo/request/demo_handler.h"
#include "mod_demo/response/demo_turn.h"
#include "mod_demo/shm/demo_hand_on.h"

static demo_exchange *parked(const conn_rec *c)
{
    const demo_client *client = demo_client_of(c);

    return client != NULL ? client->parked : NULL;
}

bool demo_park_possible(const demo_exchange *x)
{
    const request_rec *r = x->r;
    const conn_rec *c = r->connection;
    int is_async = 0;

    return r->main == NULL && r->prev == NULL && c->master == NULL && c->cs != NULL
           && !c->clogging_input_filters && x->client_fd >= 0
           && ap_mpm_query(AP_MPMQ_IS_ASYNC, &is_async) == APR_SUCCESS && is_async;
}

int demo_park(demo_exchange *x)
{
    demo_client_get(x->r->connection)->parked = x;
    return SUSPENDED;
}

/* Asks the MPM to call process_connection when the client has sent something. */
static void watch(conn_rec *c)
{
    int can_wait = 0;

    c->cs->sense = CONN_SENSE_WANT_READ;
    c->cs->state = CONN_STATE_WRITE_COMPLETION;
#ifdef AP_MPMQ_CAN_WAITIO /* httpd 2.4.63 */
    if (ap_mpm_query(AP_MPMQ_CAN_WAITIO, &can_wait) == APR_SUCCESS && can_wait) {
        c->cs->state = CONN_STATE_ASYNC_WAITIO;
    }
#else
    (void)can_wait;
#endif
}

void demo_park_resume(conn_rec *c, request_rec *r)
{
    demo_exchange *x = c->master == NULL && c->cs != NULL ? parked(c) : NULL;

    if (x == NULL || c->cs->state == CONN_STATE_READ_REQUEST_LINE) {
        return;
    }
    if (c->cs->state == CONN_STATE_WRITE_COMPLETION) { /* before httpd 2.4.63 */
        c->cs->state = CONN_STATE_READ_REQUEST_LINE;
        c->cs->sense = CONN_SENSE_DEFAULT;
        return;
    }
    /* The MPM gave up waiting and closes the connection. */
    demo_client_of(c)->parked = NULL;
    demo_handler_abandon(x);
}

/* What httpd does with what a handler returned. */
static void request_end(request_rec *r, int status)
{
    if (status == OK || status == DONE) {
        ap_finalize_request_protocol(r);
    }
    else {
        if (status != AP_FILTER_ERROR) { /* its answer is sent, and stays in the log */
            r->status = HTTP_OK;
        }
        ap_die(status, r);
    }
    ap_process_request_after_handler(r);
}

/* The request that was put aside goes on. */
static void go_on(conn_rec *c, demo_exchange *x)
{
    int status;

    demo_client_of(c)->parked = NULL;
    ap_update_child_status(c->sbh, SERVER_BUSY_READ, x->r);
    status = demo_handler_proceed(x);
    if (status != SUSPENDED) {
        request_end(x->r, status);
    }
}

/* A new request of this connection; as the hook of httpd's core, which would
 * leave a suspended request where nobody wakes it. */
static void begin(conn_rec *c)
{
    request_rec *r;

    ap_update_child_status_from_conn(c->sbh, SERVER_BUSY_READ, c);
    if (ap_extended_status) {
        ap_set_conn_count(c->sbh, NULL, c->keepalives);
    }
    r = ap_read_request(c);
    if (r == NULL) {
        c->cs->state = CONN_STATE_LINGER;
        return;
    }
    c->keepalive = AP_CONN_UNKNOWN;
    if (r->status == HTTP_OK) {
        c->cs->state = CONN_STATE_HANDLER;
        if (ap_extended_status) {
            ap_set_conn_count(c->sbh, r, c->keepalives + 1);
        }
        ap_update_child_status(c->sbh, SERVER_BUSY_WRITE, r);
        ap_process_async_request(r); /* r may be gone */
    }
}

int demo_park_process(conn_rec *c)
{
    demo_exchange *x;
    int is_async = 0;

    if (c->master != NULL || c->cs == NULL || c->clogging_input_filters
        || c->cs->state != CONN_STATE_READ_REQUEST_LINE
        || ap_mpm_query(AP_MPMQ_IS_ASYNC, &is_async) != APR_SUCCESS || !is_async) {
        return DECLINED;
    }
    demo_hand_on_taken();
    demo_turn_begin(c);
    x = parked(c);
    if (x != NULL) {
        go_on(c, x);
    }
    else {
        begin(c);
    }
    if (parked(c) != NULL) {
        watch(c);
    }
    else if (c->cs->state != CONN_STATE_WRITE_COMPLETION
             && c->cs->state != CONN_STATE_SUSPENDED) {
        c->cs->state = CONN_STATE_LINGER;
    }
    demo_turn_end(c);
    demo_hand_on_given();
    return OK;
}
