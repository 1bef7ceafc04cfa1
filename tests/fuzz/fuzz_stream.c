/*
 * The demultiplexer: a feed in pieces tells the same as a whole feed.
 *
 * Input: a byte of choices (bit 0: the client's side; bits 1-2: the request id:
 * 1, any, 257, 65535; bits 4-7: how many sizes follow), the sizes of the pieces
 * (used in turn; 0 is 256), the wire image.
 */
#include "fuzz.h"

#include "lib/fcgiw_stream.h"

typedef struct {
    fcgiw_event ev;
    size_t at; /* FCGIW_EV_DATA: where the slice lies in the image */
} told;

typedef struct {
    told *events;
    size_t n, cap;
    fcgiw_result error;
    bool idle;
} transcript;

static bool headers_equal(const fcgiw_header *a, const fcgiw_header *b)
{
    return a->type == b->type && a->request_id == b->request_id
        && a->content_length == b->content_length && a->padding_length == b->padding_length;
}

static void add(transcript *t, const fcgiw_event *ev, size_t at)
{
    told *last = t->n > 0 ? &t->events[t->n - 1] : NULL;

    if (ev->kind == FCGIW_EV_DATA && last != NULL && last->ev.kind == FCGIW_EV_DATA
        && last->at + last->ev.len == at) {
        FUZZ_CHECK(headers_equal(&last->ev.header, &ev->header));
        last->ev.len += ev->len;
        FUZZ_CHECK(last->ev.len <= ev->header.content_length);
        return;
    }
    FUZZ_CHECK(t->n < t->cap);
    t->events[t->n].ev = *ev;
    t->events[t->n++].at = at;
}

/* What each event must hold, whatever came. */
static void check_event(const fcgiw_stream *s, const fcgiw_event *ev)
{
    switch (ev->kind) {
    case FCGIW_EV_BEGIN:
        FUZZ_CHECK(s->side == FCGIW_FROM_CLIENT && ev->header.type == FCGIW_BEGIN_REQUEST);
        break;
    case FCGIW_EV_END:
        FUZZ_CHECK(s->side == FCGIW_FROM_RESPONDER && ev->header.type == FCGIW_END_REQUEST);
        FUZZ_CHECK(fcgiw_stream_idle(s));
        break;
    case FCGIW_EV_ABORT:
        FUZZ_CHECK(s->side == FCGIW_FROM_CLIENT && ev->header.type == FCGIW_ABORT_REQUEST);
        break;
    case FCGIW_EV_UNKNOWN:
        FUZZ_CHECK(ev->header.type == 0 || ev->header.type > FCGIW_TYPE_MAX);
        break;
    case FCGIW_EV_EOS:
        FUZZ_CHECK(ev->header.content_length == 0);
        break;
    default:
        break;
    }
    if (ev->kind != FCGIW_EV_DATA) {
        FUZZ_CHECK(ev->data == NULL && ev->len == 0);
    }
}

static void feed_piece(fcgiw_stream *s, transcript *t, const uint8_t *in, size_t len, size_t base)
{
    uint8_t *piece = fuzz_copy(in, len);
    size_t at = 0;

    while (at < len && t->error == 0) {
        fcgiw_event ev;
        fcgiw_result rc = fcgiw_stream_feed(s, piece + at, len - at, &ev);
        if (rc < 0) {
            FUZZ_CHECK(rc == FCGIW_EVERSION || rc == FCGIW_EID || rc == FCGIW_ETYPE
                       || rc == FCGIW_EBODY || rc == FCGIW_EORDER);
            t->error = rc;
            break;
        }
        FUZZ_CHECK(rc > 0 && (size_t)rc <= len - at);
        check_event(s, &ev);
        if (ev.kind == FCGIW_EV_DATA) {
            FUZZ_CHECK(ev.data == piece + at && ev.len == (size_t)rc);
        }
        ev.data = NULL;
        if (ev.kind != FCGIW_EV_NONE) {
            add(t, &ev, base + at);
        }
        at += (size_t)rc;
    }
    free(piece);
}

static transcript run(const fcgiw_stream *start, const uint8_t *in, size_t len,
                      const uint8_t *sizes, size_t n)
{
    fcgiw_stream s = *start;
    transcript t = { NULL, 0, len / FCGIW_HEADER_LEN * 2 + 1, 0, false };
    size_t at = 0;

    t.events = malloc(t.cap * sizeof(*t.events));
    FUZZ_CHECK(t.events != NULL);
    for (size_t i = 0; at < len && t.error == 0; i++) {
        size_t size = n == 0 ? len : sizes[i % n] > 0 ? sizes[i % n] : 256;
        if (size > len - at) {
            size = len - at;
        }
        feed_piece(&s, &t, in + at, size, at);
        at += size;
    }
    t.idle = fcgiw_stream_idle(&s);
    return t;
}

static void check_same(const transcript *a, const transcript *b)
{
    FUZZ_CHECK(a->n == b->n && a->error == b->error && a->idle == b->idle);
    for (size_t i = 0; i < a->n; i++) {
        const fcgiw_event *x = &a->events[i].ev, *y = &b->events[i].ev;
        FUZZ_CHECK(x->kind == y->kind && x->len == y->len);
        FUZZ_CHECK(headers_equal(&x->header, &y->header));
        switch (x->kind) {
        case FCGIW_EV_DATA:
            FUZZ_CHECK(a->events[i].at == b->events[i].at);
            break;
        case FCGIW_EV_BEGIN:
            FUZZ_CHECK(x->u.begin.role == y->u.begin.role && x->u.begin.flags == y->u.begin.flags);
            break;
        case FCGIW_EV_END:
            FUZZ_CHECK(x->u.end.app_status == y->u.end.app_status);
            FUZZ_CHECK(x->u.end.protocol_status == y->u.end.protocol_status);
            break;
        default:
            break;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint16_t ids[] = { 1, FCGIW_NULL_ID, 257, 65535 };
    static const uint8_t one = 1;
    fcgiw_stream s;
    transcript whole, pieces, bytes;
    size_t n;

    if (size < 1) {
        return 0;
    }
    n = data[0] >> 4;
    if (size < 1 + n) {
        return 0;
    }
    fcgiw_stream_init(&s, (data[0] & 1) != 0 ? FCGIW_FROM_CLIENT : FCGIW_FROM_RESPONDER,
                      ids[data[0] >> 1 & 3]);
    whole = run(&s, data + 1 + n, size - 1 - n, NULL, 0);
    pieces = run(&s, data + 1 + n, size - 1 - n, data + 1, n);
    bytes = run(&s, data + 1 + n, size - 1 - n, &one, 1);
    check_same(&whole, &pieces);
    check_same(&whole, &bytes);
    free(whole.events);
    free(pieces.events);
    free(bytes.events);
    return 0;
}
