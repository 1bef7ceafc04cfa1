/*
 * sc_keep.h -- looks after the authority's record while this instance is PRIMARY.
 *
 * Nothing is renewed, and an authority that does not answer changes nothing.  But a
 * record that was removed is written again, before a new instance takes its absence
 * for a first deployment (SC0407); and one that names another instance of the lineage
 * at a later epoch, as after an operator's promote, ends the process (SC0442).
 */
#ifndef SC_KEEP_H
#define SC_KEEP_H

#include "fcgi-sidecar/node/sc_node.h"

/* Begins a thread that looks every 5 s; EAGAIN when there can be none. */
apr_status_t sc_keep_start(sc_node *n, sc_error *err);

/* Ends it; n->stopping is set.  Waits for a call to the authority that is under way
 * (lease: 8 s at most).  Does nothing when it was not begun. */
void sc_keep_join(sc_node *n);

#endif /* SC_KEEP_H */
