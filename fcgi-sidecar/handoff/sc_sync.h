/*
 * sc_sync.h -- the standby's side of replication: receives the stream of
 * sc_ship.h and keeps an image of the primary's database.
 *
 * The base goes into incoming.sqlite in --state-dir.  When it is complete and
 * level with the primary it is checked, synced and renamed to --database; from
 * then on the instance is a STANDBY and log frames are written into that file
 * in place.  The file bears the fence (sc_db.h) until the instance is primary.
 * A failure before STANDBY leaves nothing behind.
 */
#ifndef SC_SYNC_H
#define SC_SYNC_H

#include "fcgi-sidecar/node/sc_node.h"

/* Follows the primary at `primary` until the stream ends; returns why it did.
 * The state is SYNCING when it begins, and SYNCING or STANDBY (or PRIMARY, when
 * it was promoted meanwhile) when it ends.  Runs on the caller's thread. */
apr_status_t sc_sync_follow(sc_node *n, const sc_member *primary, sc_error *err);

/* Removes what a broken copy left in --state-dir. */
void sc_sync_clean(const sc_node *n);

#endif /* SC_SYNC_H */
