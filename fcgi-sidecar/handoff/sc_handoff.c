#include "fcgi-sidecar/handoff/sc_handoff.h"

#include <pthread.h>
#include <string.h>

#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/base/sc_log.h"
#include "fcgi-sidecar/handoff/sc_confirm.h"
#include "fcgi-sidecar/handoff/sc_cutover.h"
#include "fcgi-sidecar/handoff/sc_grant.h"
#include "fcgi-sidecar/handoff/sc_ship.h"
#include "fcgi-sidecar/node/sc_work.h"

#define LAG_LEVEL_BYTES (1u << 20) /* a standby that lacks less may be promoted */
#define ATTEMPT_PAUSE_MS 500
#define UPSTREAM_WAIT_MS 15000 /* for php-fpm behind a standby that is level */
#define SILENT_WAIT_MS  5000  /* for a standby that is level and does not answer */
#define ORPHAN_ASK_MS   1000
#define ORPHAN_MS       30000 /* an eighth of --handoff-timeout, if that is less */

/* --- whom to hand over to -------------------------------------------------------------- */

/* Does php-fpm answer behind that standby?  *wait_ms: how long to wait for it. */
static bool can_serve(sc_node *n, const sc_member *m, int64_t *wait_ms)
{
    sc_peer_call call;
    sc_state state;
    json_t *who = NULL;
    apr_status_t rv;
    bool up;

    sc_node_state(n, &state);
    sc_node_call(n, &call, &state, m->control, "/v1/who", m->uid);
    rv = sc_peer_request(&call, NULL, &who, NULL);
    up = rv == APR_SUCCESS && json_is_true(json_object_get(who, "upstream"));
    *wait_ms = rv == APR_SUCCESS ? UPSTREAM_WAIT_MS : SILENT_WAIT_MS;
    json_decref(who);
    return up;
}

/* Whether a standby can come at all.  Who deletes the whole release deletes its
 * service account: then the API server admits no further pod of it, and the
 * authority has long answered this one as one it does not know. */
struct orphan {
    int64_t asked_ms, since_ms; /* since_ms 0: it is none */
    sc_error err;
};

static bool is_orphan(sc_node *n, struct orphan *o)
{
    int64_t limit = n->options->handoff_timeout / 1000 / 8;
    int64_t now = sc_now_ms();
    sc_authority_record r;

    if (now - o->asked_ms >= ORPHAN_ASK_MS) {
        o->asked_ms = now;
        if (sc_authority_read(&n->authority, &r, &o->err) != SC_EUNKNOWN) {
            o->since_ms = 0;
        }
        else if (o->since_ms == 0) {
            o->since_ms = now;
        }
    }
    return o->since_ms != 0 && now - o->since_ms >= (limit < ORPHAN_MS ? limit : ORPHAN_MS);
}

/* Waits for a standby that is nearly level; false when the time is over (err is
 * left as it is), or when none can come.  Its php-fpm starts only after it has
 * become one: until it answers this pod serves. */
static bool wait_candidate(sc_node *n, sc_member *successor, int64_t end_ms, sc_error *err)
{
    struct orphan orphan = { .asked_ms = 0 };
    int64_t level_ms = 0, wait_ms; /* since when there is one; 0: there is none */
    uint64_t lag = 0;
    bool stopping = false;

    sc_work_phase(n, &n->handoff, "waiting for a standby", 0);
    while (!stopping && sc_now_ms() < end_ms) {
        if (sc_ship_candidate(n, successor, &lag) && lag < LAG_LEVEL_BYTES) {
            if (level_ms == 0) {
                level_ms = sc_now_ms();
            }
            if (can_serve(n, successor, &wait_ms)) {
                return true;
            }
            if (sc_now_ms() - level_ms > wait_ms) {
                /* This pod is leaving: a database without php-fpm is better than none. */
                sc_warn("SC0440", "php-fpm does not answer behind %s; handing over all the same",
                        successor->uid);
                return true;
            }
        }
        else if (is_orphan(n, &orphan)) {
            sc_error_set(err, SC_EFAILED, "no standby can come: %s; what this pod has written since is "
                         "only here: %s", orphan.err.text, n->options->database);
            return false;
        }
        else {
            level_ms = 0;
        }
        pthread_mutex_lock(&n->lock);
        sc_node_wait(n, 100);
        stopping = n->stopping;
        pthread_mutex_unlock(&n->lock);
    }
    return false;
}

/* After the commit point nobody serves until the authority has named the successor. */
static apr_status_t try_once(sc_node *n, const sc_member *successor, bool last, sc_error *err)
{
    apr_status_t rv = sc_confirm_primary(n, err);

    if (rv != APR_SUCCESS) {
        sc_warn("SC0436", "hand-over to %s not begun: %s", successor->uid, err->text);
        return rv;
    }
    return sc_cutover_try(n, successor, last, err);
}

/* What failed at once would fail again: meanwhile requests are served, whatever else
 * wakes who waits here. */
static void pause_between(sc_node *n)
{
    int64_t end = sc_now_ms() + ATTEMPT_PAUSE_MS, left;

    pthread_mutex_lock(&n->lock);
    while (!n->stopping && (left = end - sc_now_ms()) > 0) {
        sc_node_wait(n, (int)left);
    }
    pthread_mutex_unlock(&n->lock);
}

/* --- pre-stop's work -------------------------------------------------------------------- */

