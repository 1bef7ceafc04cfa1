#include "mod_demo/demo_pool.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <time.h>

#include "ap_mpm.h"
#include "http_log.h"

APLOG_USE_MODULE(demo);

#define WAIT_MAX_US 50000   /* the longest wait for a kept connection */
#define WAIT_YIELDS 20      /* looks at the pool before a thread goes to sleep for it */

/* Where answers take less than this it pays to look for them before sleeping;
 * a busy machine changes the average of that time, not the least. */
#define BRIEF_US 150

/* DemoPool without max=: so few that other clients of the same php-fpm keep
 * their share. */
#define AUTO_MAX 6

#define WANTED_US 200000 /* how long a wish of another child counts */

/* After this much of PHP's time a connection is closed though it could be kept:
 * the worker goes back to its listen queue, and whoever waits there (another
 * gateway, another child, a POST) has his turn. */
#define SLICE_US 50000

/* What this child holds of one address. */
typedef struct {
    demo_conn *idle;            /* last in, first out: the rest ages and is closed */
    _Atomic unsigned held;      /* idle and in use; written under the lock */
    unsigned waiting;           /* threads in demo_pool_take() */
    apr_interval_time_t service; /* moving average of a request's time on a connection */
    _Atomic apr_interval_time_t least[2]; /* read without the lock: the shortest such time, of this second and the one before */
    apr_time_t second;
    pthread_cond_t given;
} demo_place;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t reaper_wake;
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

/* Takes out of all places what is idle for too long (or all of it). */
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
        expired = expired_take(apr_time_now(), false);
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
    pthread_condattr_t attr;
    sigset_t all, old;
    int error;

    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&pool.reaper_wake, &attr);
    for (unsigned i = 0; i < DEMO_ADDRESSES_MAX; i++) {
        pthread_cond_init(&pool.place[i].given, &attr);
    }
    pthread_condattr_destroy(&attr);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    error = pthread_create(&pool.reaper, NULL, reaper_main, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (error != 0) {
        ap_log_error(APLOG_MARK, APLOG_ERR, error, s, "DM1060: no thread for kept connections, "
                     "none are kept");
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

/* Is it likely that a kept connection comes back sooner than it would take to
 * open another?  Answers of a millisecond: yes; of a second: no. */
static bool wait_is_short(const demo_place *place)
{
    return place->held > 0
           && place->service * (place->waiting + 1) / place->held < WAIT_MAX_US / 2;
}

/* Lets others run, one of which may hold what is waited for: where answers take
 * microseconds this costs less than to sleep and be woken.  Under the lock. */
static demo_conn *idle_yield(demo_place *place)
{
    demo_conn *conn = NULL;

    for (int i = 0; i < WAIT_YIELDS && conn == NULL; i++) {
        pthread_mutex_unlock(&pool.lock);
        sched_yield();
        pthread_mutex_lock(&pool.lock);
        conn = idle_pop(place);
    }
    return conn;
}

static demo_conn *idle_wait(demo_place *place)
{
    struct timespec until;
    demo_conn *conn;
    int error = 0;

    place->waiting++;
    conn = is_brief(place) ? idle_yield(place) : NULL;
    if (conn == NULL) {
        deadline_in(&until, WAIT_MAX_US);
    }
    while (conn == NULL && error == 0 && !pool.stop) {
        error = pthread_cond_timedwait(&place->given, &pool.lock, &until);
        conn = idle_pop(place);
    }
    place->waiting--;
    return conn;
}

static void conn_drop(demo_place *place, demo_conn *conn)
{
    pthread_mutex_lock(&pool.lock);
    place->held--;
    pthread_mutex_unlock(&pool.lock);
    demo_conn_close(conn);
}

void demo_pool_drop(demo_conn *conn)
{
    if (conn != NULL && conn->counted) {
        conn_drop(&pool.place[conn->slot], conn);
    }
    else {
        demo_conn_close(conn);
    }
}

static int pool_max(const demo_pool_conf *conf)
{
    return conf->max == DEMO_POOL_AUTO ? AUTO_MAX : conf->max;
}

/* What each child may hold when all of them want connections. */
static unsigned pool_share(const demo_pool_conf *conf)
{
    int children = 1;

    if (ap_mpm_query(AP_MPMQ_MAX_DAEMON_USED, &children) != APR_SUCCESS || children < 1) {
        children = 1;
    }
    return (unsigned)((pool_max(conf) + children - 1) / children);
}

/* Counts a connection in, here and over all children. */
static bool admit(demo_place *place, int slot, const demo_pool_conf *conf)
{
    if (pool.stop) {
        return false;
    }
    if (!demo_conns_acquire(slot, (unsigned)pool_max(conf))) {
        if (place->held < pool_share(conf)) {
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
            conn = wait_is_short(place) ? idle_wait(place) : NULL;
            pthread_mutex_unlock(&pool.lock);
        }
        if (conn == NULL) {
            return NULL;
        }
        if (conn->use == target->use && demo_conn_usable(conn)) {
            conn->reused = true;
            conn->brief = is_brief(place);
            conn->taken = apr_time_now();
            return conn;
        }
        conn_drop(place, conn);
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

void demo_pool_give(demo_conn *conn, const demo_pool_conf *conf)
{
    demo_place *place = &pool.place[conn->slot];
    apr_time_t now = apr_time_now();
    bool wake;

    conn->busy += now - conn->taken;
    if (!conn->counted || conn->busy > SLICE_US || pool.stop || httpd_stops()
        || (now - demo_conns_wanted(conn->slot) < WANTED_US && place->held > pool_share(conf))) {
        demo_pool_drop(conn);
        return;
    }
    conn->idle_until = now + conf->idle;
    pthread_mutex_lock(&pool.lock);
    service_note(place, now, now - conn->taken);
    if (pool.idle_min == 0 || conf->idle < pool.idle_min) {
        pool.idle_min = conf->idle;
    }
    conn->next = place->idle;
    place->idle = conn;
    pool.idle_count++;
    demo_conns_idle(conn->slot, 1);
    wake = pool.reaper_sleeps;
    if (place->waiting > 0) {
        pthread_cond_signal(&place->given);
    }
    pthread_mutex_unlock(&pool.lock);
    if (wake) {
        pthread_cond_signal(&pool.reaper_wake);
    }
}
