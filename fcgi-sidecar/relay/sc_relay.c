#include "fcgi-sidecar/relay/sc_relay.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fcgi-sidecar/relay/sc_relay_core.h"
#include "fcgi-sidecar/relay/sc_upstream.h"

#define LINGER           (2 * APR_USEC_PER_SEC)
#define ACCEPT_PAUSE     (100 * APR_TIME_C(1000))
#define FEWEST_CLIENTS   16  /* however low the limit of open files is */
#define RESERVED_FDS     64  /* of the limit, for the rest of the program */

/* --- life ------------------------------------------------------------------------------ */

/* Descriptors for all clients we promise, or fewer clients: those of php-fpm's
 * side are needed to serve any. */
static void raise_fd_limit(sc_relay *relay)
{
    sc_relay_config *c = &relay->config;
    rlim_t others = (rlim_t)c->workers + c->forward_connections + RESERVED_FDS;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= others + c->max_clients) {
        return;
    }
    limit.rlim_cur = limit.rlim_max < others + c->max_clients ? limit.rlim_max : others + c->max_clients;
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= others + c->max_clients) {
        return;
    }
    getrlimit(RLIMIT_NOFILE, &limit);
    sc_relay_log(relay, SC_RELAY_LOG_WARNING, "SC0332",
                 "the limit of open files is %llu, %llu are wanted: fewer clients than %u are taken; "
                 "raise it (ulimit -n) or lower max-clients", (unsigned long long)limit.rlim_cur,
                 (unsigned long long)(others + c->max_clients), c->max_clients);
    c->max_clients = limit.rlim_cur > others + FEWEST_CLIENTS ? (unsigned)(limit.rlim_cur - others) : FEWEST_CLIENTS;
}

static void init_timers(sc_relay *relay)
{
    const sc_relay_config *c = &relay->config;
    sc_loop *loop = &relay->loop;

    sc_timer_class_init(loop, &relay->after_client_idle, c->client_idle_timeout);
    sc_timer_class_init(loop, &relay->after_client_receive, c->client_receive_timeout);
    sc_timer_class_init(loop, &relay->after_client_send, c->client_send_timeout);
    sc_timer_class_init(loop, &relay->after_linger, LINGER);
    sc_timer_class_init(loop, &relay->after_queue, c->queue_timeout);
    sc_timer_class_init(loop, &relay->after_hold, c->hold_timeout);
    sc_timer_class_init(loop, &relay->after_request_wait, c->request_wait);
    sc_timer_class_init(loop, &relay->after_connect, c->upstream_connect_timeout);
    sc_timer_class_init(loop, &relay->after_upstream_idle, c->upstream_idle_timeout);
    sc_timer_class_init(loop, &relay->after_accept, ACCEPT_PAUSE);
    sc_timer_init(&relay->accept_timer, sc_listen_resume);
}

static unsigned processors(void)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);

    return n > 0 ? (unsigned)n : 1;
}

static apr_status_t relay_open(sc_relay *relay, char *error, size_t error_size)
{
    const sc_relay_config *c = &relay->config;
    char why[SC_ERROR_TEXT] = "";
    sc_address upstream;
    apr_status_t rv;
    size_t i;

    relay->scratch = malloc(SC_SCRATCH);
    rv = relay->scratch == NULL ? APR_ENOMEM : sc_loop_init(&relay->loop);
    if (rv != APR_SUCCESS) {
        snprintf(error, error_size, "relay: %s", strerror(rv));
        return rv;
    }
    init_timers(relay);
    rv = sc_address_parse(&upstream, c->upstream, false, why, sizeof(why));
    if (rv != APR_SUCCESS) {
        snprintf(error, error_size, "--upstream: %s", why);
        return rv;
    }
    sc_target_init(&relay->local, relay, false, c->workers);
    sc_target_init(&relay->forward, relay, true, c->forward_connections);
    sc_target_set(&relay->local, &upstream);
    for (i = 0; i < c->listen_count && rv == APR_SUCCESS; i++) {
        rv = sc_listen_open(relay, c->listen[i], error, error_size);
    }
    return rv;
}

