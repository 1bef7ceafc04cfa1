/*
 * sc_confirm.h -- whether the authority still names this instance as primary.
 */
#ifndef SC_CONFIRM_H
#define SC_CONFIRM_H

#include "fcgi-sidecar/node/sc_node.h"

/* For a PRIMARY: the authority answers and names it.  A record that was lost, or is of an
 * earlier epoch, is written again, an address that changed is put in.  SC_EREFUSED when it names
 * another, SC_ECHANGED when somebody else wrote meanwhile; any other error is
 * the authority's own, that can not be asked or not be written. */
apr_status_t sc_confirm_primary(sc_node *n, sc_error *err);

/* The same at a restart, where an authority that can not be reached is no
 * obstacle: an error only when it names another, else SC0408 tells. */
apr_status_t sc_confirm_start(sc_node *n, sc_error *err);

/* Tells SC0408: this instance goes on as the primary of its state file because
 * of that error, unless it is the one of *last, which becomes this one. */
void sc_confirm_doubt(const sc_error *why, sc_error *last);

#endif /* SC_CONFIRM_H */
