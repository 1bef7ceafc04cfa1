/*
 * sc_cutover.h -- one attempt of a primary to give its database to a standby
 * (docs/handoff.md, "The cut-over").
 *
 *   DRAINING                    the relay holds new requests once those in flight are young
 *   write lock, last frames     nobody commits
 *   PREPARE                     the standby's promise: durable, equal digest; meanwhile the
 *                               log goes into the file, and byte 18 becomes the fence
 *   FENCED                      the commit point: one fsync
 *   GRANT until it is answered  the successor is primary
 *   FORWARDING                  held requests and all that comes go to it
 *
 * Anything that goes wrong before FENCED leads back to PRIMARY.
 */
#ifndef SC_CUTOVER_H
#define SC_CUTOVER_H

#include "fcgi-sidecar/node/sc_node.h"

/* Called by a PRIMARY, one at a time, lock not held; returns when the successor
 * is primary, or with an error.  Which of the two sides has the database then is
 * what the state says: PRIMARY, nothing has changed and another attempt may be
 * made; FENCED, `serve` is ending and a restart asks the successor again.  When
 * nobody knows any more what the disk says, the process ends (SC0434), for a
 * restart reads it.  force: does not wait for requests that stay in flight, nor
 * for readers that keep the log out of the file; what those still write fails. */
apr_status_t sc_cutover_try(sc_node *n, const sc_member *successor, bool force, sc_error *err);

#endif /* SC_CUTOVER_H */
