#include "mod_demo/response/demo_recv.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include "apr_strings.h"
#include "http_log.h"

#include "mod_demo/response/demo_header.h"
#include "mod_demo/response/demo_output.h"
#include "mod_demo/shm/demo_clock.h"
#include "mod_demo/shm/demo_yield.h"

APLOG_USE_MODULE(demo);

#define ANSWER_YIELDS 2     /* looks for the answer before a thread goes to sleep for it */
/* A longer line of STDERR is logged in pieces: httpd cuts a line of its log at
 * 8 KiB, with what stands before the text. */
#define ERROR_LINE_MAX 7168

void demo_recv_init(demo_exchange *x)
{
    x->answer = (demo_answer){ .stated_len = -1 };
    fcgiw_stream_init(&x->answer.stream, FCGIW_FROM_RESPONDER, DEMO_REQUEST_ID);
    cgih_scan_init(&x->answer.scan);
}

/* --- STDERR: a line of the log a line, at the same places however it comes ------ */

/* What tells this request's lines from those of others: mod_unique_id's, or the
 * one that %L of ErrorLogFormat and LogFormat shows. */
static const char *request_id(request_rec *r)
{
    const char *id = apr_table_get(r->subprocess_env, "UNIQUE_ID");

    if (id == NULL && r->log_id == NULL) {
        ap_run_generate_log_id(r->connection, r, &r->log_id);
    }
    return id != NULL ? id : r->log_id != NULL ? r->log_id : "-";
}

static void error_line_log(demo_exchange *x, const char *line, size_t len)
{
    while (len > 0 && (line[len - 1] == '\r' || line[len - 1] == ' ')) {
        len--;
    }
    if (len == 0) {
        return;
    }
    demo_metrics_count(DEMO_C_STDERR_LINES, 1);
    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, x->r, "DM1040: [request %s] PHP: %.*s",
                  request_id(x->r), (int)len, line);
}

static void error_line_keep(demo_exchange *x, const char *data, size_t len)
{
    demo_answer *a = &x->answer;

    while (len > 0) {
        size_t part = ERROR_LINE_MAX - a->error_len;
        if (a->error_line == NULL) {
            a->error_line = apr_palloc(x->r->pool, ERROR_LINE_MAX);
        }
        if (part > len) {
            part = len;
        }
        memcpy(a->error_line + a->error_len, data, part);
        a->error_len += part;
        data += part;
        len -= part;
        if (a->error_len == ERROR_LINE_MAX) {
            error_line_log(x, a->error_line, a->error_len);
            a->error_len = 0;
        }
    }
}

static void error_lines(demo_exchange *x, const char *data, size_t len)
{
    demo_answer *a = &x->answer;
    const char *lf;

    while ((lf = memchr(data, '\n', len)) != NULL) {
        size_t line = (size_t)(lf - data);
        if (a->error_len > 0) {
            error_line_keep(x, data, line);
            error_line_log(x, a->error_line, a->error_len);
            a->error_len = 0;
        }
        else {
            size_t at = 0;
            for (; line - at >= ERROR_LINE_MAX; at += ERROR_LINE_MAX) {
                error_line_log(x, data + at, ERROR_LINE_MAX);
            }
            error_line_log(x, data + at, line - at);
        }
        data = lf + 1;
        len -= line + 1;
    }
    error_line_keep(x, data, len);
}

/* --- records ------------------------------------------------------------------- */

static bool stdout_slice(demo_exchange *x, const char *data, size_t len)
{
    if (!x->answer.header_done) {
        size_t used;
        if (!demo_header_feed(x, data, len, &used)) {
            return false;
        }
        data += used;
        len -= used;
    }
    return len == 0 || demo_output_write(x, data, len);
}

/* END_REQUEST, and left bytes behind it. */
static bool request_ended(demo_exchange *x, const fcgiw_end *end, size_t left)
{
    demo_answer *a = &x->answer;

    a->ended = true;
    if (a->error_len > 0) {
        error_line_log(x, a->error_line, a->error_len);
    }
    if (left > 0) {
        a->overlong = true;
        demo_metrics_count(DEMO_C_UNCLEAN_ENDS, 1);
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, x->r, "DM1041: backend %s: %" APR_SIZE_T_FMT
                      " bytes behind END_REQUEST, the connection is closed", x->target.name, left);
    }
    if (end->protocol_status == FCGIW_OVERLOADED) {
        demo_fail(x, DEMO_PHASE_RESPONSE, HTTP_SERVICE_UNAVAILABLE, 0,
                  "END_REQUEST says OVERLOADED");
        x->failure.untouched = x->failure.queueable = !a->header_done;
        return false;
    }
    if (end->protocol_status != FCGIW_REQUEST_COMPLETE) {
        return demo_fail(x, DEMO_PHASE_RESPONSE, HTTP_BAD_GATEWAY, 0,
                         apr_psprintf(x->r->pool, "END_REQUEST says %s",
                                      fcgiw_protocol_status_name(end->protocol_status)));
    }
    if (!a->header_done) {
        return demo_fail(x, DEMO_PHASE_RESPONSE, HTTP_BAD_GATEWAY, 0,
                         a->header_len > 0 ? "END_REQUEST before the end of the header"
                                           : "END_REQUEST without a header");
    }
    if (a->stated_len >= 0 && a->body_len < a->stated_len && !a->discard) {
        return demo_fail(x, DEMO_PHASE_RESPONSE, HTTP_BAD_GATEWAY, 0,
                         apr_psprintf(x->r->pool, "the body has %" APR_OFF_T_FMT " bytes, "
                                      "Content-Length says %" APR_OFF_T_FMT, a->body_len,
                                      a->stated_len));
    }
    return true;
}

