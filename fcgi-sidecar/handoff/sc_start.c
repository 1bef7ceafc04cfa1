#include "fcgi-sidecar/handoff/sc_start.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/base/sc_log.h"
#include "fcgi-sidecar/handoff/sc_confirm.h"
#include "fcgi-sidecar/handoff/sc_first.h"
#include "fcgi-sidecar/handoff/sc_operator.h"
#include "fcgi-sidecar/handoff/sc_promote.h"
#include "fcgi-sidecar/handoff/sc_ship.h"
#include "fcgi-sidecar/handoff/sc_sync.h"
#include "fcgi-sidecar/node/sc_work.h"

#define RETRY_MS 200 /* between two attempts to reach the primary */
#define CURE_MS 5000 /* between two attempts after an error that somebody has to cure */
#define LOST_MS 10000 /* without the primary before the operator is told; twice a restart of a pod's container */

/* --- following ------------------------------------------------------------------------ */

/* Is the instance at this address the primary of that lineage?  Fills m. */
static bool ask_who(sc_node *n, const char *address, const char *lineage, sc_member *m)
{
    sc_peer_call call;
    sc_state state;
    json_t *who = NULL;
    char name[32] = "", have[SC_LINEAGE_LEN + 1] = "";
    bool is_primary;

    sc_node_state(n, &state);
    sc_node_call(n, &call, &state, address, "/v1/who", "");
    call.timeout_ms = 2000;
    is_primary = sc_peer_request(&call, NULL, &who, NULL) == APR_SUCCESS
        && sc_json_string(who, "state", name, sizeof(name)) && strcmp(name, "PRIMARY") == 0
        && sc_json_string(who, "lineage", have, sizeof(have)) && strcmp(have, lineage) == 0
        && sc_member_from_json(m, json_object_get(who, "self"));
    json_decref(who);
    return is_primary;
}

/* Looks among the addresses of --peer for the primary. */
static bool find_by_peer(sc_node *n, const char *lineage, sc_member *m)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    struct addrinfo *list = NULL, *ai;
    char host[256], numeric[NI_MAXHOST], address[NI_MAXHOST + 16];
    uint16_t port, own_port;
    bool found = false;

    if (!sc_address_split(n->options->peer, host, sizeof(host), &port)) {
        snprintf(host, sizeof(host), "%s", n->options->peer);
        if (!sc_address_split(n->self.control, numeric, sizeof(numeric), &own_port)) {
            return false;
        }
        port = own_port;
    }
    if (getaddrinfo(host, NULL, &hints, &list) != 0) {
        return false;
    }
    for (ai = list; ai != NULL && !found; ai = ai->ai_next) {
        if (getnameinfo(ai->ai_addr, ai->ai_addrlen, numeric, sizeof(numeric), NULL, 0,
                        NI_NUMERICHOST) == 0) {
            sc_address_join(address, sizeof(address), numeric, port);
            found = strcmp(address, n->self.control) != 0 && ask_who(n, address, lineage, m);
        }
    }
    freeaddrinfo(list);
    return found;
}

/* A standby that made a promise keeps its image until it is known that the
 * promise is void: the primary says that it is still PRIMARY.  Then it is
 * withdrawn, unless it was made again meanwhile: durably, before a stream that
 * would replace the image. */
static apr_status_t settle_promise(sc_node *n, const sc_authority_record *r, sc_error *err)
{
    sc_state state;
    sc_member m;
    uint64_t promises;
    bool void_now;
    apr_status_t rv = APR_SUCCESS;

    pthread_mutex_lock(&n->lock);
    state = n->state;
    promises = n->promises;
    pthread_mutex_unlock(&n->lock);
    if (state.id != SC_STATE_STANDBY || !state.prepared) {
        return APR_SUCCESS;
    }
    void_now = r->epoch != state.epoch || ask_who(n, r->primary.control, state.lineage, &m);
    pthread_mutex_lock(&n->lock);
    if (!void_now || n->promises != promises || n->taking_over > 0) {
        rv = sc_error_set(err, SC_EAGAIN, "waiting for the GRANT that was promised to");
    }
    else if (n->state.id == SC_STATE_STANDBY) {
        rv = sc_node_withdraw(n, err);
    }
    pthread_mutex_unlock(&n->lock);
    return rv;
}

