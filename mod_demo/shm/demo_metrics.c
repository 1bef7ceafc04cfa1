#include "mod_demo/shm/demo_metrics.h"

#include <unistd.h>

#include "mod_demo/shm/demo_hand_on.h"
#include "mod_demo/shm/demo_segment.h"

const char *const demo_phase_names[DEMO_PHASE_COUNT] = {
    "none", "queue", "resolve", "connect", "send", "read", "response", "total", "spool", "client"
};
const char *const demo_direction_names[DEMO_DIR_COUNT] = { "request", "response" };
const char *const demo_conn_names[DEMO_CONN_COUNT] = { "new", "kept" };

const char *const demo_method_names[DEMO_METHOD_COUNT] = {
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"
};
enum { METHOD_HEAD = 1, METHOD_OTHER = DEMO_METHOD_COUNT - 1 };

const uint64_t demo_bounds_us[DEMO_HISTOGRAM_BOUNDS] = {
    500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000,
    1000000, 2500000, 5000000, 10000000, 30000000, 60000000
};

const uint64_t demo_bounds_bytes[DEMO_SIZE_BOUNDS] = {
    1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000
};

static_assert((int)DEMO_SIZE_BOUNDS <= (int)DEMO_HISTOGRAM_BOUNDS, "no room for sizes");
static_assert((int)DEMO_PHASE_COUNT <= (int)DEMO_LABEL_VALUES_MAX, "more phases than label values");

/* A thread keeps its shard; neighbours get different ones. */
static demo_shm_shard *shard(void)
{
    static atomic_uint next;
    static _Thread_local int mine = -1;

    if (mine < 0) {
        mine = (int)((atomic_fetch_add_explicit(&next, 1, memory_order_relaxed)
                      + (unsigned)getpid()) % DEMO_SHARDS);
    }
    return &demo_seg->shards[mine];
}

static void add(_Atomic uint64_t *counter, uint64_t n)
{
    (void)atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static void observe_in(demo_shm_histogram *h, apr_int64_t observed, const uint64_t *bounds, int n)
{
    uint64_t value = observed > 0 ? (uint64_t)observed : 0;
    int i = 0;

    while (i < n && value > bounds[i]) {
        i++;
    }
    add(&h->bucket[i], 1);
    add(&h->sum, value);
}

static void observe(demo_shm_histogram *h, apr_int64_t us)
{
    observe_in(h, us, demo_bounds_us, DEMO_HISTOGRAM_BOUNDS);
}

static int method_index(int method, int header_only)
{
    if (header_only) {
        return METHOD_HEAD;
    }
    switch (method) {
    case M_GET:     return 0;
    case M_POST:    return 2;
    case M_PUT:     return 3;
    case M_PATCH:   return 4;
    case M_DELETE:  return 5;
    case M_OPTIONS: return 6;
    default:        return METHOD_OTHER;
    }
}

static void count_request(demo_shm_shard *s, enum demo_scope scope, int method, int status)
{
    if (status < DEMO_STATUS_MIN || status >= DEMO_STATUS_MIN + DEMO_STATUS_COUNT) {
        status = HTTP_INTERNAL_SERVER_ERROR; /* what httpd makes of such a status */
    }
    add(&s->requests[scope][method][status - DEMO_STATUS_MIN], 1);
}

void demo_metrics_request(const demo_sample *sample)
{
    if (demo_seg == NULL) {
        return;
    }
    demo_shm_shard *s = shard();
    count_request(s, DEMO_SCOPE_FCGI, method_index(sample->method, sample->header_only),
                  sample->status);
    observe(&s->histogram[DEMO_H_DURATION], sample->total_us);
    if (sample->connect_us >= 0) {
        observe(&s->histogram[DEMO_H_CONNECT], sample->connect_us);
    }
    if (sample->first_byte_us >= 0) {
        observe(&s->histogram[DEMO_H_FIRST_BYTE], sample->first_byte_us);
    }
    if (sample->queue_us >= 0) {
        observe(&s->histogram[DEMO_H_QUEUE], sample->queue_us);
    }
    if (sample->request_bytes > 0) {
        add(&s->counter[DEMO_C_REQUEST_BYTES], (uint64_t)sample->request_bytes);
    }
    if (sample->response_bytes > 0) {
        add(&s->counter[DEMO_C_RESPONSE_BYTES], (uint64_t)sample->response_bytes);
    }
    if (sample->error > DEMO_PHASE_NONE && sample->error < DEMO_PHASE_COUNT) {
        add(&s->labelled[DEMO_L_ERRORS][sample->error], 1);
    }
}

static void label_add(enum demo_labelled_id id, unsigned value, uint64_t n)
{
    if (demo_seg != NULL && value < DEMO_LABEL_VALUES_MAX) {
        add(&shard()->labelled[id][value], n);
    }
}

void demo_metrics_count(enum demo_counter id, uint64_t n)
{
    if (demo_seg != NULL) {
        add(&shard()->counter[id], n);
    }
}

int demo_metrics_log(request_rec *r)
{
    demo_hand_on_taken();
    while (r->next != NULL) {
        r = r->next; /* after an internal redirect the last one has sent the answer */
    }
    if (demo_seg != NULL) {
        demo_shm_shard *s = shard();
        count_request(s, DEMO_SCOPE_ALL, method_index(r->method_number, r->header_only), r->status);
        observe(&s->histogram[DEMO_H_ALL_TIME], apr_time_now() - r->request_time);
        observe_in(&s->histogram[DEMO_H_ALL_SIZE], r->bytes_sent, demo_bounds_bytes,
                   DEMO_SIZE_BOUNDS);
    }
    demo_hand_on_given();
    return OK;
}

void demo_metrics_retry(enum demo_phase failed)
{
    label_add(DEMO_L_RETRIES, failed, 1);
}

void demo_metrics_connection(enum demo_conn_kind kind)
{
    label_add(DEMO_L_CONNECTIONS, kind, 1);
}

void demo_metrics_spool_file(enum demo_direction direction)
{
    label_add(DEMO_L_SPOOL_FILES, direction, 1);
}

void demo_metrics_spool_bytes(enum demo_direction direction, uint64_t n)
{
    label_add(DEMO_L_SPOOL_BYTES, direction, n);
}
