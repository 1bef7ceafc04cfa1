#include "fcgi-sidecar/handoff/sc_grant.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-sidecar/base/sc_fault.h"
#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/base/sc_log.h"
#include "fcgi-sidecar/database/sc_db_fence.h"

#define GRANT_RETRY_MS 100
#define SAVE_TRIES     50

static apr_status_t send_grant(sc_node *n, const sc_state *state, sc_error *err)
{
    json_t *body = json_pack("{s:s, s:I, s:o, s:o}", "uid", state->successor.uid,
                             "epoch", (json_int_t)(state->epoch + 1),
                             "position", sc_position_to_json(&state->position),
                             "digest", sc_digest_to_json(state->digest));
    sc_peer_call call;
    apr_status_t rv;

    sc_node_call(n, &call, state, state->successor.control, "/v1/grant", state->successor.uid);
    rv = sc_peer_request(&call, body, NULL, err);
    json_decref(body);
    return rv;
}

apr_status_t sc_grant_take_back(sc_node *n, uint64_t epoch, sc_error *err)
{
    apr_status_t rv = APR_SUCCESS;

    pthread_mutex_lock(&n->lock);
    if (n->state.id == SC_STATE_FENCED) {
        sc_state before = n->state;

        n->state.epoch = epoch;
        n->state.primary = n->self;
        memset(&n->state.successor, 0, sizeof(n->state.successor));
        n->state.prepared = false;
        rv = sc_state_move(&n->state, SC_STATE_PRIMARY, "taken back", err);
        if (rv != APR_SUCCESS) {
            n->state = before;
        }
        else if (n->db != NULL) {
            rv = sc_db_log_restore(n->db, err);
            if (rv == APR_SUCCESS) {
                rv = sc_db_fence_set(sc_db_fd(n->db), false, err);
            }
            if (rv != APR_SUCCESS) {
                sc_fail("SC0425", "can not take the database back (%s); ending, so that a restart "
                        "reads the state from disk", err->text);
                _exit(1);
            }
            sc_db_unlock(n->db);
        }
    }
    pthread_cond_broadcast(&n->changed);
    pthread_mutex_unlock(&n->lock);
    return rv == APR_SUCCESS ? sc_node_activate(n, err) : rv;
}

/* What the authority says of a GRANT that is not answered. */
enum heir { HEIR_ASKED, HEIR_NAMED, HEIR_ANOTHER };

/* The successor may be primary by now and a restart of its may have given it
 * another address: the authority knows it.  It may have handed on, and be gone or
 * have forgotten: then there is nobody to confirm, and a third is primary.  Or the
 * authority names this instance: a life before took the database back. */
static enum heir look_up_successor(sc_node *n, sc_state *state)
{
    sc_authority_record r;
    sc_error err = { 0, "" };

    if (sc_authority_read(&n->authority, &r, NULL) != APR_SUCCESS
        || !sc_authority_record_after(&r, state->lineage, state->epoch)) {
        return HEIR_ASKED;
    }
    if (strcmp(r.primary.uid, state->successor.uid) == 0) {
        state->successor = r.primary;
        return HEIR_NAMED;
    }
    if (strcmp(r.primary.uid, state->uid) == 0) {
        if (sc_grant_take_back(n, r.epoch, &err) != APR_SUCCESS) {
            sc_fail("SC0426", "can not take the database back: %s", err.text);
        }
        return HEIR_ASKED;
    }
    sc_warn("SC0444", "%s has not confirmed, and the authority names %s (%s) as primary at epoch %llu: "
            "forwarding there", state->successor.uid, r.primary.uid, r.primary.control,
            (unsigned long long)r.epoch);
    state->successor = r.primary;
    state->epoch = r.epoch - 1;
    return HEIR_ANOTHER;
}

/* Tells the operator's one command. */
static void advise(sc_node *n, const sc_state *state, enum heir heir, const char *why)
{
    sc_node_advise(n, "SC0437", "if the successor %s (%s) is gone for ever: fcgi-sidecar promote%s, on this "
                   "instance, takes the database back%s; now requests wait, and it is asked again to confirm "
                   "the GRANT: %s", state->successor.uid, state->successor.control,
                   heir == HEIR_NAMED ? " --force" : "",
                   heir == HEIR_NAMED ? ", without what the successor may have written" : "", why);
}

/* Asks until the successor answers, or *state names who is primary instead; requests
 * wait meanwhile.  SC_EFAILED when serve ends before. */
static apr_status_t grant(sc_node *n, sc_state *state, sc_error *err)
{
    apr_status_t rv = SC_EFAILED;
    bool go_on = true;
    enum heir heir;

    sc_node_advise_end(n);
    while (go_on) {
        rv = send_grant(n, state, err);
        if (rv == APR_SUCCESS) {
            break;
        }
        heir = look_up_successor(n, state);
        if (heir == HEIR_ANOTHER) {
            return APR_SUCCESS;
        }
        advise(n, state, heir, err->text);
        pthread_mutex_lock(&n->lock);
        sc_node_wait(n, GRANT_RETRY_MS);
        go_on = !n->stopping && n->state.id == SC_STATE_FENCED;
        pthread_mutex_unlock(&n->lock);
    }
    return rv;
}

/* The successor is primary whether or not this can be saved: a restart would
 * find FENCED and ask again, which changes nothing. */
static void record_forwarding(sc_node *n, const sc_state *granted)
{
    sc_error err = { 0, "" };
    apr_status_t rv = SC_EFAILED;
    int tries;

    pthread_mutex_lock(&n->lock);
    n->state.successor = granted->successor;
    n->state.primary = granted->successor;
    n->state.epoch = granted->epoch + 1;
    for (tries = 0; tries < SAVE_TRIES && rv != APR_SUCCESS && !n->stopping; tries++) {
        rv = sc_state_move(&n->state, SC_STATE_FORWARDING, "GRANT confirmed", &err);
        if (rv != APR_SUCCESS) {
            sc_node_wait(n, GRANT_RETRY_MS);
        }
    }
    pthread_cond_broadcast(&n->changed);
    pthread_mutex_unlock(&n->lock);
}

apr_status_t sc_grant_finish(sc_node *n, int64_t held_us, int64_t *went_on_us, sc_error *err)
{
    int64_t now;
    sc_state state;
    apr_status_t rv;

    sc_node_state(n, &state);
    rv = grant(n, &state, err);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    SC_STEP("confirmed");
    rv = sc_node_forward(n, &state.successor, state.epoch + 1, err);
    now = sc_now_us();
    if (held_us != 0) {
        sc_metrics_pause(&n->metrics, now - held_us);
    }
    if (went_on_us != NULL) {
        *went_on_us = now;
    }
    if (rv == APR_SUCCESS) {
        record_forwarding(n, &state);
        atomic_fetch_add(&n->metrics.handoffs_done, 1);
    }
    return rv;
}

apr_status_t sc_grant_fence_again(sc_node *n, sc_error *err)
{
    int fd = open(n->options->database, O_RDWR | O_CLOEXEC);
    apr_status_t rv;

    if (fd < 0) {
        return errno == ENOENT ? APR_SUCCESS
            : sc_error_errno(err, errno, "can not open %s", n->options->database);
    }
    rv = sc_db_fence_set(fd, true, err);
    close(fd);
    return rv;
}
