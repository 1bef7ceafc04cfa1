#include "mod_demo/shm/demo_gauges.h"

#include <stddef.h>
#include <unistd.h>

#include "mod_demo/shm/demo_clock.h"
#include "mod_demo/shm/demo_segment.h"

/* --- adding and reading ----------------------------------------------------------------- */

/* A child killed between the two leaves a total that is not the sum of the shares,
 * which demo_shm_mend() sees and mends. */
int32_t demo_gauge_add(int slot, enum demo_gauge g, int32_t n)
{
    if (demo_child != NULL) {
        (void)atomic_fetch_add_explicit(&demo_child->gauge[slot][g], n, memory_order_relaxed);
    }
    return atomic_fetch_add_explicit(&demo_seg->addrs[slot].gauge[g], n, memory_order_relaxed) + n;
}

int32_t demo_server_gauge_add(enum demo_server_gauge g, int32_t n)
{
    if (demo_child != NULL) {
        (void)atomic_fetch_add_explicit(&demo_child->server[g], n, memory_order_relaxed);
    }
    return atomic_fetch_add_explicit(&demo_seg->server[g], n, memory_order_relaxed) + n;
}

/* Never above max, not for a moment: hundreds of threads that are refused one after
 * the other would else keep the total above it, and who looks at it then gives up
 * what nobody wants.  0: refused. */
static int bounded_take(_Atomic int32_t *total, _Atomic int32_t *share, int64_t max)
{
    int32_t now = atomic_load_explicit(total, memory_order_relaxed);

    do {
        if (now >= max) {
            return 0;
        }
    } while (!atomic_compare_exchange_weak_explicit(total, &now, now + 1, memory_order_relaxed,
                                                    memory_order_relaxed));
    if (share != NULL) {
        (void)atomic_fetch_add_explicit(share, 1, memory_order_relaxed);
    }
    return 1;
}

uint32_t demo_gauge_read(const _Atomic int32_t *gauge)
{
    int32_t v = atomic_load_explicit(gauge, memory_order_relaxed);

    return v > 0 ? (uint32_t)v : 0;
}

/* --- mending ----------------------------------------------------------------------------- */

/* The sum of all shares of a gauge that lies at offset in a child's place. */
static int32_t share_sum(size_t offset)
{
    int32_t sum = 0;

    for (uint32_t i = 0; i < demo_seg->n_children; i++) {
        const demo_shm_child *c = &demo_seg->children[i];
        if (atomic_load_explicit(&c->pid, memory_order_relaxed) != 0) {
            sum += atomic_load((const _Atomic int32_t *)(const void *)((const char *)c + offset));
        }
    }
    return sum;
}

enum { MEND_AFTER = 5 }; /* equal differences in a row */

typedef struct {
    int32_t diff;
    int     seen;
} mend_state;

/* A total and its shares are not read at one moment, so a difference is believed
 * only when nothing moved while it was read, and it stays the same for long. */
static void gauge_mend(_Atomic int32_t *total, size_t offset, mend_state *m)
{
    int32_t before = atomic_load(total);
    int32_t sum = share_sum(offset);
    int32_t diff = before - sum;

    if (sum != share_sum(offset) || before != atomic_load(total) || diff == 0 || diff != m->diff) {
        m->diff = diff;
        m->seen = 0;
        return;
    }
    if (++m->seen >= MEND_AFTER) {
        (void)atomic_fetch_sub(total, diff);
        m->seen = 0;
    }
}

void demo_shm_mend(void)
{
    static mend_state server[DEMO_SG_COUNT], addr[DEMO_ADDRESSES_MAX][DEMO_G_COUNT];

    if (demo_child == NULL) {
        return;
    }
    for (int g = 0; g < DEMO_SG_COUNT; g++) {
        gauge_mend(&demo_seg->server[g],
                   offsetof(demo_shm_child, server) + (size_t)g * sizeof(int32_t), &server[g]);
    }
    for (int a = 0; a < DEMO_ADDRESSES_MAX; a++) {
        if (atomic_load_explicit(&demo_seg->addrs[a].backend, memory_order_relaxed) < 0) {
            continue;
        }
        for (int g = 0; g < DEMO_G_COUNT; g++) {
            gauge_mend(&demo_seg->addrs[a].gauge[g],
                       offsetof(demo_shm_child, gauge)
                       + ((size_t)a * DEMO_G_COUNT + (size_t)g) * sizeof(int32_t), &addr[a][g]);
        }
    }
}

