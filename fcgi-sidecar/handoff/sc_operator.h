/*
 * sc_operator.h -- what only the operator can decide: that another instance is gone
 * for ever.  `promote`, and the advice that names it.
 */
#ifndef SC_OPERATOR_H
#define SC_OPERATOR_H

#include "fcgi-sidecar/node/sc_node.h"

/* Tells the log, status and health what the operator of a STANDBY can do whose
 * primary has not answered for long, and whether it takes --force (SC0428); why: the
 * reason in words.  May read the database once.  False when this is no STANDBY. */
bool sc_operator_advise(sc_node *n, const char *why);

/* Handler of /v1/local/promote {force}: the operator's decision that the old primary is
 * gone, or, of a FENCED instance, its successor.  Refused while that one answers. */
void sc_operator_promote(sc_node *n, sc_control_request *request);

#endif /* SC_OPERATOR_H */
