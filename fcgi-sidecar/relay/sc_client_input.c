#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "fcgi-sidecar/relay/sc_client.h"
#include "fcgi-sidecar/relay/sc_upstream.h"

#define ASIDE_MAX     4096 /* content of GET_VALUES kept for one client */

/* Ready to run: the body is whole, or there is as much of it as we keep. */
static void check_ready(sc_client *c, bool waited)
{
    sc_relay *relay = c->relay;
    size_t pending;

    if (c->state != SC_CLIENT_RECEIVING || c->request.state < SC_REQUEST_BODY) {
        return;
    }
    sc_request_pending(&c->request, &pending);
    if (c->request.state == SC_REQUEST_WHOLE || pending >= relay->config.request_buffer || waited) {
        sc_timer_stop(&c->timer);
        sc_timer_stop(&c->queue_timer);
        sc_client_move(c, SC_CLIENT_QUEUED);
        sc_dispatch_enqueue(c);
    }
    else if (sc_list_empty(&c->queue_timer.link)) {
        sc_timer_start(&relay->loop, &relay->after_request_wait, &c->queue_timer);
    }
}

/* --- records from the client ------------------------------------------------------------ */

static void on_begin(sc_client *c, const fcgiw_event *ev)
{
    sc_relay *relay = c->relay;
    uint16_t id = ev->header.request_id;
    bool active = c->state != SC_CLIENT_IDLE && c->state != SC_CLIENT_DRAINING;

    if (active && id == c->request.id) {
        sc_client_fault(c, "BEGIN_REQUEST with the id of a request that is not over");
        return;
    }
    if (active) {
        sc_count_add(relay, SC_N_REFUSED_MULTIPLEX, 1);
        sc_client_reply_end(c, id, 0, FCGIW_CANT_MPX_CONN);
        return;
    }
    if (c->close_after) {
        return; /* the last answer was the last one; the client will see that */
    }
    sc_count_add(relay, SC_N_REQUESTS, 1);
    sc_request_begin(&c->request, id, (ev->u.begin.flags & FCGIW_KEEP_CONN) != 0);
    sc_client_move(c, SC_CLIENT_RECEIVING);
    sc_timer_start(&relay->loop, &relay->after_client_receive, &c->timer);
    if (ev->u.begin.role != FCGIW_RESPONDER) {
        sc_client_refuse(c, FCGIW_UNKNOWN_ROLE);
    }
}

/* What a web server would have answered itself, had it known our bound. */
static void answer_too_big(sc_client *c)
{
    static const char page[] = "Status: 431 Request Header Fields Too Large\r\n"
        "Content-Type: text/plain\r\n\r\nThe parameters of the request are too long.\n";
    fcgiw_header h = { FCGIW_STDOUT, c->request.id, sizeof(page) - 1, 0 };
    uint8_t record[FCGIW_HEADER_LEN + sizeof(page)];

    sc_count_add(c->relay, SC_N_CLIENT_ERRORS, 1);
    sc_relay_log(c->relay, SC_RELAY_LOG_WARNING, "SC0322",
                 "a request has a parameter above 64 KiB, or more than %zu bytes of them: answered with 431",
                 c->relay->config.params_max);
    fcgiw_header_encode(record, &h);
    memcpy(record + FCGIW_HEADER_LEN, page, sizeof(page) - 1);
    if (sc_client_reply(c, record, FCGIW_HEADER_LEN + sizeof(page) - 1)) {
        sc_client_refuse(c, FCGIW_REQUEST_COMPLETE);
    }
}

static void request_error(sc_client *c, int rc)
{
    if (rc == SC_REQUEST_EBIG || rc == FCGIW_ETOOBIG) {
        answer_too_big(c);
    }
    else {
        sc_client_fault(c, rc == SC_REQUEST_EMEMORY ? "no memory for its request" : fcgiw_error_name(rc));
    }
}

/* PARAMS and STDIN of the request at hand. */
static void on_stream(sc_client *c, const fcgiw_event *ev)
{
    sc_request *r = &c->request;
    bool end = ev->kind == FCGIW_EV_EOS;
    int rc = 0;

    if (ev->header.request_id != r->id || r->state == SC_REQUEST_NONE) {
        return; /* of a request that was refused or is over */
    }
    if (c->state == SC_CLIENT_DRAINING) {
        if (end && ev->header.type == FCGIW_STDIN) {
            sc_client_request_over(c);
        }
        return;
    }
    if (ev->header.type == FCGIW_PARAMS && r->state == SC_REQUEST_PARAMS) {
        rc = end ? sc_request_params_end(r)
                 : sc_request_params(r, ev->data, ev->len, c->relay->config.params_max);
    }
    else if (ev->header.type == FCGIW_STDIN && r->state == SC_REQUEST_BODY) {
        rc = end ? sc_request_body_end(r) : sc_request_body(r, ev->data, ev->len);
    }
    else if (!end) {
        sc_client_fault(c, ev->header.type == FCGIW_STDIN ? "STDIN outside of the request's body"
                                                       : "PARAMS outside of the request's parameters");
    }
    if (rc != 0) {
        request_error(c, rc);
    }
}

