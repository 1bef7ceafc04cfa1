/*
 * demo_segment.h -- what lies in the shared memory.
 *
 *      | header | backends | addresses | shards of counters | children … |
 *
 * Who writes: counters and gauges every thread (atomic additions); a backend's
 * and an address's description only who holds `table`, readers copy it under
 * its sequence lock; a check's state only the leader.
 *
 * Times are those of demo_clock.h.
 */
#ifndef DEMO_SEGMENT_H
#define DEMO_SEGMENT_H

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "mod_demo/shm/demo_metrics.h"
#include "mod_demo/shm/demo_sizes.h"

/* An atomic that needs a lock of the process would not hold between processes. */
static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2,
              "64-bit atomics must be lock-free");

#define DEMO_SHARDS          16
#define DEMO_CACHE_LINE      64

/* --- counters ----------------------------------------------------------------- */

#define DEMO_HISTOGRAM_BOUNDS 16 /* demo_bounds_us in demo_metrics.c */
#define DEMO_SIZE_BOUNDS      7  /* demo_bounds_bytes there; the rest of the buckets is not used */
#define DEMO_LABEL_VALUES_MAX 12 /* most names a DEMO_LABELLED row has */
#define DEMO_STATUS_MIN       100
#define DEMO_STATUS_COUNT     500 /* 100..599 */
#define DEMO_METHOD_COUNT     8   /* demo_method_names in demo_metrics.c */

extern const char *const demo_method_names[DEMO_METHOD_COUNT];
extern const uint64_t    demo_bounds_us[DEMO_HISTOGRAM_BOUNDS]; /* ascending, microseconds */
extern const uint64_t    demo_bounds_bytes[DEMO_SIZE_BOUNDS];   /* ascending */

enum demo_histogram_id {
#define DEMO_HISTOGRAM(id, name, unit, help) DEMO_H_##id,
#include "mod_demo/shm/demo_metrics.def"
    DEMO_H_ALL_TIME, /* requests of all handlers: apache_response_time_seconds */
    DEMO_H_ALL_SIZE, /* in bytes, bounds demo_bounds_bytes: apache_response_size_bytes */
    DEMO_H_COUNT
};

/* Whose requests. */
enum demo_scope { DEMO_SCOPE_FCGI, DEMO_SCOPE_ALL, DEMO_SCOPE_COUNT };

enum demo_labelled_id {
#define DEMO_LABELLED(id, name, unit, label, names, help) DEMO_L_##id,
#include "mod_demo/shm/demo_metrics.def"
    DEMO_L_COUNT
};

typedef struct {
    _Atomic uint64_t bucket[DEMO_HISTOGRAM_BOUNDS + 1]; /* not cumulative */
    _Atomic uint64_t sum; /* microseconds, or bytes */
} demo_shm_histogram;

typedef struct {
    _Alignas(DEMO_CACHE_LINE) _Atomic uint64_t counter[DEMO_C_COUNT];
    _Atomic uint64_t   labelled[DEMO_L_COUNT][DEMO_LABEL_VALUES_MAX];
    demo_shm_histogram histogram[DEMO_H_COUNT];
    _Atomic uint64_t   requests[DEMO_SCOPE_COUNT][DEMO_METHOD_COUNT][DEMO_STATUS_COUNT];
} demo_shm_shard;

/* --- backends and addresses ---------------------------------------------------- */

/* Text or an address that readers copy word by word while it may change. */
#define DEMO_WORDS(bytes) (((bytes) + 7) / 8)
typedef _Atomic uint64_t demo_word;

/* Gauges of an address, counted over all children. */
enum demo_gauge { DEMO_G_OUTSTANDING, DEMO_G_CONNS, DEMO_G_IDLE, DEMO_G_COUNT };

/* Gauges of the server. */
enum demo_server_gauge { DEMO_SG_QUEUED, DEMO_SG_IN_FLIGHT, DEMO_SG_COUNT };

enum demo_health_state { DEMO_HEALTH_UNKNOWN, DEMO_HEALTH_UP, DEMO_HEALTH_DOWN };

enum demo_result { DEMO_RESULT_OK, DEMO_RESULT_FAILED, DEMO_RESULT_COUNT };

typedef struct {
    /* description, under seq */
    _Alignas(DEMO_CACHE_LINE) _Atomic uint32_t seq; /* odd: being written */
    _Atomic uint32_t use;       /* grows when the slot is given to another address */
    _Atomic int32_t  backend;   /* index, or -1: the slot is free */
    _Atomic uint32_t addr_len;
    demo_word        addr[DEMO_WORDS(sizeof(struct sockaddr_un))];
    demo_word        name[DEMO_WORDS(DEMO_TARGET_NAME_MAX)];
    _Atomic int64_t  retired_at; /* when the name lost this address, or 0 */

    /* requests */
    _Alignas(DEMO_CACHE_LINE) _Atomic int32_t gauge[DEMO_G_COUNT];
    _Atomic uint64_t outcome[DEMO_OUTCOME_COUNT];
    _Atomic int64_t  last_ok;     /* when a request last succeeded, or 0 */
    _Atomic int64_t  held_until;  /* not chosen before, or 0 */
    _Atomic uint32_t failures;    /* in a row */
    _Atomic int64_t  conns_wanted; /* when a child last got less than its share of connections, or 0 */
    _Atomic uint32_t bound_more;  /* demo_bound.c: above DEMO_BOUND_MIN */
    _Atomic int32_t  bound_score; /* quick answers on new connections less slow ones */

    /* health check; written by the leader */
    _Alignas(DEMO_CACHE_LINE) _Atomic uint32_t health; /* enum demo_health_state */
    _Atomic uint32_t health_run;     /* successes or failures in a row */
    _Atomic int64_t  checked_at;     /* end of the last check, or 0 */
    _Atomic int64_t  check_us;       /* what it took */
    _Atomic uint64_t checks[DEMO_RESULT_COUNT];
    _Atomic uint32_t text_seq;
    demo_word        text[DEMO_WORDS(DEMO_HEALTH_TEXT_MAX)]; /* "ok", or what failed */
} demo_shm_addr;

