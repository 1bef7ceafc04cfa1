#include "fcgi-sidecar/handoff/sc_sync.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-sidecar/base/sc_bytes.h"
#include "fcgi-sidecar/base/sc_fault.h"
#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/base/sc_log.h"
#include "fcgi-sidecar/base/sc_nice.h"
#include "fcgi-sidecar/control/sc_ahead.h"
#include "fcgi-sidecar/handoff/sc_durable.h"
#include "fcgi-sidecar/handoff/sc_incoming.h"
#include "fcgi-sidecar/handoff/sc_install.h"
#include "fcgi-sidecar/handoff/sc_ship.h"

#define STREAM_PATIENCE 3  /* times --peer-timeout: the primary's disk may be busy */

/* What one stream works with. */
struct image {
    sc_node *node;
    const sc_member *primary;
    sc_peer *peer;
    sc_ahead *ahead;      /* reads it while the base comes */
    sc_error *err;
    sc_incoming in;
    uint64_t epoch;
    mode_t mode;
    bool checked;         /* the primary checks what it sends */
    sc_durable durable;   /* its file, once that is --database */
};

void sc_sync_clean(const sc_node *n)
{
    char path[PATH_MAX];

    if (sc_incoming_path(n, path, sizeof(path))) {
        unlink(path);
    }
}

/* --- messages --------------------------------------------------------------------- */

/* A new base makes the image that was there void.  No promise rests on it, but
 * what this instance committed in an earlier life may be left. */
static apr_status_t begin_again(sc_node *n, sc_error *err)
{
    n->state.prepared = false;
    memset(&n->state.successor, 0, sizeof(n->state.successor));
    memset(&n->image_position, 0, sizeof(n->image_position));
    n->image_digest = 0;
    if (n->image_fd >= 0) {
        close(n->image_fd);
        n->image_fd = -1;
    }
    return n->state.id == SC_STATE_SYNCING ? sc_state_save(&n->state, err)
        : sc_state_move(&n->state, SC_STATE_SYNCING, "a base copy begins", err);
}

static apr_status_t take_hello(struct image *im, const uint8_t *payload, size_t len,
                               sc_error *err)
{
    sc_node *n = im->node;
    json_t *json = json_loadb((const char *)payload, len, 0, NULL);
    char lineage[SC_LINEAGE_LEN + 1];
    uint64_t page_size = 0, mode = 0;
    sc_member who;
    bool ok = sc_json_string(json, "lineage", lineage, sizeof(lineage))
        && strlen(lineage) == SC_LINEAGE_LEN && sc_json_uint(json, "epoch", &im->epoch)
        && sc_json_uint(json, "page_size", &page_size) && page_size >= 512 && page_size <= 65536
        && (page_size & (page_size - 1)) == 0 && sc_json_uint(json, "bytes", &im->in.bytes)
        && sc_json_uint(json, "mode", &mode)
        && sc_member_from_json(&who, json_object_get(json, "primary"));
    bool resume = json_is_true(json_object_get(json, "resume"));
    bool checks = json_is_true(json_object_get(json, "checks"));
    apr_status_t rv = APR_SUCCESS;

    json_decref(json);
    if (!ok || im->in.fd >= 0) {
        return sc_error_set(err, SC_ECORRUPT, "the primary's first message is malformed");
    }
    im->in.page_size = (size_t)page_size;
    im->mode = (mode_t)mode & 0777;
    im->checked = checks;
    pthread_mutex_lock(&n->lock);
    if (n->state.lineage[0] != '\0' && strcmp(n->state.lineage, lineage) != 0) {
        rv = sc_error_set(err, SC_EREFUSED, "the primary has the lineage %s, this instance %s",
                          lineage, n->state.lineage);
    }
    else if (im->epoch < n->state.epoch) {
        rv = sc_error_set(err, SC_EREFUSED, "the primary is at epoch %llu, behind this instance's "
                          "%llu", (unsigned long long)im->epoch,
                          (unsigned long long)n->state.epoch);
    }
    else if ((n->state.id == SC_STATE_STANDBY && n->state.prepared) || n->taking_over > 0) {
        rv = sc_error_set(err, SC_EAGAIN, "a promise was made after this stream was asked for");
    }
    else {
        snprintf(n->state.lineage, sizeof(n->state.lineage), "%s", lineage);
        n->state.epoch = im->epoch;
        n->state.primary = who;
        rv = begin_again(n, err);
    }
    pthread_mutex_unlock(&n->lock);
    if (rv == APR_SUCCESS) {
        rv = sc_incoming_open(&im->in, resume, err);
    }
    sc_work_phase(n, &n->start, "copying the base", im->in.bytes);
    return rv;
}

