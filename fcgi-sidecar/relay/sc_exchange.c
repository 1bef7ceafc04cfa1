#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "fcgi-sidecar/relay/sc_upstream.h"

#define TRUSTED       (50 * APR_TIME_C(1000)) /* TCP: used so lately that it is not looked at again */
#define REFUSED_PAUSE (10 * APR_TIME_C(1000))

static void make_prefix(sc_upstream *u)
{
    static const fcgiw_begin begin = { FCGIW_RESPONDER, FCGIW_KEEP_CONN };
    char epoch[24], hops[12];
    fcgiw_pair hop = { (const uint8_t *)SC_RELAY_PARAM_HOP, sizeof(SC_RELAY_PARAM_HOP) - 1,
                       (const uint8_t *)hops, 0 };
    fcgiw_pair ep = { (const uint8_t *)SC_RELAY_PARAM_EPOCH, sizeof(SC_RELAY_PARAM_EPOCH) - 1,
                      (const uint8_t *)epoch, 0 };
    fcgiw_params params;

    u->prefix_len = 0;
    if (!u->begun) {
        fcgiw_begin_encode(u->prefix, SC_REQUEST_ID, &begin);
        u->prefix_len = FCGIW_HEADER_LEN + FCGIW_BODY_LEN;
    }
    u->begun = false;
    if (u->target->is_forward) {
        hop.value_len = (size_t)snprintf(hops, sizeof(hops), "%u", u->client->request.hop + 1);
        ep.value_len = (size_t)snprintf(epoch, sizeof(epoch), "%" PRIu64, u->target->relay->epoch);
        fcgiw_params_init(&params, u->prefix + u->prefix_len, sizeof(u->prefix) - u->prefix_len,
                          SC_REQUEST_ID);
        fcgiw_params_add(&params, &hop);
        fcgiw_params_add(&params, &ep);
        u->prefix_len = (uint8_t)(u->prefix_len + params.len);
    }
}

/* What was sent, prefix first. */
static void account_sent(sc_upstream *u, size_t n)
{
    size_t of_prefix = n < u->prefix_len ? n : u->prefix_len;

    if (of_prefix > 0) {
        u->prefix_len = (uint8_t)(u->prefix_len - of_prefix);
        memmove(u->prefix, u->prefix + of_prefix, u->prefix_len);
    }
    if (n > of_prefix) {
        sc_request_sent(&u->client->request, n - of_prefix);
    }
}

/* Sends what there is until the socket is full; bytes sent, or -1 (errno). */
static ssize_t send_request(sc_upstream *u)
{
    struct iovec iov[2];
    struct msghdr msg = { .msg_iov = iov };
    ssize_t n, total = 0;
    size_t len;

    while (u->writable && !u->write_broken) {
        msg.msg_iovlen = 0;
        if (u->prefix_len > 0) {
            iov[msg.msg_iovlen++] = (struct iovec){ u->prefix, u->prefix_len };
        }
        iov[msg.msg_iovlen].iov_base = (void *)sc_request_pending(&u->client->request, &len);
        if (len > 0) {
            iov[msg.msg_iovlen++].iov_len = len;
        }
        if (msg.msg_iovlen == 0) {
            break;
        }
        n = sendmsg(u->io.fd, &msg, MSG_NOSIGNAL);
        if (n >= 0) {
            account_sent(u, (size_t)n);
            total += n;
        }
        else if (errno == EAGAIN) {
            u->writable = false;
        }
        else if (errno != EINTR) {
            return total > 0 ? total : -1;
        }
    }
    return total;
}

bool sc_upstream_run(sc_upstream *u, sc_client *c)
{
    sc_target *t = u->target;

    if (!t->proves && u->since + TRUSTED < t->relay->loop.now) {
        u->readable = true; /* look for its end even if no event told it yet */
    }
    if (!sc_upstream_silent(u)) {
        sc_count_add(t->relay, SC_N_UPSTREAM_STALE, 1);
        sc_upstream_close(u);
        return false;
    }
    u->client = c;
    u->answering = false;
    u->write_broken = false;
    u->writable = true;
    fcgiw_stream_init(&u->in, FCGIW_FROM_RESPONDER, SC_REQUEST_ID);
    make_prefix(u);
    if (send_request(u) < 0) {
        sc_count_add(t->relay, SC_N_UPSTREAM_STALE, 1);
        u->client = NULL;
        sc_upstream_close(u);
        return false;
    }
    sc_timer_stop(&u->timer);
    sc_upstream_move(u, SC_UPSTREAM_BUSY);
    sc_client_running(c, u);
    return true;
}

/* The peer ended, or broke the rules, in the middle of a request. */
static void upstream_broken(sc_upstream *u, const char *why)
{
    sc_target *t = u->target;
    sc_client *c = u->client;
    bool again = !t->proves && !t->is_forward && u->used && !u->answering
        && c->request.safe && c->request.intact && !c->request.retried;

    sc_upstream_close(u);
    if (again) {
        sc_count_add(t->relay, SC_N_UPSTREAM_STALE, 1);
        c->request.retried = true;
        sc_client_requeue(c);
        return;
    }
    sc_count_add(t->relay, SC_N_UPSTREAM_ERRORS, 1);
    sc_relay_log(t->relay, SC_RELAY_LOG_WARNING, "SC0303", "upstream %s: %s %s; the client's connection is closed",
                 t->address.text, why, u->answering ? "in the middle of an answer" : "before an answer");
    sc_client_failed(c);
}

