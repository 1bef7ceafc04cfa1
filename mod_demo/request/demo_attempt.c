#include "mod_demo/request/demo_attempt.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>

#include "apr_strings.h"
#include "http_log.h"

#include "mod_demo/pool/demo_pool.h"
#include "mod_demo/request/demo_params.h"
#include "mod_demo/request/demo_send.h"
#include "mod_demo/response/demo_header.h"
#include "mod_demo/response/demo_output.h"
#include "mod_demo/response/demo_recv.h"
#include "mod_demo/shm/demo_clock.h"
#include "mod_demo/shm/demo_gauges.h"
#include "mod_demo/shm/demo_yield.h"

APLOG_USE_MODULE(demo);

#define QUEUE_STEP_MIN_US 5000   /* between two looks at a backend that refuses */
#define QUEUE_STEP_MAX_US 100000

/* RFC 9110 §9.2.2; what is sent twice has the effect of once. */
static bool is_idempotent(const request_rec *r)
{
    switch (r->method_number) {
    case M_GET: /* and HEAD */
    case M_PUT:
    case M_DELETE:
    case M_OPTIONS:
    case M_TRACE:
    case M_PROPFIND:
        return true;
    default:
        return false;
    }
}

/* --- one attempt ----------------------------------------------------------------- */

/* DemoTimeout connect=, or what is left of total= when that is less. */
static apr_interval_time_t connect_limit(const demo_exchange *x)
{
    apr_interval_time_t limit = x->dir->timeout.connect;
    apr_time_t now;

    if (x->deadline > 0) {
        now = demo_now();
        if (x->deadline - now < limit) {
            limit = x->deadline > now ? x->deadline - now : 1; /* 0 would be no limit */
        }
    }
    return limit;
}

static bool address_pick(demo_exchange *x, int avoid_slot)
{
    const demo_cluster *cluster = x->server->cluster;
    apr_status_t rv = demo_balance_pick(cluster, avoid_slot, &x->target);
    const char *why;

    if (rv == APR_EAGAIN) {
        rv = demo_balance_pick_wait(cluster, avoid_slot, connect_limit(x), &x->target);
    }
    if (rv == APR_SUCCESS) {
        return true;
    }
    why = demo_cluster_trouble(cluster, apr_palloc(x->r->pool, 256), 256);
    if (demo_total_is_over(x)) {
        return demo_fail_total(x, why);
    }
    return demo_fail(x, DEMO_PHASE_RESOLVE, HTTP_SERVICE_UNAVAILABLE, 0, why);
}

static const char *connect_trouble(apr_status_t rv)
{
    switch (rv) {
    case APR_TIMEUP: return "DemoTimeout connect= ran out";
    case EAGAIN: return "its listen queue is full";
    case ECONNREFUSED: return "nothing listens there";
    case ENOENT: return "the socket does not exist";
    case EACCES: return "httpd's user may not open the socket";
    case EMFILE: return "httpd has no file descriptor left, raise its limit (ulimit -n)";
    case ENFILE: return "the system has no file left, raise fs.file-max";
    case ENOBUFS:
    case ENOMEM: return "no memory for a socket, give the machine or its cgroup more";
    case EADDRNOTAVAIL: return "no local address or port is left, widen net.ipv4.ip_local_port_range";
    default: return "no connection";
    }
}

/* Of this process or machine: it says nothing of the backend. */
static bool is_shortage(apr_status_t rv, int family)
{
    /* In IPv6 it is also how a machine answers that has no such address. */
    return (rv == EADDRNOTAVAIL && family != AF_INET6)
           || rv == EMFILE || rv == ENFILE || rv == ENOBUFS || rv == ENOMEM;
}

static bool connect_failed(demo_exchange *x, apr_status_t rv)
{
    if (rv == APR_TIMEUP && demo_total_is_over(x)) {
        return demo_fail_total(x, "no connection yet");
    }
    demo_fail(x, DEMO_PHASE_CONNECT, HTTP_SERVICE_UNAVAILABLE, rv, connect_trouble(rv));
    x->failure.untouched = true;
    x->failure.blameless = is_shortage(rv, x->target.addr.sa.sa_family);
    x->failure.elsewhere_only = rv == APR_TIMEUP || rv == EACCES;
    x->failure.queueable = rv == ECONNREFUSED || rv == EAGAIN || rv == ENOENT
                           || rv == ECONNRESET;
    return false;
}

