/*
 * sc_durable.h -- what of the standby's image the disk has.
 *
 * Frames are written through the page cache; they are synced now and then, so that
 * a cut-over has little to wait for, and at its PREPARE.  Which image lies there whole is
 * noted when no frames come, so that after a restart it is known whether it still is.
 *
 * The kernel tells a failed write once for each open file, to one of those who sync it, takes the
 * pages for clean, and the next sync succeeds without them.  So after a failure nothing of this
 * file can be relied on: n->copy_whole says so, and the whole base is copied again (SC0443).
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

/* The disk did not take what was written to image or incoming base: sets n->copy_whole (SC0443).
 * The stream has to end, which is the caller's to see to.  Lock held or not. */
void sc_durable_failed(sc_node *n, int errnum);

/* Lock held: ends the stream, if there is one. */
void sc_durable_stop(sc_node *n);

/* Syncs the image, one call at a time: success means that no other one has been told of a failure,
 * before or meanwhile.  errno, after sc_durable_failed().  Lock held or not; point: sc_fault.h. */
apr_status_t sc_durable_sync(sc_node *n, int fd, const char *point);

/* Waits until the image is at `position` exactly, at most ms, and tells its
 * digest.  SC_EAGAIN when it does not get there, or its disk has failed.  Lock not held. */
apr_status_t sc_durable_reach(sc_node *n, const sc_position *position, int ms, uint64_t *digest,
                              sc_error *err);

#endif /* SC_DURABLE_H */
