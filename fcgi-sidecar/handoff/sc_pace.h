/*
 * sc_pace.h -- how fast a base is copied while requests are served.
 *
 * Each piece is followed by a pause that is some times as long as the piece took.
 * How many times is found by what the requests say: after each second of copying
 * nothing is copied for a quarter of a second, and the requests completed a second in
 * both are compared (each smoothed over a few rounds, for disks stall and
 * clients come and go).  When copying leaves less than SC_PACE_KEEP of them the
 * pauses get longer, else shorter.  Too few requests to tell leave them as they are.
 * When none was completed for a while there is no pause at all.
 *
 * No clock, no lock, no error: the caller tells the time, in microseconds of a
 * monotonic clock, and the relay's count of completed requests.
 */
#ifndef SC_PACE_H
#define SC_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define SC_PACE_TIMES_START 20.0   /* times as long as a piece is its pause, to begin with, */
#define SC_PACE_TIMES_MIN   10.0   /* at least, */
#define SC_PACE_TIMES_MAX   40.0   /* and at most */
#define SC_PACE_PAUSE_MAX   100000 /* us; longest pause behind a piece */
#define SC_PACE_BUSY        250000 /* us after a completed request in which others are expected */
#define SC_PACE_WORK        1000000 /* us of copying in a round, at least */
#define SC_PACE_QUIET       250000 /* us without copying at its end */
#define SC_PACE_ENOUGH      20     /* requests in both of them that make a round count */
#define SC_PACE_KEEP        0.93   /* of the requests; less, and the pauses get longer */
#define SC_PACE_LONGER      1.25   /* by this, */
#define SC_PACE_SHORTER     0.9    /* or shorter by this */
#define SC_PACE_NEW         0.4    /* weight of a new round in what is compared */

typedef struct {
    double times;         /* the pause, in pieces */
    uint64_t completed;   /* requests, at the last look */
    int64_t busy_until;
    int64_t from;         /* when the present part of a round began, */
    uint64_t from_completed; /* and how many requests were completed then */
    bool quiet;           /* the part without copying */
    double working;       /* requests a second of the part before it; 0: too few */
    double rate_working, rate_quiet; /* smoothed; 0: not known yet */
} sc_pace;

void sc_pace_begin(sc_pace *p, int64_t now, uint64_t completed);

/* A piece is sent, which took `took` us: how long to pause, in us; 0 for not at all. */
int64_t sc_pace_piece(sc_pace *p, int64_t now, int64_t took, uint64_t completed);

/* That pause is over. */
void sc_pace_resume(sc_pace *p, int64_t now, uint64_t completed);

#endif /* SC_PACE_H */
