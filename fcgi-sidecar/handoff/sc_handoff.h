/*
 * sc_handoff.h -- the primary's part of a cut-over (docs/handoff.md).
 *
 *   wait for a standby          nothing has changed
 *   DRAINING                    the relay holds new requests once those in flight are young
 *   write lock, last frames     nobody commits
 *   PREPARE                     the standby's promise: durable, equal digest
 *   FENCED                      the commit point: one fsync; then byte 18
 *   GRANT until it is answered  the successor is primary
 *   FORWARDING                  held requests and all that comes go to it
 *
 * Anything that goes wrong before FENCED leads back to PRIMARY.
 */
#ifndef SC_HANDOFF_H
#define SC_HANDOFF_H

#include "fcgi-sidecar/node/sc_node.h"

/* After a restart: a FENCED instance asks its successor again, a FORWARDING
 * one forwards. */
apr_status_t sc_handoff_recover(sc_node *n, sc_error *err);

/* Handler of /v1/local/stop: begins the hand-over unless it runs, and streams
 * its progress until it ends. */
void sc_handoff_hook(sc_node *n, sc_control_request *request);

/* Ends the thread; n->stopping is set. */
void sc_handoff_join(sc_node *n);

#endif /* SC_HANDOFF_H */
