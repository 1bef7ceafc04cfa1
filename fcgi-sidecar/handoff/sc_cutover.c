#include "fcgi-sidecar/handoff/sc_cutover.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-sidecar/base/sc_fault.h"
#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/base/sc_log.h"
#include "fcgi-sidecar/database/sc_db_fence.h"
#include "fcgi-sidecar/handoff/sc_grant.h"
#include "fcgi-sidecar/handoff/sc_ship.h"

#define LOCK_MS         1000
#define FINISH_MS       2000
#define SEAL_MS         500  /* longest wait for readers that keep the log out of the file */
#define EASE_MS  400 /* how long few requests at a time are let through before all are held */
#define EASE_FEW 1

/* What requests wait for, one after the other. */
enum pause_part { PART_IN_FLIGHT, PART_LOCK, PART_FRAMES, PART_PROMISE, PART_CHECKPOINT, PART_COMMIT,
                  PART_GRANT, PART_COUNT };

/* One attempt. */
struct attempt {
    sc_node *node;
    sc_member successor;
    sc_position position;
    uint64_t digest;
    int64_t held_us; /* when requests began to wait; 0: they do not */
    int64_t part_us[PART_COUNT], mark_us;
    bool force;      /* the last chance: does not wait for requests that stay in flight */
};

static void mark_at(struct attempt *a, enum pause_part part, int64_t us)
{
    a->part_us[part] = us - a->mark_us;
    a->mark_us = us;
}

/* The part that ends now took this long. */
static void mark(struct attempt *a, enum pause_part part)
{
    mark_at(a, part, sc_now_us());
}

/* --- before the commit point ---------------------------------------------------------- */

static apr_status_t hold_requests(struct attempt *a, sc_error *err)
{
    const sc_options *o = a->node->options;
    sc_relay *relay = a->node->relay;
    apr_interval_time_t wait = a->force ? 0 : o->young_wait;
    int64_t begin = sc_now_us();
    apr_status_t rv;

    (void)sc_relay_ease(relay, EASE_FEW, apr_time_from_msec(EASE_MS), wait);
    wait -= sc_now_us() - begin;
    rv = sc_relay_hold(relay, o->young_age, wait > 0 ? wait : 0);
    if (APR_STATUS_IS_TIMEUP(rv)) {
        sc_warn("SC0431", "requests older than --young-age stayed in flight for --young-wait");
        rv = sc_relay_hold(relay, 0, 0);
    }
    if (rv != APR_SUCCESS) {
        return sc_error_errno(err, rv, "the relay can not hold requests");
    }
    a->held_us = a->mark_us = sc_now_us();
    rv = sc_relay_wait_drained(relay, o->hold_timeout / 2);
    if (APR_STATUS_IS_TIMEUP(rv) && a->force) {
        sc_warn("SC0432", "requests stay in flight; what they still want to write will fail");
        return APR_SUCCESS;
    }
    return rv == APR_SUCCESS ? rv
        : sc_error_set(err, SC_EAGAIN, "requests in flight did not end within half of "
                       "--hold-timeout");
}

static apr_status_t ask_promise(struct attempt *a, sc_error *err)
{
    sc_node *n = a->node;
    sc_state state;
    sc_peer_call call;
    json_t *body = json_pack("{s:o}", "position", sc_position_to_json(&a->position));
    json_t *answer = NULL;
    uint64_t digest = 0;
    apr_status_t rv;

    sc_node_state(n, &state);
    sc_node_call(n, &call, &state, a->successor.control, "/v1/prepare", a->successor.uid);
    call.timeout_ms = (int)(n->options->hold_timeout / 1000);
    rv = sc_peer_request(&call, body, &answer, err);
    if (rv == APR_SUCCESS && (!sc_digest_from_json(&digest, json_object_get(answer, "digest"))
                              || digest != a->digest)) {
        rv = sc_error_set(err, SC_ECORRUPT, "the standby's image has another digest");
    }
    json_decref(body);
    json_decref(answer);
    if (rv == SC_EREFUSED) {
        sc_ship_refused(n, a->successor.uid);
    }
    return rv;
}

/* With the log in the file, byte 18 is what every new connection sees, also
 * one that has to read the log anew: there is none.  A follower that still
 * copies its base would keep the log out: it goes. */
