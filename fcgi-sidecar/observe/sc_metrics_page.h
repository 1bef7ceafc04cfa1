/*
 * sc_metrics_page.h -- /metrics: the families are the rows of sc_metrics.def.
 */
#ifndef SC_METRICS_PAGE_H
#define SC_METRICS_PAGE_H

#include "fcgi-sidecar/node/sc_node.h"
#include "lib/prom.h"

/* Writes every family; 0, or -1 when the sink failed. */
int sc_metrics_write(sc_node *n, enum prom_format format, prom_sink sink, void *context);

#endif /* SC_METRICS_PAGE_H */
