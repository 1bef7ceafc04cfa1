#include "fcgi-sidecar/control/sc_inbound.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "fcgi-sidecar/base/sc_dial.h"
#include "fcgi-sidecar/base/sc_file.h"

#define PIECE 16384
#define RECORDS_AT_ONCE 16 /* of an answer, to one system call */

/* --- reading ------------------------------------------------------------------------- */

static apr_status_t params_add(sc_inbound *in, const uint8_t *data, size_t len)
{
    if (len > sizeof(in->params) - in->params_len) {
        return SC_ECORRUPT;
    }
    memcpy(in->params + in->params_len, data, len);
    in->params_len += len;
    return APR_SUCCESS;
}

static apr_status_t body_add(sc_inbound *in, const uint8_t *data, size_t len, size_t max)
{
    if (len > max - in->body_len) {
        return SC_ECORRUPT;
    }
    if (len > in->body_cap - in->body_len) {
        size_t cap = in->body_cap > 0 ? in->body_cap : PIECE;
        char *bigger;

        while (cap - in->body_len < len) {
            cap *= 2;
        }
        bigger = realloc(in->body, cap);
        if (bigger == NULL) {
            return ENOMEM;
        }
        in->body = bigger;
        in->body_cap = cap;
    }
    memcpy(in->body + in->body_len, data, len);
    in->body_len += len;
    return APR_SUCCESS;
}

/* BEGIN, PARAMS, end of PARAMS, STDIN, end of STDIN; nothing else is taken. */
static apr_status_t take_event(sc_inbound *in, const fcgiw_event *ev, size_t body_max)
{
    uint8_t type = ev->header.type;

    if (ev->kind == FCGIW_EV_NONE) {
        return APR_SUCCESS;
    }
    if (ev->kind == FCGIW_EV_BEGIN && !in->begun && ev->u.begin.role == FCGIW_RESPONDER) {
        in->begun = true;
        in->id = ev->header.request_id;
        return APR_SUCCESS;
    }
    if (!in->begun || ev->header.request_id != in->id
        || (ev->kind != FCGIW_EV_DATA && ev->kind != FCGIW_EV_EOS)) {
        return SC_ECORRUPT;
    }
    if (type == FCGIW_PARAMS && !in->params_whole) {
        in->params_whole = ev->kind == FCGIW_EV_EOS;
        return in->params_whole ? APR_SUCCESS : params_add(in, ev->data, ev->len);
    }
    if (type == FCGIW_STDIN && in->params_whole) {
        in->whole = ev->kind == FCGIW_EV_EOS;
        return in->whole ? APR_SUCCESS : body_add(in, ev->data, ev->len, body_max);
    }
    return SC_ECORRUPT;
}

static apr_status_t feed(sc_inbound *in, const uint8_t *data, size_t len, size_t body_max)
{
    apr_status_t rv = APR_SUCCESS;

    while (len > 0 && rv == APR_SUCCESS && !in->whole) {
        fcgiw_event ev;
        fcgiw_result n = fcgiw_stream_feed(&in->demux, data, len, &ev);

        if (n <= 0) {
            return SC_ECORRUPT;
        }
        rv = take_event(in, &ev, body_max);
        data += n;
        len -= (size_t)n;
    }
    return rv;
}

/* Is every pair whole?  Whoever looks one up later need not ask. */
static bool pairs_fit(const sc_inbound *in)
{
    size_t at = 0;

    while (at < in->params_len) {
        fcgiw_pair pair;
        fcgiw_result n = fcgiw_pair_decode(&pair, in->params + at, in->params_len - at);

        if (n <= 0) {
            return false;
        }
        at += (size_t)n;
    }
    return true;
}

/* Its time is over?  Who has not even said what he wants gets little of it. */
static apr_status_t wait_for_more(const sc_inbound *in, int64_t since)
{
    int64_t left = since + (in->params_whole ? SC_INBOUND_WAIT_MS : SC_INBOUND_HEAD_MS) - sc_now_ms();

    if (left <= 0) {
        return ETIMEDOUT;
    }
    return in->params_whole ? APR_SUCCESS : sc_dial_wait(in->fd, POLLIN, (int)left);
}

apr_status_t sc_inbound_read(sc_inbound *in, int fd, size_t body_max)
{
    int64_t since = sc_now_ms();
    bool heard = false;

    /* Not the buffers, which are large. */
    in->fd = fd;
    in->id = 0;
    in->begun = in->params_whole = in->whole = in->broken = in->ended = false;
    in->params_len = in->body_len = in->body_cap = in->out_len = 0;
    in->body = NULL;
    fcgiw_stream_init(&in->demux, FCGIW_FROM_CLIENT, FCGIW_NULL_ID);
    while (!in->whole) {
        uint8_t piece[PIECE];
        apr_status_t rv = wait_for_more(in, since);
        ssize_t n;

        if (rv != APR_SUCCESS) {
            return rv;
        }
        n = recv(fd, piece, sizeof(piece), 0);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n == 0) {
            return heard ? SC_ECORRUPT : APR_EOF;
        }
        if (n < 0) {
            return errno == EAGAIN ? ETIMEDOUT : errno;
        }
        heard = true;
        rv = feed(in, piece, (size_t)n, body_max);
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    return pairs_fit(in) ? APR_SUCCESS : SC_ECORRUPT;
}

void sc_inbound_free(sc_inbound *in)
{
    free(in->body);
    in->body = NULL;
}

