/*
 * sc_work.h -- tells a hook how a long piece of work goes on.
 */
#ifndef SC_WORK_H
#define SC_WORK_H

#include "fcgi-sidecar/node/sc_node.h"

/* Answers with PROGRESS messages while the work runs, then DONE {code, text,
 * state, epoch}.  A hook that goes away does not stop the work. */
void sc_work_stream(sc_node *n, sc_control_request *request, const sc_work *w);

#endif /* SC_WORK_H */
