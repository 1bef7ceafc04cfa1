#include "fcgi-sidecar/handoff/sc_ship.h"

#include <apr_time.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fcgi-sidecar/base/sc_bytes.h"
#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/base/sc_log.h"
#include "fcgi-sidecar/base/sc_nice.h"
#include "fcgi-sidecar/database/sc_db_fence.h"
#include "fcgi-sidecar/database/sc_have.h"
#include "fcgi-sidecar/database/sc_pages.h"

#define POLL_BUSY_MS  2    /* between two looks at the log */
#define POLL_IDLE_MS  20
#define BUSY_FOR_MS   1000 /* how long after a commit the log counts as busy */
#define HEARTBEAT_MS  500
#define GIVE_WAY      5      /* times as long as a piece of a base took is the pause behind it, */
#define GIVE_WAY_US   100000 /* and at most this */
#define TIDY_FRAMES   4000 /* length of the log at which its restart is helped */

struct sc_follower {
    struct sc_follower *next;
    sc_member member;
    sc_control_request *request;
    bool standby;
    sc_wal_index sent;    /* the index up to which all was sent */
    sc_position position;
    uint64_t digest;
    uint64_t lag_bytes;
};

/* What one stream works with. */
struct stream {
    sc_node *node;
    sc_control_request *request;
    sc_frame_writer *out;
    struct sc_follower follower;
    sc_reader *reader;
    sc_wal wal;
    sc_pages pages;
    sc_wal_batch batch;
    sc_have have;         /* what the follower has of the base */
    uint8_t *buffer;
    uint64_t completed;   /* requests of the relay, at the last piece of the base */
    int64_t beat_ms, busy_ms;
};

/* --- followers -------------------------------------------------------------------- */

static bool primary_still(const sc_node *n)
{
    return !n->stopping && (n->state.id == SC_STATE_PRIMARY || n->state.id == SC_STATE_DRAINING);
}

void sc_ship_count(const sc_node *n, unsigned *followers, unsigned *standbys, uint64_t *lag_bytes)
{
    const struct sc_follower *f;

    *followers = *standbys = 0;
    *lag_bytes = 0;
    for (f = n->followers; f != NULL; f = f->next) {
        (*followers)++;
        *standbys += f->standby ? 1 : 0;
        if (f->lag_bytes > *lag_bytes) {
            *lag_bytes = f->lag_bytes;
        }
    }
}

/* A follower that came back: of its streams, newest first, all but one are
 * stuck, and their read transactions keep the log.  Lock held. */
static void drop_former(const sc_node *n, const char *uid)
{
    struct sc_follower *f;
    bool former = false;

    for (f = n->followers; f != NULL; f = f->next) {
        if (strcmp(f->member.uid, uid) == 0) {
            if (former) {
                sc_control_abort(f->request);
            }
            former = true;
        }
    }
}

static apr_status_t add_follower(struct stream *s, sc_error *err)
{
    sc_node *n = s->node;
    unsigned followers, standbys;
    uint64_t lag;
    apr_status_t rv = APR_SUCCESS;

    pthread_mutex_lock(&n->lock);
    s->follower.request = s->request;
    drop_former(n, s->follower.member.uid);
    sc_ship_count(n, &followers, &standbys, &lag);
    if (n->state.id != SC_STATE_PRIMARY || n->db == NULL) {
        rv = sc_error_set(err, n->state.id == SC_STATE_DRAINING ? SC_EAGAIN : SC_EREFUSED,
                          "this instance is %s, not PRIMARY", sc_state_name(n->state.id));
    }
    else if (followers >= SC_FOLLOWERS_MAX) {
        rv = sc_error_set(err, SC_EAGAIN, "%u instances follow already", followers);
    }
    else {
        s->follower.next = n->followers;
        n->followers = &s->follower;
    }
    pthread_mutex_unlock(&n->lock);
    return rv;
}

static void drop_follower(struct stream *s)
{
    sc_node *n = s->node;
    struct sc_follower **at;

    pthread_mutex_lock(&n->lock);
    for (at = &n->followers; *at != NULL; at = &(*at)->next) {
        if (*at == &s->follower) {
            *at = s->follower.next;
            break;
        }
    }
    pthread_cond_broadcast(&n->changed);
    pthread_mutex_unlock(&n->lock);
}

