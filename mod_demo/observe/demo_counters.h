/*
 * demo_counters.h -- the counters as the metrics page reads them: sums over all
 * shards, each number by itself (not a picture of one moment).  demo_seg is not
 * NULL.  Any thread.
 */
#ifndef DEMO_COUNTERS_H
#define DEMO_COUNTERS_H

#include "lib/prom.h"
#include "mod_demo/shm/demo_segment.h"

uint64_t demo_counter_sum(enum demo_counter id);
uint64_t demo_labelled_sum(enum demo_labelled_id id, unsigned value);
uint64_t demo_requests_sum(enum demo_scope scope, int method, int status); /* status 100..599 */

/* Fills the buckets (not cumulative); the sum in microseconds, of sizes in bytes. */
uint64_t demo_histogram_sum(enum demo_histogram_id id, uint64_t buckets[DEMO_HISTOGRAM_BOUNDS + 1]);

/* Samples of the open family: one for each status and method that occurred, and
 * a histogram of times. */
void demo_write_codes(prom_writer *w, enum demo_scope scope, const char *code_label);
void demo_write_histogram(prom_writer *w, enum demo_histogram_id id);

#endif /* DEMO_COUNTERS_H */