static apr_status_t apply_frames(struct image *im, const uint8_t *payload, uint32_t count)
{
    const uint8_t *numbers = payload + SC_LOG_HEAD_LEN;
    const uint8_t *pages = numbers + 4 * (size_t)count;
    uint32_t commit_pages = sc_get_u32(payload + 28);
    apr_status_t rv = APR_SUCCESS;
    uint32_t i;

    for (i = 0; i < count && rv == APR_SUCCESS; i++) {
        uint32_t number = sc_get_u32(numbers + 4 * (size_t)i);

        rv = number == 0 ? SC_ECORRUPT
                         : sc_incoming_put(&im->in, number,
                                           pages + (size_t)i * im->in.page_size);
    }
    if (rv == APR_SUCCESS && commit_pages != 0) {
        rv = sc_incoming_resize(&im->in, commit_pages);
    }
    return rv;
}

static apr_status_t take_log(struct image *im, const uint8_t *payload, size_t len, sc_error *err)
{
    sc_node *n = im->node;
    bool live = sc_durable_has(&im->durable); /* else it goes into a file that is not --database yet */
    uint64_t digest;
    uint32_t count;
    apr_status_t rv;

    if (!im->in.complete || len < SC_LOG_HEAD_LEN
        || (count = sc_get_u32(payload + 32)) > SC_FRAME_PAYLOAD_MAX / im->in.page_size
        || len != SC_LOG_HEAD_LEN + count * (im->in.page_size + 4)) {
        return sc_error_set(err, SC_ECORRUPT, "the primary's log is malformed");
    }
    pthread_mutex_lock(&n->lock);
    if (n->image_frozen) {
        pthread_mutex_unlock(&n->lock);
        return sc_error_set(err, SC_EREFUSED, "this instance was promoted");
    }
    rv = n->state.prepared ? sc_node_withdraw(n, err) : APR_SUCCESS; /* before a frame is written */
    if (rv == APR_SUCCESS) {
        SC_STEP("apply");
        n->image_torn = n->image_torn || live; /* until all of it is there, and fits */
        rv = apply_frames(im, payload, count);
        if (rv != APR_SUCCESS) {
            sc_error_errno(err, rv, "can not write the standby's database");
        }
    }
    digest = sc_get_u64(payload + 20);
    if (rv == APR_SUCCESS && digest != im->in.pages.digest) {
        rv = sc_error_set(err, SC_ECORRUPT, "the image differs from the primary's (digest)");
    }
    if (rv == APR_SUCCESS) {
        im->durable.applied_ms = sc_now_ms();
        n->image_dirty = true;
        n->image_torn = live ? sc_get_u32(payload + 28) == 0 : n->image_torn;
        n->image_digest = digest;
        n->image_position.salt[0] = sc_get_u32(payload);
        n->image_position.salt[1] = sc_get_u32(payload + 4);
        n->image_position.frame = sc_get_u32(payload + 8);
        n->image_position.checksum[0] = sc_get_u32(payload + 12);
        n->image_position.checksum[1] = sc_get_u32(payload + 16);
        atomic_fetch_add(&n->metrics.frames_applied, count);
        atomic_fetch_add(&n->metrics.bytes_received, (uint64_t)count * im->in.page_size);
        pthread_cond_broadcast(&n->changed);
    }
    pthread_mutex_unlock(&n->lock);
    return rv;
}

/* --- from base to standby ------------------------------------------------------------- */

static apr_status_t install(void *context)
{
    struct image *im = context;

    return sc_install_image(im->node, &(sc_install){ im->in.path, im->in.fd, im->mode, im->checked },
                            im->err);
}

