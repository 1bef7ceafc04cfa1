/*
 * sc_handoff.h -- pre-stop's work at the primary: waits for a standby, hands over
 * to it (sc_cutover.h), and tries again until --handoff-timeout while that fails.
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

/* From here on this instance, if it is a standby, gives no promise. */
void sc_handoff_leave(sc_node *n);

/* Ends the thread; n->stopping is set. */
void sc_handoff_join(sc_node *n);

#endif /* SC_HANDOFF_H */