/* All records in a piece of input. */
static bool consume(demo_exchange *x, const uint8_t *in, size_t len)
{
    demo_answer *a = &x->answer;

    if (!a->started && len > 0) {
        a->started = true;
        x->sample.first_byte_us = demo_now() - x->sent;
    }
    while (len > 0) {
        fcgiw_event ev;
        fcgiw_result n = fcgiw_stream_feed(&a->stream, in, len, &ev);
        if (n < 0) {
            return demo_fail(x, DEMO_PHASE_RESPONSE, HTTP_BAD_GATEWAY, 0,
                             apr_psprintf(x->r->pool, "malformed FastCGI record: %s",
                                          fcgiw_error_name(n)));
        }
        in += n;
        len -= (size_t)n;
        if (ev.kind == FCGIW_EV_END) {
            return request_ended(x, &ev.u.end, len);
        }
        if (ev.kind == FCGIW_EV_UNKNOWN) {
            ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, x->r, "DM1042: backend %s: record of unknown "
                          "type %u skipped", x->target.name, ev.header.type);
        }
        if (ev.kind != FCGIW_EV_DATA) {
            continue;
        }
        if (ev.header.type == FCGIW_STDOUT
            && !stdout_slice(x, (const char *)ev.data, ev.len)) {
            return false;
        }
        if (ev.header.type == FCGIW_STDERR) {
            error_lines(x, (const char *)ev.data, ev.len);
        }
    }
    return true;
}

static bool closed_early(demo_exchange *x, apr_status_t cause)
{
    demo_answer *a = &x->answer;

    if (a->error_len > 0) {
        error_line_log(x, a->error_line, a->error_len);
        a->error_len = 0;
    }
    return demo_fail(x, DEMO_PHASE_READ, HTTP_BAD_GATEWAY, cause,
                     a->header_done ? "the backend closed the connection within the body"
                     : a->started   ? "the backend closed the connection within the header"
                                    : "the backend closed the connection before it answered");
}

/* The backend may wait for it with the next piece, see MSS_MAX in demo_conn.c;
 * this is for pieces that are smaller, as those of PHP's flush(). */
static void acknowledge(const demo_exchange *x)
{
    int one = 1;

    if (x->conn->tcp && !x->answer.ended) {
        (void)setsockopt(x->conn->fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one);
    }
}

/* One read.  1 something came, 0 nothing is there, -1 after demo_fail(). */
static int read_once(demo_exchange *x, int flags)
{
    ssize_t n;

    do {
        n = recv(x->conn->fd, x->conn->in, sizeof x->conn->in, flags);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        bool ok = consume(x, x->conn->in, (size_t)n)
                  && (x->answer.ended || demo_output_header(x));
        acknowledge(x);
        return ok ? 1 : -1;
    }
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return 0;
    }
    closed_early(x, n < 0 ? errno : 0);
    return -1;
}

bool demo_recv_ready(demo_exchange *x)
{
    int n;

    do {
        n = read_once(x, MSG_DONTWAIT);
    } while (n > 0 && !x->answer.ended);
    return n >= 0;
}

bool demo_recv_answer(demo_exchange *x)
{
    int n = 0;

    /* An answer that takes microseconds is there when others have run. */
    for (int i = 0; i < ANSWER_YIELDS && x->conn->brief && n == 0 && !x->answer.ended; i++) {
        demo_yield();
        n = read_once(x, MSG_DONTWAIT);
    }
    if (n < 0) {
        return false;
    }
    while (!x->answer.ended) {
        /* Waits in the read itself for a moment: most answers come by then. */
        n = read_once(x, 0);
        if (n < 0) {
            return false;
        }
        if (n == 0
            && demo_wait(x, x->conn->fd, POLLIN, DEMO_PHASE_READ, x->dir->timeout.read) == 0) {
            return false;
        }
        if (!x->answer.ended && demo_total_is_over(x)) {
            return demo_fail_total(x, NULL);
        }
    }
    return true;
}