/* The image is level with the primary for the first time. */
static apr_status_t become_standby(struct image *im, sc_error *err)
{
    sc_node *n = im->node;
    sc_peer_call call;
    sc_state state;
    json_t *body;
    apr_status_t rv;

    sc_work_phase(n, &n->start, im->checked ? "syncing the base" : "checking the base", 0);
    rv = sc_nice_run(install, im);
    sc_work_moved(n, &n->start); /* a check of its own takes as long as it takes */
    if (rv != APR_SUCCESS) {
        n->copy_whole = true; /* it may have been the sync, which says so once only */
        return rv;
    }
    sc_durable_begin(&im->durable, n, im->in.fd);
    n->copy_whole = false;
    /* The image of before has no name any more: what is closed here is freed here, as much as the
     * database is large, and not while requests wait for a GRANT. */
    sc_resume_close(&im->in.left);
    if (im->in.kept > 0) {
        sc_info("SC0414", "of %llu bytes %llu were here already", (unsigned long long)im->in.bytes,
                (unsigned long long)im->in.kept);
    }
    pthread_mutex_lock(&n->lock);
    n->image_fd = im->in.fd;
    n->image_dirty = n->image_torn = n->image_unsure = false;
    n->state.position = n->image_position;
    n->state.digest = n->image_digest;
    n->caught_up_ms = sc_now_ms();
    rv = sc_state_move(&n->state, SC_STATE_STANDBY, "base and log are durable and checked", err);
    pthread_cond_broadcast(&n->changed);
    pthread_mutex_unlock(&n->lock);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    sc_node_state(n, &state);
    sc_node_call(n, &call, &state, im->primary->control, "/v1/ready", im->primary->uid);
    body = json_object();
    rv = sc_peer_request(&call, body, NULL, err);
    json_decref(body);
    if (rv == APR_SUCCESS) {
        atomic_fetch_add(&n->metrics.syncs, 1);
        pthread_mutex_lock(&n->lock);
        n->following = true;
        pthread_mutex_unlock(&n->lock);
        sc_work_end(n, &n->start, APR_SUCCESS, "standby");
    }
    return rv;
}

static apr_status_t take_heartbeat(struct image *im, const uint8_t *payload, size_t len,
                                   sc_error *err)
{
    sc_node *n = im->node;
    json_t *json = json_loadb((const char *)payload, len, 0, NULL);
    sc_position position;
    uint64_t digest;
    bool ok = sc_position_from_json(&position, json_object_get(json, "position"))
        && sc_digest_from_json(&digest, json_object_get(json, "digest"));
    apr_status_t rv = APR_SUCCESS;

    json_decref(json);
    if (!im->in.complete || !ok || digest != im->in.pages.digest) {
        return sc_error_set(err, SC_ECORRUPT, "the image differs from the primary's (%s)",
                            im->in.complete ? "digest" : "the base is incomplete");
    }
    pthread_mutex_lock(&n->lock);
    n->image_position = position;
    n->image_digest = digest;
    pthread_mutex_unlock(&n->lock);
    if (!sc_durable_has(&im->durable)) {
        rv = become_standby(im, err);
    }
    pthread_mutex_lock(&n->lock);
    n->caught_up_ms = sc_now_ms();
    pthread_mutex_unlock(&n->lock);
    return rv;
}

/* --- the stream ---------------------------------------------------------------------------- */

static apr_status_t take_done(sc_node *n, const uint8_t *payload, size_t len, sc_error *err)
{
    json_t *json = json_loadb((const char *)payload, len, 0, NULL);
    char text[SC_ERROR_LEN] = "the stream has ended";
    uint64_t code = 3;

    sc_json_string(json, "text", text, sizeof(text));
    sc_json_uint(json, "code", &code);
    json_decref(json);
    n->start_final = code == 1; /* the same database would fail again */
    return sc_error_set(err, n->start_final ? SC_EFAILED : SC_EREFUSED, "%s", text);
}

static apr_status_t take_one(struct image *im, enum sc_frame_type type, const uint8_t *payload,
                             size_t len, sc_error *err)
{
    switch (type) {
    case SC_FRAME_HELLO:
        return take_hello(im, payload, len, err);
    case SC_FRAME_PAGES:
        return sc_incoming_take_pages(&im->in, payload, len, err);
    case SC_FRAME_SAME:
        return sc_incoming_take_same(&im->in, payload, len, err);
    case SC_FRAME_BASE_END:
        return sc_incoming_end(&im->in, err);
    case SC_FRAME_LOG:
        return take_log(im, payload, len, err);
    case SC_FRAME_HEARTBEAT:
        return take_heartbeat(im, payload, len, err);
    case SC_FRAME_DONE:
        return take_done(im->node, payload, len, err);
    default:
        return APR_SUCCESS; /* a newer primary may tell more */
    }
}

