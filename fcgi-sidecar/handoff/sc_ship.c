#include "fcgi-sidecar/handoff/sc_ship.h"

#include <apr_time.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-sidecar/base/sc_bytes.h"
#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/base/sc_fault.h"
#include "fcgi-sidecar/base/sc_log.h"
#include "fcgi-sidecar/base/sc_nice.h"
#include "fcgi-sidecar/database/sc_check.h"
#include "fcgi-sidecar/database/sc_have.h"
#include "fcgi-sidecar/database/sc_pages.h"
#include "fcgi-sidecar/handoff/sc_follower.h"
#include "fcgi-sidecar/handoff/sc_outgoing.h"

#define POLL_BUSY_MS  2    /* between two looks at the log */
#define POLL_IDLE_MS  20
#define BUSY_FOR_MS   1000 /* how long after a commit the log counts as busy */
#define HEARTBEAT_MS  500
#define MARK_MS       20   /* longest wait for a frame that is not in the database yet */

/* What one stream works with. */
struct stream {
    sc_node *node;
    sc_control_request *request;
    sc_frame_writer *out;
    sc_follower follower;
    sc_reader *reader;
    sc_wal wal;
    sc_pages pages;
    sc_wal_batch batch;
    sc_have have;         /* what the follower has of the base */
    sc_check *check;      /* of the database it gets; NULL when it has passed */
    uint8_t *buffer;
    int64_t beat_ms, busy_ms;
    bool behind;          /* the read transaction may have begun before the last frame */
};

/* --- the log --------------------------------------------------------------------------- */

static apr_status_t send_batch(struct stream *s)
{
    const sc_position *p = &s->wal.position;
    size_t page_size = s->wal.page_size;
    uint8_t head[SC_LOG_HEAD_LEN];
    uint8_t *numbers = s->buffer;
    sc_frame_part parts[3] = { { head, sizeof(head) }, { numbers, 4 * (size_t)s->batch.count },
                               { s->batch.pages, s->batch.count * page_size } };
    apr_status_t rv = APR_SUCCESS;
    uint32_t i;

    for (i = 0; i < s->batch.count && rv == APR_SUCCESS; i++) {
        uint8_t *page = s->batch.pages + (size_t)i * page_size;

        sc_put_u32(numbers + 4 * (size_t)i, s->batch.page_numbers[i]);
        rv = sc_pages_put(&s->pages, s->batch.page_numbers[i], page, page_size);
    }
    if (rv == APR_SUCCESS && s->batch.commit_pages != 0) {
        rv = sc_pages_resize(&s->pages, s->batch.commit_pages);
    }
    sc_put_u32(head, p->salt[0]);
    sc_put_u32(head + 4, p->salt[1]);
    sc_put_u32(head + 8, p->frame);
    sc_put_u32(head + 12, p->checksum[0]);
    sc_put_u32(head + 16, p->checksum[1]);
    sc_put_u64(head + 20, s->pages.digest);
    sc_put_u32(head + 28, s->batch.commit_pages);
    sc_put_u32(head + 32, s->batch.count);
    if (rv == APR_SUCCESS) {
        rv = sc_frame_write(s->out, SC_FRAME_LOG, parts, 3);
        atomic_fetch_add(&s->node->metrics.frames_shipped, s->batch.count);
        atomic_fetch_add(&s->node->metrics.bytes_shipped, parts[2].len);
    }
    return rv;
}

static void note_sent(struct stream *s, const sc_wal_index *index, uint64_t lag)
{
    sc_node *n = s->node;

    pthread_mutex_lock(&n->lock);
    s->follower.lag_bytes = lag;
    if (lag == 0) {
        s->follower.sent = *index;
        s->follower.position = s->wal.position;
        s->follower.digest = s->pages.digest;
    }
    pthread_cond_broadcast(&n->changed);
    pthread_mutex_unlock(&n->lock);
}

