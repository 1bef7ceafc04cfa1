#include "fcgi-sidecar/handoff/sc_promote.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-sidecar/base/sc_fault.h"
#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/base/sc_log.h"
#include "fcgi-sidecar/database/sc_db_file.h"
#include "fcgi-sidecar/database/sc_pages.h"
#include "fcgi-sidecar/handoff/sc_grant.h"
#include "fcgi-sidecar/handoff/sc_sync.h"

#define REACH_MS 2000 /* longest wait for the last frames of the stream */
#define LAST_COPY "let it follow the primary again; only if no other copy is left, fcgi-sidecar promote " \
                  "--force takes it as it is"

static void answer(sc_control_request *request, apr_status_t rv, const sc_error *err, json_t *json)
{
    if (rv == APR_SUCCESS) {
        sc_control_answer(request, json);
    }
    else {
        json_decref(json);
        sc_control_fail(request, err);
    }
}

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
    int fd;
    apr_status_t rv;
    pthread_t thread;
    bool threaded;
};

static void *sync_image(void *context)
{
    struct image_sync *s = context;

    s->rv = SC_FAULT("fsync-image") || fdatasync(s->fd) != 0 ? errno : APR_SUCCESS;
    return NULL;
}

/* Lock held.  Image and record become durable side by side; the answer waits for both.  A
 * crash may leave the record without the image: so PREPARE is refused after a restart. */
static apr_status_t sync_and_save(sc_node *n, sc_error *err)
{
    struct image_sync image = { .fd = n->image_fd };
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

/* The record of the primary that this promise may make. */
static void fill_primary(const sc_node *n, uint64_t epoch, sc_state *state)
{
    state->epoch = epoch;
    state->primary = n->self;
    state->prepared = false;
}

/* The record as it has to be now, and as it is to be. */
static void record_pair(sc_node *n, const sc_state *state, sc_authority_record *old,
                        sc_authority_record *new_record)
{
    memset(old, 0, sizeof(*old));
    snprintf(old->lineage, sizeof(old->lineage), "%s", state->lineage);
    old->epoch = state->epoch;
    old->primary = state->primary;
    *new_record = *old;
    new_record->epoch++;
    new_record->primary = n->self;
}

/* In the order in which the GRANT needs them. */
static void write_ahead(sc_node *n)
{
    sc_authority_record old, new_record;
    sc_state state;

    sc_node_state(n, &state);
    if (state.id == SC_STATE_STANDBY && state.prepared) {
        record_pair(n, &state, &old, &new_record);
        sc_authority_ahead(&n->authority, &new_record);
        fill_primary(n, new_record.epoch, &state);
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
        rv = sc_sync_reach(n, &position, REACH_MS, &digest, &err);
    }
    if (rv == APR_SUCCESS) {
        rv = promise(n, m, &position, digest, &err);
    }
    SC_STEP("prepared");
    answer(request, rv, &err, json_pack("{s:o}", "digest", sc_digest_to_json(digest)));
    if (rv == APR_SUCCESS) {
        sc_control_finish(request);
        write_ahead(n);
    }
}

/* --- taking over --------------------------------------------------------------------- */

/* The stream must not touch the file any more, and its descriptor must be
 * closed before SQLite opens the file (closing one drops SQLite's locks). */
static void release_image(sc_node *n)
{
    int64_t end = sc_now_ms() + 2000;

    pthread_mutex_lock(&n->lock);
    n->image_frozen = true;
    while (n->stream != NULL && sc_now_ms() < end) {
        sc_peer_abort(n->stream);
        sc_node_wait(n, 50);
    }
    if (n->image_fd >= 0) {
        close(n->image_fd);
        n->image_fd = -1;
    }
    pthread_mutex_unlock(&n->lock);
}

/* From `old` to this instance at the next epoch; a swap that was done before
 * counts.  SC_ENONE: the authority has lost its record. */
static apr_status_t swap_authority(sc_node *n, const sc_authority_record *old,
                                   const sc_authority_record *new_record, sc_error *err)
{
    sc_authority_record now;
    apr_status_t rv = sc_authority_swap(&n->authority, old, new_record, err);

    if (rv == SC_ECHANGED) {
        apr_status_t found = sc_authority_read(&n->authority, &now, NULL);

        rv = found == SC_ENONE ? sc_error_set(err, found, "the authority has lost its record")
           : found == APR_SUCCESS && sc_authority_record_equal(&now, new_record) ? APR_SUCCESS : rv;
    }
    return rv;
}

/* Who creates a record that was lost is primary: only from here on, with the
 * consent of the one it named, or the operator's. */
static apr_status_t create_record(sc_node *n, const sc_authority_record *new_record, sc_error *err)
{
    sc_warn("SC0441", "the authority has lost its record; writing it with this instance at epoch %llu",
            (unsigned long long)new_record->epoch);
    return sc_authority_swap(&n->authority, NULL, new_record, err);
}

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
    apr_status_t rv = swap_authority(n, old, new_record, err);

    if (rv == SC_ENONE && is_fenced(n, old)) {
        rv = create_record(n, new_record, err);
    }
    return rv;
}

