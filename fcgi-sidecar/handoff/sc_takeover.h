/*
 * sc_takeover.h -- the steps from STANDBY to PRIMARY, which a GRANT and the operator's
 * promote share.
 *
 * Order: n->taking_over is raised under the lock (no stream may begin a base then), the
 * authority is swapped, sc_takeover_become_primary(), sc_takeover_end(), and when the
 * answer is out sc_takeover_attend().  Lock not held, where nothing else is said.
 */
#ifndef SC_TAKEOVER_H
#define SC_TAKEOVER_H

#include "fcgi-sidecar/node/sc_node.h"

/* Makes *state the one of this instance as primary at that epoch. */
void sc_takeover_fill(const sc_node *n, uint64_t epoch, sc_state *state);

/* The authority's record as it has to be now, and as it is to be. */
void sc_takeover_pair(sc_node *n, const sc_state *state, sc_authority_record *old,
                      sc_authority_record *new_record);

/* From `old` to this instance at the next epoch; a swap that was done before counts.
 * SC_ENONE: the authority has lost its record; SC_ECHANGED: it names another. */
apr_status_t sc_takeover_swap(sc_node *n, const sc_authority_record *old,
                              const sc_authority_record *new_record, sc_error *err);

/* Creates a record that was lost (SC0441).  Who does is primary: only with the consent
 * of the one that it named, or the operator's. */
apr_status_t sc_takeover_create(sc_node *n, const sc_authority_record *new_record, sc_error *err);

/* Ends the stream that writes the image, and closes the image. */
void sc_takeover_release_image(sc_node *n);

/* The authority names this instance: records it, and serves. */
apr_status_t sc_takeover_become_primary(sc_node *n, uint64_t epoch, const char *why, sc_error *err);

/* Lowers n->taking_over. */
void sc_takeover_end(sc_node *n);

/* What nobody has to wait for: syncs the record of PRIMARY (SC0429), opens what the next
 * standby needs (SC0427; serve tries again). */
void sc_takeover_attend(sc_node *n);

#endif /* SC_TAKEOVER_H */
