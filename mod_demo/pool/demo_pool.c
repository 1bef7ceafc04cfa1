#include "mod_demo/pool/demo_pool.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

#include "ap_mpm.h"
#include "http_log.h"

#include "mod_demo/pool/demo_bound.h"
#include "mod_demo/shm/demo_clock.h"
#include "mod_demo/shm/demo_gauges.h"

APLOG_USE_MODULE(demo);

#define WAIT_MAX_US 50000   /* the longest wait for a kept connection */
#define WAIT_YIELDS 20      /* looks at the pool before a thread goes to sleep for it */
#define YIELDERS_MAX 2      /* threads that do so at a time; more would only run each other down */

/* Whoever comes at the right moment takes a connection past those who wait,
 * which spares a change of threads; past one who waits for this long nobody. */
#define WAIT_FAIR_US 2000

/* Where answers take less than this it pays to look for them before sleeping;
 * a busy machine changes the average of that time, not the least. */
#define BRIEF_US 150

#define WANTED_US 200000 /* how long a wish of another child counts */

/* A thread in idle_wait(), on its stack; under the lock. */
typedef struct demo_waiter {
    struct demo_waiter *next;
    apr_time_t since;
    demo_conn *conn;            /* what it was given, and is out of the list then, */
    bool admitted;              /* or leave to open one that may be kept */
    pthread_cond_t given;
} demo_waiter;

/* What this child holds of one address. */
typedef struct {
    demo_conn *idle;            /* last in, first out: the rest ages and is closed */
    _Atomic unsigned held;      /* idle and in use; written under the lock */
    demo_waiter *first, **last; /* who waits, in the order they came */
    unsigned waiting;           /* how many these are, */
    unsigned yielding;          /* and how many of them look again and again */
    bool waking;                /* one was woken and has not looked yet */
    _Atomic apr_interval_time_t service; /* moving average of a request's time on a connection */
    _Atomic apr_interval_time_t least[2]; /* read without the lock: the shortest such time, of this second and the one before */
    apr_time_t second;
} demo_place;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t reaper_wake;
    pthread_condattr_t monotonic; /* for the conditions of waiters */
    demo_place place[DEMO_ADDRESSES_MAX];
    unsigned idle_count;
    apr_interval_time_t idle_min; /* the shortest idle= seen: how often to look */
    bool reaper_sleeps, stop;
    pthread_t reaper;
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void deadline_in(struct timespec *ts, apr_interval_time_t us)
{
    clock_gettime(CLOCK_MONOTONIC, ts);
    ts->tv_sec += (time_t)(us / APR_USEC_PER_SEC);
    ts->tv_nsec += (long)(us % APR_USEC_PER_SEC) * 1000;
    if (ts->tv_nsec >= 1000000000) {
        ts->tv_sec++;
        ts->tv_nsec -= 1000000000;
    }
}

/* Takes out of all places what is idle for too long (or all of it).  Under the lock. */
static demo_conn *expired_take(apr_time_t now, bool all)
{
    demo_conn *out = NULL;

    for (unsigned i = 0; i < DEMO_ADDRESSES_MAX && pool.idle_count > 0; i++) {
        demo_conn **at = &pool.place[i].idle;
        while (*at != NULL) {
            demo_conn *conn = *at;
            if (all || now >= conn->idle_until) {
                *at = conn->next;
                conn->next = out;
                out = conn;
                pool.place[i].held--;
                pool.idle_count--;
                demo_conns_idle(conn->slot, -1);
            }
            else {
                at = &conn->next;
            }
        }
    }
    return out;
}

static void list_close(demo_conn *list)
{
    while (list != NULL) {
        demo_conn *next = list->next;
        demo_conn_close(list);
        list = next;
    }
}

