/*
 * sc_grant.h -- the old primary after the commit point: nothing leads back.
 */
#ifndef SC_GRANT_H
#define SC_GRANT_H

#include "fcgi-sidecar/node/sc_node.h"

/* From FENCED to FORWARDING: asks the successor until it confirms, or the authority
 * names a third instance (requests wait meanwhile), forwards there, and records that.  held_us: when requests began
 * to wait (monotonic), 0: unknown; *went_on_us, unless NULL: when they went
 * on.  Fails only when serve ends before. */
apr_status_t sc_grant_finish(sc_node *n, int64_t held_us, int64_t *went_on_us, sc_error *err);

/* After a restart past the commit point: sets the fence if it is missing.  A
 * database that is not there needs none. */
apr_status_t sc_grant_fence_again(sc_node *n, sc_error *err);

/* The authority names this FENCED instance at that epoch, after its own, so no
 * GRANT of it can succeed any more: PRIMARY again.  Does nothing when that was
 * done. */
apr_status_t sc_grant_take_back(sc_node *n, uint64_t epoch, sc_error *err);

#endif /* SC_GRANT_H */
