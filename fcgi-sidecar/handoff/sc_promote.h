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

/* Tells the log, status and health what the operator of a STANDBY can do whose
 * primary has not answered for long, and whether it takes --force (SC0428); why: the
 * reason in words.  May read the database once.  False when this is no STANDBY. */
bool sc_promote_advise(sc_node *n, const char *why);

/* Handler of /v1/local/promote: the operator's decision that the old primary is
 * gone.  Refused while the primary answers. */
void sc_promote_hook(sc_node *n, sc_control_request *request);

#endif /* SC_PROMOTE_H */
