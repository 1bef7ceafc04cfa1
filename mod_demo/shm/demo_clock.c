#include "mod_demo/shm/demo_clock.h"

#include <time.h>

static int64_t clock_us(clockid_t clock)
{
    struct timespec ts;

    (void)clock_gettime(clock, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t demo_now(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

int64_t demo_now_coarse(void)
{
    return clock_us(CLOCK_MONOTONIC_COARSE);
}
