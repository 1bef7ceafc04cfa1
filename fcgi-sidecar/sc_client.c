#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-sidecar/sc_relay_core.h"
#include "fcgi-sidecar/sc_upstream.h"

#define ASIDE_MAX 4096 /* replies and GET_VALUES content kept for one client */

/* --- states -------------------------------------------------------------------- */

static void client_move(sc_client *c, enum sc_client_state state)
{
    static const uint8_t allowed[] = {
        [SC_CLIENT_IDLE]      = 1u << SC_CLIENT_RECEIVING | 1u << SC_CLIENT_DRAINING | 1u << SC_CLIENT_LINGERING,
        [SC_CLIENT_RECEIVING] = 1u << SC_CLIENT_QUEUED | 1u << SC_CLIENT_DRAINING | 1u << SC_CLIENT_IDLE,
        [SC_CLIENT_QUEUED]    = 1u << SC_CLIENT_RUNNING | 1u << SC_CLIENT_DRAINING | 1u << SC_CLIENT_IDLE,
        [SC_CLIENT_RUNNING]   = 1u << SC_CLIENT_QUEUED | 1u << SC_CLIENT_DRAINING | 1u << SC_CLIENT_IDLE,
        [SC_CLIENT_DRAINING]  = 1u << SC_CLIENT_RECEIVING | 1u << SC_CLIENT_IDLE | 1u << SC_CLIENT_LINGERING,
        [SC_CLIENT_LINGERING] = 0,
        [SC_CLIENT_CLOSED]    = 0
    };
    bool was_busy = c->state != SC_CLIENT_IDLE;

    if (state != SC_CLIENT_CLOSED && (allowed[c->state] & 1u << state) == 0) {
        abort(); /* a fault of the relay itself; going on could mix up two requests */
    }
    c->relay->busy_count -= was_busy ? 1 : 0;
    c->relay->busy_count += state != SC_CLIENT_IDLE && state != SC_CLIENT_CLOSED ? 1 : 0;
    c->state = state;
}

void sc_client_close(sc_client *c)
{
    sc_relay *relay = c->relay;
    sc_upstream *u = c->upstream;

    if (c->state == SC_CLIENT_CLOSED) {
        return;
    }
    sc_dispatch_remove(c);
    if (u != NULL) {
        c->upstream = NULL;
        sc_upstream_close(u);
    }
    client_move(c, SC_CLIENT_CLOSED);
    sc_timer_stop(&c->timer);
    sc_timer_stop(&c->send_timer);
    sc_timer_stop(&c->queue_timer);
    sc_request_reset(&c->request);
    sc_buffer_release(&c->out);
    sc_buffer_release(&c->values);
    sc_buffer_release(&c->aside);
    sc_list_remove(&c->link);
    relay->client_count--;
    sc_loop_close(&relay->loop, &c->io);
}

static void client_release(sc_io *io)
{
    free(SC_OWNER(io, sc_client, io));
}

/* The client broke the protocol or a time-out. */
static void client_fault(sc_client *c, const char *what)
{
    sc_count_add(c->relay, SC_N_CLIENT_ERRORS, 1);
    sc_relay_log(c->relay, SC_RELAY_LOG_WARNING, "SC0321", "client: %s; connection closed", what);
    sc_client_close(c);
}

/* --- towards the client ------------------------------------------------------------ */

/* Everything was sent and the connection is not kept: the end of the stream
 * travels with the last bytes (see MSG_MORE below), so that a client that reads
 * END_REQUEST can see that it must not use the connection again. */
static void say_goodbye(sc_client *c)
{
    sc_relay *relay = c->relay;

    shutdown(c->io.fd, SHUT_WR);
    if (c->state == SC_CLIENT_IDLE) {
        sc_client_close(c);
        return;
    }
    /* A close with unread input would reset the connection, and the answer
     * might not arrive. */
    client_move(c, SC_CLIENT_LINGERING);
    sc_timer_start(&relay->loop, &relay->after_linger, &c->timer);
}

static void all_written(sc_client *c)
{
    sc_timer_stop(&c->send_timer);
    if (c->close_after && (c->state == SC_CLIENT_IDLE || c->state == SC_CLIENT_DRAINING)) {
        say_goodbye(c);
    }
    else if (c->state == SC_CLIENT_IDLE) {
        sc_buffer_release(&c->out);
    }
}

