#include "mod_demo/pool/demo_bound.h"

#include "mod_demo/shm/demo_segment.h"

/* A new connection costs the connect and the accept besides, and is answered at
 * once by a worker that is free; in the listen queue it waits for others'
 * requests.  Measured, with 20 workers and two processors: with nobody else
 * three of four new ones were quicker than the average kept one, beside another
 * gateway one of ten, and half of them took more than 1.6 times as long. */
#define IS_QUICK(fresh, kept) ((fresh) < (kept))
#define IS_SLOW(fresh, kept)  ((fresh) > (kept) + (kept) / 2)

/* The bound changes when there were so many more of one kind than of the other. */
#define GROW_AT   4
#define SHRINK_AT (-4)

/* Where others queue.  With the twentyfold where nobody does one request in
 * thirty needs a new connection instead of one in five, at 30 connections and a
 * page of half a millisecond; a new one costs PHP and httpd a third of such a page. */
#define SLICE_US 50000

static demo_shm_addr *addr_of(int slot)
{
    return demo_seg != NULL && slot >= 0 ? &demo_seg->addrs[slot] : NULL;
}

unsigned demo_bound_get(int slot)
{
    demo_shm_addr *a = addr_of(slot);

    return a != NULL ? DEMO_BOUND_MIN + atomic_load_explicit(&a->bound_more, memory_order_relaxed)
                     : DEMO_BOUND_MIN;
}

apr_interval_time_t demo_bound_slice(int slot)
{
    return SLICE_US * (1 + 2 * (apr_interval_time_t)(demo_bound_get(slot) - DEMO_BOUND_MIN));
}

/* Two threads that step at once may make one step: the next ones correct it. */
void demo_bound_note(int slot, apr_interval_time_t fresh, apr_interval_time_t kept)
{
    demo_shm_addr *a = addr_of(slot);
    int step, score;
    uint32_t more;

    if (a == NULL || kept <= 0) {
        return;
    }
    step = IS_QUICK(fresh, kept) - IS_SLOW(fresh, kept);
    if (step == 0) {
        return;
    }
    score = atomic_fetch_add_explicit(&a->bound_score, step, memory_order_relaxed) + step;
    if (score < GROW_AT && score > SHRINK_AT) {
        return;
    }
    atomic_store_explicit(&a->bound_score, 0, memory_order_relaxed);
    more = atomic_load_explicit(&a->bound_more, memory_order_relaxed);
    if (score > 0 && more < DEMO_BOUND_MAX - DEMO_BOUND_MIN) {
        more++;
    }
    else if (score < 0) {
        more -= (more + 1) / 2;
    }
    atomic_store_explicit(&a->bound_more, more, memory_order_relaxed);
}
