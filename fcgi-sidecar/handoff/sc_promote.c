#include "fcgi-sidecar/handoff/sc_promote.h"

#include <pthread.h>
#include <string.h>

#include "fcgi-sidecar/base/sc_fault.h"
#include "fcgi-sidecar/base/sc_log.h"
#include "fcgi-sidecar/handoff/sc_durable.h"
#include "fcgi-sidecar/handoff/sc_takeover.h"

#define REACH_MS 2000 /* longest wait for the last frames of the stream */

/* --- the promise ------------------------------------------------------------------ */

/* Lock held: is the request from the primary that this standby follows? */
static apr_status_t check_primary(const sc_node *n, const sc_message *m, sc_error *err)
{
    if (n->state.id != SC_STATE_STANDBY) {
        return sc_error_set(err, SC_EAGAIN, "%s is %s, not STANDBY", n->state.uid,
                            sc_state_name(n->state.id));
    }
    if (strcmp(m->lineage, n->state.lineage) != 0 || m->epoch != n->state.epoch
        || strcmp(m->uid, n->state.primary.uid) != 0) {
        return sc_error_set(err, SC_EREFUSED, "%s follows %s at epoch %llu, not %s at %llu",
                            n->state.uid, n->state.primary.uid,
                            (unsigned long long)n->state.epoch, m->uid,
                            (unsigned long long)m->epoch);
    }
    return APR_SUCCESS;
}

/* Lock held.  A standby whose pod is going as well would take the database with
 * it: the primary has to choose another one. */
static apr_status_t check_staying(const sc_node *n, sc_error *err)
{
    return n->leaving ? sc_error_set(err, SC_EREFUSED, "%s is leaving", n->state.uid)
                      : APR_SUCCESS;
}

/* The image's sync, on a thread of its own. */
struct image_sync {
    sc_node *node;
    int fd;
    apr_status_t rv;
    pthread_t thread;
    bool threaded;
};

static void *sync_image(void *context)
{
    struct image_sync *s = context;

    s->rv = sc_durable_sync(s->node, s->fd, "fsync-image");
    return NULL;
}

/* Lock held.  Image and record become durable side by side; the answer waits for both, and either
 * may fail, or both.  A crash may leave the record without the image: so PREPARE is refused after a
 * restart. */
static apr_status_t sync_and_save(sc_node *n, sc_error *err)
{
    struct image_sync image = { .node = n, .fd = n->image_fd };
    apr_status_t rv;

    image.threaded = pthread_create(&image.thread, NULL, sync_image, &image) == 0;
    if (!image.threaded) {
        sync_image(&image);
    }
    n->state.prepared = true;
    rv = sc_state_save(&n->state, err);
    n->promises++; /* also when the disk has it in spite of the error */
    if (image.threaded) {
        pthread_join(image.thread, NULL);
    }
    if (image.rv != APR_SUCCESS) {
        sc_durable_stop(n);
    }
    if (rv != APR_SUCCESS) {
        n->state.prepared = false;
        return rv;
    }
    if (image.rv != APR_SUCCESS) {
        (void)sc_node_withdraw(n, NULL); /* else it is settled when a stream is opened */
        return sc_error_errno(err, image.rv, "can not sync the standby's database");
    }
    n->image_dirty = false;
    return APR_SUCCESS;
}

static apr_status_t promise(sc_node *n, const sc_message *m, const sc_position *position,
                            uint64_t digest, sc_error *err)
{
    apr_status_t rv;

    pthread_mutex_lock(&n->lock);
    rv = check_primary(n, m, err);
    if (rv == APR_SUCCESS) {
        rv = check_staying(n, err);
    }
    if (rv == APR_SUCCESS && (n->image_fd < 0 || !sc_position_equal(&n->image_position, position))) {
        rv = sc_error_set(err, SC_EAGAIN, "the standby has moved on");
    }
    if (rv == APR_SUCCESS && n->copy_whole) {
        rv = sc_error_set(err, SC_EAGAIN, "the standby's disk has failed; it copies the database again");
    }
    if (rv == APR_SUCCESS && n->image_unsure) {
        rv = sc_error_set(err, SC_EAGAIN, "the standby was restarted, and has to follow again");
    }
    if (rv == APR_SUCCESS) {
        n->state.position = *position;
        n->state.digest = digest;
        rv = sync_and_save(n, err);
    }
    pthread_mutex_unlock(&n->lock);
    return rv;
}

