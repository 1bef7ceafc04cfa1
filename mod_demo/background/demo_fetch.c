#include "mod_demo/background/demo_fetch.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "apr_errno.h"

#include "lib/cgih.h"

enum { REQUEST_ID = 1 };

void demo_fetch_init(demo_fetch *f, char *buf, size_t cap)
{
    memset(f, 0, sizeof(*f));
    f->fd = -1;
    f->buf = buf;
    f->cap = cap;
}

void demo_fetch_close(demo_fetch *f)
{
    if (f->fd >= 0) {
        (void)close(f->fd);
        f->fd = -1;
    }
}

__attribute__((format(printf, 3, 4)))
static void fail(demo_fetch *f, const char *phase, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(f->text, sizeof(f->text), fmt, ap);
    va_end(ap);
    f->phase = phase;
    f->state = DEMO_FETCH_FAILED;
    demo_fetch_close(f);
}

static void fail_errno(demo_fetch *f, const char *phase, int err)
{
    char text[128];

    fail(f, phase, "%s (errno %d)", apr_strerror(err, text, sizeof(text)), err);
}

/* --- request ---------------------------------------------------------------------- */

static int param(fcgiw_params *p, const char *name, const char *value)
{
    fcgiw_pair pair = {
        (const uint8_t *)name, strlen(name), (const uint8_t *)value, strlen(value)
    };
    return fcgiw_params_add(p, &pair) > 0;
}

/* BEGIN_REQUEST, PARAMS, end of PARAMS, end of STDIN.  php-fpm compares ping.path
 * and pm.status_path with SCRIPT_NAME. */
static int build(demo_fetch *f, const demo_fetch_request *rq)
{
    fcgiw_begin begin = { FCGIW_RESPONDER, 0 };
    fcgiw_header eof = { FCGIW_STDIN, REQUEST_ID, 0, 0 };
    fcgiw_params p;
    const size_t head = FCGIW_HEADER_LEN + FCGIW_BODY_LEN;
    char target[DEMO_FETCH_PARAMS_MAX / 2];

    (void)snprintf(target, sizeof(target), "%s%s%s", rq->uri, rq->query[0] != '\0' ? "?" : "",
                   rq->query);
    fcgiw_begin_encode(f->out, REQUEST_ID, &begin);
    fcgiw_params_init(&p, f->out + head, sizeof(f->out) - head - FCGIW_HEADER_LEN, REQUEST_ID);
    if (!param(&p, "GATEWAY_INTERFACE", "CGI/1.1") || !param(&p, "SERVER_PROTOCOL", "HTTP/1.1")
        || !param(&p, "SERVER_SOFTWARE", "mod_demo") || !param(&p, "REQUEST_METHOD", "GET")
        || !param(&p, "SCRIPT_NAME", rq->uri) || !param(&p, "SCRIPT_FILENAME", rq->script_file)
        || !param(&p, "REQUEST_URI", target) || !param(&p, "QUERY_STRING", rq->query)
        || !param(&p, "SERVER_NAME", "localhost") || !param(&p, "SERVER_PORT", "80")
        || !param(&p, "REMOTE_ADDR", "127.0.0.1") || fcgiw_params_end(&p) <= 0) {
        return 0;
    }
    fcgiw_header_encode(f->out + head + p.len, &eof);
    f->out_len = head + p.len + FCGIW_HEADER_LEN;
    f->out_pos = 0;
    return 1;
}