/* A primary that sends is not stuck, be it that its check goes on or that the log does. */
static apr_status_t take_message(struct image *im, sc_error *err)
{
    enum sc_frame_type type;
    const uint8_t *payload;
    size_t len;
    apr_status_t rv = im->ahead != NULL ? sc_ahead_next(im->ahead, &type, &payload, &len, err)
                                        : sc_peer_next(im->peer, &type, &payload, &len, err);

    if (rv == APR_SUCCESS) {
        rv = take_one(im, type, payload, len, err);
    }
    if (rv == APR_SUCCESS) {
        sc_work_moved(im->node, &im->node->start);
    }
    return rv;
}

static apr_status_t open_stream(sc_node *n, const sc_member *primary, sc_peer **peer,
                                sc_error *err)
{
    json_t *body = json_pack("{s:o}", "member", sc_member_to_json(&n->self));
    sc_peer_call call;
    sc_state state;
    apr_status_t rv;

    if (n->have != NULL) {
        json_object_set(body, "have", n->have);
    }
    sc_node_state(n, &state);
    sc_node_call(n, &call, &state, primary->control, "/v1/follow", primary->uid);
    call.timeout_ms *= STREAM_PATIENCE;
    rv = sc_peer_open(peer, &call, body, err);
    json_decref(body);
    if (rv == APR_SUCCESS) {
        pthread_mutex_lock(&n->lock);
        n->stream = *peer;
        n->image_frozen = n->image_frozen && n->taking_over > 0;
        if (n->stopping) {
            sc_peer_abort(*peer);
        }
        pthread_mutex_unlock(&n->lock);
    }
    return rv;
}

/* A base that came whole and is not what the primary has: nothing of it, or of
 * what it was made from, can be relied on.  A promise rests on neither, and a GRANT of it must
 * be taken. */
static void distrust(struct image *im, apr_status_t rv, const sc_error *err)
{
    sc_state state;

    sc_node_state(im->node, &state);
    if (!sc_durable_has(&im->durable) && rv == SC_ECORRUPT && !state.prepared) {
        unlink(im->in.path);
        im->node->copy_whole = true;
        if (im->in.kept > 0) {
            sc_warn("SC0417", "the whole base is copied: %s", err->text);
        }
    }
}

static void close_stream(struct image *im, sc_peer *peer)
{
    sc_node *n = im->node;

    pthread_mutex_lock(&n->lock);
    n->stream = NULL;
    n->following = false;
    sc_durable_note(&im->durable);
    if (sc_durable_has(&im->durable)) {
        /* The node's since it became a standby: a promise may rest on it, and who took
         * over without waiting for a slow disk any longer has closed it. */
        im->in.fd = -1;
    }
    pthread_cond_broadcast(&n->changed); /* a GRANT waits for the file */
    pthread_mutex_unlock(&n->lock);
    sc_peer_close(peer);
    sc_incoming_close(&im->in);
}

static apr_status_t take_base(void *context)
{
    struct image *im = context;
    apr_status_t rv = APR_SUCCESS;

    /* Without a thread more it only takes longer. */
    (void)sc_ahead_start(&im->ahead, im->peer, SC_FRAME_BASE_END);
    while (rv == APR_SUCCESS && !im->in.complete) {
        rv = take_message(im, im->err);
    }
    sc_ahead_stop(im->ahead);
    im->ahead = NULL;
    return rv;
}

apr_status_t sc_sync_follow(sc_node *n, const sc_member *primary, sc_error *err)
{
    struct image im = { .node = n, .primary = primary, .err = err };
    apr_status_t rv = sc_incoming_init(&im.in, n, err);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    SC_STEP("follow");
    (void)sc_nice_run(sc_incoming_look_around, &im.in);
    rv = open_stream(n, primary, &im.peer, err);
    if (rv == APR_SUCCESS) {
        rv = sc_nice_run(take_base, &im);
    }
    while (rv == APR_SUCCESS) {
        rv = take_message(&im, err);
        sc_durable_tick(&im.durable);
    }
    distrust(&im, rv, err);
    close_stream(&im, im.peer);
    return rv;
}
