#include "fcgi-sidecar/handoff/sc_durable.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-sidecar/base/sc_fault.h"
#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/base/sc_log.h"

#define SYNC_EVERY_MS  200 /* longest time that frames stay unsynced */
#define QUIET_MS      1000 /* without frames before the image is noted as whole */

void sc_durable_begin(sc_durable *d, sc_node *n, int fd)
{
    d->node = n;
    d->fd = fd;
    d->synced_ms = 0;
}

bool sc_durable_has(const sc_durable *d)
{
    return d->node != NULL;
}

void sc_durable_failed(sc_node *n, int errnum)
{
    if (!atomic_exchange(&n->copy_whole, true)) {
        sc_warn("SC0443", "the disk did not take the standby's database (%s): the whole base is copied "
                "again", strerror(errnum));
    }
}

void sc_durable_stop(sc_node *n)
{
    if (n->stream != NULL) {
        sc_peer_abort(n->stream);
    }
}

apr_status_t sc_durable_sync(sc_node *n, int fd, const char *point)
{
    apr_status_t rv;

    pthread_mutex_lock(&n->image_sync);
    rv = n->copy_whole ? EIO : SC_FAULT(point) || fdatasync(fd) != 0 ? errno : APR_SUCCESS;
    if (rv != APR_SUCCESS) {
        sc_durable_failed(n, rv);
    }
    pthread_mutex_unlock(&n->image_sync);
    return rv;
}

/* Keeps what is not durable short, so that a cut-over has little to wait for. */
static void sync_now_and_then(sc_durable *d)
{
    sc_node *n = d->node;
    bool due;

    pthread_mutex_lock(&n->lock);
    due = sc_durable_has(d) && n->image_dirty && !n->image_frozen
        && sc_now_ms() - d->synced_ms > SYNC_EVERY_MS;
    if (due) {
        n->image_dirty = false;
    }
    pthread_mutex_unlock(&n->lock);
    if (due) {
        d->synced_ms = sc_now_ms();
        if (sc_durable_sync(n, d->fd, "fsync-now") != APR_SUCCESS) {
            pthread_mutex_lock(&n->lock);
            sc_durable_stop(n);
            pthread_mutex_unlock(&n->lock);
        }
    }
}

/* Lock held: notes that the image is whole, and which one it is, so that after a
 * restart it is known whether it still is.  Not while frames come: that would cost
 * the primary's disk, and the next frame makes it void. */
void sc_durable_note(const sc_durable *d)
{
    sc_node *n = d->node;

    if (sc_durable_has(d) && n->state.id == SC_STATE_STANDBY && !n->state.prepared && !n->image_torn
        && !n->copy_whole
        && !n->image_frozen && n->taking_over == 0 && n->image_fd == d->fd
        && n->state.digest != n->image_digest) {
        if (sc_durable_sync(n, d->fd, "fsync-note") != APR_SUCCESS) {
            sc_durable_stop(n);
            return;
        }
        n->image_dirty = false;
        n->state.position = n->image_position;
        n->state.digest = n->image_digest;
        (void)sc_state_save(&n->state, NULL); /* not noted: promote will be more careful */
    }
}

void sc_durable_tick(sc_durable *d)
{
    if (!sc_durable_has(d)) {
        return;
    }
    sync_now_and_then(d);
    if (sc_now_ms() - d->applied_ms > QUIET_MS) {
        pthread_mutex_lock(&d->node->lock);
        sc_durable_note(d);
        pthread_mutex_unlock(&d->node->lock);
    }
}

apr_status_t sc_durable_reach(sc_node *n, const sc_position *position, int ms, uint64_t *digest,
                              sc_error *err)
{
    int64_t end = sc_now_ms() + ms;
    apr_status_t rv = APR_SUCCESS;

    pthread_mutex_lock(&n->lock);
    while (n->image_fd >= 0 && !sc_position_equal(&n->image_position, position)
           && sc_now_ms() < end) {
        sc_node_wait(n, 20);
    }
    if (n->image_fd < 0 || !sc_position_equal(&n->image_position, position)) {
        rv = sc_error_set(err, SC_EAGAIN, "the standby is at frame %u of the log, not at %u",
                          n->image_position.frame, position->frame);
    }
    else if (n->copy_whole) {
        rv = sc_error_set(err, SC_EAGAIN, "the standby's disk has failed; it copies the database again");
    }
    else {
        *digest = n->image_digest;
    }
    pthread_mutex_unlock(&n->lock);
    return rv;
}