/* One send(); bytes taken, 0 when the socket is full, -1 when it is broken. */
static ssize_t client_write(sc_client *c, const uint8_t *bytes, size_t len)
{
    int flags = MSG_NOSIGNAL | (c->close_after ? MSG_MORE : 0);
    ssize_t n;

    do {
        n = send(c->io.fd, bytes, len, flags);
    } while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN) {
        c->writable = false;
        return 0;
    }
    if (n > 0) {
        sc_count_add(c->relay, SC_N_BYTES_OUT, (uint64_t)n);
    }
    return n;
}

static void client_gone(sc_client *c)
{
    if (c->state == SC_CLIENT_RECEIVING || c->state == SC_CLIENT_QUEUED || c->state == SC_CLIENT_RUNNING) {
        sc_count_add(c->relay, SC_N_CLIENT_ABORTS, 1);
    }
    sc_client_close(c);
}

/* Sends what waits in out; false: the client is gone. */
static bool client_flush(sc_client *c)
{
    sc_relay *relay = c->relay;
    ssize_t n;

    while (c->writable && sc_buffer_len(&c->out) > 0) {
        n = client_write(c, sc_buffer_head(&c->out), sc_buffer_len(&c->out));
        if (n < 0) {
            client_gone(c);
            return false;
        }
        sc_buffer_consume(&c->out, (size_t)n);
        sc_timer_start(&relay->loop, &relay->after_client_send, &c->send_timer);
    }
    if (sc_buffer_len(&c->out) == 0) {
        all_written(c);
    }
    return c->state != SC_CLIENT_CLOSED;
}

static bool client_send(sc_client *c, const uint8_t *bytes, size_t len)
{
    sc_relay *relay = c->relay;
    ssize_t n = 0;

    if (sc_buffer_len(&c->out) == 0 && c->writable) {
        n = client_write(c, bytes, len);
        if (n < 0) {
            client_gone(c);
            return false;
        }
    }
    if ((size_t)n < len) {
        if (!sc_buffer_add(&c->out, bytes + n, len - (size_t)n)) {
            client_fault(c, "no memory for its answer");
            return false;
        }
        if (sc_list_empty(&c->send_timer.link)) {
            sc_timer_start(&relay->loop, &relay->after_client_send, &c->send_timer);
        }
        return client_flush(c);
    }
    return true;
}

/* A reply of the relay's own goes between two records of the answer. */
static bool client_reply(sc_client *c, const uint8_t *record, size_t len)
{
    if (!c->mid_record) {
        return client_send(c, record, len);
    }
    if (sc_buffer_len(&c->aside) + len > ASIDE_MAX || !sc_buffer_add(&c->aside, record, len)) {
        client_fault(c, "too many records beside its request");
        return false;
    }
    return true;
}

static bool at_boundary(sc_client *c)
{
    sc_buffer aside = c->aside;
    bool alive = true;

    c->mid_record = false;
    if (sc_buffer_len(&aside) > 0) {
        memset(&c->aside, 0, sizeof(c->aside));
        alive = client_send(c, sc_buffer_head(&aside), sc_buffer_len(&aside));
        sc_buffer_release(&aside);
    }
    return alive;
}

/* The answer's last bytes are about to be sent. */
static void last_bytes(sc_client *c, unsigned flags)
{
    if ((flags & SC_DELIVER_LAST) != 0) {
        c->close_after = !c->request.keep || c->relay->lame_duck;
    }
}

bool sc_client_deliver(sc_client *c, const uint8_t *records, size_t len, unsigned flags)
{
    last_bytes(c, flags);
    if (!client_send(c, records, len)) {
        return false;
    }
    c->mid_record = (flags & SC_DELIVER_BOUNDARY) == 0;
    return c->mid_record || at_boundary(c);
}

bool sc_client_deliver_record(sc_client *c, uint8_t type, const uint8_t *content, size_t len,
                              unsigned flags)
{
    fcgiw_header h = { type, c->request.id, (uint16_t)len, 0 };
    uint8_t header[FCGIW_HEADER_LEN];

    last_bytes(c, flags);
    fcgiw_header_encode(header, &h);
    if (!sc_buffer_add(&c->out, header, sizeof(header)) || !sc_buffer_add(&c->out, content, len)) {
        client_fault(c, "no memory for its answer");
        return false;
    }
    return client_flush(c) && at_boundary(c);
}

