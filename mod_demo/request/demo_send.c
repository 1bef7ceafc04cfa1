#include "mod_demo/request/demo_send.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "http_protocol.h"

#include "lib/fcgiw.h"
#include "mod_demo/request/demo_body.h"
#include "mod_demo/response/demo_recv.h"

#define RECORD_DATA 65528 /* of one STDIN record; a multiple of 8, §3.3 */

/* What of the request is on its way.
 *
 *   head | hdr data | hdr data | … | hdr (empty: end of STDIN)
 *          `-- iov holds the part that is sent next --'
 */
typedef struct {
    demo_exchange *x;
    struct iovec iov[4];   /* head, hdr, data, end at the most */
    int count;             /* of iov */
    int first;             /* of iov, not yet sent whole */
    bool head_taken, end_taken;
    bool anything;         /* a byte was accepted by the system */
    apr_off_t offset;      /* of the body, taken into iov */
    uint8_t record[FCGIW_HEADER_LEN], end[FCGIW_HEADER_LEN];
    char *piece;           /* for a body that is not in memory; r->pool */
} sender;

static void iov_add(sender *s, const void *data, size_t len)
{
    s->iov[s->count++] = (struct iovec){ .iov_base = (void *)data, .iov_len = len };
}

static void record_add(sender *s, const void *data, size_t len)
{
    const fcgiw_header h = { FCGIW_STDIN, DEMO_REQUEST_ID, (uint16_t)len, 0 };

    fcgiw_header_encode(s->record, &h);
    iov_add(s, s->record, sizeof s->record);
    iov_add(s, data, len);
    s->offset += (apr_off_t)len;
    s->x->sample.request_bytes += (apr_off_t)len;
}

static void end_add(sender *s)
{
    const fcgiw_header h = { FCGIW_STDIN, DEMO_REQUEST_ID, 0, 0 };

    fcgiw_header_encode(s->end, &h);
    iov_add(s, s->end, sizeof s->end);
    s->end_taken = true;
}

static char *piece_buffer(sender *s)
{
    if (s->piece == NULL) {
        s->piece = apr_palloc(s->x->r->pool, RECORD_DATA);
    }
    return s->piece;
}

/* The next record of a body that lies in the spool. */
static bool spooled_add(sender *s)
{
    const demo_spool *body = &s->x->request.body;
    apr_off_t left = demo_spool_len(body) - s->offset;
    size_t len = left > RECORD_DATA ? RECORD_DATA : (size_t)left;
    apr_status_t rv;

    if (s->offset + (apr_off_t)len <= (apr_off_t)body->memory_len) {
        record_add(s, body->memory + s->offset, len);
        return true;
    }
    rv = demo_spool_read(body, s->offset, piece_buffer(s), len);
    if (rv != APR_SUCCESS) {
        return demo_fail(s->x, DEMO_PHASE_SPOOL, HTTP_INTERNAL_SERVER_ERROR, rv,
                         "the stored request body can not be read");
    }
    record_add(s, s->piece, len);
    return true;
}

/* The next record of a body that the client is still sending.  True with
 * nothing added: the backend has something to say first. */
static bool streamed_add(sender *s)
{
    demo_exchange *x = s->x;
    apr_size_t len = 0;
    apr_off_t left = x->request.stated_len - s->offset;
    apr_size_t cap = left > RECORD_DATA ? RECORD_DATA : (apr_size_t)left;
    apr_status_t rv;

    while ((rv = demo_body_next(x, piece_buffer(s), cap, &len, x->client_fd < 0))
           == APR_EAGAIN) {
        short ready = demo_wait_client(x, x->conn->fd);
        if (ready == 0) {
            return false;
        }
        if (ready & POLLIN) {
            return demo_recv_ready(x);
        }
    }
    if (rv != APR_SUCCESS) {
        return demo_body_failed(x, rv);
    }
    record_add(s, s->piece, len);
    return true;
}

static bool fill(sender *s)
{
    demo_request *request = &s->x->request;
    apr_off_t total = request->streamed ? request->stated_len : demo_spool_len(&request->body);

    s->first = s->count = 0;
    if (!s->head_taken) {
        iov_add(s, request->head, request->head_len);
        s->head_taken = true;
        if (request->streamed) {
            return true; /* PHP may start while the body comes */
        }
    }
    if (s->offset < total) {
        if (!(request->streamed ? streamed_add(s) : spooled_add(s))) {
            return false;
        }
    }
    if (s->offset >= total) {
        end_add(s);
    }
    return true;
}

static void advance(sender *s, size_t sent)
{
    s->anything = true;
    while (sent > 0) {
        struct iovec *v = &s->iov[s->first];
        size_t part = sent < v->iov_len ? sent : v->iov_len;
        v->iov_base = (char *)v->iov_base + part;
        v->iov_len -= part;
        sent -= part;
        if (v->iov_len == 0) {
            s->first++;
        }
    }
}

/* A write failed for good.  The backend may have answered before it closed, so
 * this is no failure yet, unless it closed before it could take anything. */
static bool write_failed(sender *s, int error)
{
    demo_exchange *x = s->x;

    if ((error == EPIPE || error == ECONNRESET) && s->anything) {
        return true;
    }
    demo_fail(x, DEMO_PHASE_SEND, HTTP_BAD_GATEWAY, error, "the request could not be sent");
    x->failure.untouched = !s->anything;
    return false;
}

bool demo_send_request(demo_exchange *x)
{
    sender s = { .x = x };

    while (!x->answer.ended) {
        struct msghdr msg = { 0 };
        ssize_t n;
        if (s.first == s.count) {
            if (s.end_taken) {
                x->sent_whole = true;
                return true;
            }
            if (!fill(&s)) {
                return false;
            }
            continue;
        }
        msg.msg_iov = s.iov + s.first;
        msg.msg_iovlen = (size_t)(s.count - s.first);
        n = sendmsg(x->conn->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n >= 0) {
            advance(&s, (size_t)n);
            continue;
        }
        if (errno == EINTR) {
            continue;
        }
        if (errno != EAGAIN && errno != EWOULDBLOCK) {
            return write_failed(&s, errno);
        }
        short ready = demo_wait(x, x->conn->fd, POLLIN | POLLOUT, DEMO_PHASE_SEND,
                                x->dir->timeout.send);
        if (ready == 0 || ((ready & POLLIN) && !demo_recv_ready(x))) {
            return false;
        }
    }
    return true;
}
