/*
 * demo_counters.h -- the counters as the metrics page reads them: sums over all
 * shards, each number by itself (not a picture of one moment).  demo_seg is not
 * NULL.  Any thread.
 */
#ifndef DEMO_COUNTERS_H
#define DEMO_COUNTERS_H

#include "mod_demo/demo_segment.h"

extern const char *const demo_method_names[DEMO_METHOD_COUNT];
extern const uint64_t    demo_bounds_us[DEMO_HISTOGRAM_BOUNDS]; /* ascending, microseconds */

uint64_t demo_counter_sum(enum demo_counter id);
uint64_t demo_labelled_sum(enum demo_labelled_id id, unsigned value);
uint64_t demo_requests_sum(int method, int status); /* status 100..599 */

/* Fills the buckets (not cumulative); the sum in microseconds. */
uint64_t demo_histogram_sum(enum demo_histogram_id id, uint64_t buckets[DEMO_HISTOGRAM_BOUNDS + 1]);

#endif /* DEMO_COUNTERS_H */