static struct sc_follower *find_follower(const sc_node *n, const char *uid)
{
    struct sc_follower *f;

    for (f = n->followers; f != NULL && strcmp(f->member.uid, uid) != 0; f = f->next) {
    }
    return f;
}

bool sc_ship_candidate(sc_node *n, sc_member *candidate, uint64_t *lag_bytes)
{
    const struct sc_follower *f, *best = NULL;

    pthread_mutex_lock(&n->lock);
    for (f = n->followers; f != NULL; f = f->next) {
        if (f->standby && (best == NULL || f->lag_bytes < best->lag_bytes)) {
            best = f;
        }
    }
    if (best != NULL) {
        *candidate = best->member;
        *lag_bytes = best->lag_bytes;
    }
    pthread_mutex_unlock(&n->lock);
    return best != NULL;
}

void sc_ship_refused(sc_node *n, const char *uid)
{
    struct sc_follower *f;

    pthread_mutex_lock(&n->lock);
    f = find_follower(n, uid);
    if (f != NULL) {
        f->standby = false;
    }
    pthread_mutex_unlock(&n->lock);
}

void sc_ship_drop_others(sc_node *n, const char *uid)
{
    struct sc_follower *f;

    pthread_mutex_lock(&n->lock);
    for (f = n->followers; f != NULL; f = f->next) {
        if (strcmp(f->member.uid, uid) != 0) {
            sc_control_abort(f->request);
        }
    }
    pthread_mutex_unlock(&n->lock);
}

void sc_ship_ready(sc_node *n, sc_control_request *request)
{
    const sc_message *m = sc_control_message(request);
    struct sc_follower *f;
    sc_error err;
    bool known;

    pthread_mutex_lock(&n->lock);
    f = find_follower(n, m->uid);
    known = f != NULL && primary_still(n) && m->epoch == n->state.epoch;
    if (known) {
        f->standby = true;
        drop_former(n, m->uid);
        pthread_cond_broadcast(&n->changed);
    }
    pthread_mutex_unlock(&n->lock);
    if (!known) {
        sc_error_set(&err, SC_EREFUSED, "%s does not follow this instance", m->uid);
        sc_control_fail(request, &err);
        return;
    }
    sc_info("SC0402", "%s is a standby", m->uid);
    sc_control_answer(request, NULL);
}

apr_status_t sc_ship_finish(sc_node *n, const char *uid, int ms, sc_position *position,
                            uint64_t *digest, sc_error *err)
{
    int64_t end = sc_now_ms() + ms;
    struct sc_follower *f;
    sc_wal_index index;
    sc_wal wal;
    apr_status_t rv;

    pthread_mutex_lock(&n->lock);
    sc_db_wal(n->db, &wal);
    rv = sc_wal_look(&wal, &index);
    pthread_cond_broadcast(&n->changed); /* the stream looks at once */
    for (;;) {
        f = find_follower(n, uid);
        if (rv != APR_SUCCESS || f == NULL) {
            rv = sc_error_set(err, SC_EAGAIN, f == NULL ? "the standby has gone"
                                                        : "the log can not be read");
            break;
        }
        if (f->sent.frames == index.frames && memcmp(f->sent.salt, index.salt, 8) == 0) {
            *position = f->position;
            *digest = f->digest;
            break;
        }
        if (sc_now_ms() >= end) {
            rv = sc_error_set(err, SC_EAGAIN, "the standby was not sent the last frames in %d ms",
                              ms);
            break;
        }
        sc_node_wait(n, POLL_IDLE_MS);
    }
    pthread_mutex_unlock(&n->lock);
    return rv;
}

bool sc_ship_quiet(sc_node *n, int ms)
{
    int64_t end = sc_now_ms() + ms;
    bool quiet;

    pthread_mutex_lock(&n->lock);
    while (n->followers != NULL && sc_now_ms() < end) {
        sc_node_wait(n, 100);
    }
    quiet = n->followers == NULL;
    pthread_mutex_unlock(&n->lock);
    return quiet;
}

/* --- the base ------------------------------------------------------------------------ */

