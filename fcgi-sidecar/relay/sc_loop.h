/*
 * sc_loop.h -- epoll loop, timers, and a bell that other threads ring.
 *
 * Everything but sc_loop_ring() belongs to the loop's thread.  Descriptors are
 * watched edge-triggered unless SC_LOOP_LEVEL is asked for: their owner keeps
 * reading or writing until EAGAIN, or remembers that it stopped before.
 *
 * A timer belongs to a class; all timers of a class last equally long, so each
 * class is a list in order of deadlines: start and stop are O(1).
 */
#ifndef SC_LOOP_H
#define SC_LOOP_H

#include <stdint.h>
#include <sys/epoll.h>

#include <apr_errno.h>
#include <apr_time.h>

#include "fcgi-sidecar/relay/sc_list.h"

#define SC_LOOP_READ  ((uint32_t)EPOLLIN | (uint32_t)EPOLLRDHUP)
#define SC_LOOP_WRITE ((uint32_t)EPOLLOUT)
#define SC_LOOP_LEVEL (1u << 31) /* same bit as EPOLLET, turned round by the loop */

/* A watched descriptor, a member of its owner. */
typedef struct sc_io {
    int     fd;                                       /* -1: closed */
    void  (*ready)(struct sc_io *io, uint32_t events); /* EPOLLIN, EPOLLOUT, … */
    void  (*release)(struct sc_io *io);               /* frees the owner, see sc_loop_close() */
    sc_link grave;
} sc_io;

typedef struct sc_timer {
    sc_link    link;
    apr_time_t deadline; /* monotonic */
    void     (*fire)(struct sc_timer *timer); /* the timer is stopped when it is called */
} sc_timer;

typedef struct {
    sc_link             link;    /* in the loop's list of classes */
    sc_link             running; /* timers, earliest first */
    apr_interval_time_t after;
} sc_timer_class;

typedef struct {
    int        epoll_fd;
    int        bell_fd;
    apr_time_t now;      /* monotonic clock, read once an iteration */
    sc_link    classes;
    sc_link    graves;   /* closed, released at the end of the iteration */
} sc_loop;

/* The monotonic clock, microseconds. */
apr_time_t sc_loop_clock(void);

apr_status_t sc_loop_init(sc_loop *loop);
void sc_loop_destroy(sc_loop *loop);

/* events: SC_LOOP_READ, SC_LOOP_WRITE, SC_LOOP_LEVEL.  watch again with other
 * events: what is ready already is told again. */
apr_status_t sc_loop_watch(sc_loop *loop, sc_io *io, uint32_t events);
apr_status_t sc_loop_rewatch(sc_loop *loop, sc_io *io, uint32_t events);

/* Closes the descriptor now; io->release (if any) is called when no event of
 * this iteration can refer to it any more.  Once an io. */
void sc_loop_close(sc_loop *loop, sc_io *io);

void sc_timer_class_init(sc_loop *loop, sc_timer_class *c, apr_interval_time_t after);
void sc_timer_init(sc_timer *t, void (*fire)(sc_timer *timer));
/* Starts, or starts anew. */
void sc_timer_start(sc_loop *loop, sc_timer_class *c, sc_timer *t);
void sc_timer_stop(sc_timer *t);

/* One iteration: waits for events, a due timer, the bell or `until` (monotonic;
 * 0: no limit), and handles them. */
void sc_loop_turn(sc_loop *loop, apr_time_t until);

/* Makes the current or next sc_loop_turn() return.  Any thread. */
void sc_loop_ring(sc_loop *loop);

#endif /* SC_LOOP_H */