/* By the operator's word. */
static apr_status_t swap_by_force(sc_node *n, const sc_authority_record *old,
                                  const sc_authority_record *new_record, sc_error *err)
{
    apr_status_t rv = swap_authority(n, old, new_record, err);

    return rv == SC_ENONE ? create_record(n, new_record, err) : rv;
}

/* While taking_over is set no stream may begin a base. */
static void take_over_ends(sc_node *n)
{
    pthread_mutex_lock(&n->lock);
    n->taking_over--;
    pthread_mutex_unlock(&n->lock);
}

/* The authority names us: record it, serve.  With a promise that is recorded already, as
 * swap and promise are durable: what a power loss might bring back is a standby that sees
 * the one and keeps the other, which is PRIMARY again (sc_promote_resume()).  So nobody waits for
 * the sync; attend() does it. */
static apr_status_t become_primary(sc_node *n, uint64_t epoch, const char *why, sc_error *err)
{
    apr_status_t rv;

    release_image(n);
    pthread_mutex_lock(&n->lock);
    if (n->state.id == SC_STATE_PRIMARY) {
        rv = APR_SUCCESS;
    }
    else {
        sc_state before = n->state;

        fill_primary(n, epoch, &n->state);
        rv = before.prepared ? sc_state_move_first(&n->state, SC_STATE_PRIMARY, why, err)
                             : sc_state_move(&n->state, SC_STATE_PRIMARY, why, err);
        if (rv != APR_SUCCESS) {
            n->state = before;
        }
    }
    pthread_cond_broadcast(&n->changed);
    pthread_mutex_unlock(&n->lock);
    if (rv == APR_SUCCESS) {
        SC_STEP("activate");
        rv = sc_node_serve(n, err);
        atomic_fetch_add(&n->metrics.promotions, rv == APR_SUCCESS ? 1 : 0);
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
    return APR_SUCCESS;
}

static apr_status_t save_again(sc_node *n, sc_error *err)
{
    apr_status_t rv;

    pthread_mutex_lock(&n->lock);
    rv = sc_state_save(&n->state, err);
    pthread_mutex_unlock(&n->lock);
    return rv;
}

/* What become_primary() left, once nobody waits. */
static void attend(sc_node *n)
{
    sc_error err = { 0, "" };
    sc_state state;

    sc_node_state(n, &state);
    if (sc_state_sync(&state, NULL) != APR_SUCCESS && save_again(n, &err) != APR_SUCCESS) {
        sc_warn("SC0429", "this instance is primary, but its record of that may not survive a power loss; a "
                "restart would have to ask the authority: %s", err.text);
    }
    if (sc_node_attend(n, &err) != APR_SUCCESS) {
        sc_warn("SC0427", "no standby can follow yet: %s", err.text);
    }
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
        record_pair(n, &n->state, &old, &new_record);
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
            rv = become_primary(n, new_record.epoch, "GRANT", &err);
        }
        take_over_ends(n);
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
    answer(request, rv, &err, NULL);
    if (rv == APR_SUCCESS) {
        sc_control_finish(request); /* requests are waiting for that, not for our own connections */
        attend(n);
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
    rv = become_primary(n, state.epoch + 1, "GRANT received before a restart", err);
    if (rv == APR_SUCCESS) {
        attend(n);
    }
    return rv;
}

/* --- the operator's decision ---------------------------------------------------------- */

static apr_status_t is_silent(sc_node *n, const sc_state *state, const sc_member *m,
                              const char *what, sc_error *err)
{
    sc_peer_call call;
    json_t *who = NULL;
    char name[32] = "?";
    apr_status_t rv;

    sc_node_call(n, &call, state, m->control, "/v1/who", "");
    rv = sc_peer_request(&call, NULL, &who, NULL);
    sc_json_string(who, "state", name, sizeof(name));
    json_decref(who);
    return rv != APR_SUCCESS ? APR_SUCCESS
        : sc_error_set(err, SC_EREFUSED, "%s %s answers (%s): %s", what, m->control, name,
                       state->id == SC_STATE_FENCED ? "it will take the GRANT"
                                                    : "use its pre-stop");
}

/* A FENCED instance whose successor is gone: the swap takes the next epoch
 * before a GRANT that is still on its way can. */
static apr_status_t take_back(sc_node *n, const sc_state *state, sc_error *err)
{
    sc_authority_record old, mine;
    apr_status_t rv = is_silent(n, state, &state->successor, "the successor", err);

    if (rv == APR_SUCCESS) {
        rv = sc_authority_read(&n->authority, &old, err);
    }
    if (rv == SC_ENONE) { /* as it was before it was lost, for all that is known here */
        memset(&old, 0, sizeof(old));
        memcpy(old.lineage, state->lineage, sizeof(old.lineage));
        old.epoch = state->epoch;
        memcpy(old.primary.uid, state->uid, sizeof(old.primary.uid));
        rv = APR_SUCCESS;
    }
    if (rv == APR_SUCCESS && (strcmp(old.lineage, state->lineage) != 0
                              || strcmp(old.primary.uid, state->uid) != 0)) {
        rv = sc_error_set(err, SC_EREFUSED, "the authority names %s at epoch %llu: the successor "
                          "has the database", old.primary.uid, (unsigned long long)old.epoch);
    }
    if (rv == APR_SUCCESS && old.epoch == state->epoch) {
        mine = old;
        mine.epoch++;
        mine.primary = n->self;
        rv = swap_by_force(n, &old, &mine, err);
    }
    SC_STEP("taken-back");
    if (rv == APR_SUCCESS) {
        sc_warn("SC0424", "the operator declared the successor %s gone; taking the database back",
                state->successor.uid);
        rv = sc_grant_take_back(n, err);
    }
    return rv;
}

/* A process that died may have left half a transaction: is what lies here just
 * what was noted when it was last whole? */
static apr_status_t image_whole(const sc_node *n, const sc_state *state, sc_error *err)
{
    int fd = open(n->options->database, O_RDONLY | O_CLOEXEC);
    uint64_t digest = 0;
    apr_status_t rv = fd >= 0 ? sc_pages_digest_file(fd, &digest) : errno;

    sc_file_close(fd);
    if (rv != APR_SUCCESS) {
        return sc_error_errno(err, rv, "can not read %s", n->options->database);
    }
    return digest == state->digest ? APR_SUCCESS
        : sc_error_set(err, SC_EREFUSED, "the process died while it followed, and %s may end in half a "
                       "transaction: " LAST_COPY, n->options->database);
}

/* May this image become the database without the primary's consent? */
static apr_status_t image_usable(sc_node *n, const sc_state *state, bool force, sc_error *err)
{
    bool torn, unsure;
    apr_status_t rv;

    pthread_mutex_lock(&n->lock);
    torn = n->image_torn;
    unsure = n->image_unsure;
    pthread_mutex_unlock(&n->lock);
    if (state->id != SC_STATE_STANDBY) {
        return sc_error_set(err, SC_EREFUSED, "this instance is %s; only a STANDBY can take over",
                            sc_state_name(state->id));
    }
    rv = torn ? sc_error_set(err, SC_EREFUSED, "the stream broke within a transaction, and %s ends in half "
                             "of it: " LAST_COPY, n->options->database)
       : unsure ? image_whole(n, state, err) : APR_SUCCESS;
    if (rv == SC_EREFUSED && force) {
        sc_warn("SC0423", "taking a copy that may end in half a transaction, as --force says; checking "
                "what can be checked");
        return sc_db_check_file(n->options->database, err);
    }
    return rv;
}

bool sc_promote_advise(sc_node *n, const char *why)
{
    sc_error unusable = { 0, "" };
    sc_state state;
    const char *force = "", *because = "";
    apr_status_t rv;

    sc_node_state(n, &state);
    if (state.id != SC_STATE_STANDBY) {
        return false;
    }
    rv = image_usable(n, &state, false, &unusable);
    if (rv == SC_EREFUSED) {
        force = " --force";
        because = ", because its copy may end in half a transaction: it was killed while it followed, or the "
                  "stream broke within one";
    }
    else if (rv != APR_SUCCESS) {
        because = unusable.text; /* the disk */
    }
    sc_node_advise(n, "SC0428", "if the primary %s (%s) is gone for ever: fcgi-sidecar promote%s, on this "
                   "instance%s; now nobody serves: %s", state.primary.uid, state.primary.control, force,
                   because, why);
    return true;
}

void sc_promote_hook(sc_node *n, sc_control_request *request)
{
    sc_authority_record old, new_record;
    sc_error err = { 0, "" };
    sc_state state;
    apr_status_t rv;
    bool taking = false;

    sc_node_state(n, &state);
    if (state.id == SC_STATE_PRIMARY) {
        sc_control_answer(request, NULL);
        return;
    }
    if (state.id == SC_STATE_FENCED) {
        rv = take_back(n, &state, &err);
        answer(request, rv, &err, NULL);
        return;
    }
    rv = image_usable(n, &state, json_is_true(json_object_get(sc_control_body(request), "force")),
                      &err);
    if (rv == APR_SUCCESS) {
        rv = is_silent(n, &state, &state.primary, "the primary", &err);
    }
    if (rv == APR_SUCCESS) {
        record_pair(n, &state, &old, &new_record);
        pthread_mutex_lock(&n->lock);
        n->taking_over++;
        pthread_mutex_unlock(&n->lock);
        release_image(n);
        rv = swap_by_force(n, &old, &new_record, &err);
        taking = true;
    }
    if (rv == APR_SUCCESS) {
        sc_warn("SC0422", "the operator declared %s gone; what it committed and did not send is "
                "lost", state.primary.uid);
        rv = become_primary(n, new_record.epoch, "operator", &err);
    }
    if (taking) {
        take_over_ends(n);
    }
    answer(request, rv, &err, NULL);
    if (rv == APR_SUCCESS) {
        attend(n);
    }
}
