/*
 * sc_tidy.h -- keeps the log short while followers read it.
 *
 * SQLite begins its log anew when a commit finds all frames in the database and no
 * read transaction on any of them.  With followers that moment does not come by
 * itself, and each commit that finds 1,000 frames or more (SQLite's default
 * wal_autocheckpoint) makes a checkpoint of its own, with two syncs: writers at full
 * speed lost a quarter of their rate to that.  So the log is begun anew before it is that long.
 *
 * Source: "Write-Ahead Logging", sqlite.org/wal.html, "Avoiding Excessively Large WAL Files".
 */
#ifndef SC_TIDY_H
#define SC_TIDY_H

#include "fcgi-sidecar/node/sc_node.h"

/* Begins the log anew where it is long; makes its growth cheap while a follower copies
 * its base, for then it can not.  Holds writers off for a few milliseconds, and gives up after 60.
 * Does nothing in a cut-over, until that has given back the write lock.
 * Returns after how many milliseconds it wants to be called again.  Lock not
 * held; of one thread, the one that closes the database. */
int sc_tidy_log(sc_node *n);

#endif /* SC_TIDY_H */