bool sc_client_takes(const sc_client *c)
{
    return sc_buffer_len(&c->out) < c->relay->config.response_buffer;
}

/* --- a request's course --------------------------------------------------------------- */

/* Its last byte was read and its answer given. */
static void request_over(sc_client *c)
{
    sc_relay *relay = c->relay;

    sc_request_reset(&c->request);
    client_move(c, SC_CLIENT_IDLE);
    sc_timer_start(&relay->loop, &relay->after_client_idle, &c->timer);
    if (sc_buffer_len(&c->out) == 0) {
        all_written(c);
    }
}

void sc_client_answered(sc_client *c)
{
    sc_relay *relay = c->relay;

    c->upstream = NULL;
    if (c->request.state == SC_REQUEST_WHOLE) {
        request_over(c);
        return;
    }
    /* The client is still sending: read it over, to the end of its body. */
    client_move(c, SC_CLIENT_DRAINING);
    sc_buffer_release(&c->request.wire);
    c->request.sent = 0;
    sc_timer_start(&relay->loop, &relay->after_client_receive, &c->timer);
    if (sc_buffer_len(&c->out) == 0) {
        all_written(c);
    }
}

static bool reply_end(sc_client *c, uint16_t id, uint32_t app_status, enum fcgiw_protocol_status status)
{
    const fcgiw_end end = { app_status, (uint8_t)status };
    uint8_t record[FCGIW_HEADER_LEN + FCGIW_BODY_LEN];

    fcgiw_end_encode(record, id, &end);
    return client_reply(c, record, sizeof(record));
}

void sc_client_refuse(sc_client *c, enum fcgiw_protocol_status status)
{
    c->close_after = !c->request.keep || c->relay->lame_duck;
    if (reply_end(c, c->request.id, 0, status)) {
        sc_client_answered(c);
    }
}

void sc_client_running(sc_client *c, sc_upstream *u)
{
    sc_relay *relay = c->relay;

    sc_count_add(relay, SC_N_QUEUE_WAIT, (uint64_t)(relay->loop.now - c->queued_at));
    if (u->target->is_forward) {
        sc_count_add(relay, SC_N_FORWARDED, 1);
    }
    sc_dispatch_remove(c);
    client_move(c, SC_CLIENT_RUNNING);
    c->upstream = u;
    if (c->request.state != SC_REQUEST_WHOLE) {
        sc_timer_start(&relay->loop, &relay->after_client_receive, &c->timer);
    }
    sc_client_has_room(c);
}

void sc_client_requeue(sc_client *c)
{
    c->upstream = NULL;
    sc_request_rewind(&c->request);
    client_move(c, SC_CLIENT_QUEUED);
    sc_dispatch_enqueue(c);
}

void sc_client_failed(sc_client *c)
{
    c->upstream = NULL;
    sc_client_close(c);
}

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
        client_move(c, SC_CLIENT_QUEUED);
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
        client_fault(c, "BEGIN_REQUEST with the id of a request that is not over");
        return;
    }
    if (active) {
        sc_count_add(relay, SC_N_REFUSED_MULTIPLEX, 1);
        reply_end(c, id, 0, FCGIW_CANT_MPX_CONN);
        return;
    }
    if (c->close_after) {
        return; /* the last answer was the last one; the client will see that */
    }
    sc_count_add(relay, SC_N_REQUESTS, 1);
    sc_request_begin(&c->request, id, (ev->u.begin.flags & FCGIW_KEEP_CONN) != 0);
    client_move(c, SC_CLIENT_RECEIVING);
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
    if (client_reply(c, record, FCGIW_HEADER_LEN + sizeof(page) - 1)) {
        sc_client_refuse(c, FCGIW_REQUEST_COMPLETE);
    }
}

