#include "fcgi-sidecar/control/sc_ahead.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct message {
    apr_status_t rv;
    enum sc_frame_type type;
    const uint8_t *payload; /* in buffer */
    size_t len;
    uint8_t *buffer;
    size_t capacity;
    sc_error err;
};

/* A ring: `taken` of `read` messages were worked on; the one being worked on is
 * taken when the next is asked for. */
struct sc_ahead {
    sc_peer *peer;
    enum sc_frame_type last;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct message messages[SC_AHEAD_MESSAGES];
    unsigned read, taken;
    bool working; /* the message at `taken` was given out */
    bool ended;   /* the thread reads no more */
    bool stop;
};

/* The slot that may be filled; NULL when nobody wants more. */
static struct message *free_slot(sc_ahead *a)
{
    struct message *m = NULL;

    pthread_mutex_lock(&a->lock);
    while (!a->stop && a->read - a->taken == SC_AHEAD_MESSAGES) {
        pthread_cond_wait(&a->changed, &a->lock);
    }
    if (!a->stop) {
        m = &a->messages[a->read % SC_AHEAD_MESSAGES];
    }
    pthread_mutex_unlock(&a->lock);
    return m;
}

static void *read_ahead(void *context)
{
    sc_ahead *a = context;
    struct message *m;
    bool more = true;

    while (more && (m = free_slot(a)) != NULL) {
        m->rv = sc_peer_next(a->peer, &m->type, &m->payload, &m->len, &m->err);
        sc_peer_swap(a->peer, &m->buffer, &m->capacity);
        more = m->rv == APR_SUCCESS && m->type != a->last;
        pthread_mutex_lock(&a->lock);
        a->read++;
        a->ended = !more;
        pthread_cond_broadcast(&a->changed);
        pthread_mutex_unlock(&a->lock);
    }
    return NULL;
}

apr_status_t sc_ahead_start(sc_ahead **ahead, sc_peer *peer, enum sc_frame_type last)
{
    sc_ahead *a = calloc(1, sizeof(*a));
    int rc;

    *ahead = NULL;
    if (a == NULL) {
        return ENOMEM;
    }
    a->peer = peer;
    a->last = last;
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->changed, NULL);
    rc = pthread_create(&a->thread, NULL, read_ahead, a);
    if (rc != 0) {
        pthread_cond_destroy(&a->changed);
        pthread_mutex_destroy(&a->lock);
        free(a);
        return rc;
    }
    *ahead = a;
    return APR_SUCCESS;
}

apr_status_t sc_ahead_next(sc_ahead *a, enum sc_frame_type *type, const uint8_t **payload,
                           size_t *len, sc_error *err)
{
    const struct message *m;

    pthread_mutex_lock(&a->lock);
    if (a->working) {
        a->taken++;
        pthread_cond_broadcast(&a->changed);
    }
    while (a->read == a->taken && !a->ended) {
        pthread_cond_wait(&a->changed, &a->lock);
    }
    a->working = a->read != a->taken;
    if (!a->working) {
        pthread_mutex_unlock(&a->lock);
        return sc_error_set(err, SC_ECORRUPT, "the primary's stream goes on after its end");
    }
    m = &a->messages[a->taken % SC_AHEAD_MESSAGES];
    pthread_mutex_unlock(&a->lock);
    *type = m->type;
    *payload = m->payload;
    *len = m->len;
    if (m->rv != APR_SUCCESS && err != NULL) {
        *err = m->err;
    }
    return m->rv;
}

void sc_ahead_stop(sc_ahead *a)
{
    size_t i;

    if (a == NULL) {
        return;
    }
    pthread_mutex_lock(&a->lock);
    a->stop = true;
    if (!a->ended) {
        sc_peer_abort(a->peer);
    }
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->thread, NULL);
    for (i = 0; i < SC_AHEAD_MESSAGES; i++) {
        free(a->messages[i].buffer);
    }
    pthread_cond_destroy(&a->changed);
    pthread_mutex_destroy(&a->lock);
    free(a);
}