void demo_fetch_start(demo_fetch *f, const demo_fetch_request *request, int64_t now,
                      int64_t deadline)
{
    demo_fetch_close(f);
    f->started = now;
    f->deadline = deadline;
    f->status = 0;
    f->timed_out = 0;
    f->busy = 0;
    f->body = NULL;
    f->body_len = f->len = 0;
    f->text[0] = '\0';
    fcgiw_stream_init(&f->stream, FCGIW_FROM_RESPONDER, REQUEST_ID);
    if (!build(f, request)) {
        fail(f, "send", "the path is longer than %d bytes", DEMO_FETCH_PARAMS_MAX);
        return;
    }
    f->fd = socket(request->addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (f->fd < 0) {
        fail_errno(f, "connect", errno);
        return;
    }
    if (connect(f->fd, request->addr, request->addr_len) == 0) {
        f->state = DEMO_FETCH_SEND;
    }
    else if (errno == EINPROGRESS || errno == EINTR) {
        f->state = DEMO_FETCH_CONNECT;
    }
    else if (errno == EAGAIN) {
        f->busy = 1;
        fail(f, "connect", "the listen queue of the socket is full");
    }
    else {
        fail_errno(f, "connect", errno);
    }
}

short demo_fetch_events(const demo_fetch *f)
{
    switch (f->state) {
    case DEMO_FETCH_CONNECT:
    case DEMO_FETCH_SEND:    return POLLOUT;
    case DEMO_FETCH_READ:    return POLLIN;
    default:                 return 0;
    }
}

/* --- steps ------------------------------------------------------------------------- */

static void step_connect(demo_fetch *f)
{
    int err = 0;
    socklen_t len = sizeof(err);
    struct pollfd pfd = { f->fd, POLLOUT, 0 };

    if (poll(&pfd, 1, 0) <= 0) {
        return;
    }
    if (getsockopt(f->fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0) {
        err = errno;
    }
    if (err != 0) {
        fail_errno(f, "connect", err);
        return;
    }
    f->state = DEMO_FETCH_SEND;
}

static void step_send(demo_fetch *f)
{
    while (f->out_pos < f->out_len) {
        ssize_t n = send(f->fd, f->out + f->out_pos, f->out_len - f->out_pos, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            if (errno != EAGAIN && errno != EWOULDBLOCK) {
                fail_errno(f, "send", errno);
            }
            return;
        }
        f->out_pos += (size_t)n;
    }
    f->state = DEMO_FETCH_READ;
}

/* The response is complete: header and body apart. */
static void conclude(demo_fetch *f, const fcgiw_end *end)
{
    cgih_scan scan;
    cgih_field field;
    size_t pos = 0;
    int more;

    demo_fetch_close(f);
    if (end->protocol_status != FCGIW_REQUEST_COMPLETE) {
        f->busy = end->protocol_status == FCGIW_OVERLOADED;
        fail(f, "response", "END_REQUEST says %s", fcgiw_protocol_status_name(end->protocol_status));
        return;
    }
    f->buf[f->len] = '\0';
    cgih_scan_init(&scan);
    size_t header = cgih_scan_feed(&scan, f->buf, f->len);
    if (header == 0) {
        fail(f, "response", "no end of the header in %zu bytes", f->len);
        return;
    }
    f->status = 200;
    while ((more = cgih_next(f->buf, header, &pos, &field)) > 0) {
        if (cgih_field_is(&field, "Status")) {
            f->status = cgih_status(&field, NULL, NULL);
        }
    }
    if (more < 0 || f->status < 0) {
        fail(f, "response", "%s", cgih_error_name(more < 0 ? more : f->status));
        return;
    }
    f->body = f->buf + header;
    f->body_len = f->len - header;
    f->state = DEMO_FETCH_DONE;
}

/* Takes what a read brought; 0 when the fetch has ended. */
static int consume(demo_fetch *f, const uint8_t *in, size_t len)
{
    while (len > 0) {
        fcgiw_event ev;
        fcgiw_result n = fcgiw_stream_feed(&f->stream, in, len, &ev);
        if (n < 0) {
            fail(f, "response", "malformed FastCGI: %s", fcgiw_error_name(n));
            return 0;
        }
        if (ev.kind == FCGIW_EV_DATA && ev.header.type == FCGIW_STDOUT) {
            if (ev.len >= f->cap - f->len) {
                fail(f, "response", "more than %zu bytes", f->cap - 1);
                return 0;
            }
            memcpy(f->buf + f->len, ev.data, ev.len);
            f->len += ev.len;
        }
        else if (ev.kind == FCGIW_EV_END) {
            conclude(f, &ev.u.end);
            return 0;
        }
        in += n;
        len -= (size_t)n;
    }
    return 1;
}

static void step_read(demo_fetch *f)
{
    uint8_t in[8192];

    for (;;) {
        ssize_t n = recv(f->fd, in, sizeof(in), 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            if (errno != EAGAIN && errno != EWOULDBLOCK) {
                fail_errno(f, "read", errno);
            }
            return;
        }
        if (n == 0) {
            fail(f, "read", "the connection was closed before END_REQUEST");
            return;
        }
        if (!consume(f, in, (size_t)n)) {
            return;
        }
    }
}

static const char *phase_of(enum demo_fetch_state state)
{
    return state == DEMO_FETCH_CONNECT ? "connect" : state == DEMO_FETCH_SEND ? "send" : "read";
}

enum demo_fetch_state demo_fetch_step(demo_fetch *f, int64_t now)
{
    if (f->state == DEMO_FETCH_CONNECT) {
        step_connect(f);
    }
    if (f->state == DEMO_FETCH_SEND) {
        step_send(f);
    }
    if (f->state == DEMO_FETCH_READ) {
        step_read(f);
    }
    if (demo_fetch_events(f) != 0 && now >= f->deadline) {
        f->timed_out = 1;
        fail(f, phase_of(f->state), "no answer within %lld ms",
             (long long)((f->deadline - f->started) / 1000));
    }
    return f->state;
}