static apr_status_t send_hello(struct stream *s, uint64_t bytes, mode_t mode)
{
    sc_state state;

    sc_node_state(s->node, &state);
    return sc_control_send_json(s->request, SC_FRAME_HELLO,
        json_pack("{s:s, s:I, s:I, s:I, s:i, s:b, s:o}", "lineage", state.lineage,
                  "epoch", (json_int_t)state.epoch, "page_size", (json_int_t)s->wal.page_size,
                  "bytes", (json_int_t)bytes, "mode", (int)(mode & 0777),
                  "resume", s->have.count > 0, "primary", sc_member_to_json(&s->node->self)));
}

static apr_status_t send_pages(struct stream *s, uint32_t first, const uint8_t *data, size_t len)
{
    uint8_t number[4];
    sc_frame_part parts[2] = { { number, 4 }, { data, len } };

    sc_put_u32(number, first);
    atomic_fetch_add(&s->node->metrics.bytes_shipped, len);
    return sc_frame_write(s->out, SC_FRAME_PAGES, parts, 2);
}

/* Flushed: the follower must not wait for the next page that differs. */
static apr_status_t send_same(struct stream *s, uint32_t first, size_t len)
{
    uint8_t range[8];
    sc_frame_part part = { range, sizeof(range) };
    apr_status_t rv;

    sc_put_u32(range, first);
    sc_put_u32(range + 4, (uint32_t)(len / s->wal.page_size));
    rv = sc_frame_write(s->out, SC_FRAME_SAME, &part, 1);
    return rv == APR_SUCCESS ? sc_control_flush(s->request) : rv;
}

/* A piece of the base, at `first`: what the follower has is only named. */
static apr_status_t send_piece(struct stream *s, uint32_t first, size_t len)
{
    size_t page_size = s->wal.page_size, at = 0;
    uint64_t offset = (uint64_t)(first - 1) * page_size;
    apr_status_t rv = APR_SUCCESS;

    while (at < len && rv == APR_SUCCESS) {
        size_t begin = at, block = s->have.count > 0 ? s->have.block : len;
        bool same = false;

        for (; at < len; at += block < len - at ? block : len - at) {
            bool is = s->have.count > 0
                && sc_have_same(&s->have, offset + at, s->buffer + at,
                                block < len - at ? block : len - at);

            if (at != begin && is != same) {
                break;
            }
            same = is;
        }
        rv = same ? send_same(s, first + (uint32_t)(begin / page_size), at - begin)
                  : send_pages(s, first + (uint32_t)(begin / page_size), s->buffer + begin,
                               at - begin);
    }
    return rv;
}

static apr_status_t read_piece(struct stream *s, uint32_t first, uint32_t count)
{
    size_t page_size = s->wal.page_size;
    apr_status_t rv = sc_file_pread(sc_db_fd(s->node->db), s->buffer, (size_t)count * page_size,
                                    (off_t)(first - 1) * (off_t)page_size);
    uint32_t i;

    if (rv == APR_SUCCESS && first == 1) {
        s->buffer[SC_DB_FENCE_OFFSET] = SC_DB_WAL_VALUE;
    }
    for (i = 0; i < count && rv == APR_SUCCESS; i++) {
        rv = sc_pages_put(&s->pages, first + i, s->buffer + (size_t)i * page_size, page_size);
    }
    return rv;
}

/* While requests are served the copy takes a sixth of the time only: processor and
 * disk are theirs as well. */
static void give_way(struct stream *s, int64_t took_us)
{
    sc_relay_stats stats;

    sc_relay_stats_get(s->node->relay, &stats);
    if (stats.completed != s->completed) {
        apr_sleep(took_us < GIVE_WAY_US / GIVE_WAY ? took_us * GIVE_WAY : GIVE_WAY_US);
    }
    s->completed = stats.completed;
}

