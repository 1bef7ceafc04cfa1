/*
 * sc_start.h -- how an instance comes to life: what a restart finds, what
 * post-start asks for, and the thread that keeps a standby following.
 */
#ifndef SC_START_H
#define SC_START_H

#include "fcgi-sidecar/node/sc_node.h"

/* Goes on where the state file says: a PRIMARY serves, a DRAINING one rolls
 * back, a FENCED one stays fenced (sc_handoff goes on), a standby follows
 * again.  SC_EREFUSED when the authority names another primary. */
apr_status_t sc_start_recover(sc_node *n, sc_error *err);

/* Handler of /v1/local/start: begins the work if it is not done or running, and
 * streams its progress until it ends. */
void sc_start_hook(sc_node *n, sc_control_request *request);

/* Ends the thread; n->stopping is set. */
void sc_start_join(sc_node *n);

#endif /* SC_START_H */
