#include "mod_demo/shm/demo_yield.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>

#include "mod_demo/shm/demo_clock.h"

/* Away for this long on average: many want to run, not one or two. */
#define CROWDED_US 2000
#define WEIGHT     8
#define FORGET_US  100000 /* what was before tells nothing any more */

static _Atomic int64_t average, noted_at; /* two at once: one of them is not counted */

void demo_yield(void)
{
    int64_t began = demo_now(), took, usual;

    (void)sched_yield();
    took = demo_now() - began;
    usual = atomic_load_explicit(&average, memory_order_relaxed);
    if (began - atomic_load_explicit(&noted_at, memory_order_relaxed) > FORGET_US) {
        usual = took;
    }
    atomic_store_explicit(&average, usual + (took - usual) / WEIGHT, memory_order_relaxed);
    atomic_store_explicit(&noted_at, began + took, memory_order_relaxed);
}

void demo_give_way(bool way)
{
    static _Thread_local bool gives_way;
    const struct sched_param none = { 0 };

    if (way != gives_way) {
        /* Asked each time: somebody may have set a policy while httpd runs. */
        bool ours = sched_getscheduler(0) == (way ? SCHED_OTHER : SCHED_BATCH);
        if (ours) {
            (void)sched_setscheduler(0, way ? SCHED_BATCH : SCHED_OTHER, &none);
        }
        gives_way = way && ours;
    }
}

bool demo_is_crowded(void)
{
    return atomic_load_explicit(&average, memory_order_relaxed) > CROWDED_US
           && demo_now() - atomic_load_explicit(&noted_at, memory_order_relaxed) <= FORGET_US;
}
