#include "mod_demo/observe/demo_counters.h"

#include "apr_strings.h"

/* --- sums over the shards ------------------------------------------------------------ */

static uint64_t load(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

uint64_t demo_counter_sum(enum demo_counter id)
{
    uint64_t sum = 0;

    for (int i = 0; i < DEMO_SHARDS; i++) {
        sum += load(&demo_seg->shards[i].counter[id]);
    }
    return sum;
}

uint64_t demo_labelled_sum(enum demo_labelled_id id, unsigned value)
{
    uint64_t sum = 0;

    for (int i = 0; i < DEMO_SHARDS; i++) {
        sum += load(&demo_seg->shards[i].labelled[id][value]);
    }
    return sum;
}

uint64_t demo_requests_sum(enum demo_scope scope, int method, int status)
{
    uint64_t sum = 0;

    for (int i = 0; i < DEMO_SHARDS; i++) {
        sum += load(&demo_seg->shards[i].requests[scope][method][status - DEMO_STATUS_MIN]);
    }
    return sum;
}

uint64_t demo_histogram_sum(enum demo_histogram_id id, uint64_t buckets[DEMO_HISTOGRAM_BOUNDS + 1])
{
    uint64_t sum = 0;

    for (int b = 0; b <= DEMO_HISTOGRAM_BOUNDS; b++) {
        buckets[b] = 0;
    }
    for (int i = 0; i < DEMO_SHARDS; i++) {
        const demo_shm_histogram *h = &demo_seg->shards[i].histogram[id];
        for (int b = 0; b <= DEMO_HISTOGRAM_BOUNDS; b++) {
            buckets[b] += load(&h->bucket[b]);
        }
        sum += load(&h->sum);
    }
    return sum;
}

/* --- samples -------------------------------------------------------------------------- */

void demo_write_codes(prom_writer *w, enum demo_scope scope, const char *code_label)
{
    for (int m = 0; m < DEMO_METHOD_COUNT; m++) {
        for (int code = DEMO_STATUS_MIN; code < DEMO_STATUS_MIN + DEMO_STATUS_COUNT; code++) {
            uint64_t n = demo_requests_sum(scope, m, code);
            char text[8];
            if (n == 0) {
                continue;
            }
            (void)apr_snprintf(text, sizeof(text), "%d", code);
            prom_label l[] = { { code_label, text }, { "method", demo_method_names[m] } };
            prom_u64(w, l, 2, n);
        }
    }
}

void demo_write_histogram(prom_writer *w, enum demo_histogram_id id)
{
    uint64_t buckets[DEMO_HISTOGRAM_BOUNDS + 1];
    double bounds[DEMO_HISTOGRAM_BOUNDS];
    uint64_t sum_us = demo_histogram_sum(id, buckets);

    for (int i = 0; i < DEMO_HISTOGRAM_BOUNDS; i++) {
        bounds[i] = (double)demo_bounds_us[i] / 1e6;
    }
    prom_histogram h = { bounds, DEMO_HISTOGRAM_BOUNDS, buckets, (double)sum_us / 1e6 };
    prom_histogram_write(w, NULL, 0, &h);
}
