#include "fcgi-sidecar/relay/sc_upstream.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BACKLOG_FULL  (5 * APR_TIME_C(1000))

/* SIOCOUTQ counts what the kernel spends on each unread piece, hundreds of
 * bytes.  While it tells us of the reading (sock_wfree) it still holds a single
 * one, so less than a BEGIN_REQUEST is nothing. */
#define NOTHING_UNREAD (FCGIW_HEADER_LEN + FCGIW_BODY_LEN)

/* --- states -------------------------------------------------------------------- */

static sc_link *list_of(sc_target *t, enum sc_upstream_state state)
{
    return state == SC_UPSTREAM_READY ? &t->ready : state == SC_UPSTREAM_BUSY ? &t->busy : &t->offered;
}

static void count_state(sc_upstream *u, int by)
{
    sc_target *t = u->target;
    unsigned n = (unsigned)by; /* -1 wraps, and so does the sum */

    switch (u->state) {
    case SC_UPSTREAM_OFFERED:
        t->after_end_count += u->used ? n : 0;
        /* fall through */
    case SC_UPSTREAM_CONNECTING:
        t->offered_count += n;
        break;
    case SC_UPSTREAM_READY:
        t->ready_count += n;
        break;
    case SC_UPSTREAM_BUSY:
        t->busy_count += n;
        break;
    case SC_UPSTREAM_CLOSED:
        break;
    }
}

void sc_upstream_move(sc_upstream *u, enum sc_upstream_state state)
{
    static const uint8_t allowed[] = {
        [SC_UPSTREAM_CONNECTING] = 1u << SC_UPSTREAM_OFFERED | 1u << SC_UPSTREAM_READY,
        [SC_UPSTREAM_OFFERED]    = 1u << SC_UPSTREAM_READY,
        [SC_UPSTREAM_READY]      = 1u << SC_UPSTREAM_BUSY,
        [SC_UPSTREAM_BUSY]       = 1u << SC_UPSTREAM_OFFERED | 1u << SC_UPSTREAM_READY,
        [SC_UPSTREAM_CLOSED]     = 0
    };

    if (state != SC_UPSTREAM_CLOSED && (allowed[u->state] & 1u << state) == 0) {
        abort(); /* a fault of the relay itself; going on could mix up two requests */
    }
    count_state(u, -1);
    sc_list_remove(&u->link);
    u->state = state;
    u->since = u->target->relay->loop.now;
    count_state(u, 1);
    if (state == SC_UPSTREAM_READY) {
        sc_list_prepend(&u->target->ready, &u->link);
    }
    else if (state != SC_UPSTREAM_CLOSED) {
        sc_list_append(list_of(u->target, state), &u->link);
    }
}

void sc_upstream_close(sc_upstream *u)
{
    if (u->state == SC_UPSTREAM_CLOSED) {
        return;
    }
    sc_timer_stop(&u->timer);
    sc_upstream_move(u, SC_UPSTREAM_CLOSED);
    u->target->count--;
    u->client = NULL;
    sc_loop_close(&u->target->relay->loop, &u->io);
    sc_dispatch_wake(u->target->relay);
}

void sc_upstream_abandon(sc_upstream *u)
{
    bool whole = u->client != NULL && sc_request_all_sent(&u->client->request);
    int unread = 0;

    u->client = NULL;
    /* php-fpm leaves the end of STDIN unread until it wants the next request.  Where that
     * end was not sent, its own end has to say it, which is not seen once we read no more. */
    if (u->state != SC_UPSTREAM_BUSY || !u->target->proves || u->hung_up
        || (whole && (ioctl(u->io.fd, SIOCOUTQ, &unread) < 0 || unread < NOTHING_UNREAD))
        || shutdown(u->io.fd, whole ? SHUT_RDWR : SHUT_WR) < 0) {
        sc_upstream_close(u);
        return;
    }
    u->used = u->abandoned = true;
    u->half_closed = !whole;
    sc_upstream_move(u, SC_UPSTREAM_OFFERED);
    if (u->half_closed) {
        sc_loop_rewatch(&u->target->relay->loop, &u->io, SC_LOOP_READ | SC_LOOP_WRITE);
    }
}

static void upstream_release(sc_io *io)
{
    free(SC_OWNER(io, sc_upstream, io));
}