static void *reaper_main(void *unused)
{
    pthread_mutex_lock(&pool.lock);
    while (!pool.stop) {
        demo_conn *expired;
        if (pool.idle_count == 0) {
            pool.reaper_sleeps = true;
            pthread_cond_wait(&pool.reaper_wake, &pool.lock);
            pool.reaper_sleeps = false;
        }
        else {
            struct timespec ts;
            deadline_in(&ts, pool.idle_min / 4 + 1000);
            pthread_cond_timedwait(&pool.reaper_wake, &pool.lock, &ts);
        }
        expired = expired_take(demo_now(), false);
        if (expired != NULL) {
            pthread_mutex_unlock(&pool.lock);
            list_close(expired);
            pthread_mutex_lock(&pool.lock);
        }
    }
    pthread_mutex_unlock(&pool.lock);
    return NULL;
}

static apr_status_t pool_stop(void *unused)
{
    demo_conn *rest;

    pthread_mutex_lock(&pool.lock);
    pool.stop = true;
    pthread_cond_signal(&pool.reaper_wake);
    pthread_mutex_unlock(&pool.lock);
    pthread_join(pool.reaper, NULL);
    pthread_mutex_lock(&pool.lock);
    rest = expired_take(0, true);
    pthread_mutex_unlock(&pool.lock);
    list_close(rest);
    return APR_SUCCESS;
}