static void request_error(sc_client *c, int rc)
{
    if (rc == SC_REQUEST_EBIG || rc == FCGIW_ETOOBIG) {
        answer_too_big(c);
    }
    else {
        client_fault(c, rc == SC_REQUEST_EMEMORY ? "no memory for its request" : fcgiw_error_name(rc));
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
            request_over(c);
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
        client_fault(c, ev->header.type == FCGIW_STDIN ? "STDIN outside of the request's body"
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
        sc_upstream_close(u); /* php-fpm does not know ABORT_REQUEST */
    }
    if (c->mid_record) {
        sc_client_close(c); /* nothing can follow half a record */
        return;
    }
    c->request.state = SC_REQUEST_WHOLE; /* no more of it will come */
    c->close_after = !c->request.keep || c->relay->lame_duck;
    if (reply_end(c, c->request.id, 1, FCGIW_REQUEST_COMPLETE)) {
        request_over(c);
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
            client_fault(c, "GET_VALUES with a broken pair");
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
    client_reply(c, reply, len);
}

static void on_values(sc_client *c, const fcgiw_event *ev)
{
    if (ev->header.content_length > ASIDE_MAX || !sc_buffer_add(&c->values, ev->data, ev->len)) {
        client_fault(c, "GET_VALUES is too long");
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
    client_reply(c, record, sizeof(record));
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
            client_fault(c, fcgiw_error_name(rc));
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
    if (c->state == SC_CLIENT_RECEIVING || c->state == SC_CLIENT_DRAINING
        || (c->state == SC_CLIENT_RUNNING && c->request.state != SC_REQUEST_WHOLE)) {
        sc_timer_start(&relay->loop, &relay->after_client_receive, &c->timer);
    }
}

static void client_read(sc_client *c)
{
    ssize_t n;

    c->in_read = true;
    while (c->readable && wants_input(c)) {
        n = recv(c->io.fd, c->relay->scratch, SC_SCRATCH, 0);
        if (n > 0) {
            c->readable = n == SC_SCRATCH;
            client_got(c, (size_t)n);
        }
        else if (n < 0 && errno == EAGAIN) {
            c->readable = false;
        }
        else if (n == 0 || errno != EINTR) {
            client_gone(c);
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

static void client_ready(sc_io *io, uint32_t events)
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
        client_gone(c);
        return;
    }
    if (sc_buffer_len(&c->out) > 0 && !client_flush(c)) {
        return;
    }
    if (c->upstream != NULL && sc_client_takes(c)) {
        sc_upstream_resume(c->upstream);
    }
    client_read(c);
}

/* --- time-outs ---------------------------------------------------------------------------------- */

static void client_timeout(sc_timer *timer)
{
    sc_client *c = SC_OWNER(timer, sc_client, timer);

    switch (c->state) {
    case SC_CLIENT_IDLE:
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
        client_fault(c, "no byte of the rest of its request within client-receive-timeout");
        break;
    }
}

static void send_timeout(sc_timer *timer)
{
    client_fault(SC_OWNER(timer, sc_client, send_timer), "did not take its answer within client-send-timeout");
}

static void queue_timeout(sc_timer *timer)
{
    sc_client *c = SC_OWNER(timer, sc_client, queue_timer);

    if (c->state == SC_CLIENT_QUEUED) {
        sc_dispatch_timeout(c);
    }
    else {
        check_ready(c, true);
    }
}

/* --- birth ------------------------------------------------------------------------------------------ */

void sc_client_accept(sc_relay *relay, int fd)
{
    const int one = 1;
    sc_client *c = calloc(1, sizeof(*c));

    if (c == NULL) {
        close(fd);
        return;
    }
    c->relay = relay;
    c->io.fd = fd;
    c->io.ready = client_ready;
    c->io.release = client_release;
    c->writable = true;
    fcgiw_stream_init(&c->in, FCGIW_FROM_CLIENT, FCGIW_NULL_ID);
    sc_list_init(&c->link);
    sc_list_init(&c->queue_link);
    sc_timer_init(&c->timer, client_timeout);
    sc_timer_init(&c->send_timer, send_timeout);
    sc_timer_init(&c->queue_timer, queue_timeout);
    /* Fail on a Unix socket, and do no harm there. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    if (sc_loop_watch(&relay->loop, &c->io, SC_LOOP_READ | SC_LOOP_WRITE) != APR_SUCCESS) {
        close(fd);
        free(c);
        return;
    }
    sc_list_append(&relay->clients, &c->link);
    relay->client_count++;
    sc_count_add(relay, SC_N_ACCEPTED, 1);
    sc_timer_start(&relay->loop, &relay->after_client_idle, &c->timer);
}