typedef struct {
    /* under table; read under seq */
    _Alignas(DEMO_CACHE_LINE) _Atomic uint32_t seq;
    _Atomic uint32_t use;      /* grows when the place is given to another URL */
    _Atomic uint32_t epoch;    /* last configuration that names it; 0: free */
    _Atomic uint32_t n;        /* of slots */
    _Atomic uint16_t slots[DEMO_PER_BACKEND_MAX]; /* its addresses at the moment */
    demo_word        url[DEMO_WORDS(DEMO_URL_MAX)];

    _Atomic uint64_t resolutions[DEMO_RESULT_COUNT];
    _Atomic int64_t  resolved_at;   /* last success, or 0 */
    _Atomic uint32_t resolve_now;   /* an attempt at one of its addresses failed */
    _Atomic uint32_t text_seq;
    demo_word        text[DEMO_WORDS(DEMO_HEALTH_TEXT_MAX)]; /* why the last resolution failed */
} demo_shm_backend;

/* --- children -------------------------------------------------------------------- */

/* What a child has counted into gauges; taken out again when it dies. */
typedef struct {
    _Alignas(DEMO_CACHE_LINE) _Atomic int32_t pid; /* 0: free; < 0: being given back */
    _Atomic int32_t server[DEMO_SG_COUNT];
    _Atomic int32_t gauge[DEMO_ADDRESSES_MAX][DEMO_G_COUNT];
    _Atomic int64_t wanted[DEMO_ADDRESSES_MAX]; /* as conns_wanted, by this child */
} demo_shm_child;

typedef struct {
    uint64_t         layout;     /* sizes, so that another build does not misread it */
    uint32_t         n_children;
    int64_t          start_wall; /* apr_time_t of its making */
    int32_t          parent;     /* process that made it: httpd's own */
    _Atomic uint32_t epoch;      /* grows with each configuration read; from 1 */
    pthread_mutex_t  leader;     /* robust; held by the thread that checks and resolves */
    pthread_mutex_t  table;      /* robust; held while backends and addresses change */
    _Atomic int32_t  server[DEMO_SG_COUNT];
    demo_shm_backend backends[DEMO_BACKENDS_MAX];
    demo_shm_addr    addrs[DEMO_ADDRESSES_MAX];
    demo_shm_shard   shards[DEMO_SHARDS];
    demo_shm_child   children[];
} demo_segment;

/* The mapping, or NULL before demo_shm_open().  Set before the children fork. */
extern demo_segment *demo_seg;

/* The configuration this process runs with: demo_seg->epoch when it was read. */
extern uint32_t demo_epoch;

/* This child's place, or NULL (the parent). */
extern demo_shm_child *demo_child;

/* Robust locks: a dead owner is no obstacle.  demo_lock waits, demo_trylock is 1
 * when it got the lock. */
void demo_lock(pthread_mutex_t *m);
int  demo_trylock(pthread_mutex_t *m);
void demo_unlock(pthread_mutex_t *m);

/* Adds to a gauge and to this child's share of it; the new value. */
int32_t demo_gauge_add(int slot, enum demo_gauge g, int32_t n);
int32_t demo_server_gauge_add(enum demo_server_gauge g, int32_t n);

/* Never below 0. */
uint32_t demo_gauge_read(const _Atomic int32_t *gauge);

/* Sequence locks.  One writer at a time (the caller sees to it).
 *      seq = demo_seq_write(&x->seq); … demo_seq_written(&x->seq, seq);
 *      int tries = 0;
 *      do { seq = demo_seq_read(&x->seq); … } while (demo_seq_again(&x->seq, seq, &tries));
 * A reader gives way to a writer that was interrupted, but does not wait for one
 * that was killed: afterwards tries is DEMO_SEQ_TRIES when what it read is not
 * sound. */
#define DEMO_SEQ_TRIES 1000
uint32_t demo_seq_write(_Atomic uint32_t *seq);
void     demo_seq_written(_Atomic uint32_t *seq, uint32_t value);
uint32_t demo_seq_read(const _Atomic uint32_t *seq);
int      demo_seq_again(const _Atomic uint32_t *seq, uint32_t value, int *tries);

/* Copies len bytes in or out, in relaxed words; dst and src have room for whole
 * words. */
void demo_words_store(demo_word *dst, const void *src, size_t len);
void demo_words_load(void *dst, const demo_word *src, size_t len);

/* A text under its own sequence lock; cut at the size of the field.  The load
 * returns 0 where the text may be a mixture of two, since the writer was
 * interrupted for longer than a reader tries. */
void demo_text_store(_Atomic uint32_t *seq, demo_word *dst, size_t size, const char *text);
int  demo_text_load(const _Atomic uint32_t *seq, const demo_word *src, size_t size, char *text);

/* Gives back what the children that died hold, and mends gauges that a child
 * left wrong because it died between two additions.  Leader, once a second. */
void demo_shm_mend(void);

#endif /* DEMO_SEGMENT_H */