static bool connection_get(demo_exchange *x)
{
    const demo_pool_conf *pool = &x->server->pool;
    bool keep = false, may_repeat = !x->fresh_only && is_idempotent(x->r);
    apr_time_t before;
    apr_status_t rv;

    /* What may not be repeated gets a new connection: a kept one may be closed
     * by PHP at the moment it is used, and nobody could say what happened. */
    if (may_repeat) {
        x->conn = demo_pool_take(&x->target, pool, &keep);
    }
    if (x->conn != NULL) {
        demo_metrics_connection(DEMO_CONN_KEPT);
        return true;
    }
    before = demo_now();
    rv = demo_conn_open(&x->conn, &x->target, connect_limit(x));
    if (rv != APR_SUCCESS) {
        if (keep) {
            demo_pool_unadmit(&x->target);
        }
        return connect_failed(x, rv);
    }
    assert(x->conn != NULL);
    x->conn->asked = may_repeat;
    if (keep) {
        demo_pool_admitted(x->conn);
    }
    x->sample.connect_us = demo_now() - before;
    demo_metrics_connection(DEMO_CONN_NEW);
    return true;
}

/* The connection goes back to the pool only from a clean end. */
static void connection_release(demo_exchange *x)
{
    demo_answer *a = &x->answer;

    if (x->conn == NULL) {
        return;
    }
    x->brief = x->conn->brief;
    if (x->failure.phase == DEMO_PHASE_NONE && a->ended && !a->overlong && x->sent_whole
        && fcgiw_stream_idle(&a->stream)) {
        demo_pool_give(x->conn, &x->server->pool);
    }
    else {
        demo_pool_drop(x->conn);
    }
    x->conn = NULL;
}

static enum demo_outcome outcome_of(const demo_exchange *x, bool stale)
{
    switch (x->failure.phase) {
    case DEMO_PHASE_NONE:
        return DEMO_OUTCOME_OK;
    case DEMO_PHASE_CLIENT:
    case DEMO_PHASE_SPOOL:
    case DEMO_PHASE_TOTAL:
        return DEMO_OUTCOME_ABORTED;
    default:
        if (stale || x->failure.unseen || x->failure.blameless) {
            return DEMO_OUTCOME_ABORTED;
        }
        return x->failure.queueable && x->failure.cause != ECONNREFUSED
               && x->failure.cause != ENOENT ? DEMO_OUTCOME_BUSY : DEMO_OUTCOME_FAILED;
    }
}

/* A reload of php-fpm ends the worker of a kept connection with the end of STDIN
 * unread; so its system resets the connection and drops what it had not sent yet
 * of the answer.  Where the client has nothing of that either, the answer never
 * came (what may not be repeated is not sent on a kept connection): on one that
 * is not kept it comes whole. */
static void forget_unseen(demo_exchange *x)
{
    if (x->failure.phase == DEMO_PHASE_READ && x->failure.cause == ECONNRESET
        && x->conn->keep && x->answer.header_done && demo_output_take_back(x)) {
        demo_header_take_back(x);
        demo_recv_init(x);
        x->failure.unseen = x->fresh_only = true;
    }
}

/* The backend ended a kept connection before it said anything.  One that is silent
 * until a time-out may be running the script. */
static bool is_stale(const demo_exchange *x)
{
    return x->conn->reused && !x->answer.started && x->failure.cause != APR_TIMEUP;
}

/* *slot: of the address that was tried, or -1; *stale: is_stale(). */
static bool attempt(demo_exchange *x, int avoid_slot, int *slot, bool *stale)
{
    const char *before = x->failure.what;
    bool ok;

    x->failure = (demo_failure){ .phase = DEMO_PHASE_NONE };
    x->sample.request_bytes = x->sample.response_bytes = 0;
    x->sent_whole = false;
    x->sent = 0;
    *stale = false;
    *slot = -1;
    if (demo_total_is_over(x)) { /* PHP is not to work for nobody */
        return demo_fail_total(x, before != NULL ? before : "the request body took that long");
    }
    if (!address_pick(x, avoid_slot)) {
        return false;
    }
    *slot = x->target.slot;
    demo_recv_init(x);
    demo_give_way(demo_in_flight_is_high() && demo_pool_is_prompt(&x->target));
    ok = connection_get(x);
    if (ok) {
        demo_params_keep(&x->request, x->conn->keep);
        x->sent = demo_now();
        ok = demo_send_request(x) && demo_recv_answer(x);
        *stale = !ok && is_stale(x);
        if (!ok) {
            forget_unseen(x);
        }
        connection_release(x);
    }
    demo_balance_done(&x->target, outcome_of(x, *stale));
    x->refused = x->refused || x->failure.queueable;
    return ok;
}

/* --- several ------------------------------------------------------------------------ */

/* May the request be sent once more, after this failure? */
static bool may_retry(demo_exchange *x, bool stale, unsigned tried)
{
    const demo_failure *f = &x->failure;

    if (x->answer.header_done || x->r->connection->aborted || demo_total_is_over(x)
        || f->phase == DEMO_PHASE_CLIENT || f->phase == DEMO_PHASE_SPOOL
        || f->phase == DEMO_PHASE_TOTAL || f->phase == DEMO_PHASE_RESOLVE) {
        return false;
    }
    if (x->request.streamed && x->sample.request_bytes > 0) {
        return false; /* what was read from the client is gone */
    }
    if (!f->untouched && !is_idempotent(x->r)) {
        return false;
    }
    if (stale) {
        return true; /* costs no attempt: the backend was not asked yet */
    }
    if (tried >= (unsigned)x->dir->attempts) {
        return false;
    }
    return !(f->elsewhere_only || x->answer.started) || demo_cluster_size(x->server->cluster) > 1;
}

