/*
 * sc_promote.h -- the standby's part of a cut-over: promise, then take over.
 */
#ifndef SC_PROMOTE_H
#define SC_PROMOTE_H

#include "fcgi-sidecar/node/sc_node.h"

/* Handler of /v1/prepare {position}: makes the image durable
 * at that position and records the promise; answers {digest}. */
void sc_promote_prepare(sc_node *n, sc_control_request *request);

/* Handler of /v1/grant {uid, epoch, position, digest}: compare-and-swap at the
 * authority, own record, then PHP may write.  The same GRANT again is answered
 * from the record. */
void sc_promote_grant(sc_node *n, sc_control_request *request);

/* The authority names this instance at the epoch after its own: a GRANT was
 * received and the process died before it was recorded. */
apr_status_t sc_promote_resume(sc_node *n, sc_error *err);

#endif /* SC_PROMOTE_H */
