#include "fcgi-sidecar/handoff/sc_pace.h"

#include <string.h>

static void begin_part(sc_pace *p, int64_t now, uint64_t completed, bool quiet)
{
    p->from = now;
    p->from_completed = completed;
    p->quiet = quiet;
}

void sc_pace_begin(sc_pace *p, int64_t now, uint64_t completed)
{
    memset(p, 0, sizeof(*p));
    p->times = SC_PACE_TIMES_START;
    p->completed = completed;
    p->busy_until = now;
    begin_part(p, now, completed, false);
}

/* Requests a second of the part that ends; 0 when they were too few to tell. */
static double rate(const sc_pace *p, int64_t now, uint64_t completed)
{
    uint64_t requests = completed - p->from_completed;

    return requests < SC_PACE_ENOUGH || now <= p->from ? 0.0
        : (double)requests * 1e6 / (double)(now - p->from);
}

static double smooth(double old, double now)
{
    return old > 0.0 ? old + SC_PACE_NEW * (now - old) : now;
}

static void adapt(sc_pace *p)
{
    bool suffer = p->rate_working < SC_PACE_KEEP * p->rate_quiet;

    p->times *= suffer ? SC_PACE_LONGER : SC_PACE_SHORTER;
    p->times = p->times < SC_PACE_TIMES_MIN ? SC_PACE_TIMES_MIN
             : p->times > SC_PACE_TIMES_MAX ? SC_PACE_TIMES_MAX : p->times;
}

int64_t sc_pace_piece(sc_pace *p, int64_t now, int64_t took, uint64_t completed)
{
    double pause = p->times * (double)took;

    if (completed != p->completed) {
        p->completed = completed;
        p->busy_until = now + SC_PACE_BUSY;
    }
    if (now >= p->busy_until) {
        begin_part(p, now, completed, false); /* what nobody asked for tells nothing */
        return 0;
    }
    if (now - p->from >= SC_PACE_WORK) {
        p->working = rate(p, now, completed);
        begin_part(p, now, completed, true);
        return SC_PACE_QUIET;
    }
    return pause < SC_PACE_PAUSE_MAX ? (int64_t)pause : SC_PACE_PAUSE_MAX;
}

void sc_pace_resume(sc_pace *p, int64_t now, uint64_t completed)
{
    double quiet;

    if (!p->quiet) {
        return;
    }
    quiet = rate(p, now, completed);
    if (p->working > 0.0 && quiet > 0.0) {
        p->rate_working = smooth(p->rate_working, p->working);
        p->rate_quiet = smooth(p->rate_quiet, quiet);
        adapt(p);
    }
    begin_part(p, now, completed, false);
}
