/*
 * sc_ship.h -- the primary's side of replication: a stream for each follower.
 *
 *   HELLO  {lineage, epoch, page_size, bytes, mode, resume, checks, primary}
 *   PAGES* the database file as it lies there, at most 1 MiB at a time
 *   SAME*  in their place: pages that the follower has (sc_have.h)
 *   BASE_END
 *   then, until the stream ends, as transactions commit:
 *   LOG    frames of the write-ahead log, HEARTBEAT {…} when all were sent
 *   DONE   {code, text}; code 1: the database is not sound
 *
 * The file is read while PHP writes.  A read transaction is held from before
 * the first page, so a checkpoint in that time moves into the file only pages
 * that are in the log as well; the log is sent from its first frame after the
 * base, and repairs what was read in between (docs/handoff.md, "The base").
 *
 * The database is checked while it is copied (sc_check.h): the first HEARTBEAT,
 * which makes the follower a standby, says that it passed.  Until then there may
 * be PROGRESS in its place.
 *
 * LOG payload, big-endian:
 *   | salt ×2 | frame | checksum ×2 | digest (8) | commit pages | count | page no. × count | pages |
 * position, digest and size are those after the last frame; commit pages 0:
 * the batch ends inside a transaction.
 */
#ifndef SC_SHIP_H
#define SC_SHIP_H

#include "fcgi-sidecar/node/sc_node.h"

#define SC_LOG_HEAD_LEN     36
#define SC_FOLLOWERS_MAX    8

/* Handler of /v1/follow: serves the stream until it ends. */
void sc_ship_follow(sc_node *n, sc_control_request *request);

/* Handler of /v1/ready: the follower has become a standby. */
void sc_ship_ready(sc_node *n, sc_control_request *request);

/* The follower of that uid has refused to succeed: it is no candidate until it
 * says again that it is a standby.  Lock not held. */
void sc_ship_refused(sc_node *n, const char *uid);

/* Ends the streams of all but that uid ("": of all), whether they are taken or not:
 * a cut-over goes on without them, and they follow the winner.  Lock not held. */
void sc_ship_drop_others(sc_node *n, const char *uid);

/* The follower that is a standby and lacks least; false when there is none.
 * Lock not held. */
bool sc_ship_candidate(sc_node *n, sc_member *candidate, uint64_t *lag_bytes);

/* Waits until that follower was sent all that is committed (the caller holds
 * the write lock, so that nothing is added), and tells where that is.
 * SC_EAGAIN after ms or when the follower has gone. */
apr_status_t sc_ship_finish(sc_node *n, const char *uid, int ms, sc_position *position,
                            uint64_t *digest, sc_error *err);

/* Number of followers, and of those that are standbys; lock held. */
void sc_ship_count(const sc_node *n, unsigned *followers, unsigned *standbys, uint64_t *lag_bytes);

/* Waits until no stream is left, at most ms; lock not held. */
bool sc_ship_quiet(sc_node *n, int ms);

#endif /* SC_SHIP_H */