apr_status_t sc_relay_create(sc_relay **out, const sc_relay_config *config,
                             char *error, size_t error_size)
{
    sc_relay *relay;
    apr_status_t rv;

    *out = NULL;
    rv = sc_relay_config_check(config, error, error_size);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    relay = calloc(1, sizeof(*relay));
    if (relay == NULL) {
        snprintf(error, error_size, "relay: out of memory");
        return APR_ENOMEM;
    }
    relay->config = *config;
    relay->mode = config->mode;
    relay->epoch = config->epoch;
    relay->loop.epoll_fd = relay->loop.bell_fd = -1;
    relay->processors = processors();
    sc_list_init(&relay->loop.graves);
    sc_list_init(&relay->clients);
    sc_list_init(&relay->queue);
    sc_list_init(&relay->calls);
    sc_list_init(&relay->waits);
    pthread_mutex_init(&relay->lock, NULL);
    pthread_cond_init(&relay->answered, NULL);
    sc_target_init(&relay->local, relay, false, 0);
    sc_target_init(&relay->forward, relay, true, 0);
    rv = relay_open(relay, error, error_size);
    if (rv != APR_SUCCESS) {
        sc_relay_destroy(relay);
        return rv;
    }
    raise_fd_limit(relay);
    *out = relay;
    return APR_SUCCESS;
}

void sc_relay_destroy(sc_relay *relay)
{
    if (relay == NULL) {
        return;
    }
    sc_relay_stop(relay);
    while (!sc_list_empty(&relay->clients)) {
        sc_client_close(SC_OWNER(relay->clients.next, sc_client, link));
    }
    sc_target_close(&relay->local);
    sc_target_close(&relay->forward);
    sc_listen_close(relay);
    sc_loop_destroy(&relay->loop);
    pthread_cond_destroy(&relay->answered);
    pthread_mutex_destroy(&relay->lock);
    free(relay->scratch);
    free(relay);
}

/* --- the thread --------------------------------------------------------------------------------- */

static apr_time_t earlier(apr_time_t a, apr_time_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* With more requests in php-fpm than processors a relay that interrupts a script for each
 * event finds one event at a time, and leaves the script's caches cold: up to a sixth fewer
 * answers.  One that waits until the script sleeps, or its slice is over, finds several
 * (docs/performance.md).  Where somebody waits for a moment to hold the requests, as in a
 * hand-over, milliseconds count. */
static bool should_give_way(const sc_relay *relay)
{
    unsigned n = relay->processors;

    return relay->mode == SC_RELAY_LOCAL && relay->few == 0 && sc_list_empty(&relay->waits)
        && relay->local.busy_count > (relay->gives_way ? n / 2 : n);
}

/* A policy that somebody chose for the program stays. */
static void give_way(sc_relay *relay)
{
    const struct sched_param none = { 0 };
    bool want = should_give_way(relay);

    if (want == relay->gives_way || relay->policy_fixed) {
        return;
    }
    if (sched_getscheduler(0) == (want ? SCHED_OTHER : SCHED_BATCH)
        && sched_setscheduler(0, want ? SCHED_BATCH : SCHED_OTHER, &none) == 0) {
        relay->gives_way = want;
    }
    else {
        relay->policy_fixed = true;
    }
}

static void *relay_main(void *data)
{
    sc_relay *relay = data;
    bool was_drained = false, is_drained;
    apr_time_t until;

    while (!relay->stopping) {
        until = sc_calls_handle(relay);
        sc_dispatch_run(relay);
        is_drained = relay->mode == SC_RELAY_HELD && sc_relay_drained(relay);
        if (is_drained && !was_drained) {
            sc_relay_tell(relay, SC_RELAY_EVENT_DRAINED);
        }
        was_drained = is_drained;
        sc_relay_publish(relay);
        give_way(relay);
        if (!relay->dispatch_due && !relay->stopping) {
            until = earlier(until, relay->dispatch_at);
            sc_loop_turn(&relay->loop, until);
        }
    }
    sc_calls_refuse(relay);
    return NULL;
}

apr_status_t sc_relay_start(sc_relay *relay)
{
    sigset_t all, before;
    int rc;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main thread's */
    relay->serving = true; /* there is no other thread yet that could call */
    rc = pthread_create(&relay->thread, NULL, relay_main, relay);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    relay->started = rc == 0;
    if (!relay->started) {
        relay->serving = false;
    }
    return rc;
}
