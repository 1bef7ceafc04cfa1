#include "fcgi-sidecar/node/sc_node.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/base/sc_log.h"
#include "fcgi-sidecar/database/sc_db_fence.h"

apr_status_t sc_node_init(sc_node *n, const sc_options *o, sc_error *err)
{
    pthread_condattr_t attr;
    apr_status_t rv;

    memset(n, 0, sizeof(*n));
    n->options = o;
    n->image_fd = n->late_fd = -1;
    pthread_mutex_init(&n->image_sync, NULL);
    pthread_mutex_init(&n->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&n->changed, &attr);
    pthread_condattr_destroy(&attr);
    rv = sc_authority_open(&n->authority, o, err);
    if (rv == APR_SUCCESS) {
        rv = sc_secret_load(&n->secret, o->secret_file, err);
    }
    if (rv == APR_SUCCESS) {
        rv = sc_file_make_folder(o->state_dir, err);
    }
    if (rv == APR_SUCCESS) {
        rv = sc_state_load(&n->state, o->state_dir, o->uid, err);
    }
    return rv;
}

void sc_node_wait(sc_node *n, int ms)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(&n->changed, &n->lock, &until);
}

void sc_node_state(sc_node *n, sc_state *out)
{
    pthread_mutex_lock(&n->lock);
    *out = n->state;
    pthread_mutex_unlock(&n->lock);
}

/* A second one that is late is lost until the process ends: better that than a lock. */
void sc_node_close_file(sc_node *n, int fd)
{
    bool own;

    pthread_mutex_lock(&n->lock);
    own = n->db != NULL || n->taking_over > 0 || sc_state_writable(n->state.id);
    if (!own) {
        sc_file_close(fd);
    }
    else if (n->late_fd < 0) {
        n->late_fd = fd;
    }
    pthread_mutex_unlock(&n->lock);
}

void sc_node_call(sc_node *n, sc_peer_call *call, const sc_state *state, const char *address,
                  const char *path, const char *to)
{
    memset(call, 0, sizeof(*call));
    call->address = address;
    call->path = path;
    call->secret = &n->secret;
    call->lineage = state->lineage;
    call->epoch = state->epoch;
    call->uid = state->uid;
    call->to = to;
    call->timeout_ms = (int)(n->options->peer_timeout / 1000);
}

apr_status_t sc_node_move(sc_node *n, sc_state_id to, const char *why, sc_error *err)
{
    apr_status_t rv;

    pthread_mutex_lock(&n->lock);
    rv = sc_state_move(&n->state, to, why, err);
    pthread_cond_broadcast(&n->changed);
    pthread_mutex_unlock(&n->lock);
    return rv;
}

apr_status_t sc_node_withdraw(sc_node *n, sc_error *err)
{
    const sc_authority_record mine = { .primary = n->self };
    apr_status_t rv;

    n->state.prepared = false;
    rv = sc_state_save(&n->state, err);
    n->state.prepared = rv != APR_SUCCESS;
    if (rv == APR_SUCCESS) {
        sc_authority_drop_ahead(&n->authority, &mine);
    }
    return rv;
}

/* The file must lose its fence before SQLite opens it. */
static apr_status_t unfence_file(const char *path, sc_error *err)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    apr_status_t rv;

    if (fd < 0) {
        return sc_error_errno(err, errno, "can not open %s", path);
    }
    rv = sc_db_fence_set(fd, false, err);
    close(fd);
    return rv;
}

apr_status_t sc_node_serve(sc_node *n, sc_error *err)
{
    apr_status_t rv = APR_SUCCESS;
    uint64_t epoch;

    pthread_mutex_lock(&n->lock);
    epoch = n->state.epoch;
    if (n->db == NULL) {
        rv = unfence_file(n->options->database, err);
    }
    if (rv == APR_SUCCESS && n->db == NULL && sc_db_log_is_void(n->options->database)) {
        rv = sc_db_open(&n->db, n->options->database, err); /* begins the log anew, before PHP */
    }
    if (rv == APR_SUCCESS) {
        rv = sc_relay_release_local(n->relay, epoch);
        if (rv != APR_SUCCESS) {
            sc_error_errno(err, rv, "the relay can not serve");
        }
    }
    pthread_cond_broadcast(&n->changed);
    pthread_mutex_unlock(&n->lock);
    return rv;
}

