#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "apr_shm.h"
#include "apr_strings.h"
#include "ap_mpm.h"
#include "http_config.h"
#include "http_core.h"
#include "http_log.h"

#include "mod_demo/shm/demo_segment.h"
#include "mod_demo/shm/demo_shm.h"

APLOG_USE_MODULE(demo);

demo_segment   *demo_seg;
demo_shm_child *demo_child;
uint32_t        demo_epoch;

enum { SPINS = 50 }; /* of a reader, before it gives way */

/* Children of the old and of the new generation live side by side. */
enum { GENERATIONS = 2, SPARE_CHILDREN = 16, CHILDREN_MAX = 8192 };

enum { RECLAIMED = -1 }; /* in the stead of a process id: somebody gives the place back */

#define RETAINED_KEY "mod_demo.shm"

typedef struct {
    demo_segment *seg;
} retained_data;

static uint64_t layout_of(void)
{
    return ((uint64_t)sizeof(demo_segment) << 32) ^ ((uint64_t)sizeof(demo_shm_child) << 16)
         ^ ((uint64_t)DEMO_C_COUNT << 8) ^ ((uint64_t)DEMO_L_COUNT << 4) ^ (uint64_t)DEMO_H_COUNT;
}

/* --- making ------------------------------------------------------------------------ */

static apr_status_t mutex_init(pthread_mutex_t *m)
{
    pthread_mutexattr_t attr;
    int rc = pthread_mutexattr_init(&attr);

    if (rc == 0) {
        rc = pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
        if (rc == 0) {
            rc = pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
        }
        if (rc == 0) {
            rc = pthread_mutex_init(m, &attr);
        }
        (void)pthread_mutexattr_destroy(&attr);
    }
    return rc;
}

static apr_status_t segment_make(demo_segment **out, apr_pool_t *p)
{
    apr_shm_t *shm = NULL;
    int daemons = 0;

    if (ap_mpm_query(AP_MPMQ_HARD_LIMIT_DAEMONS, &daemons) != APR_SUCCESS || daemons < 1) {
        daemons = 1;
    }
    size_t n = (size_t)daemons * GENERATIONS + SPARE_CHILDREN;
    if (n > CHILDREN_MAX) {
        n = CHILDREN_MAX;
    }
    size_t size = sizeof(demo_segment) + n * sizeof(demo_shm_child);
    apr_status_t rv = apr_shm_create(&shm, size + DEMO_CACHE_LINE, NULL, p);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    /* APR keeps its own header in front, so that the base may lie off the line. */
    char *base = apr_shm_baseaddr_get(shm);
    size_t off = (size_t)(uintptr_t)base % DEMO_CACHE_LINE;
    demo_segment *seg = (demo_segment *)(void *)(base + (off > 0 ? DEMO_CACHE_LINE - off : 0));
    /* It is all zero, and stays unmapped as long as nobody needs it. */
    seg->layout = layout_of();
    seg->n_children = (uint32_t)n;
    seg->start_wall = apr_time_now();
    seg->parent = (int32_t)getpid();
    for (size_t i = 0; i < DEMO_ADDRESSES_MAX; i++) {
        atomic_store(&seg->addrs[i].backend, -1);
    }
    if ((rv = mutex_init(&seg->leader)) == APR_SUCCESS
        && (rv = mutex_init(&seg->table)) == APR_SUCCESS) {
        *out = seg;
    }
    return rv;
}

/* After a full restart no child is left, and nobody knows how long the backends
 * were not looked at: what was found out about them before is void.  After a
 * graceful one the old children have gone on checking. */
static void health_forget(demo_segment *seg)
{
    for (uint32_t i = 0; i < seg->n_children; i++) {
        if (atomic_load(&seg->children[i].pid) != 0) {
            return;
        }
    }
    for (int i = 0; i < DEMO_ADDRESSES_MAX; i++) {
        demo_shm_addr *a = &seg->addrs[i];
        atomic_store(&a->health, DEMO_HEALTH_UNKNOWN);
        atomic_store(&a->health_run, 0);
        atomic_store(&a->failures, 0);
        atomic_store(&a->held_until, 0);
    }
}

apr_status_t demo_shm_open(server_rec *s)
{
    retained_data *kept = ap_retained_data_get(RETAINED_KEY);

    if (kept == NULL) {
        kept = ap_retained_data_create(RETAINED_KEY, sizeof(*kept));
    }
    if (kept->seg == NULL || kept->seg->layout != layout_of()) {
        if (kept->seg != NULL) {
            ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s,
                         "DM0201: another build of mod_demo was loaded: its counters start at zero");
        }
        apr_status_t rv = segment_make(&kept->seg, s->process->pool);
        if (rv != APR_SUCCESS) {
            kept->seg = NULL;
            ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s,
                         "DM0202: no shared memory for counters and backends (%" APR_SIZE_T_FMT
                         " bytes and up): is /dev/shm or the memory limit too small?",
                         sizeof(demo_segment));
            return rv;
        }
    }
    demo_seg = kept->seg;
    demo_child = NULL;
    health_forget(demo_seg);
    demo_epoch = atomic_fetch_add(&demo_seg->epoch, 1) + 1;
    return APR_SUCCESS;
}

/* --- children -------------------------------------------------------------------------- */

/* Subtracts the share of a dead child from the totals and frees its place.  Who
 * comes second leaves it alone: the place may soon be another child's. */
