#include "mod_demo/pool/demo_pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "ap_mpm.h"
#include "http_log.h"

#include "mod_demo/pool/demo_bound.h"
#include "mod_demo/shm/demo_clock.h"
#include "mod_demo/shm/demo_gauges.h"
#include "mod_demo/shm/demo_yield.h"

APLOG_USE_MODULE(demo);

#define WAIT_MAX_US 50000   /* the longest wait for a kept connection */
#define WAIT_YIELDS 20      /* looks at the pool before a thread goes to sleep for it */
#define YIELDERS_MAX 2      /* threads that do so at a time; more would only run each other down */
#define WANTED_US 200000    /* how long a wish of another child counts */
#define PARTIES_US 10000    /* how often the children that share them are counted */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t reaper_wake;
    pthread_condattr_t monotonic; /* for the conditions of waiters */
    demo_place place[DEMO_ADDRESSES_MAX];
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

    for (unsigned i = 0; i < DEMO_ADDRESSES_MAX && demo_places_idle() > 0; i++) {
        demo_conn *list = demo_place_expired(&pool.place[i], now, all);
        while (list != NULL) {
            demo_conn *conn = list;
            list = conn->next;
            conn->next = out;
            out = conn;
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
        if (demo_places_idle() == 0) {
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
        demo_place_init(&pool.place[i]);
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

/* Does waiting pay?  While connections come back all the time; and where so many
 * want to run that another connection makes it worse: after a hiccup all would
 * open one, be slow for that reason, and go on so. */
static bool wait_pays(const demo_place *place, apr_time_t now)
{
    return place->held > 0 && (demo_place_flows(place, now) || demo_is_crowded());
}

/* Sleeps until w has been given something, takes over a right, or waiting pays no
 * more, at most WAIT_MAX_US.  Under the lock. */
static void sleep_for(demo_place *place, demo_waiter *w)
{
    struct timespec until;

    while (!demo_place_look(place, w) && !pool.stop) {
        apr_time_t now = demo_now();
        apr_interval_time_t left = WAIT_MAX_US - (now - w->since), look = demo_place_next_look(place);
        if (demo_place_take_over(place, now)) {
            demo_place_leave(place, w);
            w->admitted = true;
            return;
        }
        if (left <= 0 || !wait_pays(place, now)) {
            return;
        }
        deadline_in(&until, left < look ? left : look);
        (void)pthread_cond_timedwait(&w->given, &pool.lock, &until);
        place->waking = false;
    }
}

/* Under the lock; NULL and *admitted as in demo_pool_take().  A wait begins with
 * letting others run, one of which may hold what is waited for: where answers
 * take microseconds this costs less than to sleep and be woken. */
static demo_conn *idle_wait(demo_place *place, bool *admitted)
{
    demo_waiter w;

    demo_place_enter(place, &w, &pool.monotonic);
    if (place->yielding < YIELDERS_MAX && demo_place_is_brief(place)) {
        place->yielding++;
        for (int i = WAIT_YIELDS; i > 0 && !demo_place_look(place, &w); i--) {
            pthread_mutex_unlock(&pool.lock);
            demo_yield();
            pthread_mutex_lock(&pool.lock);
        }
        place->yielding--;
    }
    sleep_for(place, &w);
    if (w.conn == NULL && !w.admitted) {
        demo_place_leave(place, &w);
    }
    *admitted = w.admitted;
    pthread_cond_destroy(&w.given);
    return w.conn; /* NOLINT(clang-analyzer-core.StackAddressEscape): w is out of the list */
}

/* Closes a connection.  pass_on: if it has a right, the first who waits may open
 * another in its stead, else the other children may. */
static void drop(demo_conn *conn, bool pass_on)
{
    demo_place *place = &pool.place[conn->slot];

    pthread_mutex_lock(&pool.lock);
    if (conn->counted) {
        demo_place_unuse(place, conn);
        if (pass_on && !pool.stop && demo_place_admit_first(place)) {
            conn->counted = false;
        }
        else if (--place->held == 0) {
            for (demo_waiter *w = place->first; w != NULL; w = w->next) {
                pthread_cond_signal(&w->given);     /* nothing comes back any more */
            }
        }
    }
    pthread_mutex_unlock(&pool.lock);
    demo_conn_close(conn);
}

void demo_pool_drop(demo_conn *conn)
{
    if (conn != NULL) {
        drop(conn, true);
    }
}

bool demo_pool_is_prompt(const demo_target *target)
{
    return demo_place_is_prompt(&pool.place[target->slot]);
}

static unsigned pool_max(int slot, const demo_pool_conf *conf)
{
    return conf->max == DEMO_POOL_AUTO ? demo_bound_get(slot) : (unsigned)conf->max;
}

/* What each child may hold, of those that want connections. */
static unsigned pool_share(demo_place *place, int slot, const demo_pool_conf *conf)
{
    apr_time_t now = demo_now();

    if (now - place->parties_at > PARTIES_US) {
        unsigned n = demo_conns_parties(slot, now - WANTED_US);
        place->parties = n > 0 ? n : 1;
        place->parties_at = now;
    }
    return (pool_max(slot, conf) + place->parties - 1) / place->parties;
}

static bool others_want(int slot, apr_time_t now)
{
    return now - demo_conns_wanted(slot) < WANTED_US;
}

/* Counts a connection in, here and over all children; not past another child that
 * has less than its share. */
static bool admit(demo_place *place, int slot, const demo_pool_conf *conf)
{
    bool has_share = place->held >= pool_share(place, slot, conf);

    if (pool.stop || (has_share && others_want(slot, demo_now()))) {
        return false;
    }
    if (!demo_conns_acquire(slot, pool_max(slot, conf))) {
        if (!has_share) {
            demo_conns_want(slot);
        }
        return false;
    }
    pthread_mutex_lock(&pool.lock);
    place->held++;
    pthread_mutex_unlock(&pool.lock);
    return true;
}

/* None is idle, and no more may be kept: waits for one where that pays, or takes
 * over the right of one whose request is long. */
static demo_conn *idle_await(demo_place *place, bool *admitted)
{
    demo_conn *conn = NULL;
    apr_time_t now = demo_now();

    if (!demo_place_flows(place, now)) {
        demo_yield(); /* tells whether it is crowded */
        now = demo_now();
    }
    pthread_mutex_lock(&pool.lock);
    *admitted = !pool.stop && demo_place_take_over(place, now);
    if (!*admitted && !pool.stop && wait_pays(place, now)) {
        conn = idle_wait(place, admitted);
    }
    pthread_mutex_unlock(&pool.lock);
    return conn;
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
        apr_time_t now = demo_now();
        pthread_mutex_lock(&pool.lock);
        conn = demo_place_take(place, now);
        pthread_mutex_unlock(&pool.lock);
        if (conn == NULL) {
            *admitted = admit(place, target->slot, conf);
            if (*admitted || waited) {
                return NULL;
            }
            waited = true;
            conn = idle_await(place, admitted);
        }
        if (conn == NULL) {
            *admitted = *admitted || admit(place, target->slot, conf);
            return NULL;
        }
        if (conn->use == target->use && demo_conn_usable(conn)) {
            conn->brief = demo_place_is_brief(place);
            return conn;
        }
        drop(conn, false);
    }
}

void demo_pool_admitted(demo_conn *conn)
{
    pthread_mutex_lock(&pool.lock);
    conn->keep = conn->counted = true;
    demo_place_use(&pool.place[conn->slot], conn);
    pthread_mutex_unlock(&pool.lock);
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
static bool owed(demo_place *place, int slot, const demo_pool_conf *conf, apr_time_t now)
{
    return (others_want(slot, now) && place->held > pool_share(place, slot, conf))
           || (conf->max == DEMO_POOL_AUTO && demo_conns_count(slot) > demo_bound_get(slot));
}

/* Among the idle ones, or to one who waits; false: it has no right to be kept.  One
 * whose right was taken over while its request ran may have another by now.  Under
 * the lock; afterwards conn is others'. */
static bool idle_put(demo_place *place, demo_conn *conn, const demo_pool_conf *conf, apr_time_t now)
{
    if (conn->counted) {
        demo_place_unuse(place, conn);
    }
    else if (conn->keep && demo_conns_acquire(conn->slot, pool_max(conn->slot, conf))) {
        place->held++;
        conn->counted = true;
    }
    else {
        return false;
    }
    conn->idle_until = now + conf->idle;
    if (pool.idle_min == 0 || conf->idle < pool.idle_min) {
        pool.idle_min = conf->idle;
    }
    demo_place_give(place, conn, now);
    return true;
}

void demo_pool_give(demo_conn *conn, const demo_pool_conf *conf)
{
    int slot = conn->slot;
    demo_place *place = &pool.place[slot];
    bool automatic = conf->max == DEMO_POOL_AUTO;
    apr_time_t now = demo_now();
    apr_interval_time_t took = now - conn->taken;
    bool others = owed(place, slot, conf, now), tells, kept, wake;

    conn->busy += took;
    kept = conn->busy <= demo_bound_slice(automatic ? slot : -1) && !others && !httpd_stops();
    pthread_mutex_lock(&pool.lock);
    /* One whose right was taken over tells of its script, not of the listen queue. */
    tells = automatic && !conn->reused && conn->counted == conn->keep;
    if (conn->counted) {
        demo_place_note(place, now, took);
    }
    if (tells && conn->asked) {
        demo_place_note_fresh(place, took);
    }
    kept = kept && !pool.stop && idle_put(place, conn, conf, now);
    wake = kept && pool.reaper_sleeps;
    pthread_mutex_unlock(&pool.lock);
    if (tells) {
        demo_bound_note(slot, took, place->service);
    }
    if (!kept) {
        drop(conn, !others);
    }
    else if (wake) {
        pthread_cond_signal(&pool.reaper_wake);
    }
}
