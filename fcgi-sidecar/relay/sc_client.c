#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fcgi-sidecar/relay/sc_client.h"
#include "fcgi-sidecar/relay/sc_upstream.h"

#define ASIDE_MAX 4096 /* replies kept for one client until a record of its answer ends */

/* --- states -------------------------------------------------------------------- */

void sc_client_move(sc_client *c, enum sc_client_state state)
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
        sc_upstream_abandon(u);
    }
    sc_client_move(c, SC_CLIENT_CLOSED);
    sc_timer_stop(&c->timer);
    sc_timer_stop(&c->send_timer);
    sc_timer_stop(&c->queue_timer);
    sc_request_reset(&c->request);
    sc_buffer_release(&c->out);
    sc_buffer_release(&c->values);
    sc_buffer_release(&c->aside);
    sc_list_remove(&c->link);
    relay->client_count--;
    if (!sc_list_empty(&relay->accept_timer.link)) {
        sc_timer_stop(&relay->accept_timer);
        sc_listen_resume(&relay->accept_timer); /* there is room again */
    }
    sc_loop_close(&relay->loop, &c->io);
}

static void client_release(sc_io *io)
{
    free(SC_OWNER(io, sc_client, io));
}

/* Asked for only when there is something to say: accept4() tells it to nobody. */
static void client_name(const sc_client *c, char *name, size_t size)
{
    struct sockaddr_storage sa = { 0 };
    socklen_t len = sizeof(sa);
    char host[64], port[8];

    if (getpeername(c->io.fd, (struct sockaddr *)&sa, &len) < 0) {
        snprintf(name, size, "that has gone"); /* a reset */
    }
    else if (sa.ss_family == AF_UNIX
             || getnameinfo((struct sockaddr *)&sa, len, host, sizeof(host), port, sizeof(port),
                            NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        snprintf(name, size, "on the Unix socket");
    }
    else {
        snprintf(name, size, strchr(host, ':') != NULL ? "[%s]:%s" : "%s:%s", host, port);
    }
}

void sc_client_fault(sc_client *c, const char *what)
{
    char name[80];

    client_name(c, name, sizeof(name));
    sc_count_add(c->relay, SC_N_CLIENT_ERRORS, 1);
    sc_relay_log(c->relay, SC_RELAY_LOG_WARNING, "SC0321", "client %s: %s; connection closed", name, what);
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
    sc_client_move(c, SC_CLIENT_LINGERING);
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
        sc_timer_start(&c->relay->loop, &c->relay->after_client_idle, &c->timer);
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

void sc_client_gone(sc_client *c)
{
    if (c->state == SC_CLIENT_RECEIVING || c->state == SC_CLIENT_QUEUED || c->state == SC_CLIENT_RUNNING) {
        sc_count_add(c->relay, SC_N_CLIENT_ABORTS, 1);
    }
    sc_client_close(c);
}

bool sc_client_flush(sc_client *c)
{
    sc_relay *relay = c->relay;
    ssize_t n;

    while (c->writable && sc_buffer_len(&c->out) > 0) {
        n = client_write(c, sc_buffer_head(&c->out), sc_buffer_len(&c->out));
        if (n < 0) {
            sc_client_gone(c);
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
            sc_client_gone(c);
            return false;
        }
    }
    if ((size_t)n < len) {
        if (!sc_buffer_add(&c->out, bytes + n, len - (size_t)n)) {
            sc_client_fault(c, "no memory for its answer");
            return false;
        }
        if (sc_list_empty(&c->send_timer.link)) {
            sc_timer_start(&relay->loop, &relay->after_client_send, &c->send_timer);
        }
        return sc_client_flush(c);
    }
    return true;
}

bool sc_client_reply(sc_client *c, const uint8_t *record, size_t len)
{
    if (!c->mid_record) {
        return client_send(c, record, len);
    }
    if (sc_buffer_len(&c->aside) + len > ASIDE_MAX || !sc_buffer_add(&c->aside, record, len)) {
        sc_client_fault(c, "too many records beside its request");
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
        sc_client_fault(c, "no memory for its answer");
        return false;
    }
    return sc_client_flush(c) && at_boundary(c);
}

bool sc_client_takes(const sc_client *c)
{
    return sc_buffer_len(&c->out) < c->relay->config.response_buffer;
}

/* --- a request's course --------------------------------------------------------------- */

void sc_client_request_over(sc_client *c)
{
    sc_relay *relay = c->relay;

    sc_request_reset(&c->request);
    sc_client_move(c, SC_CLIENT_IDLE);
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
        sc_client_request_over(c);
        return;
    }
    /* The client is still sending: read it over, to the end of its body. */
    sc_client_move(c, SC_CLIENT_DRAINING);
    sc_buffer_release(&c->request.wire);
    c->request.sent = 0;
    sc_timer_start(&relay->loop, &relay->after_client_receive, &c->timer);
    if (c->readable && !c->in_read) {
        /* It may have sent all of it while there was no room: no event would come. */
        sc_loop_rewatch(&relay->loop, &c->io, SC_LOOP_READ | SC_LOOP_WRITE);
    }
    if (sc_buffer_len(&c->out) == 0) {
        all_written(c);
    }
}

bool sc_client_reply_end(sc_client *c, uint16_t id, uint32_t app_status, enum fcgiw_protocol_status status)
{
    const fcgiw_end end = { app_status, (uint8_t)status };
    uint8_t record[FCGIW_HEADER_LEN + FCGIW_BODY_LEN];

    fcgiw_end_encode(record, id, &end);
    return sc_client_reply(c, record, sizeof(record));
}

void sc_client_refuse(sc_client *c, enum fcgiw_protocol_status status)
{
    c->close_after = !c->request.keep || c->relay->lame_duck;
    if (sc_client_reply_end(c, c->request.id, 0, status)) {
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
    sc_client_move(c, SC_CLIENT_RUNNING);
    c->upstream = u;
    if (c->request.state != SC_REQUEST_WHOLE) {
        sc_timer_start(&relay->loop, &relay->after_client_receive, &c->timer);
    }
    sc_client_has_room(c);
}

void sc_client_requeue(sc_client *c)
{
    c->upstream = NULL;
    sc_timer_stop(&c->timer); /* while it waits again it may be us who do not read */
    sc_request_rewind(&c->request);
    sc_client_move(c, SC_CLIENT_QUEUED);
    sc_dispatch_requeue(c);
}

void sc_client_failed(sc_client *c)
{
    c->upstream = NULL;
    sc_client_close(c);
}

/* --- birth ------------------------------------------------------------------------------------------ */

void sc_client_accept(sc_relay *relay, int fd)
{
    sc_client *c = calloc(1, sizeof(*c));

    if (c == NULL) {
        close(fd);
        return;
    }
    c->relay = relay;
    c->io.fd = fd;
    c->io.ready = sc_client_event;
    c->io.release = client_release;
    c->writable = true;
    fcgiw_stream_init(&c->in, FCGIW_FROM_CLIENT, FCGIW_NULL_ID);
    sc_list_init(&c->link);
    sc_list_init(&c->queue_link);
    sc_timer_init(&c->timer, sc_client_timeout);
    sc_timer_init(&c->send_timer, sc_client_send_timeout);
    sc_timer_init(&c->queue_timer, sc_client_queue_timeout);
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