/* In the order in which the GRANT needs them. */
static void write_ahead(sc_node *n)
{
    sc_authority_record old, new_record;
    sc_state state;

    sc_node_state(n, &state);
    if (state.id == SC_STATE_STANDBY && state.prepared) {
        sc_takeover_pair(n, &state, &old, &new_record);
        sc_authority_ahead(&n->authority, &new_record);
        sc_takeover_fill(n, new_record.epoch, &state);
        sc_state_ahead(&state, SC_STATE_PRIMARY);
    }
}

void sc_promote_prepare(sc_node *n, sc_control_request *request)
{
    const sc_message *m = sc_control_message(request);
    const json_t *body = sc_control_body(request);
    sc_position position;
    uint64_t digest = 0;
    sc_error err = { 0, "" };
    apr_status_t rv;

    SC_STEP("prepare");
    if (!sc_position_from_json(&position, json_object_get(body, "position"))) {
        sc_error_set(&err, SC_EUSAGE, "prepare: no position");
        sc_control_fail(request, &err);
        return;
    }
    pthread_mutex_lock(&n->lock);
    rv = check_primary(n, m, &err);
    if (rv == APR_SUCCESS) {
        rv = check_staying(n, &err);
    }
    pthread_mutex_unlock(&n->lock);
    if (rv == APR_SUCCESS) {
        rv = sc_durable_reach(n, &position, REACH_MS, &digest, &err);
    }
    if (rv == APR_SUCCESS) {
        rv = promise(n, m, &position, digest, &err);
    }
    SC_STEP("prepared");
    sc_control_reply(request, rv, &err, json_pack("{s:o}", "digest", sc_digest_to_json(digest)));
    if (rv == APR_SUCCESS) {
        sc_control_finish(request);
        write_ahead(n);
    }
}

/* --- the GRANT ----------------------------------------------------------------------- */

/* Does the instance at that address say of itself that it is past the commit point
 * of this epoch?  Then it waits for this one. */
static bool is_fenced(sc_node *n, const sc_authority_record *r)
{
    sc_peer_call call;
    sc_state state;
    json_t *who = NULL;
    char name[32] = "";
    uint64_t epoch = 0;
    bool yes;

    sc_node_state(n, &state);
    sc_node_call(n, &call, &state, r->primary.control, "/v1/who", r->primary.uid);
    yes = sc_peer_request(&call, NULL, &who, NULL) == APR_SUCCESS
        && sc_json_string(who, "state", name, sizeof(name)) && strcmp(name, "FENCED") == 0
        && sc_json_uint(who, "epoch", &epoch) && epoch == r->epoch;
    json_decref(who);
    return yes;
}

/* A GRANT may be late, and its sender may have taken the database back: the authority
 * knows, and when it has lost its record the sender itself has to say that it has not. */
static apr_status_t swap_for_grant(sc_node *n, const sc_authority_record *old,
                                   const sc_authority_record *new_record, sc_error *err)
{
    apr_status_t rv = sc_takeover_swap(n, old, new_record, err);

    if (rv == SC_ENONE && is_fenced(n, old)) {
        rv = sc_takeover_create(n, new_record, err);
    }
    return rv;
}