static void child_reclaim(demo_shm_child *c, int32_t pid)
{
    if (!atomic_compare_exchange_strong(&c->pid, &pid, RECLAIMED)) {
        return;
    }
    for (int g = 0; g < DEMO_SG_COUNT; g++) {
        int32_t n = atomic_exchange(&c->server[g], 0);
        if (n != 0) {
            (void)atomic_fetch_sub(&demo_seg->server[g], n);
        }
    }
    for (int a = 0; a < DEMO_ADDRESSES_MAX; a++) {
        for (int g = 0; g < DEMO_G_COUNT; g++) {
            /* Most are 0; a plain look does not dirty the line. */
            if (atomic_load_explicit(&c->gauge[a][g], memory_order_relaxed) == 0) {
                continue;
            }
            int32_t n = atomic_exchange(&c->gauge[a][g], 0);
            (void)atomic_fetch_sub(&demo_seg->addrs[a].gauge[g], n);
        }
    }
    atomic_store(&c->pid, 0);
}

void demo_shm_child_gone(pid_t pid)
{
    if (demo_seg == NULL) {
        return;
    }
    for (uint32_t i = 0; i < demo_seg->n_children; i++) {
        if (atomic_load(&demo_seg->children[i].pid) == pid) {
            child_reclaim(&demo_seg->children[i], (int32_t)pid);
        }
    }
}

/* A place for this child: a free one, or one whose owner is gone unnoticed. */
static demo_shm_child *child_claim(void)
{
    int32_t me = (int32_t)getpid();

    for (int sweep = 0; sweep < 2; sweep++) {
        for (uint32_t i = 0; i < demo_seg->n_children; i++) {
            demo_shm_child *c = &demo_seg->children[i];
            int32_t pid = atomic_load(&c->pid);
            if (pid == me || (sweep == 1 && pid > 0 && kill(pid, 0) != 0 && errno == ESRCH)) {
                child_reclaim(c, pid);
                pid = 0;
            }
            if (pid == 0 && atomic_compare_exchange_strong(&c->pid, &pid, me)) {
                return c;
            }
        }
    }
    return NULL;
}

void demo_shm_child_init(server_rec *s)
{
    if (demo_seg == NULL) {
        return;
    }
    demo_child = child_claim();
    if (demo_child == NULL) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                     "DM0203: more than %u children at once: what this one holds is not given back"
                     " should it crash", demo_seg->n_children);
    }
}

/* --- locks, words ---------------------------------------------------------------------- */

/* What the locks protect is a table of whole entries, each written under its
 * sequence lock: a dead owner leaves at most one entry to be written again. */
static int lock_taken(pthread_mutex_t *m, int rc)
{
    if (rc == EOWNERDEAD) {
        rc = pthread_mutex_consistent(m);
    }
    return rc == 0;
}

void demo_lock(pthread_mutex_t *m)
{
    (void)lock_taken(m, pthread_mutex_lock(m));
}

int demo_trylock(pthread_mutex_t *m)
{
    return lock_taken(m, pthread_mutex_trylock(m));
}

void demo_unlock(pthread_mutex_t *m)
{
    (void)pthread_mutex_unlock(m);
}

/* A writer that died in between left an odd number: the next one starts anew. */
uint32_t demo_seq_write(_Atomic uint32_t *seq)
{
    uint32_t odd = atomic_load_explicit(seq, memory_order_relaxed) | 1u;

    atomic_store_explicit(seq, odd, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    return odd;
}

void demo_seq_written(_Atomic uint32_t *seq, uint32_t value)
{
    atomic_store_explicit(seq, value + 1, memory_order_release);
}

uint32_t demo_seq_read(const _Atomic uint32_t *seq)
{
    return atomic_load_explicit(seq, memory_order_acquire);
}

int demo_seq_again(const _Atomic uint32_t *seq, uint32_t value, int *tries)
{
    atomic_thread_fence(memory_order_acquire);
    if ((value & 1u) == 0 && atomic_load_explicit(seq, memory_order_relaxed) == value) {
        return 0;
    }
    if (++*tries > SPINS) {
        (void)sched_yield();
    }
    return *tries < DEMO_SEQ_TRIES;
}

void demo_words_store(demo_word *dst, const void *src, size_t len)
{
    const char *p = src;

    for (size_t i = 0; len > 0; i++) {
        uint64_t word = 0;
        size_t n = len < sizeof(word) ? len : sizeof(word);
        memcpy(&word, p, n);
        atomic_store_explicit(&dst[i], word, memory_order_relaxed);
        p += n;
        len -= n;
    }
}

void demo_words_load(void *dst, const demo_word *src, size_t len)
{
    char *p = dst;

    for (size_t i = 0; len > 0; i++) {
        uint64_t word = atomic_load_explicit(&src[i], memory_order_relaxed);
        size_t n = len < sizeof(word) ? len : sizeof(word);
        memcpy(p, &word, n);
        p += n;
        len -= n;
    }
}

void demo_text_store(_Atomic uint32_t *seq, demo_word *dst, size_t size, const char *text)
{
    char cut[DEMO_HEALTH_TEXT_MAX > DEMO_URL_MAX ? DEMO_HEALTH_TEXT_MAX : DEMO_URL_MAX];

    (void)apr_cpystrn(cut, text, size < sizeof(cut) ? size : sizeof(cut));
    uint32_t value = demo_seq_write(seq);
    demo_words_store(dst, cut, strlen(cut) + 1);
    demo_seq_written(seq, value);
}

/* Of a text rather a mixture than a reader that never returns. */
int demo_text_load(const _Atomic uint32_t *seq, const demo_word *src, size_t size, char *text)
{
    uint32_t value;
    int tries = 0;

    do {
        value = demo_seq_read(seq);
        demo_words_load(text, src, size);
    } while (demo_seq_again(seq, value, &tries));
    text[size - 1] = '\0';
    return tries < DEMO_SEQ_TRIES;
}
