/*
 * wire.h -- wire images, and what a feed of one tells.
 *
 * check() feeds an image whole, byte by byte, in pieces of every other size up
 * to 17, and cut at every point: each way must give the same events.
 */
#ifndef WIRE_H
#define WIRE_H

#include <stdio.h>

#include "lib/fcgiw_stream.h"
#include "testlib.h"

/* --- wire images ------------------------------------------------------------- */

typedef struct {
    uint8_t *data;
    size_t len, cap;
} wire;

static inline void wire_bytes(wire *w, const void *data, size_t len)
{
    if (w->cap - w->len < len) {
        w->cap = w->len + len + 1024;
        w->data = realloc(w->data, w->cap);
        assert_non_null(w->data);
    }
    if (len > 0) {
        memcpy(w->data + w->len, data, len);
    }
    w->len += len;
}

/* A record; content NULL: len times 'c'.  The padding is not zero on purpose: it
 * must be skipped, not understood. */
static inline void wire_record(wire *w, unsigned type, unsigned id, const void *content, size_t len,
                        size_t padding)
{
    static uint8_t fill[FCGIW_CONTENT_MAX], pad[FCGIW_PADDING_MAX];
    const fcgiw_header h = { (uint8_t)type, (uint16_t)id, (uint16_t)len, (uint8_t)padding };
    uint8_t header[FCGIW_HEADER_LEN];

    memset(fill, 'c', sizeof(fill));
    memset(pad, 0x01, sizeof(pad)); /* looks like the start of a header */
    fcgiw_header_encode(header, &h);
    wire_bytes(w, header, sizeof(header));
    wire_bytes(w, content != NULL ? content : fill, len);
    wire_bytes(w, pad, padding);
}

static inline void wire_text(wire *w, unsigned type, unsigned id, const char *text, size_t padding)
{
    wire_record(w, type, id, text, strlen(text), padding);
}

/* --- what a feed tells ------------------------------------------------------- */

/* The events as text.  Data slices of one record that touch are one; what is
 * told of them is where they lie in the wire image. */
typedef struct {
    char text[4096];
    size_t used;
    size_t data_start, data_end; /* the open slice; none: equal */
    fcgiw_header data_header;
    fcgiw_result error;
} transcript;

static inline void tell(transcript *t, const char *line)
{
    size_t n = strlen(line);

    assert_true(n < sizeof(t->text) - t->used);
    memcpy(t->text + t->used, line, n + 1);
    t->used += n;
}

static inline void flush_data(transcript *t)
{
    char line[100];

    if (t->data_start != t->data_end) {
        (void)snprintf(line, sizeof(line), "%s %u @%zu+%zu\n", fcgiw_type_name(t->data_header.type),
                       t->data_header.request_id, t->data_start, t->data_end - t->data_start);
        t->data_start = t->data_end;
        tell(t, line);
    }
}

static inline void add_data(transcript *t, const fcgiw_event *ev, size_t at)
{
    assert_true(ev->len > 0);
    if (t->data_start == t->data_end || t->data_end != at) {
        flush_data(t);
        t->data_start = at;
        t->data_header = ev->header;
    }
    assert_int_equal(t->data_header.type, ev->header.type);
    assert_int_equal(t->data_header.request_id, ev->header.request_id);
    assert_int_equal(t->data_header.content_length, ev->header.content_length);
    assert_int_equal(t->data_header.padding_length, ev->header.padding_length);
    t->data_end = at + ev->len;
}

static inline void add_event(transcript *t, const fcgiw_event *ev)
{
    const fcgiw_header *h = &ev->header;
    char line[100];

    assert_null(ev->data);
    assert_int_equal(ev->len, 0);
    if (ev->kind == FCGIW_EV_NONE) {
        return;
    }
    flush_data(t);
    switch (ev->kind) {
    case FCGIW_EV_BEGIN:
        (void)snprintf(line, sizeof(line), "BEGIN %u role %u flags %u\n", h->request_id,
                       ev->u.begin.role, ev->u.begin.flags);
        break;
    case FCGIW_EV_END:
        (void)snprintf(line, sizeof(line), "END %u app %lu status %u\n", h->request_id,
                       (unsigned long)ev->u.end.app_status, ev->u.end.protocol_status);
        break;
    case FCGIW_EV_EOS:
        (void)snprintf(line, sizeof(line), "%s %u EOS\n", fcgiw_type_name(h->type), h->request_id);
        break;
    case FCGIW_EV_ABORT:
        (void)snprintf(line, sizeof(line), "ABORT %u\n", h->request_id);
        break;
    default:
        assert_int_equal(ev->kind, FCGIW_EV_UNKNOWN);
        (void)snprintf(line, sizeof(line), "UNKNOWN %u %u +%u\n", h->type, h->request_id,
                       h->content_length);
        break;
    }
    tell(t, line);
}