static void upstream_timeout(sc_timer *timer)
{
    sc_upstream *u = SC_OWNER(timer, sc_upstream, timer);
    sc_relay *relay = u->target->relay;

    if (u->state == SC_UPSTREAM_CONNECTING) {
        sc_target_down(u->target, "connect", ETIMEDOUT);
    }
    else if (u->state == SC_UPSTREAM_OFFERED && relay->queue_len > 0) {
        /* In php-fpm's listen queue; it is wanted as soon as a worker is free. */
        sc_timer_start(&relay->loop, &relay->after_upstream_idle, timer);
        return;
    }
    sc_upstream_close(u);
}

/* --- from connect to READY ------------------------------------------------------- */

static void upstream_is_ready(sc_upstream *u)
{
    sc_relay *relay = u->target->relay;

    sc_target_up(u->target);
    sc_upstream_move(u, SC_UPSTREAM_READY);
    sc_timer_start(&relay->loop, &relay->after_upstream_idle, &u->timer);
    sc_dispatch_wake(relay);
}

static bool all_read(const sc_upstream *u)
{
    int unread = 0;

    return ioctl(u->io.fd, SIOCOUTQ, &unread) == 0 && unread < NOTHING_UNREAD;
}

/* A failure is no more than a connection that has gone: nothing was asked on
 * it. */
static bool send_ahead(sc_upstream *u)
{
    static const fcgiw_begin begin = { FCGIW_RESPONDER, FCGIW_KEEP_CONN };
    uint8_t record[FCGIW_HEADER_LEN + FCGIW_BODY_LEN];

    fcgiw_begin_encode(record, SC_REQUEST_ID, &begin);
    /* 16 bytes into an empty socket buffer are taken whole or not at all. */
    u->begun = send(u->io.fd, record, sizeof(record), MSG_NOSIGNAL) == (ssize_t)sizeof(record);
    return u->begun;
}

bool sc_upstream_silent(sc_upstream *u)
{
    uint8_t byte;
    ssize_t n;

    if (!u->readable) {
        return true;
    }
    n = recv(u->io.fd, &byte, 1, MSG_PEEK);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        u->readable = errno == EINTR;
        return true;
    }
    if (n > 0) {
        sc_count_add(u->target->relay, SC_N_UPSTREAM_ERRORS, 1);
        sc_relay_log(u->target->relay, SC_RELAY_LOG_WARNING, "SC0304",
                     "upstream %s: sends without a request; connection closed", u->target->address.text);
    }
    return false;
}

/* OFFERED, `read`: has the peer read all that was sent? */
static void judge_offer(sc_upstream *u, bool read)
{
    /* A worker that is about to exit shuts its side first and then reads over
     * what there is: look for the end after the reading, never before. */
    u->readable |= read;
    if (!sc_upstream_silent(u)) {
        if (!u->used) {
            sc_target_dropped(u->target);
        }
        sc_upstream_close(u);
    }
    else if (read) {
        upstream_is_ready(u);
    }
}

/* Half closed: reads over what comes of the script; has the peer ended? */
static bool has_ended(sc_upstream *u)
{
    sc_relay *relay = u->target->relay;
    int turns;
    ssize_t n;

    for (turns = 0; turns < READS_AT_ONCE; turns++) {
        n = recv(u->io.fd, relay->scratch, SC_SCRATCH, 0);
        if (n == 0 || (n < 0 && errno != EINTR)) {
            return n == 0 || errno != EAGAIN;
        }
    }
    sc_loop_rewatch(&relay->loop, &u->io, SC_LOOP_READ | SC_LOOP_WRITE);
    return false;
}

void sc_upstream_check_offer(sc_upstream *u)
{
    bool read = all_read(u);

    if (!u->abandoned) {
        judge_offer(u, read);
    }
    else if (u->half_closed ? has_ended(u) : read) {
        sc_upstream_close(u);
    }
}

/* Does the worker say by itself, in reading the end of the last request's
 * STDIN, that it wants the next one?  False: it has to be asked. */
static bool tells_return(sc_upstream *u)
{
    sc_target *t = u->target;
    bool read;

    if (!u->used || !u->measured) {
        return false;
    }
    read = all_read(u);
    t->late_reader |= !read;
    if (t->late_reader) {
        judge_offer(u, read);
    }
    return t->late_reader;
}

void sc_upstream_offer(sc_upstream *u)
{
    sc_relay *relay = u->target->relay;

    if (!u->target->proves) {
        upstream_is_ready(u);
        return;
    }
    sc_upstream_move(u, SC_UPSTREAM_OFFERED);
    if (tells_return(u)) {
        return;
    }
    if (!send_ahead(u)) {
        if (!u->used) {
            sc_target_dropped(u->target);
        }
        sc_upstream_close(u);
    }
    else if (!u->used) {
        sc_timer_start(&relay->loop, &relay->after_upstream_idle, &u->timer);
    }
}