/* Sends everything up to the present end of the log. */
static apr_status_t send_log(struct stream *s, sc_error *err)
{
    sc_wal_index before = { 0 }, index;
    apr_status_t rv;

    (void)sc_wal_look(&s->wal, &before);
    rv = sc_reader_advance(s->reader, err);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    SC_STEP("advanced");
    rv = sc_wal_look(&s->wal, &index);
    while (rv == APR_SUCCESS && !sc_wal_at_end(&s->wal, &index)) {
        rv = sc_wal_read(&s->wal, &index, s->pages.count, &s->batch, err);
        if (rv == APR_SUCCESS) {
            rv = send_batch(s);
        }
        if (rv == APR_SUCCESS && !sc_wal_at_end(&s->wal, &index)) {
            note_sent(s, &index, (uint64_t)(index.frames - s->wal.position.frame)
                                 * s->wal.page_size);
        }
    }
    if (rv == APR_SUCCESS) {
        rv = sc_control_flush(s->request);
    }
    sc_reader_settle(s->reader);
    if (rv == APR_SUCCESS) {
        /* What the transaction saw when it began decides whether it stands at the end: a commit
         * that came just then was sent, but is not within it. */
        s->behind = before.frames != index.frames
                    || memcmp(before.salt, index.salt, sizeof(index.salt)) != 0;
        index.backfilled = before.frames == index.frames ? before.backfilled : 0;
        note_sent(s, &index, 0);
    }
    return rv;
}

static apr_status_t send_heartbeat(struct stream *s)
{
    s->beat_ms = sc_now_ms();
    return sc_control_send_json(s->request, SC_FRAME_HEARTBEAT,
        json_pack("{s:o, s:o}", "position", sc_position_to_json(&s->wal.position),
                  "digest", sc_digest_to_json(s->pages.digest)));
}

static apr_status_t take_result(struct stream *s, sc_error *err)
{
    apr_status_t rv = sc_check_end(&s->check, false, err);

    if (rv == SC_ECORRUPT) {
        sc_fail("SC0418", "no standby may be made of this database: %s", err->text);
        sc_control_send_json(s->request, SC_FRAME_DONE,
                             json_pack("{s:i, s:s}", "code", sc_error_exit_code(rv), "text",
                                       err->text));
    }
    sc_follower_copies(s->node, &s->follower, false);
    return rv;
}

/* Frames do not wait for the check, but the word that all is there, which makes the
 * follower a standby, does. */
static apr_status_t send_beat(struct stream *s, sc_error *err)
{
    sc_node *n = s->node;
    bool ended = s->check == NULL || sc_check_ended(s->check);
    apr_status_t rv = APR_SUCCESS;

    if (!ended) {
        s->beat_ms = sc_now_ms();
        return n->stopping || n->sealing ? ECANCELED
            : sc_control_send_json(s->request, SC_FRAME_PROGRESS,
                                   json_pack("{s:s}", "phase", "the primary checks its database"));
    }
    if (s->check != NULL) {
        rv = take_result(s, err);
    }
    return rv == APR_SUCCESS ? send_heartbeat(s) : rv;
}

static bool beat_is_due(const struct stream *s)
{
    return sc_now_ms() - s->beat_ms >= HEARTBEAT_MS
        || (s->check != NULL && (sc_check_ended(s->check) || s->node->sealing));
}

/* A log that was emptied (PRAGMA wal_checkpoint(TRUNCATE)) has new salts and no frame:
 * nothing to send, but sc_ship_finish() waits until what was sent is told in its terms. */
static bool log_emptied(const struct stream *s, const sc_wal_index *index)
{
    return index->frames == 0
        && (s->follower.sent.frames != 0
            || memcmp(s->follower.sent.salt, index->salt, sizeof(index->salt)) != 0);
}

/* True when the log has frames to send, was emptied, or could go into the database or be
 * begun anew if our read transaction moved to its end. */
static bool log_moved(const struct stream *s)
{
    sc_wal_index index;

    if (sc_wal_look(&s->wal, &index) != APR_SUCCESS) {
        return false;
    }
    return s->behind || !sc_wal_at_end(&s->wal, &index) || log_emptied(s, &index)
        || (index.frames > 0 && index.backfilled == index.frames
            && s->follower.sent.backfilled != index.frames);
}

static apr_status_t follow_log(struct stream *s, sc_error *err)
{
    sc_node *n = s->node;
    bool go_on = true;
    apr_status_t rv = send_log(s, err);

    s->busy_ms = sc_now_ms();
    if (rv == APR_SUCCESS) {
        rv = send_beat(s, err);
    }
    while (rv == APR_SUCCESS && go_on) {
        int64_t now = sc_now_ms();

        if (log_moved(s)) {
            rv = send_log(s, err);
            s->busy_ms = now;
        }
        if (rv == APR_SUCCESS && beat_is_due(s)) {
            rv = send_beat(s, err);
        }
        pthread_mutex_lock(&n->lock);
        go_on = sc_follower_may(n);
        if (go_on && rv == APR_SUCCESS && !log_moved(s)) {
            sc_node_wait(n, now - s->busy_ms < BUSY_FOR_MS ? POLL_BUSY_MS : POLL_IDLE_MS);
        }
        pthread_mutex_unlock(&n->lock);
    }
    return rv;
}