static apr_status_t fill_file(struct attempt *a, sc_error *err)
{
    sc_node *n = a->node;
    int64_t end = sc_now_ms() + SEAL_MS;
    bool whole = false;
    apr_status_t rv = sc_db_checkpoint_fenced(n->db, &whole, err);

    n->sealing = !whole;
    if (rv == APR_SUCCESS && !whole) {
        sc_ship_drop_others(n, a->successor.uid);
    }
    while (rv == APR_SUCCESS && !whole && sc_now_ms() < end) {
        pthread_mutex_lock(&n->lock);
        sc_node_wait(n, 10);
        pthread_mutex_unlock(&n->lock);
        rv = sc_db_checkpoint_fenced(n->db, &whole, err);
    }
    n->sealing = false;
    if (rv == APR_SUCCESS && !whole && !a->force) {
        rv = sc_error_set(err, SC_EAGAIN, "a reader keeps part of the log out of %s: end long "
                          "readers of it", n->options->database);
    }
    else if (rv == APR_SUCCESS && whole) {
        rv = sc_db_log_void(n->db, err);
    }
    else if (rv == APR_SUCCESS) {
        sc_warn("SC0433", "a reader keeps part of the log; the fence rests on the write lock "
                "until it ends");
    }
    return rv;
}

/* What the commit point records besides the state. */
static void fill_commit(const struct attempt *a, sc_state *state)
{
    state->successor = a->successor;
    state->position = a->position;
    state->digest = a->digest;
    state->prepared = true;
}

/* Nobody but the lock stands between a late script and the file until the fence
 * is durable: so it is, before FENCED is. */
static apr_status_t seal(struct attempt *a, sc_error *err)
{
    apr_status_t rv = fill_file(a, err);

    if (rv == APR_SUCCESS) {
        rv = sc_db_fence_set(sc_db_fd(a->node->db), true, err);
    }
    SC_STEP("fenced");
    return rv;
}

/* --- while the standby makes its promise --------------------------------------------- */

/* What this side does meanwhile; the commit point waits for all of it. */
struct aside {
    struct attempt *attempt;
    sc_error err;
    apr_status_t rv;
    pthread_t thread;
    bool threaded;
};

static void *seal_thread(void *context)
{
    struct aside *s = context;

    s->rv = seal(s->attempt, &s->err);
    return NULL;
}

/* What the commit point will save. */
static void *write_ahead_thread(void *context)
{
    struct aside *s = context;
    const struct attempt *a = s->attempt;
    sc_state state;

    sc_node_state(a->node, &state);
    fill_commit(a, &state);
    sc_state_ahead(&state, SC_STATE_FENCED);
    return NULL;
}

static void begin_aside(struct aside *s, void *(*work)(void *context))
{
    s->threaded = pthread_create(&s->thread, NULL, work, s) == 0;
    if (!s->threaded) {
        work(s);
    }
}

static void end_aside(const struct aside *s)
{
    if (s->threaded) {
        pthread_join(s->thread, NULL);
    }
}

/* The promise is asked for, and fence and record are made ready: different
 * disks, in the same time.  Either may fail; then both are taken back. */
static apr_status_t promise_and_seal(struct attempt *a, sc_error *err)
{
    struct aside fence = { .attempt = a, .rv = APR_SUCCESS }, record = fence;
    apr_status_t rv;

    begin_aside(&record, write_ahead_thread);
    begin_aside(&fence, seal_thread);
    rv = ask_promise(a, err);
    mark(a, PART_PROMISE);
    SC_STEP("promised");
    end_aside(&fence);
    end_aside(&record);
    mark(a, PART_CHECKPOINT);
    if (rv == APR_SUCCESS && fence.rv != APR_SUCCESS) {
        rv = sc_error_set(err, fence.rv, "%s", fence.err.text);
    }
    return rv;
}

static apr_status_t prepare(struct attempt *a, sc_error *err)
{
    sc_node *n = a->node;
    bool whole = false;
    apr_status_t rv;

    (void)sc_db_checkpoint(n->db, &whole, NULL); /* so that little is left under the lock */
    SC_STEP("hold");
    rv = hold_requests(a, err);
    mark(a, PART_IN_FLIGHT);
    if (rv == APR_SUCCESS) {
        rv = sc_db_lock(n->db, LOCK_MS, err);
        mark(a, PART_LOCK);
    }
    if (rv == APR_SUCCESS) {
        SC_STEP("locked");
        rv = sc_ship_finish(n, a->successor.uid, FINISH_MS, &a->position, &a->digest, err);
        mark(a, PART_FRAMES);
    }
    return rv == APR_SUCCESS ? promise_and_seal(a, err) : rv;
}

