/*
 * sc_metrics.h -- counters of the sidecar.  Counting may be done by any thread;
 * it never blocks.  What is made of them: sc_metrics_page.h.
 */
#ifndef SC_METRICS_H
#define SC_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#define SC_PAUSE_BUCKETS 12

typedef struct {
    _Atomic uint64_t handoffs_done, handoffs_rolled_back, promotions, syncs, sync_failures;
    _Atomic uint64_t bytes_shipped, bytes_received, bytes_kept, frames_shipped, frames_applied;
    _Atomic uint64_t pause_counts[SC_PAUSE_BUCKETS + 1];
    _Atomic uint64_t pause_sum_us;
} sc_metrics;

/* Upper bounds of pause_counts in seconds; the last bucket has none. */
extern const double sc_pause_bounds[SC_PAUSE_BUCKETS];

/* A cut-over held requests for that long. */
void sc_metrics_pause(sc_metrics *m, int64_t us);

#endif /* SC_METRICS_H */
