/*
 * sc_metrics.h -- counters of the sidecar; the families are the rows of
 * sc_metrics.def.  Counting may be done by any thread; it never blocks.
 */
#ifndef SC_METRICS_H
#define SC_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "lib/prom.h"

#define SC_PAUSE_BUCKETS 12

typedef struct {
    _Atomic uint64_t handoffs_done, handoffs_rolled_back, promotions, syncs, sync_failures;
    _Atomic uint64_t bytes_shipped, bytes_received, bytes_kept, frames_shipped, frames_applied;
    _Atomic uint64_t pause_counts[SC_PAUSE_BUCKETS + 1];
    _Atomic uint64_t pause_sum_us;
} sc_metrics;

struct sc_node;

/* A cut-over held requests for that long. */
void sc_metrics_pause(sc_metrics *m, int64_t us);

/* Writes every family; 0, or -1 when the sink failed. */
int sc_metrics_write(struct sc_node *n, enum prom_format format, prom_sink sink, void *context);

#endif /* SC_METRICS_H */