/* FastCGI 1.0 §5.4: the answer to it is END_REQUEST. */
static void on_abort(sc_client *c, const fcgiw_event *ev)
{
    sc_upstream *u = c->upstream;

    if (ev->header.request_id != c->request.id || c->request.state == SC_REQUEST_NONE
        || c->state == SC_CLIENT_DRAINING) {
        return;
    }
    sc_count_add(c->relay, SC_N_CLIENT_ABORTS, 1);
    sc_dispatch_remove(c);
    sc_timer_stop(&c->queue_timer);
    if (u != NULL) {
        c->upstream = NULL;
        sc_upstream_abandon(u); /* php-fpm does not know ABORT_REQUEST */
    }
    if (c->mid_record) {
        sc_client_close(c); /* nothing can follow half a record */
        return;
    }
    c->request.state = SC_REQUEST_WHOLE; /* no more of it will come */
    c->close_after = !c->request.keep || c->relay->lame_duck;
    if (sc_client_reply_end(c, c->request.id, 1, FCGIW_REQUEST_COMPLETE)) {
        sc_client_request_over(c);
    }
}

/* --- management records, §4 ---------------------------------------------------------------- */

static void answer_values(sc_client *c)
{
    const struct { const char *name; unsigned value; } known[] = {
        { "FCGI_MAX_CONNS", c->relay->config.max_clients },
        { "FCGI_MAX_REQS", c->relay->config.max_clients },
        { "FCGI_MPXS_CONNS", 0 }
    };
    uint8_t reply[256];
    char text[16];
    fcgiw_header h = { FCGIW_GET_VALUES_RESULT, FCGIW_NULL_ID, 0, 0 };
    size_t i, used = 0, len = FCGIW_HEADER_LEN, size = sc_buffer_len(&c->values);
    fcgiw_pair pair, out;
    fcgiw_result rc;

    while (used < size) {
        rc = fcgiw_pair_decode(&pair, sc_buffer_head(&c->values) + used, size - used);
        if (rc <= 0) {
            sc_client_fault(c, "GET_VALUES with a broken pair");
            return;
        }
        used += (size_t)rc;
        for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
            if (pair.name_len == strlen(known[i].name) && memcmp(pair.name, known[i].name, pair.name_len) == 0) {
                out.name = (const uint8_t *)known[i].name;
                out.name_len = pair.name_len;
                out.value = (const uint8_t *)text;
                out.value_len = (size_t)snprintf(text, sizeof(text), "%u", known[i].value);
                rc = fcgiw_pair_encode(reply + len, sizeof(reply) - len, &out);
                len += rc > 0 ? (size_t)rc : 0; /* asked for the same one again and again: enough */
            }
        }
    }
    sc_buffer_release(&c->values);
    h.content_length = (uint16_t)(len - FCGIW_HEADER_LEN);
    fcgiw_header_encode(reply, &h);
    sc_client_reply(c, reply, len);
}

static void on_values(sc_client *c, const fcgiw_event *ev)
{
    if (ev->header.content_length > ASIDE_MAX || !sc_buffer_add(&c->values, ev->data, ev->len)) {
        sc_client_fault(c, "GET_VALUES is too long");
    }
    else if (sc_buffer_len(&c->values) == ev->header.content_length) {
        answer_values(c);
    }
}

static void on_unknown(sc_client *c, const fcgiw_event *ev)
{
    fcgiw_header h = { FCGIW_UNKNOWN_TYPE, FCGIW_NULL_ID, FCGIW_BODY_LEN, 0 };
    uint8_t record[FCGIW_HEADER_LEN + FCGIW_BODY_LEN] = { 0 };

    if (ev->header.request_id != FCGIW_NULL_ID) {
        return;
    }
    fcgiw_header_encode(record, &h);
    record[FCGIW_HEADER_LEN] = ev->header.type;
    sc_client_reply(c, record, sizeof(record));
}

static void client_event(sc_client *c, const fcgiw_event *ev)
{
    switch (ev->kind) {
    case FCGIW_EV_BEGIN:
        on_begin(c, ev);
        break;
    case FCGIW_EV_DATA:
    case FCGIW_EV_EOS:
        if (ev->header.type == FCGIW_GET_VALUES) {
            on_values(c, ev);
        }
        else if (ev->header.type == FCGIW_PARAMS || ev->header.type == FCGIW_STDIN) {
            on_stream(c, ev);
        }
        break;
    case FCGIW_EV_ABORT:
        on_abort(c, ev);
        break;
    case FCGIW_EV_UNKNOWN:
        on_unknown(c, ev);
        break;
    case FCGIW_EV_NONE:
    case FCGIW_EV_END:
        break;
    }
}

