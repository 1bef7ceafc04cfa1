/*
 * sc_first.h -- the first deployment: the authority grants the lineage, the seed
 * becomes the database.
 *
 * The lineage is made here, and saved, before the authority is asked to record
 * it (a claim): so an authority that names it means this volume, and not one that was
 * lost and came back empty under the same uid.  The seed is made ready before that as well,
 * for nothing is to be claimed that can not be served.
 */
#ifndef SC_FIRST_H
#define SC_FIRST_H

#include "fcgi-sidecar/node/sc_node.h"

/* Makes an EMPTY instance the first PRIMARY; called by the thread of sc_start.c,
 * lock not held.  granted: NULL, or the authority's record, which names this instance
 * already (a restart between the grant and the installation).  SC_ECHANGED: another
 * instance was first; SC_EREFUSED: the lineage is not this volume's.  Where no other
 * attempt can help, n->start_final is set. */
apr_status_t sc_first_deploy(sc_node *n, const sc_authority_record *granted, sc_error *err);

/* Did an EMPTY instance claim a lineage that it did not get yet?  And: another
 * instance was first, so the claim goes, durably. */
bool sc_first_claimed(const sc_state *s);
apr_status_t sc_first_give_way(sc_node *n, sc_error *err);

#endif /* SC_FIRST_H */