/* stale, unseen: php-fpm ended a kept connection, as it does after
 * pm.max_requests and at a reload. */
static void failure_log(demo_exchange *x, bool last, bool stale)
{
    const demo_failure *f = &x->failure;
    bool expected = stale || f->unseen;
    int level = f->phase == DEMO_PHASE_CLIENT || (expected && !last) ? APLOG_INFO
                : last ? APLOG_ERR : APLOG_WARNING;

    ap_log_rerror(APLOG_MARK, level, f->cause, x->r, "DM1003: backend %s: %s: %s (attempt %u%s, "
                  "%" APR_TIME_T_FMT " ms)", x->target.name[0] != '\0' ? x->target.name : "(none)",
                  demo_phase_names[f->phase], f->what, x->sample.attempts,
                  last ? "" : ", another follows", (demo_now() - x->started) / 1000);
}

void demo_attempt_none(demo_exchange *x)
{
    failure_log(x, true, false);
}

/* May the request be taken if it waits?  Also where the address that was tried since
 * the refusal did not answer at all. */
static bool waiting_may_help(const demo_exchange *x)
{
    const demo_failure *f = &x->failure;

    return (f->queueable || (x->refused && f->untouched))
           && !(x->request.streamed && x->sample.request_bytes > 0); /* what was sent is gone */
}

/* A pause in the queue; false when the client left meanwhile. */
static bool queue_pause(demo_exchange *x, apr_interval_time_t us)
{
    struct pollfd p = { .fd = x->client_fd, .events = POLLRDHUP };

    if (poll(&p, 1, (int)(us / 1000)) > 0 && p.revents != 0) {
        x->r->connection->aborted = 1;
    }
    if (x->r->connection->aborted) {
        return demo_fail(x, DEMO_PHASE_CLIENT, DEMO_STATUS_CLIENT_GONE, 0,
                         "the client went away while it waited for a backend");
    }
    return true;
}

static void queue_fail(demo_exchange *x, const char *why)
{
    x->failure.phase = DEMO_PHASE_QUEUE;
    x->failure.status = HTTP_SERVICE_UNAVAILABLE;
    x->failure.what = apr_pstrcat(x->r->pool, why, x->failure.what, NULL);
}

/* The backend refuses or is saturated: looks again and again until it takes the
 * request, or DemoTimeout queue= is over.  True: an answer, or another failure
 * than before that is to be looked at; false: given up. */
static bool queue_wait(demo_exchange *x, bool *ok, int *slot, bool *stale)
{
    apr_time_t entered = demo_now(), until = entered + x->dir->timeout.queue;
    apr_interval_time_t step = QUEUE_STEP_MIN_US;
    bool give_up = false;

    if (!demo_queue_enter((unsigned)x->server->queue_max)) {
        demo_metrics_count(DEMO_C_QUEUE_REJECTED, 1);
        queue_fail(x, "DemoQueue is full; ");
        return false;
    }
    do {
        apr_time_t now = demo_now();
        if (demo_total_is_over(x)) {
            demo_fail_total(x, x->failure.what);
            give_up = true;
        }
        else if (now >= until) {
            queue_fail(x, "DemoTimeout queue= ran out; ");
            give_up = true;
        }
        else if (!queue_pause(x, step < until - now ? step : until - now)) {
            give_up = true;
        }
        else {
            step = step * 2 < QUEUE_STEP_MAX_US ? step * 2 : QUEUE_STEP_MAX_US;
            *ok = attempt(x, -1, slot, stale);
            x->sample.attempts += x->sent != 0; /* looking counts for nothing, asking does */
        }
    } while (!give_up && !*ok && waiting_may_help(x));
    demo_queue_leave();
    x->sample.queue_us = demo_now() - entered;
    return !give_up;
}

bool demo_attempt_run(demo_exchange *x)
{
    int slot = -1;
    bool stale = false, stale_used = false;

    for (unsigned tried = 1;;) {
        bool ok;
        x->sample.attempts++;
        ok = attempt(x, slot, &slot, &stale);
        if (!ok && waiting_may_help(x) && !may_retry(x, stale, tried)
            && x->dir->timeout.queue > 0 && !x->r->connection->aborted
            && !queue_wait(x, &ok, &slot, &stale)) {
            failure_log(x, true, stale);
            return false;
        }
        if (ok) {
            return true;
        }
        stale = stale && !stale_used;
        if (!may_retry(x, stale, tried)) {
            failure_log(x, true, stale);
            return false;
        }
        failure_log(x, false, stale);
        demo_metrics_retry(x->failure.phase);
        if (stale) { /* once: it costs no attempt */
            stale_used = x->fresh_only = true;
        }
        else {
            tried++;
        }
    }
}