/* Lock held.  APR_SUCCESS: take over; APR_INCOMPLETE: it is ours already. */
static apr_status_t check_grant(const sc_node *n, const sc_message *m, const json_t *body,
                                sc_error *err)
{
    sc_position position;
    uint64_t epoch = 0, digest = 0;
    char uid[SC_UID_MAX + 1] = "";

    if (!sc_json_string(body, "uid", uid, sizeof(uid)) || !sc_json_uint(body, "epoch", &epoch)
        || !sc_position_from_json(&position, json_object_get(body, "position"))
        || !sc_digest_from_json(&digest, json_object_get(body, "digest"))) {
        return sc_error_set(err, SC_EUSAGE, "malformed GRANT");
    }
    if (strcmp(uid, n->state.uid) != 0 || strcmp(m->lineage, n->state.lineage) != 0) {
        return sc_error_set(err, SC_EREFUSED, "the GRANT is for %s of lineage %s", uid,
                            m->lineage);
    }
    if (n->state.epoch >= epoch) {
        return n->state.id == SC_STATE_STANDBY || n->state.id == SC_STATE_SYNCING
            ? sc_error_set(err, SC_EREFUSED, "the GRANT is old") : APR_INCOMPLETE;
    }
    if (n->state.id != SC_STATE_STANDBY || epoch != n->state.epoch + 1 || !n->state.prepared
        || !sc_position_equal(&position, &n->state.position) || digest != n->state.digest) {
        return sc_error_set(err, SC_EREFUSED, "%s (%s, epoch %llu) made no such promise",
                            n->state.uid, sc_state_name(n->state.id),
                            (unsigned long long)n->state.epoch);
    }
    return n->copy_whole ? sc_error_set(err, SC_EREFUSED, "the standby's disk has failed since")
                         : APR_SUCCESS;
}

void sc_promote_grant(sc_node *n, sc_control_request *request)
{
    const sc_message *m = sc_control_message(request);
    sc_authority_record old, new_record = { .lineage = "" };
    sc_error err = { 0, "" };
    apr_status_t rv;

    SC_STEP("grant");
    pthread_mutex_lock(&n->lock);
    rv = check_grant(n, m, sc_control_body(request), &err);
    if (rv == APR_SUCCESS) {
        sc_takeover_pair(n, &n->state, &old, &new_record);
        n->image_frozen = true;
        n->taking_over++;
        if (n->stream != NULL) {
            sc_peer_abort(n->stream); /* it ends while the authority is asked */
        }
    }
    pthread_mutex_unlock(&n->lock);
    if (rv == APR_SUCCESS) {
        rv = swap_for_grant(n, &old, &new_record, &err);
        SC_STEP("swapped");
        if (rv == APR_SUCCESS) {
            rv = sc_takeover_become_primary(n, new_record.epoch, "GRANT", &err);
        }
        sc_takeover_end(n);
    }
    else if (rv == APR_INCOMPLETE) {
        sc_state state;

        sc_node_state(n, &state);
        rv = state.id == SC_STATE_PRIMARY ? sc_node_serve(n, &err) : APR_SUCCESS;
    }
    if (rv != APR_SUCCESS) {
        sc_warn("SC0421", "GRANT not taken: %s", err.text);
    }
    SC_STEP("granted");
    sc_control_reply(request, rv, &err, NULL);
    if (rv == APR_SUCCESS) {
        sc_control_finish(request); /* requests are waiting for that, not for our own connections */
        sc_takeover_attend(n);
    }
}

apr_status_t sc_promote_resume(sc_node *n, sc_error *err)
{
    sc_state state;
    apr_status_t rv;

    sc_node_state(n, &state);
    if (state.id != SC_STATE_STANDBY || !state.prepared) {
        return sc_error_set(err, SC_EREFUSED, "the authority names this instance as primary at "
                            "epoch %llu, but it is %s without a promise",
                            (unsigned long long)state.epoch + 1, sc_state_name(state.id));
    }
    rv = sc_takeover_become_primary(n, state.epoch + 1, "GRANT received before a restart", err);
    if (rv == APR_SUCCESS) {
        sc_takeover_attend(n);
    }
    return rv;
}