/* --- the commit point --------------------------------------------------------------------- */

static apr_status_t commit(struct attempt *a, sc_error *err)
{
    sc_node *n = a->node;
    apr_status_t rv;

    if (sc_now_us() - a->held_us > n->options->hold_timeout) {
        return sc_error_set(err, SC_EAGAIN, "--hold-timeout has passed");
    }
    pthread_mutex_lock(&n->lock);
    fill_commit(a, &n->state);
    rv = sc_state_move(&n->state, SC_STATE_FENCED, "commit point", err);
    if (rv != APR_SUCCESS) {
        memset(&n->state.successor, 0, sizeof(n->state.successor));
        n->state.prepared = false;
    }
    pthread_cond_broadcast(&n->changed);
    pthread_mutex_unlock(&n->lock);
    SC_STEP("committed");
    return rv;
}

/* Back to PRIMARY: saved first, then log and fence, last the lock, so that a
 * crash finds PRIMARY or a fence.  If one can not be written, nobody knows what the
 * disk says: end, and let the restart read it. */
static void roll_back(struct attempt *a, const char *why)
{
    sc_node *n = a->node;
    sc_state state;
    sc_error err = { 0, "" };
    apr_status_t rv;

    atomic_fetch_add(&n->metrics.handoffs_rolled_back, 1);
    rv = sc_node_move(n, SC_STATE_PRIMARY, why, &err);
    SC_STEP("rolling-back");
    if (rv != APR_SUCCESS || sc_db_log_restore(n->db, &err) != APR_SUCCESS
        || sc_db_fence_set(sc_db_fd(n->db), false, &err) != APR_SUCCESS) {
        sc_fail("SC0434", "can not roll back (%s); ending, so that a restart reads the state from "
                "disk", err.text);
        _exit(1);
    }
    sc_db_unlock(n->db);
    sc_node_state(n, &state);
    (void)sc_relay_release_local(n->relay, state.epoch);
    if (a->held_us != 0) {
        sc_metrics_pause(&n->metrics, sc_now_us() - a->held_us);
    }
    sc_warn("SC0435", "hand-over to %s rolled back: %s", a->successor.uid, why);
}

/* --- the whole ----------------------------------------------------------------------------------- */

static void tell(const struct attempt *a)
{
    const int64_t *p = a->part_us;

    sc_info("SC0430", "%s is primary; requests waited %lld us: in flight %lld, lock %lld, frames %lld, "
            "promise %lld, checkpoint %lld, commit %lld, grant %lld", a->successor.uid,
            (long long)(a->mark_us - a->held_us), (long long)p[PART_IN_FLIGHT],
            (long long)p[PART_LOCK], (long long)p[PART_FRAMES], (long long)p[PART_PROMISE],
            (long long)p[PART_CHECKPOINT], (long long)p[PART_COMMIT], (long long)p[PART_GRANT]);
}

static apr_status_t give_away(struct attempt *a, sc_error *err)
{
    int64_t went_on_us = 0;
    apr_status_t rv = prepare(a, err);

    if (rv == APR_SUCCESS) {
        rv = commit(a, err);
    }
    if (rv != APR_SUCCESS) {
        roll_back(a, err->text);
        return rv;
    }
    mark(a, PART_COMMIT);
    rv = sc_grant_finish(a->node, a->held_us, &went_on_us, err);
    if (rv == APR_SUCCESS) {
        mark_at(a, PART_GRANT, went_on_us); /* what is recorded after that nobody waits for */
        tell(a);
    }
    return rv;
}

/* The state does not say whose the connections are: rolled back, it is PRIMARY before they are free. */
static void take_connections(sc_node *n)
{
    pthread_mutex_lock(&n->lock);
    n->cutting_over = true;
    while (n->tidying) {
        sc_node_wait(n, 10);
    }
    pthread_mutex_unlock(&n->lock);
}

static void give_connections_back(sc_node *n)
{
    pthread_mutex_lock(&n->lock);
    n->cutting_over = false;
    pthread_mutex_unlock(&n->lock);
}

apr_status_t sc_cutover_try(sc_node *n, const sc_member *successor, bool force, sc_error *err)
{
    struct attempt attempt = { .node = n, .successor = *successor, .force = force };
    apr_status_t rv = sc_node_move(n, SC_STATE_DRAINING, "pre-stop", err);

    if (rv == APR_SUCCESS) {
        take_connections(n);
        rv = give_away(&attempt, err);
        give_connections_back(n);
    }
    return rv;
}
