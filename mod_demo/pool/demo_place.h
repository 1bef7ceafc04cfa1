/*
 * demo_place.h -- what a child holds of one address: the right to keep so many
 * connections, those connections, and who waits for one.
 *
 *      right  --open-->  used  --its request ended-->  idle  --taken-->  used …
 *                          \--taken over: its request is long--> nobody's
 *
 * Who finds no connection takes over the right of the one whose request began
 * first of those that are long: it is closed after its request unless a right is
 * free by then, and the right goes where requests are short.  So a few long
 * requests do not stand in the way of many short ones.
 *
 * All of it is used under the lock of demo_pool.c, but for what is atomic.
 */
#ifndef DEMO_PLACE_H
#define DEMO_PLACE_H

#include <pthread.h>
#include <stdatomic.h>

#include "mod_demo/pool/demo_conn.h"

/* A thread that waits; on its stack. */
typedef struct demo_waiter {
    struct demo_waiter *next;
    apr_time_t since;
    demo_conn *conn;            /* what it was given, and is out of the list then, */
    bool admitted;              /* or leave to open one that may be kept */
    pthread_cond_t given;
} demo_waiter;

typedef struct {
    demo_conn *idle;            /* last in, first out: the rest ages and is closed */
    demo_conn *used, **used_last; /* in the order in which their requests began */
    _Atomic unsigned held;      /* rights: idle, used, or about to be opened; written under the lock */
    demo_waiter *first, **last; /* who waits, in the order they came */
    unsigned waiting;           /* how many these are, */
    unsigned yielding;          /* and how many of them look again and again */
    bool waking;                /* one was woken and has not looked yet */
    _Atomic apr_time_t came_back; /* when the last connection did; read without the lock */
    _Atomic apr_interval_time_t interval; /* between two that come back; moving average */
    _Atomic apr_interval_time_t service; /* moving average of a request's time on a connection with a right */
    _Atomic apr_interval_time_t fresh;   /* the same on new connections, where that tells of the listen queue */
    _Atomic apr_interval_time_t least[2]; /* read without the lock: the shortest such time, of this second and the one before */
    apr_time_t second;
    _Atomic unsigned parties;   /* demo_conns_parties(), as seen at */
    _Atomic apr_time_t parties_at;
} demo_place;

void demo_place_init(demo_place *place);

/* --- connections -------------------------------------------------------------------- */

/* Takes the idle connection that was used last, for a request that begins now; or NULL. */
demo_conn *demo_place_take(demo_place *place, apr_time_t now);

/* A connection with a right carries a request that began at conn->taken; it does no more. */
void demo_place_use(demo_place *place, demo_conn *conn);
void demo_place_unuse(demo_place *place, demo_conn *conn);

/* Takes the right from the connection whose request began first of those that are
 * long; true: the caller has it, held stays. */
bool demo_place_take_over(demo_place *place, apr_time_t now);

/* A connection came back: to the one who waits for too long, or among the idle ones. */
void demo_place_give(demo_place *place, demo_conn *conn, apr_time_t now);

/* Takes what is idle for too long (or all of it), as a list; held is less by as many. */
demo_conn *demo_place_expired(demo_place *place, apr_time_t now, bool all);

/* How many are idle, of all addresses. */
unsigned demo_places_idle(void);

/* --- who waits ------------------------------------------------------------------------ */

void demo_place_enter(demo_place *place, demo_waiter *w, const pthread_condattr_t *clock);
void demo_place_leave(demo_place *place, demo_waiter *w);

/* After which time a waiter looks whether it still pays. */
apr_interval_time_t demo_place_next_look(const demo_place *place);

/* Has the waiter been given something, or lies a connection idle? */
bool demo_place_look(demo_place *place, demo_waiter *w);

/* A right that becomes free goes to the first who waits; false: nobody does. */
bool demo_place_admit_first(demo_place *place);

/* --- what is known -------------------------------------------------------------------- */

/* A request on a connection with a right took so long. */
void demo_place_note(demo_place *place, apr_time_t now, apr_interval_time_t took);

/* One on a new connection did. */
void demo_place_note_fresh(demo_place *place, apr_interval_time_t took);

/* Do answers take more than microseconds, and not more than ten milliseconds?  Any thread, no lock. */
bool demo_place_is_prompt(const demo_place *place);

/* Does the backend answer within microseconds?  Any thread, no lock. */
bool demo_place_is_brief(const demo_place *place);

/* A request that takes longer than this is long here. */
apr_interval_time_t demo_place_long(const demo_place *place);

/* Do connections come back every moment?  Any thread, no lock. */
bool demo_place_flows(const demo_place *place, apr_time_t now);

#endif /* DEMO_PLACE_H */
