/*
 * sc_status.h -- what an instance says about itself: for `status`, /status and
 * the other sidecars.
 */
#ifndef SC_STATUS_H
#define SC_STATUS_H

#include <stdio.h>

#include "fcgi-sidecar/node/sc_node.h"

/* One JSON object; at least lineage, epoch, state, primary, uid.  New reference. */
json_t *sc_status_node(sc_node *n);

/* The same members that a state file alone can tell; "serving": false. */
json_t *sc_status_file(const sc_state *s);

/* Can requests be served, here or by forwarding?  why says it in words, and what
 * is left to the operator, if anything is. */
#define SC_STATUS_WHY_LEN (SC_ERROR_LEN + 64)
bool sc_status_ready(sc_node *n, char why[SC_STATUS_WHY_LEN]);

/* Prints the object as a table. */
void sc_status_print(FILE *out, const json_t *status);

#endif /* SC_STATUS_H */
