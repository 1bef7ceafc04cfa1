/*
 * sc_ahead.h -- messages of a stream, read and authenticated by a thread of
 * their own while those before them are worked on.
 *
 *      socket --> thread --> | message | message | … |  --> sc_ahead_next()
 *                            at most SC_AHEAD_MESSAGES
 *
 * Between start and stop the peer is the thread's; only sc_peer_abort() may be
 * called by others, and ends the wait.  All else belongs to one caller.
 */
#ifndef SC_AHEAD_H
#define SC_AHEAD_H

#include "fcgi-sidecar/control/sc_peer.h"

#define SC_AHEAD_MESSAGES 4 /* SC_FRAME_PAYLOAD_MAX bytes each, at most */

typedef struct sc_ahead sc_ahead;

/* Begins to read; the message of type `last` is the last that is read ahead.
 * ENOMEM, or why there is no thread. */
apr_status_t sc_ahead_start(sc_ahead **ahead, sc_peer *peer, enum sc_frame_type last);

/* Next message, as sc_peer_next() gives it; SC_ECORRUPT after `last` or an error.
 * The payload is valid until the next call. */
apr_status_t sc_ahead_next(sc_ahead *ahead, enum sc_frame_type *type, const uint8_t **payload,
                           size_t *len, sc_error *err);

/* Waits for the thread.  When neither `last` nor an error was read the peer is
 * aborted: what was read ahead is lost.  Safe on NULL. */
void sc_ahead_stop(sc_ahead *ahead);

#endif /* SC_AHEAD_H */