static apr_status_t send_base(struct stream *s)
{
    sc_outgoing base = { .node = s->node, .request = s->request, .out = s->out,
                         .page_size = s->wal.page_size, .reader = s->reader, .wal = &s->wal,
                         .pages = &s->pages, .have = &s->have, .buffer = s->buffer };
    apr_status_t rv;

    /* Its transaction keeps the log; so does that of the check, which may take longer. */
    sc_follower_copies(s->node, &s->follower, true);
    rv = sc_nice_run(sc_outgoing_send, &base);
    sc_have_free(&s->have);
    return rv;
}

/* --- the stream -------------------------------------------------------------------------- */

/* The check can not move its transaction, so it had better begin with a mark in the log.
 * Who commits seldom does not find the log long while it runs. */
static void wait_for_mark(struct stream *s)
{
    int64_t end = sc_now_ms() + MARK_MS;

    while (!sc_reader_mark(s->reader, &s->wal) && sc_now_ms() < end) {
        apr_sleep(1000);
    }
}

static apr_status_t stream_open(struct stream *s, sc_error *err)
{
    apr_status_t rv;

    if (!sc_member_from_json(&s->follower.member,
                             json_object_get(sc_control_body(s->request), "member"))
        || strcmp(s->follower.member.uid, sc_control_message(s->request)->uid) != 0) {
        return sc_error_set(err, SC_EUSAGE, "the request names no member");
    }
    s->follower.request = s->request;
    rv = sc_follower_add(s->node, &s->follower, err);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    sc_db_wal(s->node->db, &s->wal);
    s->batch.room = (uint32_t)(SC_SHIP_CHUNK / s->wal.page_size);
    s->batch.page_numbers = calloc(s->batch.room, sizeof(uint32_t));
    s->batch.pages = malloc(SC_SHIP_CHUNK);
    s->buffer = malloc(SC_SHIP_CHUNK);
    if (s->batch.page_numbers == NULL || s->batch.pages == NULL || s->buffer == NULL) {
        return sc_error_errno(err, ENOMEM, "stream");
    }
    (void)sc_have_take(&s->have, &s->node->secret,
                       json_object_get(sc_control_body(s->request), "have"));
    rv = sc_reader_open(&s->reader, s->node->db, err);
    if (rv == APR_SUCCESS) {
        wait_for_mark(s);
    }
    return rv == APR_SUCCESS ? sc_check_start(&s->check, s->node->options->database, err) : rv;
}

static void stream_close(struct stream *s)
{
    (void)sc_check_end(&s->check, true, NULL);
    sc_reader_close(s->reader);
    sc_follower_drop(s->node, &s->follower);
    sc_pages_free(&s->pages);
    sc_have_free(&s->have);
    free(s->batch.page_numbers);
    free(s->batch.pages);
    free(s->buffer);
}

void sc_ship_follow(sc_node *n, sc_control_request *request)
{
    struct stream s = { .node = n, .request = request };
    sc_error err = { 0, "" };
    apr_status_t rv = stream_open(&s, &err);

    if (rv != APR_SUCCESS) {
        sc_control_fail(request, &err);
        goto leave;
    }
    rv = sc_control_stream(request, &s.out);
    if (rv == APR_SUCCESS) {
        sc_info("SC0401", "%s (%s) follows", s.follower.member.uid, s.follower.member.control);
        rv = send_base(&s);
    }
    if (rv == APR_SUCCESS) {
        rv = follow_log(&s, &err);
    }
    if (rv == APR_SUCCESS) {
        sc_control_send_json(request, SC_FRAME_DONE,
                             json_pack("{s:i, s:s}", "code", 3, "text",
                                       "this instance is not the primary any more"));
    }
    else if (err.text[0] == '\0') {
        sc_error_errno(&err, rv, "the stream to %s broke", s.follower.member.control);
    }
    if (rv == APR_SUCCESS || n->stopping) {
        sc_info("SC0403", "%s follows no more", s.follower.member.uid);
    }
    else {
        sc_warn("SC0404", "%s follows no more: %s", s.follower.member.uid, err.text);
    }
leave:
    stream_close(&s);
}