static apr_status_t run(sc_node *n, sc_error *err)
{
    int64_t limit_ms = n->options->handoff_timeout / 1000;
    int64_t end_ms = sc_now_ms() + limit_ms;
    apr_status_t rv = SC_EAGAIN;

    sc_error_set(err, rv, "no standby came within --handoff-timeout; what this pod has written "
                 "since is only here: %s", n->options->database);
    for (;;) {
        sc_member successor;
        sc_state state;

        if (!wait_candidate(n, &successor, end_ms, err)) {
            return err->rv;
        }
        sc_work_phase(n, &n->handoff, "handing over", 0);
        rv = try_once(n, &successor, end_ms - sc_now_ms() < limit_ms / 4, err);
        sc_node_state(n, &state);
        if (rv == APR_SUCCESS || state.id != SC_STATE_PRIMARY) {
            return rv;
        }
        pause_between(n);
    }
}

/* A standby that has given its promise, and goes: when the GRANT comes it is
 * primary for a moment, and has to hand over in its turn. */
static apr_status_t hand_on(sc_node *n, sc_error *err)
{
    int64_t end_ms = sc_now_ms() + n->options->handoff_timeout / 1000;
    bool granted;

    sc_work_phase(n, &n->handoff, "waiting for the GRANT of a promise", 0);
    pthread_mutex_lock(&n->lock);
    while (n->state.id == SC_STATE_STANDBY && n->state.prepared && !n->stopping
           && sc_now_ms() < end_ms) {
        sc_node_wait(n, 100);
    }
    granted = n->state.id == SC_STATE_PRIMARY;
    pthread_mutex_unlock(&n->lock);
    return granted ? run(n, err)
                   : sc_error_set(err, SC_EREFUSED, "this instance did not become PRIMARY: "
                                  "nothing to hand over");
}

static void *handoff_thread(void *context)
{
    sc_node *n = context;
    sc_error err = { 0, "" };
    sc_state state;
    apr_status_t rv;

    sc_node_state(n, &state);
    rv = state.id == SC_STATE_FENCED ? sc_grant_finish(n, 0, NULL, &err)
       : state.id == SC_STATE_STANDBY ? hand_on(n, &err) : run(n, &err);
    if (rv != APR_SUCCESS) {
        sc_fail("SC0438", "pre-stop: %s", err.text);
    }
    sc_work_end(n, &n->handoff, rv, rv == APR_SUCCESS ? "the successor is primary" : err.text);
    return NULL;
}

static apr_status_t launch(sc_node *n, sc_error *err)
{
    int rc;

    sc_handoff_join(n);
    rc = pthread_create(&n->handoff_thread, NULL, handoff_thread, n);
    if (rc != 0) {
        return sc_error_errno(err, rc, "thread");
    }
    n->handoff_launched = true;
    return APR_SUCCESS;
}

void sc_handoff_join(sc_node *n)
{
    if (n->handoff_launched) {
        pthread_join(n->handoff_thread, NULL);
        n->handoff_launched = false;
    }
}

void sc_handoff_leave(sc_node *n)
{
    pthread_mutex_lock(&n->lock);
    n->leaving = true;
    pthread_mutex_unlock(&n->lock);
}

/* From here on a standby gives no promise.  True: one is out already. */
static bool leave(sc_node *n, sc_state *state)
{
    bool promised;

    pthread_mutex_lock(&n->lock);
    n->leaving = true;
    *state = n->state;
    promised = state->id == SC_STATE_STANDBY && state->prepared;
    pthread_mutex_unlock(&n->lock);
    return promised;
}

void sc_handoff_hook(sc_node *n, sc_control_request *request)
{
    sc_error err = { 0, "" };
    sc_state state;
    bool promised = leave(n, &state);

    if ((state.id == SC_STATE_PRIMARY || state.id == SC_STATE_FENCED || promised)
        && sc_work_begin(n, &n->handoff, "begin") && launch(n, &err) != APR_SUCCESS) {
        sc_work_end(n, &n->handoff, SC_EFAILED, err.text);
    }
    if (state.id == SC_STATE_EMPTY || state.id == SC_STATE_SYNCING
        || (state.id == SC_STATE_STANDBY && !promised)) {
        sc_error_set(&err, SC_EREFUSED, "this instance is %s, not PRIMARY: nothing to hand over",
                     sc_state_name(state.id));
        sc_control_fail(request, &err);
        return;
    }
    sc_work_stream(n, request, &n->handoff);
}

/* To whom the database went; the authority knows when it has gone on since. */
static apr_status_t forward_again(sc_node *n, const sc_state *state, sc_error *err)
{
    sc_authority_record r;
    bool later = sc_authority_read(&n->authority, &r, NULL) == APR_SUCCESS
        && sc_authority_record_after(&r, state->lineage, state->epoch)
        && strcmp(r.primary.uid, state->uid) != 0;

    return later ? sc_node_forward(n, &r.primary, r.epoch, err)
                 : sc_node_forward(n, &state->successor, state->epoch, err);
}

apr_status_t sc_handoff_recover(sc_node *n, sc_error *err)
{
    sc_state state;
    apr_status_t rv;

    sc_node_state(n, &state);
    if (state.id == SC_STATE_FENCED || state.id == SC_STATE_FORWARDING) {
        rv = sc_grant_fence_again(n, err);
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    if (state.id == SC_STATE_FORWARDING) {
        return forward_again(n, &state, err);
    }
    if (state.id != SC_STATE_FENCED) {
        return APR_SUCCESS;
    }
    sc_warn("SC0439", "restarted after the commit point: asking %s again", state.successor.uid);
    return sc_work_begin(n, &n->handoff, "asking the successor") ? launch(n, err) : APR_SUCCESS;
}
