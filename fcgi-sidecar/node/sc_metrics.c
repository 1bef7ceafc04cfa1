#include "fcgi-sidecar/node/sc_metrics.h"

#include <stddef.h>

const double sc_pause_bounds[SC_PAUSE_BUCKETS] = {
    0.001, 0.0025, 0.005, 0.01, 0.02, 0.035, 0.05, 0.1, 0.25, 0.5, 1, 5
};

void sc_metrics_pause(sc_metrics *m, int64_t us)
{
    size_t i = 0;

    while (i < SC_PAUSE_BUCKETS && (double)us / 1e6 > sc_pause_bounds[i]) {
        i++;
    }
    atomic_fetch_add(&m->pause_counts[i], 1);
    atomic_fetch_add(&m->pause_sum_us, (uint64_t)us);
}