apr_status_t sc_node_attend(sc_node *n, sc_error *err)
{
    apr_status_t rv = APR_SUCCESS;

    pthread_mutex_lock(&n->lock);
    if (n->db == NULL && n->state.id == SC_STATE_PRIMARY && n->taking_over == 0) {
        /* Nobody lifts the fence of a database that is open: a GRANT whose first half failed
         * would be answered, and everything that is written be refused. */
        rv = unfence_file(n->options->database, err);
        if (rv == APR_SUCCESS) {
            rv = sc_db_open(&n->db, n->options->database, err);
        }
        if (rv == APR_SUCCESS) {
            /* Nothing holds requests of a database that was not open, but that the first half
             * failed. */
            (void)sc_relay_release_local(n->relay, n->state.epoch);
        }
        pthread_cond_broadcast(&n->changed);
    }
    pthread_mutex_unlock(&n->lock);
    return rv;
}

bool sc_node_is_open(sc_node *n)
{
    bool open;

    pthread_mutex_lock(&n->lock);
    open = n->db != NULL;
    pthread_mutex_unlock(&n->lock);
    return open;
}

apr_status_t sc_node_activate(sc_node *n, sc_error *err)
{
    apr_status_t rv = sc_node_serve(n, err);

    return rv == APR_SUCCESS ? sc_node_attend(n, err) : rv;
}

apr_status_t sc_node_forward(sc_node *n, const sc_member *to, uint64_t epoch, sc_error *err)
{
    apr_status_t rv = sc_relay_forward_to(n->relay, to->relay, epoch);

    return rv == APR_SUCCESS ? rv
        : sc_error_errno(err, rv, "the relay can not forward to %s", to->relay);
}

bool sc_work_begin(sc_node *n, sc_work *w, const char *phase)
{
    bool mine;

    pthread_mutex_lock(&n->lock);
    mine = !w->running;
    if (mine) {
        memset(w, 0, sizeof(*w));
        w->running = true;
        w->started_ms = w->moved_ms = sc_now_ms();
        snprintf(w->phase, sizeof(w->phase), "%s", phase);
        pthread_cond_broadcast(&n->changed);
    }
    pthread_mutex_unlock(&n->lock);
    return mine;
}

void sc_work_phase(sc_node *n, sc_work *w, const char *phase, uint64_t total)
{
    pthread_mutex_lock(&n->lock);
    snprintf(w->phase, sizeof(w->phase), "%s", phase);
    w->done = 0;
    w->total = total;
    w->moved_ms = sc_now_ms();
    pthread_cond_broadcast(&n->changed);
    pthread_mutex_unlock(&n->lock);
}

void sc_work_done(sc_node *n, sc_work *w, uint64_t done)
{
    pthread_mutex_lock(&n->lock);
    w->done = done;
    w->moved_ms = sc_now_ms();
    pthread_mutex_unlock(&n->lock);
}

void sc_work_moved(sc_node *n, sc_work *w)
{
    pthread_mutex_lock(&n->lock);
    w->moved_ms = sc_now_ms();
    pthread_mutex_unlock(&n->lock);
}

bool sc_work_running(sc_node *n, const sc_work *w)
{
    bool running;

    pthread_mutex_lock(&n->lock);
    running = w->running;
    pthread_mutex_unlock(&n->lock);
    return running;
}

bool sc_work_stuck(sc_node *n, const sc_work *w, int64_t ms)
{
    bool stuck;

    pthread_mutex_lock(&n->lock);
    stuck = w->running && sc_now_ms() - w->moved_ms > ms;
    pthread_mutex_unlock(&n->lock);
    return stuck;
}

void sc_work_end(sc_node *n, sc_work *w, apr_status_t rv, const char *text)
{
    pthread_mutex_lock(&n->lock);
    w->running = false;
    w->rv = rv;
    snprintf(w->text, sizeof(w->text), "%s", text);
    pthread_cond_broadcast(&n->changed);
    pthread_mutex_unlock(&n->lock);
}

/* False: it was that one before. */
static bool set_advice(sc_node *n, const char *text)
{
    bool is_new;

    pthread_mutex_lock(&n->lock);
    is_new = strcmp(n->advice, text) != 0;
    snprintf(n->advice, sizeof(n->advice), "%s", text);
    pthread_mutex_unlock(&n->lock);
    return is_new;
}

void sc_node_advise(sc_node *n, const char *id, const char *format, ...)
{
    char text[SC_ERROR_LEN];
    va_list list;

    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    if (set_advice(n, text)) {
        sc_warn(id, "%s", text);
    }
}

void sc_node_advise_end(sc_node *n)
{
    (void)set_advice(n, "");
}

const char *sc_node_advice(const sc_node *n)
{
    return n->state.id == SC_STATE_FENCED
        || ((n->state.id == SC_STATE_STANDBY || n->state.id == SC_STATE_SYNCING) && n->stream == NULL)
        ? n->advice : "";
}