static apr_status_t send_base(void *context)
{
    struct stream *s = context;
    size_t page_size = s->wal.page_size;
    uint32_t step = (uint32_t)(SC_SHIP_CHUNK / page_size), at, total;
    struct stat st;
    apr_status_t rv;

    if (fstat(sc_db_fd(s->node->db), &st) != 0) {
        return errno;
    }
    total = (uint32_t)((uint64_t)st.st_size / page_size);
    rv = send_hello(s, (uint64_t)total * page_size, st.st_mode);
    for (at = 1; at <= total && rv == APR_SUCCESS; at += step) {
        uint32_t count = total - at + 1 < step ? total - at + 1 : step;
        int64_t began = sc_now_us();

        rv = s->node->stopping || s->node->sealing ? ECANCELED : read_piece(s, at, count);
        if (rv == APR_SUCCESS) {
            rv = send_piece(s, at, (size_t)count * page_size);
            give_way(s, sc_now_us() - began);
        }
    }
    sc_have_free(&s->have);
    return rv == APR_SUCCESS ? sc_frame_write(s->out, SC_FRAME_BASE_END, NULL, 0) : rv;
}

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
        /* What the transaction saw when it began decides whether it stands at the end. */
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

/* True when the log has frames to send, or could be begun anew if our read
 * transaction moved to its end. */
static bool log_moved(const struct stream *s)
{
    sc_wal_index index;

    if (sc_wal_look(&s->wal, &index) != APR_SUCCESS) {
        return false;
    }
    return !sc_wal_at_end(&s->wal, &index)
        || (index.frames > 0 && index.backfilled == index.frames
            && s->follower.sent.backfilled != index.frames);
}

static apr_status_t follow_log(struct stream *s, sc_error *err)
{
    sc_node *n = s->node;
    bool go_on = true;
    apr_status_t rv = send_log(s, err);

    if (rv == APR_SUCCESS) {
        rv = send_heartbeat(s); /* the first one says that the base is complete */
    }
    while (rv == APR_SUCCESS && go_on) {
        int64_t now = sc_now_ms();

        if (log_moved(s)) {
            rv = send_log(s, err);
            s->busy_ms = now;
        }
        else if (now - s->beat_ms >= HEARTBEAT_MS) {
            rv = send_heartbeat(s);
        }
        pthread_mutex_lock(&n->lock);
        go_on = primary_still(n);
        if (go_on && rv == APR_SUCCESS && !log_moved(s)) {
            sc_node_wait(n, now - s->busy_ms < BUSY_FOR_MS ? POLL_BUSY_MS : POLL_IDLE_MS);
        }
        pthread_mutex_unlock(&n->lock);
    }
    return rv;
}

/* --- the stream -------------------------------------------------------------------------- */

static apr_status_t stream_open(struct stream *s, sc_error *err)
{
    apr_status_t rv;

    if (!sc_member_from_json(&s->follower.member,
                             json_object_get(sc_control_body(s->request), "member"))
        || strcmp(s->follower.member.uid, sc_control_message(s->request)->uid) != 0) {
        return sc_error_set(err, SC_EUSAGE, "the request names no member");
    }
    rv = add_follower(s, err);
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
    return sc_reader_open(&s->reader, s->node->db, err);
}

static void stream_close(struct stream *s)
{
    sc_reader_close(s->reader);
    drop_follower(s);
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
        rv = sc_nice_run(send_base, &s);
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

/* --- the length of the log ------------------------------------------------------------------ */

/*
 * A follower's read transaction keeps the log from being begun anew unless it
 * starts when all frames are in the database file.  Under steady writes that
 * moment does not come by itself: make it, by holding writers off until every
 * stream has moved its transaction to the end.
 */
void sc_ship_tidy(sc_node *n)
{
    sc_wal wal;
    sc_wal_index index;
    bool whole = false;

    pthread_mutex_lock(&n->lock);
    if (n->db != NULL && n->state.id == SC_STATE_PRIMARY && n->followers != NULL) {
        n->tidying = true;
        sc_db_wal(n->db, &wal);
        if (sc_wal_look(&wal, &index) == APR_SUCCESS && index.frames > TIDY_FRAMES
            && sc_db_checkpoint(n->db, &whole, NULL) == APR_SUCCESS
            && sc_db_lock(n->db, 50, NULL) == APR_SUCCESS) {
            if (sc_db_checkpoint(n->db, &whole, NULL) == APR_SUCCESS && whole) {
                pthread_cond_broadcast(&n->changed);
                sc_node_wait(n, 5);
            }
            sc_db_unlock(n->db);
        }
        n->tidying = false;
        pthread_cond_broadcast(&n->changed);
    }
    pthread_mutex_unlock(&n->lock);
}