/* One attempt: who is primary, forward to it, follow it until that ends. */
static apr_status_t follow_once(sc_node *n, sc_error *err)
{
    sc_authority_record r;
    sc_state state;
    apr_status_t rv = sc_authority_read(&n->authority, &r, err);

    sc_node_state(n, &state);
    if (rv == SC_ENONE && state.id == SC_STATE_EMPTY) {
        rv = sc_first_deploy(n, NULL, err);
        return rv == SC_ECHANGED ? follow_once(n, err) : rv;
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (strcmp(r.primary.uid, state.uid) == 0) {
        if (state.id == SC_STATE_EMPTY && r.epoch == 1) {
            return sc_first_deploy(n, &r, err);
        }
        if (state.id == SC_STATE_PRIMARY) {
            return APR_SUCCESS;
        }
        return r.epoch == state.epoch + 1 ? sc_promote_resume(n, err)
            : sc_error_set(err, SC_EREFUSED, "the authority names this instance as primary at epoch "
                           "%llu, but its database is not here (state %s)",
                           (unsigned long long)r.epoch, sc_state_name(state.id));
    }
    rv = sc_first_claimed(&state) ? sc_first_give_way(n, err) : APR_SUCCESS;
    if (rv == APR_SUCCESS) {
        rv = sc_node_forward(n, &r.primary, r.epoch, err);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = settle_promise(n, &r, err);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = sc_sync_follow(n, &r.primary, err);
    if (rv != APR_SUCCESS && state.id == SC_STATE_EMPTY && find_by_peer(n, r.lineage, &r.primary)) {
        rv = sc_sync_follow(n, &r.primary, err);
    }
    return rv;
}

/* Errors that another attempt alone does not cure. */
static bool is_final(const sc_node *n, apr_status_t rv, sc_state_id id)
{
    return n->start_final || ((id == SC_STATE_EMPTY || id == SC_STATE_SYNCING)
        && (rv == ENOENT || rv == ENOSPC || rv == EACCES || rv == EROFS || rv == SC_EUSAGE
            || rv == SC_ENONE));
}

/* For good: the operator has to look at it. */
static void start_failed(sc_node *n, apr_status_t rv, const char *why)
{
    sc_fail("SC0411", "post-start: %s", why);
    sc_work_end(n, &n->start, rv, why);
}

static void give_up(sc_node *n, apr_status_t rv, const char *why)
{
    sc_state state;

    atomic_fetch_add(&n->metrics.sync_failures, 1);
    sc_sync_clean(n);
    sc_node_state(n, &state);
    /* With a copy of before it stays: the operator may need that one. */
    if (state.id == SC_STATE_SYNCING && state.digest == 0) {
        (void)sc_node_move(n, SC_STATE_EMPTY, "the copy failed", NULL);
    }
    start_failed(n, rv, why);
}

/* True while following is this thread's job. */
static bool follows(sc_node *n)
{
    bool yes;

    pthread_mutex_lock(&n->lock);
    yes = !n->stopping && (n->state.id == SC_STATE_EMPTY || n->state.id == SC_STATE_SYNCING
                           || n->state.id == SC_STATE_STANDBY);
    pthread_mutex_unlock(&n->lock);
    return yes;
}

/* Since when a standby has been without its primary, and whether that was told. */
struct loss {
    int64_t since_ms;
    bool told;
};

/* Nobody becomes primary because another is slow: the operator has to say that
 * the old one does not come back, and is told how. */
static void look_at_loss(sc_node *n, struct loss *loss, const char *why)
{
    int64_t contact;

    pthread_mutex_lock(&n->lock);
    contact = n->caught_up_ms;
    pthread_mutex_unlock(&n->lock);
    if (contact > loss->since_ms) {
        loss->since_ms = contact;
        loss->told = false;
        sc_node_advise_end(n);
    }
    if (!loss->told && sc_now_ms() - loss->since_ms > LOST_MS) {
        loss->told = sc_operator_advise(n, why);
    }
}

/* A primary by state file and authority whose database can not be opened serves nobody. */
static void end_start(sc_node *n)
{
    sc_error err = { 0, "" };
    sc_state state;
    apr_status_t rv;

    sc_node_state(n, &state);
    if (!sc_work_running(n, &n->start)) {
        return;
    }
    rv = !n->stopping && state.id == SC_STATE_PRIMARY ? sc_node_activate(n, &err) : APR_SUCCESS;
    if (rv != APR_SUCCESS) {
        start_failed(n, rv, err.text);
        return;
    }
    sc_work_end(n, &n->start, n->stopping ? SC_EFAILED : APR_SUCCESS,
                n->stopping ? "serve is ending" : "primary");
}

/* Less when the process ends, or when a post-start comes that wants to be told. */
static void wait_between(sc_node *n, int64_t ms)
{
    int64_t end = sc_now_ms() + ms, left;

    pthread_mutex_lock(&n->lock);
    while (!n->stopping && !n->start.running && (left = end - sc_now_ms()) > 0) {
        sc_node_wait(n, (int)left);
    }
    if (n->start.running && !n->stopping) {
        sc_node_wait(n, RETRY_MS);
    }
    pthread_mutex_unlock(&n->lock);
}

static void *start_thread(void *context)
{
    sc_node *n = context;
    int64_t limit_ms = n->options->sync_timeout / 1000;
    struct loss loss = { .since_ms = sc_now_ms() };
    char last[SC_ERROR_LEN] = "";
    sc_error err;

    while (follows(n)) {
        sc_state state;
        apr_status_t rv;
        bool late, final;

        memset(&err, 0, sizeof(err));
        n->start_final = false;
        rv = follow_once(n, &err);
        sc_node_state(n, &state);
        if (rv != APR_SUCCESS && state.id != SC_STATE_PRIMARY && !n->stopping) {
            if (strcmp(last, err.text) != 0) {
                /* A standby's stream ends with every cut-over: no cause for alarm. */
                sc_log(state.id == SC_STATE_STANDBY ? SC_LOG_INFO : SC_LOG_WARNING, "SC0410",
                       "not following: %s", err.text);
                memcpy(last, err.text, sizeof(last));
            }
            look_at_loss(n, &loss, err.text);
            late = sc_work_stuck(n, &n->start, limit_ms);
            final = is_final(n, rv, state.id);
            /* Only who began it can be told, and can begin it again: a standby that lost its
             * place tries on, for a disk is given room while it runs. */
            if ((final && sc_work_running(n, &n->start)) || (late && state.id != SC_STATE_STANDBY)) {
                give_up(n, rv == APR_SUCCESS ? SC_EFAILED : rv, err.text);
                break;
            }
            if (late) { /* it goes on trying; the operator may have to promote it, so it must stay */
                sc_work_end(n, &n->start, APR_SUCCESS, "standby without its primary");
            }
            wait_between(n, final ? CURE_MS : RETRY_MS);
        }
    }
    n->start_ended = true; /* before: work that begins now is ended here, or finds no thread */
    end_start(n);
    return NULL;
}

/* --- beginning ------------------------------------------------------------------------------ */

static apr_status_t launch(sc_node *n, sc_error *err)
{
    int rc;

    sc_start_join(n);
    n->start_ended = false;
    rc = pthread_create(&n->start_thread, NULL, start_thread, n);
    if (rc != 0) {
        return sc_error_errno(err, rc, "thread");
    }
    n->start_launched = true;
    return APR_SUCCESS;
}

void sc_start_join(sc_node *n)
{
    if (n->start_launched) {
        pthread_mutex_lock(&n->lock);
        if (n->stream != NULL && n->stopping) {
            sc_peer_abort(n->stream);
        }
        pthread_mutex_unlock(&n->lock);
        pthread_join(n->start_thread, NULL);
        n->start_launched = false;
    }
}

/* A later life on the state directory of an instance that gave its database away. */
static apr_status_t leave_forwarding(sc_node *n, sc_error *err)
{
    sc_db *db;

    if (!sc_ship_quiet(n, 10000)) {
        return sc_error_set(err, SC_EAGAIN, "followers are still connected");
    }
    pthread_mutex_lock(&n->lock);
    db = n->db;
    n->db = NULL;
    n->image_known = true;
    pthread_mutex_unlock(&n->lock);
    sc_db_close(db);
    if (n->late_fd >= 0) {
        close(n->late_fd);
        n->late_fd = -1;
    }
    return sc_node_move(n, SC_STATE_SYNCING, "post-start", err);
}

/* A PRIMARY whose database could not be opened when post-start asked.  serve goes on trying
 * by itself, and may have opened it since: then that is what this one is told. */
static bool opening_failed(sc_node *n)
{
    bool failed;

    pthread_mutex_lock(&n->lock);
    failed = n->db == NULL || n->start.rv != APR_SUCCESS;
    pthread_mutex_unlock(&n->lock);
    return failed;
}

static bool is_following(sc_node *n)
{
    bool yes;

    pthread_mutex_lock(&n->lock);
    yes = n->following;
    pthread_mutex_unlock(&n->lock);
    return yes;
}

/* The thread that does the work, unless it runs. */
static void set_to_work(sc_node *n, apr_status_t rv, sc_error *err)
{
    if (rv == APR_SUCCESS && (n->start_ended || !n->start_launched)) {
        rv = launch(n, err);
    }
    if (rv != APR_SUCCESS) {
        sc_work_end(n, &n->start, rv, err->text);
    }
}

/* A standby that was restarted, or has lost its stream, is waited for as at its
 * first start.  That it was level just before the work began ends the work. */
static void await_standby(sc_node *n, sc_error *err)
{
    if (!is_following(n) && sc_work_begin(n, &n->start, "following the primary again")) {
        if (is_following(n)) {
            sc_work_end(n, &n->start, APR_SUCCESS, "standby");
        }
        else {
            set_to_work(n, APR_SUCCESS, err);
        }
    }
}

void sc_start_hook(sc_node *n, sc_control_request *request)
{
    sc_error err = { 0, "" };
    sc_state state;
    apr_status_t rv = APR_SUCCESS;

    pthread_mutex_lock(&n->lock);
    n->leaving = false; /* another life of the same serve */
    pthread_mutex_unlock(&n->lock);
    sc_node_state(n, &state);
    if ((state.id == SC_STATE_EMPTY || state.id == SC_STATE_SYNCING
         || state.id == SC_STATE_FORWARDING) && sc_work_begin(n, &n->start, "asking the authority")) {
        if (state.id == SC_STATE_FORWARDING) {
            rv = leave_forwarding(n, &err);
        }
        set_to_work(n, rv, &err);
    }
    else if (state.id == SC_STATE_STANDBY) {
        await_standby(n, &err);
    }
    else if (state.id == SC_STATE_PRIMARY && opening_failed(n)
             && sc_work_begin(n, &n->start, "opening the database")) {
        rv = sc_node_is_open(n) ? APR_SUCCESS : sc_node_activate(n, &err);
        sc_work_end(n, &n->start, rv, rv == APR_SUCCESS ? "primary" : err.text);
    }
    sc_work_stream(n, request, &n->start);
}

apr_status_t sc_start_recover(sc_node *n, sc_error *err)
{
    apr_status_t rv = APR_SUCCESS;

    n->image_known = n->state.id != SC_STATE_EMPTY /* and had the whole once, whose digest is noted */
        && (n->state.id != SC_STATE_SYNCING || n->state.digest != 0);
    if (n->state.id != SC_STATE_SYNCING && n->state.id != SC_STATE_STANDBY) {
        sc_sync_clean(n); /* those two go on with it */
    }
    switch (n->state.id) {
    case SC_STATE_PRIMARY:
    case SC_STATE_DRAINING:
        rv = sc_confirm_start(n, err);
        if (rv == APR_SUCCESS && n->state.id == SC_STATE_DRAINING) {
            rv = sc_node_move(n, SC_STATE_PRIMARY, "restart before the commit point", err);
        }
        return rv == APR_SUCCESS ? sc_node_activate(n, err) : rv;
    case SC_STATE_STANDBY:
        pthread_mutex_lock(&n->lock);
        n->image_fd = n->state.prepared ? open(n->options->database, O_RDWR | O_CLOEXEC) : -1;
        n->image_unsure = true;
        n->image_position = n->state.position;
        n->image_digest = n->state.digest;
        pthread_mutex_unlock(&n->lock);
        return launch(n, err);
    case SC_STATE_SYNCING:
        return sc_work_begin(n, &n->start, "restart") ? launch(n, err) : APR_SUCCESS;
    default:
        return APR_SUCCESS;
    }
}