bool sc_inbound_param(const sc_inbound *in, const char *name, char *out, size_t size)
{
    size_t at = 0, len = strlen(name);
    fcgiw_result n = 1;

    while (at < in->params_len && n > 0) {
        fcgiw_pair pair;

        n = fcgiw_pair_decode(&pair, in->params + at, in->params_len - at);
        if (n > 0 && pair.name_len == len && memcmp(pair.name, name, len) == 0) {
            if (pair.value_len >= size || memchr(pair.value, '\0', pair.value_len) != NULL) {
                return false;
            }
            memcpy(out, pair.value, pair.value_len);
            out[pair.value_len] = '\0';
            return true;
        }
        at += n > 0 ? (size_t)n : 0;
    }
    return false;
}

const char *sc_inbound_body(const sc_inbound *in, size_t *len)
{
    *len = in->body_len;
    return in->body != NULL ? in->body : "";
}

/* --- the answer ------------------------------------------------------------------------ */

/* SO_SNDTIMEO bounds each wait. */
static apr_status_t send_all(sc_inbound *in, const uint8_t *data, size_t len)
{
    while (len > 0 && !in->broken) {
        ssize_t n = send(in->fd, data, len, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            in->broken = true;
            return n < 0 && errno == EAGAIN ? ETIMEDOUT : n < 0 ? errno : EIO;
        }
        data += n;
        len -= (size_t)n;
    }
    return in->broken ? ECONNRESET : APR_SUCCESS;
}

static apr_status_t send_vector(sc_inbound *in, struct iovec *iov, size_t n)
{
    while (n > 0 && !in->broken) {
        struct msghdr m = { .msg_iov = iov, .msg_iovlen = n };
        ssize_t sent = sendmsg(in->fd, &m, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent <= 0) {
            in->broken = true;
            return sent < 0 && errno == EAGAIN ? ETIMEDOUT : sent < 0 ? errno : EIO;
        }
        for (; n > 0 && (size_t)sent >= iov->iov_len; iov++, n--) {
            sent -= (ssize_t)iov->iov_len;
        }
        if (n > 0) {
            iov->iov_base = (uint8_t *)iov->iov_base + sent;
            iov->iov_len -= (size_t)sent;
        }
    }
    return in->broken ? ECONNRESET : APR_SUCCESS;
}

/* Whole records from where they lie; *len: how much that was. */
static apr_status_t send_records(sc_inbound *in, const uint8_t *data, size_t *len)
{
    const fcgiw_header h = { FCGIW_STDOUT, in->id, SC_INBOUND_RECORD, 0 };
    uint8_t head[FCGIW_HEADER_LEN];
    struct iovec iov[2 * RECORDS_AT_ONCE];
    size_t n = *len / SC_INBOUND_RECORD, i;

    n = n < RECORDS_AT_ONCE ? n : RECORDS_AT_ONCE;
    *len = n * SC_INBOUND_RECORD;
    fcgiw_header_encode(head, &h);
    for (i = 0; i < n; i++) {
        iov[2 * i].iov_base = head;
        iov[2 * i].iov_len = sizeof(head);
        iov[2 * i + 1].iov_base = (uint8_t *)(uintptr_t)(data + i * SC_INBOUND_RECORD);
        iov[2 * i + 1].iov_len = SC_INBOUND_RECORD;
    }
    return send_vector(in, iov, 2 * n);
}

apr_status_t sc_inbound_flush(sc_inbound *in)
{
    const fcgiw_header h = { FCGIW_STDOUT, in->id, (uint16_t)in->out_len, 0 };
    size_t len = in->out_len;

    if (len == 0) {
        return in->broken ? ECONNRESET : APR_SUCCESS;
    }
    in->out_len = 0;
    fcgiw_header_encode(in->out, &h);
    return send_all(in, in->out, FCGIW_HEADER_LEN + len);
}

apr_status_t sc_inbound_write(sc_inbound *in, const void *data, size_t len)
{
    const uint8_t *from = data;
    apr_status_t rv = APR_SUCCESS;

    while (len > 0 && rv == APR_SUCCESS) {
        size_t room = SC_INBOUND_RECORD - in->out_len;
        size_t part = len < room ? len : room;

        if (in->out_len == 0 && len >= SC_INBOUND_RECORD) {
            part = len;
            rv = send_records(in, from, &part);
            from += part;
            len -= part;
            continue;
        }
        memcpy(in->out + FCGIW_HEADER_LEN + in->out_len, from, part);
        in->out_len += part;
        from += part;
        len -= part;
        if (in->out_len == SC_INBOUND_RECORD) {
            rv = sc_inbound_flush(in);
        }
    }
    return rv;
}

apr_status_t sc_inbound_end(sc_inbound *in)
{
    const fcgiw_header eof = { FCGIW_STDOUT, in->id, 0, 0 };
    const fcgiw_end complete = { 0, FCGIW_REQUEST_COMPLETE };
    uint8_t last[2 * FCGIW_HEADER_LEN + FCGIW_BODY_LEN];
    apr_status_t rv;

    if (in->ended) {
        return APR_SUCCESS;
    }
    in->ended = true;
    rv = sc_inbound_flush(in);
    fcgiw_header_encode(last, &eof);
    fcgiw_end_encode(last + FCGIW_HEADER_LEN, in->id, &complete);
    if (rv == APR_SUCCESS) {
        rv = send_all(in, last, sizeof(last));
    }
    (void)shutdown(in->fd, SHUT_WR);
    return rv;
}
