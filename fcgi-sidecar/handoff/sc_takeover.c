#include "fcgi-sidecar/handoff/sc_takeover.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-sidecar/base/sc_fault.h"
#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/base/sc_log.h"

void sc_takeover_fill(const sc_node *n, uint64_t epoch, sc_state *state)
{
    state->epoch = epoch;
    state->primary = n->self;
    state->prepared = false;
}

/* The stream must not touch the file any more, and its descriptor must be
 * closed before SQLite opens the file (closing one drops SQLite's locks). */
void sc_takeover_release_image(sc_node *n)
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

apr_status_t sc_takeover_swap(sc_node *n, const sc_authority_record *old,
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

apr_status_t sc_takeover_create(sc_node *n, const sc_authority_record *new_record, sc_error *err)
{
    sc_warn("SC0441", "the authority has lost its record; writing it with this instance at epoch %llu",
            (unsigned long long)new_record->epoch);
    return sc_authority_swap(&n->authority, NULL, new_record, err);
}

void sc_takeover_end(sc_node *n)
{
    pthread_mutex_lock(&n->lock);
    n->taking_over--;
    pthread_mutex_unlock(&n->lock);
}

/* With a promise that is recorded already, as swap and promise are durable: what a power
 * loss might bring back is a standby that sees the one and keeps the other, which is PRIMARY again
 * (sc_promote_resume()).  So nobody waits for the sync; sc_takeover_attend() does it. */
apr_status_t sc_takeover_become_primary(sc_node *n, uint64_t epoch, const char *why, sc_error *err)
{
    apr_status_t rv;

    sc_takeover_release_image(n);
    pthread_mutex_lock(&n->lock);
    if (n->state.id == SC_STATE_PRIMARY) {
        rv = APR_SUCCESS;
    }
    else {
        sc_state before = n->state;

        sc_takeover_fill(n, epoch, &n->state);
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

void sc_takeover_pair(sc_node *n, const sc_state *state, sc_authority_record *old,
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

static apr_status_t save_again(sc_node *n, sc_error *err)
{
    apr_status_t rv;

    pthread_mutex_lock(&n->lock);
    rv = sc_state_save(&n->state, err);
    pthread_mutex_unlock(&n->lock);
    return rv;
}

void sc_takeover_attend(sc_node *n)
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
