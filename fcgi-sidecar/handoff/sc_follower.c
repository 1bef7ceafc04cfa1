#include "fcgi-sidecar/handoff/sc_follower.h"

#include <string.h>

#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/base/sc_log.h"
#include "fcgi-sidecar/handoff/sc_ship.h"

#define LOOK_MS 20 /* between two looks at what a stream has sent */

bool sc_follower_may(const sc_node *n)
{
    return !n->stopping && (n->state.id == SC_STATE_PRIMARY || n->state.id == SC_STATE_DRAINING);
}

void sc_ship_count(const sc_node *n, unsigned *followers, unsigned *standbys, uint64_t *lag_bytes)
{
    const sc_follower *f;

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
    sc_follower *f;
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

apr_status_t sc_follower_add(sc_node *n, sc_follower *follower, sc_error *err)
{
    unsigned followers, standbys;
    uint64_t lag;
    apr_status_t rv = APR_SUCCESS;

    pthread_mutex_lock(&n->lock);
    drop_former(n, follower->member.uid);
    sc_ship_count(n, &followers, &standbys, &lag);
    if (n->state.id == SC_STATE_PRIMARY && n->db == NULL) {
        rv = sc_error_set(err, SC_EAGAIN, "this instance is PRIMARY, but can not open its database "
                          "%s", n->options->database);
    }
    else if (n->state.id != SC_STATE_PRIMARY) {
        rv = sc_error_set(err, n->state.id == SC_STATE_DRAINING ? SC_EAGAIN : SC_EREFUSED,
                          "this instance is %s, not PRIMARY", sc_state_name(n->state.id));
    }
    else if (followers >= SC_FOLLOWERS_MAX) {
        rv = sc_error_set(err, SC_EAGAIN, "%u instances follow already", followers);
    }
    else {
        follower->next = n->followers;
        n->followers = follower;
    }
    pthread_mutex_unlock(&n->lock);
    return rv;
}

void sc_follower_drop(sc_node *n, sc_follower *follower)
{
    sc_follower **at;

    pthread_mutex_lock(&n->lock);
    for (at = &n->followers; *at != NULL; at = &(*at)->next) {
        if (*at == follower) {
            *at = follower->next;
            break;
        }
    }
    pthread_cond_broadcast(&n->changed);
    pthread_mutex_unlock(&n->lock);
}

void sc_follower_copies(sc_node *n, sc_follower *follower, bool copying)
{
    pthread_mutex_lock(&n->lock);
    follower->copying = copying;
    pthread_mutex_unlock(&n->lock);
}

static sc_follower *find_follower(const sc_node *n, const char *uid)
{
    sc_follower *f;

    for (f = n->followers; f != NULL && strcmp(f->member.uid, uid) != 0; f = f->next) {
    }
    return f;
}

bool sc_ship_candidate(sc_node *n, sc_member *candidate, uint64_t *lag_bytes)
{
    const sc_follower *f, *best = NULL;

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
    sc_follower *f;

    pthread_mutex_lock(&n->lock);
    f = find_follower(n, uid);
    if (f != NULL) {
        f->standby = false;
    }
    pthread_mutex_unlock(&n->lock);
}

void sc_ship_drop_others(sc_node *n, const char *uid)
{
    sc_follower *f;

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
    sc_follower *f;
    sc_error err;
    bool known;

    pthread_mutex_lock(&n->lock);
    f = find_follower(n, m->uid);
    known = f != NULL && sc_follower_may(n) && m->epoch == n->state.epoch;
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
    sc_follower *f;
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
        sc_node_wait(n, LOOK_MS);
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

bool sc_follower_any_copies(const sc_node *n)
{
    const sc_follower *f;

    for (f = n->followers; f != NULL && !f->copying; f = f->next) {
    }
    return f != NULL;
}