/* The answer has ended: the connection is kept, or closed. */
static void upstream_free(sc_upstream *u, bool left_over)
{
    sc_relay *relay = u->target->relay;
    bool reusable = sc_request_all_sent(&u->client->request) && u->prefix_len == 0 && !left_over
        && !u->hung_up && !u->write_broken;

    if (left_over) {
        sc_count_add(relay, SC_N_UPSTREAM_ERRORS, 1);
        sc_relay_log(relay, SC_RELAY_LOG_WARNING, "SC0305",
                     "upstream %s: bytes after END_REQUEST; connection closed", u->target->address.text);
    }
    u->measured = sc_request_measured(&u->client->request);
    u->used = true;
    if (reusable) {
        u->client = NULL;
        sc_upstream_offer(u);
    }
    else if (left_over || u->write_broken) {
        sc_upstream_close(u);
    }
    else {
        sc_upstream_abandon(u); /* its script may run on after its answer */
    }
}

static void upstream_done(sc_upstream *u, bool left_over)
{
    sc_client *c = u->client;

    sc_count_add(u->target->relay, SC_N_COMPLETED, 1);
    upstream_free(u, left_over);
    sc_client_answered(c);
}

/* The other instance has not run the request and says so: it is no longer the
 * one that serves, or not yet.  In the middle of a hand-over that may be us by
 * now, so the request waits here for its turn again. */
static bool take_back(sc_upstream *u, const fcgiw_event *ev, bool left_over)
{
    sc_target *t = u->target;
    sc_client *c = u->client;

    if (!t->is_forward || u->answering || ev->kind != FCGIW_EV_END
        || ev->u.end.protocol_status != FCGIW_OVERLOADED || !c->request.intact) {
        return false;
    }
    t->pause_until = t->relay->loop.now + REFUSED_PAUSE;
    sc_count_add(t->relay, SC_N_TAKEN_BACK, 1);
    upstream_free(u, left_over);
    sc_client_requeue(c);
    return true;
}

/* Hands one event on under the client's own request id. */
static bool deliver_event(sc_client *c, const fcgiw_event *ev)
{
    uint8_t end[FCGIW_HEADER_LEN + FCGIW_BODY_LEN];

    switch (ev->kind) {
    case FCGIW_EV_DATA:
    case FCGIW_EV_EOS:
        return ev->header.request_id == FCGIW_NULL_ID
            || sc_client_deliver_record(c, ev->header.type, ev->data, ev->len, SC_DELIVER_BOUNDARY);
    case FCGIW_EV_END:
        fcgiw_end_encode(end, SC_REQUEST_ID, &ev->u.end);
        return sc_client_deliver_record(c, FCGIW_END_REQUEST, end + FCGIW_HEADER_LEN, FCGIW_BODY_LEN,
                                        SC_DELIVER_BOUNDARY | SC_DELIVER_LAST);
    default:
        return true;
    }
}

/* A piece of the answer.  The bytes are passed on as they are, but record by
 * record to a client that chose another request id, and from the other
 * instance, whose refusal must not be passed on by halves. */
static void upstream_take(sc_upstream *u, const uint8_t *bytes, size_t n)
{
    sc_client *c = u->client;
    bool as_is = c->request.id == SC_REQUEST_ID && !u->target->is_forward;
    size_t used = 0;
    fcgiw_event ev = { .kind = FCGIW_EV_NONE };
    fcgiw_result rc;

    u->answering |= as_is;
    while (used < n && ev.kind != FCGIW_EV_END) {
        rc = fcgiw_stream_feed(&u->in, bytes + used, n - used, &ev);
        if (rc < 0) {
            upstream_broken(u, fcgiw_error_name(rc));
            return;
        }
        used += (size_t)rc;
        if (take_back(u, &ev, used < n)) {
            return;
        }
        u->answering |= ev.kind != FCGIW_EV_NONE;
        if (!as_is && !deliver_event(c, &ev)) {
            return;
        }
    }
    if (as_is && !sc_client_deliver(c, bytes, used,
                                    (fcgiw_stream_idle(&u->in) ? SC_DELIVER_BOUNDARY : 0u)
                                    | (ev.kind == FCGIW_EV_END ? SC_DELIVER_LAST : 0u))) {
        return;
    }
    if (ev.kind == FCGIW_EV_END) {
        upstream_done(u, used < n);
    }
}

void sc_upstream_read(sc_upstream *u)
{
    sc_relay *relay = u->target->relay;
    int turns = 0;
    ssize_t n;

    while (u->state == SC_UPSTREAM_BUSY && u->readable && sc_client_takes(u->client)) {
        if (turns++ == READS_AT_ONCE) {
            sc_loop_rewatch(&relay->loop, &u->io, SC_LOOP_READ | SC_LOOP_WRITE);
            return;
        }
        n = recv(u->io.fd, relay->scratch, SC_SCRATCH, 0);
        if (n > 0) {
            /* Less than asked for: drained, and what comes later is told anew. */
            u->readable = n == SC_SCRATCH || u->hung_up;
            upstream_take(u, relay->scratch, (size_t)n);
        }
        else if (n < 0 && errno == EAGAIN) {
            u->readable = false;
        }
        else if (n == 0 || errno != EINTR) {
            upstream_broken(u, n == 0 ? "closed the connection" : strerror(errno));
        }
    }
}

void sc_upstream_push(sc_upstream *u)
{
    if (send_request(u) < 0) {
        /* It reads no more; what it has answered is still to be had. */
        u->write_broken = true;
        u->readable = true;
        u->hung_up = true;
        sc_upstream_read(u);
    }
}
