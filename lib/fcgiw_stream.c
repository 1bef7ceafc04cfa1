#include "lib/fcgiw_stream.h"

#include <string.h>

enum { ST_HEADER, ST_BODY, ST_CONTENT, ST_SKIP, ST_PAD };

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static fcgiw_result fail(fcgiw_stream *s, fcgiw_result error)
{
    s->error = error;
    return error;
}

void fcgiw_stream_init(fcgiw_stream *s, enum fcgiw_side side, uint16_t request_id)
{
    memset(s, 0, sizeof(*s));
    s->side = side;
    s->request_id = request_id;
    s->state = ST_HEADER;
}

size_t fcgiw_stream_content(const fcgiw_stream *s, uint8_t type)
{
    return s->error == 0 && s->state == ST_CONTENT && s->header.type == type ? s->content_left : 0;
}

bool fcgiw_stream_idle(const fcgiw_stream *s)
{
    return s->error == 0 && s->state == ST_HEADER && s->part_len == 0;
}

static bool type_allowed(enum fcgiw_side side, unsigned type)
{
    switch (type) {
    case FCGIW_END_REQUEST:
    case FCGIW_STDOUT:
    case FCGIW_STDERR:
    case FCGIW_GET_VALUES_RESULT:
    case FCGIW_UNKNOWN_TYPE:
        return side == FCGIW_FROM_RESPONDER;
    default:
        return side == FCGIW_FROM_CLIENT;
    }
}

static bool is_management(unsigned type)
{
    return type == FCGIW_GET_VALUES || type == FCGIW_GET_VALUES_RESULT
        || type == FCGIW_UNKNOWN_TYPE;
}

/* What the header of a record alone says about it. */
static fcgiw_result check_header(const fcgiw_stream *s)
{
    const fcgiw_header *h = &s->header;

    if (h->type == 0 || h->type > FCGIW_TYPE_MAX) {
        return 0; /* skipped, whatever its id is */
    }
    if (!type_allowed(s->side, h->type)) {
        return FCGIW_ETYPE;
    }
    if (is_management(h->type)) {
        return h->request_id == FCGIW_NULL_ID ? 0 : FCGIW_EID;
    }
    if (s->request_id != FCGIW_NULL_ID && h->request_id != s->request_id) {
        return FCGIW_EID;
    }
    if (h->request_id == FCGIW_NULL_ID) {
        return FCGIW_EID;
    }
    if ((h->type == FCGIW_BEGIN_REQUEST || h->type == FCGIW_END_REQUEST)
        && h->content_length < FCGIW_BODY_LEN) {
        return FCGIW_EBODY;
    }
    return 0;
}

/* Tells an event that had to wait for the end of its record. */
static void record_done(fcgiw_stream *s, fcgiw_event *ev)
{
    s->state = ST_HEADER;
    s->part_len = 0;
    if (s->held.kind != FCGIW_EV_NONE) {
        *ev = s->held;
        s->held.kind = FCGIW_EV_NONE;
        s->ended = ev->kind == FCGIW_EV_END && s->side == FCGIW_FROM_RESPONDER;
    }
}

static void content_done(fcgiw_stream *s, fcgiw_event *ev)
{
    if (s->pad_left > 0) {
        s->state = ST_PAD;
    }
    else {
        record_done(s, ev);
    }
}

/* Chooses the way through the record whose header was just read. */
static void record_start(fcgiw_stream *s, fcgiw_event *ev)
{
    const fcgiw_header *h = &s->header;

    s->content_left = h->content_length;
    s->pad_left = h->padding_length;
    s->part_len = 0;
    ev->header = *h;
    s->state = ST_SKIP;
    if (h->type == 0 || h->type > FCGIW_TYPE_MAX) {
        ev->kind = FCGIW_EV_UNKNOWN;
    }
    else if (h->type == FCGIW_BEGIN_REQUEST || h->type == FCGIW_END_REQUEST) {
        s->state = ST_BODY;
    }
    else if (h->type == FCGIW_ABORT_REQUEST) {
        ev->kind = FCGIW_EV_ABORT;
    }
    else if (h->content_length == 0) {
        ev->kind = FCGIW_EV_EOS;
    }
    else {
        s->state = ST_CONTENT;
    }
    if (s->content_left == 0) {
        content_done(s, ev);
    }
}

static size_t take_part(fcgiw_stream *s, const uint8_t *in, size_t len)
{
    size_t n = min_size(len, sizeof(s->part) - s->part_len);

    memcpy(s->part + s->part_len, in, n);
    s->part_len = (uint8_t)(s->part_len + n);
    return n;
}

static fcgiw_result feed_header(fcgiw_stream *s, const uint8_t *in, size_t len, fcgiw_event *ev)
{
    size_t n = take_part(s, in, len);
    fcgiw_result rc = fcgiw_header_decode(&s->header, s->part, s->part_len);

    if (rc < 0) {
        return fail(s, rc);
    }
    if (rc > 0) {
        rc = check_header(s);
        if (rc < 0) {
            return fail(s, rc);
        }
        record_start(s, ev);
    }
    return (fcgiw_result)n;
}

static fcgiw_result feed_body(fcgiw_stream *s, const uint8_t *in, size_t len, fcgiw_event *ev)
{
    size_t n = take_part(s, in, len);

    s->content_left = (uint16_t)(s->content_left - n);
    if (s->part_len < FCGIW_BODY_LEN) {
        return (fcgiw_result)n;
    }
    s->held.header = s->header;
    if (s->header.type == FCGIW_BEGIN_REQUEST) {
        s->held.kind = FCGIW_EV_BEGIN;
        fcgiw_begin_decode(&s->held.u.begin, s->part);
    }
    else {
        s->held.kind = FCGIW_EV_END;
        fcgiw_end_decode(&s->held.u.end, s->part);
    }
    s->state = ST_SKIP; /* a body longer than 8 bytes is read over */
    if (s->content_left == 0) {
        content_done(s, ev);
    }
    return (fcgiw_result)n;
}

/* CONTENT and SKIP: the rest of the content, told or not. */
static fcgiw_result feed_content(fcgiw_stream *s, const uint8_t *in, size_t len, fcgiw_event *ev)
{
    size_t n = min_size(len, s->content_left);

    if (s->state == ST_CONTENT) {
        ev->kind = FCGIW_EV_DATA;
        ev->header = s->header;
        ev->data = in;
        ev->len = n;
    }
    s->content_left = (uint16_t)(s->content_left - n);
    if (s->content_left == 0) {
        content_done(s, ev);
    }
    return (fcgiw_result)n;
}

static fcgiw_result feed_pad(fcgiw_stream *s, size_t len, fcgiw_event *ev)
{
    size_t n = min_size(len, s->pad_left);

    s->pad_left = (uint8_t)(s->pad_left - n);
    if (s->pad_left == 0) {
        record_done(s, ev);
    }
    return (fcgiw_result)n;
}

fcgiw_result fcgiw_stream_feed(fcgiw_stream *s, const uint8_t *in, size_t len,
                               fcgiw_event *ev)
{
    ev->kind = FCGIW_EV_NONE;
    ev->data = NULL;
    ev->len = 0;
    if (s->error < 0) {
        return s->error;
    }
    if (len == 0) {
        return 0;
    }
    if (s->ended) {
        return fail(s, FCGIW_EORDER);
    }
    switch (s->state) {
    case ST_HEADER:
        return feed_header(s, in, len, ev);
    case ST_BODY:
        return feed_body(s, in, len, ev);
    case ST_PAD:
        return feed_pad(s, len, ev);
    default:
        return feed_content(s, in, len, ev);
    }
}