/* Feeds a piece that lies at base in the image. */
static inline void feed_piece(fcgiw_stream *s, transcript *t, const uint8_t *piece, size_t len,
                       size_t base)
{
    size_t at = 0;

    while (at < len && t->error == 0) {
        fcgiw_event ev;
        memset(&ev, 0xee, sizeof(ev));
        fcgiw_result rc = fcgiw_stream_feed(s, piece + at, len - at, &ev);
        if (rc < 0) {
            flush_data(t);
            t->error = rc;
            tell(t, fcgiw_error_name(rc));
            tell(t, "\n");
            assert_int_equal(ev.kind, FCGIW_EV_NONE);
            return;
        }
        assert_true(rc > 0 && (size_t)rc <= len - at);
        if (ev.kind == FCGIW_EV_DATA) {
            assert_ptr_equal(ev.data, piece + at); /* borrowed, not copied */
            assert_int_equal(ev.len, rc);
            add_data(t, &ev, base + at);
        }
        else {
            add_event(t, &ev);
        }
        at += (size_t)rc;
    }
}

/* Pieces of small images are blocks of their own, to catch over-reads. */
static inline void feed_copy(fcgiw_stream *s, transcript *t, const wire *w, size_t from, size_t to)
{
    if (from == to) {
        feed_piece(s, t, NULL, 0, from);
    }
    else if (w->len > 4096) {
        feed_piece(s, t, w->data + from, to - from, from);
    }
    else {
        uint8_t *copy = tight(w->data + from, to - from);
        feed_piece(s, t, copy, to - from, from);
        tight_free(copy);
    }
}

static inline void finish(fcgiw_stream *s, transcript *t)
{
    fcgiw_event ev;

    flush_data(t);
    if (t->error != 0) {
        /* final: whatever comes, even nothing, gives the same error */
        assert_int_equal(fcgiw_stream_feed(s, (const uint8_t *)"\1\6", 2, &ev), t->error);
        assert_int_equal(fcgiw_stream_feed(s, NULL, 0, &ev), t->error);
        assert_int_equal(ev.kind, FCGIW_EV_NONE);
        assert_false(fcgiw_stream_idle(s));
    }
    else {
        assert_int_equal(fcgiw_stream_feed(s, NULL, 0, &ev), 0);
        assert_int_equal(ev.kind, FCGIW_EV_NONE);
        tell(t, fcgiw_stream_idle(s) ? "idle\n" : "inside\n");
    }
}

static inline void check_pieces(const wire *w, enum fcgiw_side side, uint16_t id, size_t piece,
                         const char *want)
{
    fcgiw_stream s;
    transcript t = { .used = 0 };

    fcgiw_stream_init(&s, side, id);
    for (size_t at = 0; at < w->len; at += piece) {
        feed_copy(&s, &t, w, at, w->len - at < piece ? w->len : at + piece);
    }
    finish(&s, &t);
    assert_string_equal(t.text, want);
}

static inline void check_split(const wire *w, enum fcgiw_side side, uint16_t id, size_t split,
                        const char *want)
{
    fcgiw_stream s;
    transcript t = { .used = 0 };

    fcgiw_stream_init(&s, side, id);
    feed_copy(&s, &t, w, 0, split);
    feed_copy(&s, &t, w, split, w->len);
    finish(&s, &t);
    assert_string_equal(t.text, want);
}

/* All ways to feed the image give the same; frees it. */
static inline void check_id(wire *w, enum fcgiw_side side, uint16_t id, const char *want)
{
    check_pieces(w, side, id, w->len > 0 ? w->len : 1, want);
    for (size_t piece = 1; piece <= 17; piece += 2) {
        check_pieces(w, side, id, piece, want);
    }
    for (size_t split = 0; split <= w->len; split++) {
        check_split(w, side, id, split, want);
    }
    free(w->data);
    memset(w, 0, sizeof(*w));
}

static inline void check(wire *w, enum fcgiw_side side, const char *want)
{
    check_id(w, side, side == FCGIW_FROM_RESPONDER ? 1 : FCGIW_NULL_ID, want);
}

#endif /* WIRE_H */