static void upstream_connected(sc_upstream *u)
{
    int error = 0;
    socklen_t len = sizeof(error);

    if (getsockopt(u->io.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0) {
        error = errno;
    }
    if (error != 0) {
        sc_target_down(u->target, "connect", error);
        sc_upstream_close(u);
        return;
    }
    sc_timer_stop(&u->timer);
    sc_upstream_offer(u);
}

static void upstream_event(sc_io *io, uint32_t events)
{
    sc_upstream *u = SC_OWNER(io, sc_upstream, io);

    if ((events & EPOLLOUT) != 0) {
        u->writable = true;
    }
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        u->readable = true;
    }
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        u->hung_up = true;
    }
    switch (u->state) {
    case SC_UPSTREAM_CONNECTING:
        upstream_connected(u);
        break;
    case SC_UPSTREAM_OFFERED:
        sc_upstream_check_offer(u);
        break;
    case SC_UPSTREAM_READY:
        if (!sc_upstream_silent(u)) {
            sc_upstream_close(u);
        }
        break;
    case SC_UPSTREAM_BUSY:
        sc_upstream_read(u);
        if (u->state == SC_UPSTREAM_BUSY && u->writable) {
            sc_upstream_push(u);
        }
        if (u->state == SC_UPSTREAM_BUSY) {
            sc_client_has_room(u->client);
        }
        break;
    case SC_UPSTREAM_CLOSED:
        break;
    }
}

/* --- birth --------------------------------------------------------------------------- */

/* A socket whose connect() has been started: 0, EINPROGRESS or the error.  Without
 * one of the options it serves as well, but for the worst of networks. */
static int dial(const sc_address *a, int *fd)
{
    const int one = 1, idle = 5, probes = 3;
    const unsigned unanswered_ms = 15000;

    *fd = socket(a->sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (*fd < 0) {
        return errno;
    }
    if (!a->is_unix) {
        setsockopt(*fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        /* The other instance may vanish with its node, without a word. */
        setsockopt(*fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
        setsockopt(*fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
        setsockopt(*fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle, sizeof(idle));
        setsockopt(*fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
        setsockopt(*fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unanswered_ms, sizeof(unanswered_ms));
    }
    return connect(*fd, (const struct sockaddr *)&a->sa, a->len) < 0 ? errno : 0;
}

static sc_upstream *upstream_new(sc_target *t, int fd)
{
    sc_upstream *u = calloc(1, sizeof(*u));

    if (u == NULL) {
        return NULL;
    }
    u->io.fd = fd;
    u->io.ready = upstream_event;
    u->io.release = upstream_release;
    u->target = t;
    u->state = SC_UPSTREAM_CONNECTING;
    u->since = t->relay->loop.now;
    u->writable = true;
    sc_list_init(&u->link);
    sc_timer_init(&u->timer, upstream_timeout);
    if (sc_loop_watch(&t->relay->loop, &u->io, SC_LOOP_READ | SC_LOOP_WRITE) != APR_SUCCESS) {
        free(u);
        return NULL;
    }
    sc_list_append(&t->offered, &u->link);
    t->offered_count++;
    t->count++;
    sc_count_add(t->relay, SC_N_UPSTREAM_CONNECTS, 1);
    return u;
}

bool sc_upstream_open(sc_target *t)
{
    sc_relay *relay = t->relay;
    sc_upstream *u = NULL;
    int fd, error;

    if (t->count >= t->max || t->retry_at > relay->loop.now) {
        return false;
    }
    error = dial(&t->address, &fd);
    if (error == 0 || error == EINPROGRESS) {
        u = upstream_new(t, fd);
    }
    if (u == NULL) {
        if (fd >= 0) {
            close(fd);
        }
        if (error == EAGAIN) {
            t->retry_at = relay->loop.now + BACKLOG_FULL; /* php-fpm is there, its listen queue is full */
        }
        else {
            sc_target_down(t, "connect", error == 0 || error == EINPROGRESS ? ENOMEM : error);
        }
        return false;
    }
    if (error == EINPROGRESS) {
        sc_timer_start(&relay->loop, &relay->after_connect, &u->timer);
        return true;
    }
    sc_upstream_offer(u);
    return u->state != SC_UPSTREAM_CLOSED;
}