/* --- reading ---------------------------------------------------------------------------------- */

static void client_feed(sc_client *c, const uint8_t *bytes, size_t n)
{
    size_t used = 0;
    fcgiw_event ev;
    fcgiw_result rc;

    while (used < n && c->state != SC_CLIENT_CLOSED && c->state != SC_CLIENT_LINGERING) {
        rc = fcgiw_stream_feed(&c->in, bytes + used, n - used, &ev);
        if (rc < 0) {
            sc_client_fault(c, fcgiw_error_name(rc));
            return;
        }
        used += (size_t)rc;
        client_event(c, &ev);
    }
}

/* False: its bytes have to wait in the socket. */
static bool wants_input(const sc_client *c)
{
    size_t pending;

    if (c->state == SC_CLIENT_CLOSED || !sc_client_takes(c)) {
        return false;
    }
    if (c->request.state != SC_REQUEST_BODY || c->state == SC_CLIENT_DRAINING) {
        return true;
    }
    sc_request_pending(&c->request, &pending);
    return pending < c->relay->config.request_buffer;
}

static void client_got(sc_client *c, size_t n)
{
    sc_relay *relay = c->relay;

    sc_count_add(relay, SC_N_BYTES_IN, n);
    client_feed(c, relay->scratch, n);
    if (c->state == SC_CLIENT_RUNNING) {
        sc_upstream_push(c->upstream);
    }
    check_ready(c, false);
    if (c->state == SC_CLIENT_RUNNING && c->request.state == SC_REQUEST_WHOLE) {
        sc_timer_stop(&c->timer); /* how long the script takes is not the client's fault */
    }
    else if (c->state == SC_CLIENT_RECEIVING || c->state == SC_CLIENT_DRAINING
             || c->state == SC_CLIENT_RUNNING) {
        sc_timer_start(&relay->loop, &relay->after_client_receive, &c->timer);
    }
}

static void client_read(sc_client *c)
{
    int turns = 0;
    ssize_t n;

    c->in_read = true;
    while (c->readable && wants_input(c)) {
        if (turns++ == READS_AT_ONCE) {
            sc_loop_rewatch(&c->relay->loop, &c->io, SC_LOOP_READ | SC_LOOP_WRITE);
            break;
        }
        n = recv(c->io.fd, c->relay->scratch, SC_SCRATCH, 0);
        if (n > 0) {
            c->readable = n == SC_SCRATCH;
            client_got(c, (size_t)n);
        }
        else if (n < 0 && errno == EAGAIN) {
            c->readable = false;
        }
        else if (n == 0 || errno != EINTR) {
            sc_client_gone(c);
        }
    }
    c->in_read = false;
}

void sc_client_has_room(sc_client *c)
{
    if (!c->in_read && c->readable) {
        client_read(c);
    }
}

void sc_client_event(sc_io *io, uint32_t events)
{
    sc_client *c = SC_OWNER(io, sc_client, io);

    if ((events & EPOLLOUT) != 0) {
        c->writable = true;
    }
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        c->readable = true;
    }
    /* A client that has closed its side wants no answer: that is how web
     * servers abort a request. */
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        sc_client_gone(c);
        return;
    }
    if (sc_buffer_len(&c->out) > 0 && !sc_client_flush(c)) {
        return;
    }
    if (c->upstream != NULL && sc_client_takes(c)) {
        sc_upstream_read(c->upstream);
    }
    client_read(c);
}

/* --- time-outs ---------------------------------------------------------------------------------- */

void sc_client_timeout(sc_timer *timer)
{
    sc_client *c = SC_OWNER(timer, sc_client, timer);

    switch (c->state) {
    case SC_CLIENT_IDLE:
        if (sc_buffer_len(&c->out) > 0) { /* it takes its answer, see send_timer */
            sc_timer_start(&c->relay->loop, &c->relay->after_client_idle, timer);
            break;
        }
        /* fall through */
    case SC_CLIENT_LINGERING:
        sc_client_close(c);
        break;
    case SC_CLIENT_RUNNING:
        if (!wants_input(c)) { /* it is us who do not read */
            sc_timer_start(&c->relay->loop, &c->relay->after_client_receive, timer);
            break;
        }
        /* fall through */
    default:
        sc_client_fault(c, "no byte of the rest of its request within client-receive-timeout");
        break;
    }
}

void sc_client_send_timeout(sc_timer *timer)
{
    sc_client_fault(SC_OWNER(timer, sc_client, send_timer), "did not take its answer within client-send-timeout");
}

void sc_client_queue_timeout(sc_timer *timer)
{
    sc_client *c = SC_OWNER(timer, sc_client, queue_timer);

    if (c->state == SC_CLIENT_QUEUED) {
        sc_dispatch_timeout(c);
    }
    else {
        check_ready(c, true);
    }
}
