/*
 * sc_durable.h -- what of the standby's image the disk has.
 *
 * Frames are written through the page cache; they are synced now and then, so that
 * a cut-over has little to wait for, and at its PREPARE.  Which image lies there whole is
 * noted when no frames come, so that after a restart it is known whether it still is.
 */
#ifndef SC_DURABLE_H
#define SC_DURABLE_H

#include "fcgi-sidecar/node/sc_node.h"

/* The image of one stream; all zero: none yet. */
typedef struct {
    sc_node *node;        /* NULL: none yet */
    int fd;               /* n->image_fd of this stream; the node's */
    int64_t synced_ms;
    int64_t applied_ms;   /* when frames came last; the caller's to set */
} sc_durable;

/* From now on the file fd is --database. */
void sc_durable_begin(sc_durable *d, sc_node *n, int fd);
bool sc_durable_has(const sc_durable *d);

/* After each message: syncs when it is due, notes when it has been quiet.  Lock not held. */
void sc_durable_tick(sc_durable *d);

/* Lock held: notes the image as whole if it is, in the state file. */
void sc_durable_note(const sc_durable *d);

/* Lock held.  A sync of the image failed with that errno.  The kernel tells that once, takes
 * the pages for clean, and the next sync succeeds without them: nothing of this file can be relied
 * on, so the stream ends and the whole base is copied again (SC0443). */
void sc_durable_failed(sc_node *n, int errnum);

/* Waits until the image is at `position` exactly, at most ms, and tells its
 * digest.  SC_EAGAIN when it does not get there, or its disk has failed.  Lock not held. */
apr_status_t sc_durable_reach(sc_node *n, const sc_position *position, int ms, uint64_t *digest,
                              sc_error *err);

#endif /* SC_DURABLE_H */