void demo_pool_child_init(apr_pool_t *pchild, server_rec *s)
{
    sigset_t all, old;
    int error;

    pthread_condattr_init(&pool.monotonic);
    pthread_condattr_setclock(&pool.monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&pool.reaper_wake, &pool.monotonic);
    for (unsigned i = 0; i < DEMO_ADDRESSES_MAX; i++) {
        pool.place[i].last = &pool.place[i].first;
    }
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    error = pthread_create(&pool.reaper, NULL, reaper_main, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (error != 0) {
        ap_log_error(APLOG_MARK, APLOG_ERR, error, s, "DM1060: no thread for kept connections, "
                     "none are kept: each request opens its own; raise the limit of processes "
                     "(ulimit -u, pids.max)");
        pool.stop = true;
        return;
    }
    apr_pool_pre_cleanup_register(pchild, NULL, pool_stop);
}

/* The first idle connection of a place, or NULL.  Under the lock. */
static demo_conn *idle_pop(demo_place *place)
{
    demo_conn *conn = place->idle;

    if (conn != NULL) {
        place->idle = conn->next;
        pool.idle_count--;
        demo_conns_idle(conn->slot, -1);
    }
    return conn;
}

/* Does the backend answer within microseconds?  The shortest time tells it; the
 * average tells how busy the machine is. */
static bool is_brief(const demo_place *place)
{
    apr_interval_time_t a = place->least[0], b = place->least[1];

    return (a > 0 && a < BRIEF_US) || (b > 0 && b < BRIEF_US);
}

static void service_note(demo_place *place, apr_time_t now, apr_interval_time_t took)
{
    if (took < 1) {
        took = 1;
    }
    place->service += (took - place->service) / 8;
    if (now - place->second > APR_USEC_PER_SEC) {
        place->second = now;
        place->least[1] = place->least[0];
        place->least[0] = took;
    }
    else if (took < place->least[0]) {
        place->least[0] = took;
    }
}

/* Of one who comes now and is served in turn. */
static apr_interval_time_t expected_wait(const demo_place *place)
{
    return place->held > 0 ? place->service * (place->waiting + 1) / place->held : 0;
}

/* Is it likely that a kept connection comes back sooner than it would take to
 * open another?  Answers of a millisecond: yes; of a second: no. */
static bool wait_is_short(const demo_place *place)
{
    return place->held > 0 && expected_wait(place) < WAIT_MAX_US / 2;
}

static void waiter_enter(demo_place *place, demo_waiter *w)
{
    w->next = NULL;
    w->conn = NULL;
    w->admitted = false;
    w->since = demo_now();
    pthread_cond_init(&w->given, &pool.monotonic);
    *place->last = w;
    place->last = &w->next;
    place->waiting++;
}

static void waiter_leave(demo_place *place, demo_waiter *w)
{
    demo_waiter **at = &place->first;

    while (*at != w) {
        at = &(*at)->next;
    }
    *at = w->next;
    if (place->last == &w->next) {
        place->last = at;
    }
    place->waiting--;
}

/* Has the waiter been given something, or lies a connection idle? */
static bool waiter_look(demo_place *place, demo_waiter *w)
{
    if (w->conn == NULL && !w->admitted) {
        w->conn = idle_pop(place);
        if (w->conn != NULL) {
            waiter_leave(place, w);
        }
    }
    return w->conn != NULL || w->admitted;
}

/* Under the lock; NULL and *admitted as in demo_pool_take().  A wait begins with
 * letting others run, one of which may hold what is waited for: where answers
 * take microseconds this costs less than to sleep and be woken. */
static demo_conn *idle_wait(demo_place *place, bool *admitted)
{
    struct timespec until;
    demo_waiter w;
    int error = 0;

    waiter_enter(place, &w);
    if (place->yielding < YIELDERS_MAX && is_brief(place)) {
        place->yielding++;
        for (int i = WAIT_YIELDS; i > 0 && !waiter_look(place, &w); i--) {
            pthread_mutex_unlock(&pool.lock);
            sched_yield();
            pthread_mutex_lock(&pool.lock);
        }
        place->yielding--;
    }
    deadline_in(&until, WAIT_MAX_US);
    while (!waiter_look(place, &w) && error == 0 && place->held > 0 && !pool.stop) {
        error = pthread_cond_timedwait(&w.given, &pool.lock, &until);
        place->waking = false;
    }
    if (w.conn == NULL && !w.admitted) {
        waiter_leave(place, &w);
    }
    *admitted = w.admitted;
    pthread_cond_destroy(&w.given);
    return w.conn; /* NOLINT(clang-analyzer-core.StackAddressEscape): w is out of the list */
}

/* Among the idle ones, or to the one who waits for too long.  Under the lock. */
static void idle_push(demo_place *place, demo_conn *conn, apr_time_t now)
{
    demo_waiter *w = place->first;

    if (w != NULL && now - w->since >= WAIT_FAIR_US + 2 * expected_wait(place)) {
        waiter_leave(place, w);
        w->conn = conn;
        pthread_cond_signal(&w->given);
    }
    else {
        conn->next = place->idle;
        place->idle = conn;
        pool.idle_count++;
        demo_conns_idle(conn->slot, 1);
        if (w != NULL && place->yielding == 0 && !place->waking) {
            place->waking = true;
            pthread_cond_signal(&w->given);
        }
    }
}

/* Closes a connection that is counted.  pass_on: the first who waits may open
 * another in its stead, else the other children may. */
static void counted_drop(demo_conn *conn, bool pass_on)
{
    demo_place *place = &pool.place[conn->slot];
    demo_waiter *w;

    pthread_mutex_lock(&pool.lock);
    w = place->first;
    if (w != NULL && pass_on && !pool.stop) {
        conn->counted = false;
        waiter_leave(place, w);
        w->admitted = true;
        pthread_cond_signal(&w->given);
    }
    else if (--place->held == 0) {
        for (; w != NULL; w = w->next) {
            pthread_cond_signal(&w->given);     /* nothing comes back any more */
        }
    }
    pthread_mutex_unlock(&pool.lock);
    demo_conn_close(conn);
}

void demo_pool_drop(demo_conn *conn)
{
    if (conn != NULL && conn->counted) {
        counted_drop(conn, true);
    }
    else {
        demo_conn_close(conn);
    }
}

static unsigned pool_max(int slot, const demo_pool_conf *conf)
{
    return conf->max == DEMO_POOL_AUTO ? demo_bound_get(slot) : (unsigned)conf->max;
}

/* What each child may hold when all of them want connections. */
static unsigned pool_share(int slot, const demo_pool_conf *conf)
{
    int children = 1;

    if (ap_mpm_query(AP_MPMQ_MAX_DAEMON_USED, &children) != APR_SUCCESS || children < 1) {
        children = 1;
    }
    return (pool_max(slot, conf) + (unsigned)children - 1) / (unsigned)children;
}

/* Counts a connection in, here and over all children. */
static bool admit(demo_place *place, int slot, const demo_pool_conf *conf)
{
    if (pool.stop) {
        return false;
    }
    if (!demo_conns_acquire(slot, pool_max(slot, conf))) {
        if (place->held < pool_share(slot, conf)) {
            demo_conns_want(slot);
        }
        return false;
    }
    pthread_mutex_lock(&pool.lock);
    place->held++;
    pthread_mutex_unlock(&pool.lock);
    return true;
}

demo_conn *demo_pool_take(const demo_target *target, const demo_pool_conf *conf, bool *admitted)
{
    demo_place *place = &pool.place[target->slot];
    bool waited = false;

    *admitted = false;
    if (conf->max == 0) {
        return NULL;
    }
    for (;;) {
        demo_conn *conn;
        pthread_mutex_lock(&pool.lock);
        conn = idle_pop(place);
        pthread_mutex_unlock(&pool.lock);
        if (conn == NULL) {
            *admitted = admit(place, target->slot, conf);
            if (*admitted || waited) {
                return NULL;
            }
            waited = true;
            pthread_mutex_lock(&pool.lock);
            conn = wait_is_short(place) ? idle_wait(place, admitted) : NULL;
            pthread_mutex_unlock(&pool.lock);
        }
        if (conn == NULL) {
            *admitted = *admitted || admit(place, target->slot, conf);
            return NULL;
        }
        if (conn->use == target->use && demo_conn_usable(conn)) {
            conn->reused = true;
            conn->brief = is_brief(place);
            conn->taken = demo_now();
            return conn;
        }
        counted_drop(conn, false);
    }
}

void demo_pool_unadmit(const demo_target *target)
{
    demo_place *place = &pool.place[target->slot];

    pthread_mutex_lock(&pool.lock);
    place->held--;
    pthread_mutex_unlock(&pool.lock);
    demo_conns_release(target->slot);
}

static bool httpd_stops(void)
{
    int state = AP_MPMQ_RUNNING;

    return ap_mpm_query(AP_MPMQ_MPM_STATE, &state) == APR_SUCCESS && state == AP_MPMQ_STOPPING;
}

/* Must it be closed because others have a right to it: another child, or, where
 * the bound fell, whoever else uses the backend? */
static bool owed(const demo_place *place, int slot, const demo_pool_conf *conf, apr_time_t now)
{
    return (now - demo_conns_wanted(slot) < WANTED_US && place->held > pool_share(slot, conf))
           || (conf->max == DEMO_POOL_AUTO && demo_conns_count(slot) > demo_bound_get(slot));
}

void demo_pool_give(demo_conn *conn, const demo_pool_conf *conf)
{
    demo_place *place = &pool.place[conn->slot];
    apr_time_t now = demo_now();
    apr_interval_time_t slice = demo_bound_slice(conf->max == DEMO_POOL_AUTO ? conn->slot : -1);
    bool wake, others;

    conn->busy += now - conn->taken;
    if (!conn->reused && conf->max == DEMO_POOL_AUTO) {
        demo_bound_note(conn->slot, now - conn->taken, place->service);
    }
    if (!conn->counted) {
        demo_conn_close(conn);
        return;
    }
    others = owed(place, conn->slot, conf, now);
    if (conn->busy > slice || others || pool.stop || httpd_stops()) {
        counted_drop(conn, !others);
        return;
    }
    conn->idle_until = now + conf->idle;
    pthread_mutex_lock(&pool.lock);
    service_note(place, now, now - conn->taken);
    if (pool.idle_min == 0 || conf->idle < pool.idle_min) {
        pool.idle_min = conf->idle;
    }
    idle_push(place, conn, now);
    wake = pool.reaper_sleeps;
    pthread_mutex_unlock(&pool.lock);
    if (wake) {
        pthread_cond_signal(&pool.reaper_wake);
    }
}