/* --- what is counted ----------------------------------------------------------------------- */

int demo_conns_acquire(int slot, unsigned max)
{
    if (demo_seg == NULL || slot < 0) {
        return max == 0;
    }
    return bounded_take(&demo_seg->addrs[slot].gauge[DEMO_G_CONNS],
                        demo_child != NULL ? &demo_child->gauge[slot][DEMO_G_CONNS] : NULL,
                        max != 0 ? (int64_t)max : INT32_MAX);
}

void demo_conns_release(int slot)
{
    if (demo_seg != NULL && slot >= 0) {
        (void)demo_gauge_add(slot, DEMO_G_CONNS, -1);
    }
}

unsigned demo_conns_count(int slot)
{
    return demo_seg != NULL && slot >= 0
           ? demo_gauge_read(&demo_seg->addrs[slot].gauge[DEMO_G_CONNS]) : 0;
}

void demo_conns_want(int slot)
{
    apr_time_t now = demo_now();

    if (demo_seg != NULL && slot >= 0) {
        atomic_store_explicit(&demo_seg->addrs[slot].conns_wanted, now, memory_order_relaxed);
    }
    if (demo_child != NULL && slot >= 0) {
        atomic_store_explicit(&demo_child->wanted[slot], now, memory_order_relaxed);
    }
}

unsigned demo_conns_parties(int slot, apr_time_t since)
{
    unsigned n = 0;

    for (uint32_t i = 0; demo_seg != NULL && slot >= 0 && i < demo_seg->n_children; i++) {
        const demo_shm_child *c = &demo_seg->children[i];
        if (atomic_load_explicit(&c->pid, memory_order_relaxed) != 0
            && (demo_gauge_read(&c->gauge[slot][DEMO_G_CONNS]) > 0
                || atomic_load_explicit(&c->wanted[slot], memory_order_relaxed) > since)) {
            n++;
        }
    }
    return n;
}

apr_time_t demo_conns_wanted(int slot)
{
    return demo_seg != NULL && slot >= 0
           ? atomic_load_explicit(&demo_seg->addrs[slot].conns_wanted, memory_order_relaxed) : 0;
}

void demo_conns_idle(int slot, int delta)
{
    if (demo_seg != NULL && slot >= 0) {
        (void)demo_gauge_add(slot, DEMO_G_IDLE, delta);
    }
}

int demo_queue_enter(unsigned max)
{
    if (demo_seg == NULL) {
        return 1;
    }
    return bounded_take(&demo_seg->server[DEMO_SG_QUEUED],
                        demo_child != NULL ? &demo_child->server[DEMO_SG_QUEUED] : NULL, max);
}

void demo_queue_leave(void)
{
    if (demo_seg != NULL) {
        (void)demo_server_gauge_add(DEMO_SG_QUEUED, -1);
    }
}

void demo_in_flight(int delta)
{
    if (demo_seg != NULL) {
        (void)demo_server_gauge_add(DEMO_SG_IN_FLIGHT, delta);
    }
}

bool demo_in_flight_is_high(void)
{
    static _Atomic long processors; /* asked for once */
    long n = atomic_load_explicit(&processors, memory_order_relaxed);

    if (n == 0) {
        n = sysconf(_SC_NPROCESSORS_ONLN);
        n = n > 0 ? n : 1;
        atomic_store_explicit(&processors, n, memory_order_relaxed);
    }
    return demo_seg != NULL
           && demo_gauge_read(&demo_seg->server[DEMO_SG_IN_FLIGHT]) > (uint64_t)n;
}
