#include "fcgi-sidecar/relay/sc_relay.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "fcgi-sidecar/relay/sc_relay_core.h"
#include "fcgi-sidecar/relay/sc_upstream.h"

#define LINGER           (2 * APR_USEC_PER_SEC)
#define ACCEPT_PAUSE     (100 * APR_TIME_C(1000))
#define LONGEST          (10 * 365 * 86400 * APR_USEC_PER_SEC)
#define FEWEST_CLIENTS   16  /* however low the limit of open files is */
#define RESERVED_FDS     64  /* of the limit, for the rest of the program */

/* What another thread asks for; lives on its stack. */
typedef enum { CALL_HOLD, CALL_EASE, CALL_DRAINED, CALL_QUIET, CALL_LOCAL, CALL_FORWARD, CALL_LAME_DUCK, CALL_STOP } call_kind;

typedef struct {
    sc_link             link;
    call_kind           kind;
    apr_interval_time_t young;
    unsigned            few;
    apr_time_t          until; /* monotonic */
    uint64_t            epoch;
    const sc_address   *address;
    apr_status_t        rv;
    bool                done;  /* guarded by lock */
} sc_call;

/* --- configuration ---------------------------------------------------------------------- */

void sc_relay_config_init(sc_relay_config *config)
{
    static const char *const listen_default[] = { "0.0.0.0:9000" };

    memset(config, 0, sizeof(*config));
    config->listen = listen_default;
    config->listen_count = 1;
    config->upstream = "unix:/run/php/php-fpm.sock";
    config->workers = 20;
    config->forward_connections = 128;
    config->max_clients = 4096;
    config->queue_max = 1024;
    config->queue_timeout = 10 * APR_USEC_PER_SEC;
    config->hold_max = 4096;
    config->hold_timeout = 30 * APR_USEC_PER_SEC;
    config->client_idle_timeout = 300 * APR_USEC_PER_SEC;
    config->client_receive_timeout = 60 * APR_USEC_PER_SEC;
    config->client_send_timeout = 60 * APR_USEC_PER_SEC;
    config->upstream_connect_timeout = 5 * APR_USEC_PER_SEC;
    config->upstream_idle_timeout = 2 * APR_USEC_PER_SEC;
    config->request_wait = APR_USEC_PER_SEC;
    config->params_max = 256 * 1024;
    config->request_buffer = 64 * 1024;
    config->response_buffer = 256 * 1024;
    config->mode = SC_RELAY_LOCAL;
}

/* --- life ------------------------------------------------------------------------------ */

static apr_status_t check_numbers(const sc_relay_config *c, char *error, size_t error_size)
{
    const struct { const char *name; size_t value, low, high; } ranges[] = {
        { "listen addresses", c->listen_count, 1, SC_LISTEN_MAX },
        { "workers", c->workers, 1, 4096 },
        { "forward-connections", c->forward_connections, 1, 65536 },
        { "max-clients", c->max_clients, 1, 1000000 },
        { "queue-max", c->queue_max, 1, 1000000 },
        { "hold-max", c->hold_max, 1, 1000000 },
        { "params-max", c->params_max, 4096, 1u << 26 },
        { "request-buffer", c->request_buffer, 4096, 1u << 30 },
        { "response-buffer", c->response_buffer, 4096, 1u << 30 }
    };
    size_t i;

    for (i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        if (ranges[i].value < ranges[i].low || ranges[i].value > ranges[i].high) {
            snprintf(error, error_size, "relay: %s must be within %zu and %zu, not %zu", ranges[i].name,
                     ranges[i].low, ranges[i].high, ranges[i].value);
            return APR_EINVAL;
        }
    }
    return APR_SUCCESS;
}

static apr_status_t check_times(const sc_relay_config *c, char *error, size_t error_size)
{
    const struct { const char *name; apr_interval_time_t value; } times[] = {
        { "queue-timeout", c->queue_timeout }, { "hold-timeout", c->hold_timeout },
        { "request-wait", c->request_wait }, { "client-idle-timeout", c->client_idle_timeout },
        { "client-receive-timeout", c->client_receive_timeout },
        { "client-send-timeout", c->client_send_timeout },
        { "upstream-connect-timeout", c->upstream_connect_timeout },
        { "upstream-idle-timeout", c->upstream_idle_timeout }
    };
    size_t i;

    for (i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        if (times[i].value < APR_TIME_C(1000) || times[i].value > LONGEST) {
            snprintf(error, error_size, "relay: %s must be within 1 ms and 10 years", times[i].name);
            return APR_EINVAL;
        }
    }
    return APR_SUCCESS;
}

static apr_status_t check_config(const sc_relay_config *c, char *error, size_t error_size)
{
    apr_status_t rv = check_numbers(c, error, error_size);

    if (rv == APR_SUCCESS) {
        rv = check_times(c, error, error_size);
    }
    if (rv == APR_SUCCESS && c->mode == SC_RELAY_FORWARD) {
        snprintf(error, error_size, "relay: it can not start in forward mode, there is no address yet");
        rv = APR_EINVAL;
    }
    return rv;
}

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
    rv = check_config(config, error, error_size);
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

/* --- calls, on the relay's thread ----------------------------------------------------------- */

static void answer(sc_relay *relay, sc_call *call, apr_status_t rv)
{
    sc_relay_publish(relay); /* who asks for statistics now sees what the call did */
    pthread_mutex_lock(&relay->lock);
    call->rv = rv;
    call->done = true; /* its memory may be gone as soon as the lock is free */
    pthread_cond_broadcast(&relay->answered);
    pthread_mutex_unlock(&relay->lock);
}

/* Nothing that came through us runs in PHP any more. */
static bool drained(const sc_relay *relay)
{
    return relay->local.busy_count == 0 && relay->local.after_end_count == 0;
}

static bool all_young(const sc_relay *relay, apr_interval_time_t young)
{
    apr_time_t oldest = sc_target_oldest(&relay->local);

    return young == 0 || oldest == 0 || relay->loop.now - oldest < young;
}

static void change_mode(sc_relay *relay, sc_relay_mode mode, uint64_t epoch)
{
    if (relay->mode != mode || relay->epoch != epoch) {
        sc_relay_log(relay, SC_RELAY_LOG_INFO, "SC0310", "%s -> %s, epoch %" PRIu64 ", %u waiting, %u in flight",
                     sc_relay_mode_name(relay->mode), sc_relay_mode_name(mode), epoch,
                     relay->queue_len, sc_relay_in_flight(relay));
    }
    relay->mode = mode;
    relay->epoch = epoch;
    relay->few = 0;
    sc_dispatch_mode_changed(relay);
    sc_relay_tell(relay, SC_RELAY_EVENT_MODE);
}

/* The bound begins when all are young, and the moment comes when the requests
 * that were in flight then have ended. */
static bool eased(sc_relay *relay, sc_call *call)
{
    if (relay->mode != SC_RELAY_LOCAL) {
        return true;
    }
    if (relay->few == 0) {
        if (!all_young(relay, call->young)) {
            return false;
        }
        relay->few = call->few;
        relay->few_from = relay->loop.now;
        relay->few_full = false;
        relay->rest_until = 0;
        call->until = relay->loop.now + call->young;
    }
    return relay->local.busy_count <= call->few;
}

/* True when the call is answered, false when its moment has not come. */
static bool try_call(sc_relay *relay, sc_call *call)
{
    bool now = true;

    switch (call->kind) {
    case CALL_HOLD:
        now = all_young(relay, call->young);
        if (now) {
            change_mode(relay, SC_RELAY_HELD, relay->epoch);
        }
        else if (relay->few != 0) {
            relay->few = 0; /* this may take long */
            sc_dispatch_wake(relay);
        }
        break;
    case CALL_EASE:
        now = eased(relay, call);
        break;
    case CALL_DRAINED:
        now = drained(relay);
        break;
    case CALL_QUIET:
        now = relay->client_count == 0;
        break;
    case CALL_LOCAL:
        change_mode(relay, SC_RELAY_LOCAL, call->epoch);
        break;
    case CALL_FORWARD:
        sc_target_set(&relay->forward, call->address);
        change_mode(relay, SC_RELAY_FORWARD, call->epoch);
        break;
    case CALL_LAME_DUCK:
        relay->lame_duck = true;
        break;
    case CALL_STOP:
        relay->stopping = true;
        break;
    }
    if (now || relay->loop.now >= call->until) {
        sc_list_remove(&call->link);
        answer(relay, call, now ? APR_SUCCESS : APR_TIMEUP);
        return true;
    }
    return false;
}

static void take_calls(sc_relay *relay)
{
    sc_link *l;

    pthread_mutex_lock(&relay->lock);
    while (!sc_list_empty(&relay->calls)) {
        l = relay->calls.next;
        sc_list_remove(l);
        sc_list_append(&relay->waits, l);
    }
    pthread_mutex_unlock(&relay->lock);
}

/* Takes new calls and looks whether the moment of those that wait has come;
 * returns when to look again, 0: no time is set. */
static apr_time_t handle_calls(sc_relay *relay)
{
    apr_time_t next = 0;
    sc_link *l, *after;
    sc_call *call;

    take_calls(relay);
    for (l = relay->waits.next; l != &relay->waits; l = after) {
        after = l->next;
        call = SC_OWNER(l, sc_call, link);
        if (!try_call(relay, call) && (next == 0 || call->until < next)) {
            next = call->until;
        }
    }
    return next;
}

/* --- the thread --------------------------------------------------------------------------------- */

/* Nobody may wait for a loop that has ended. */
static void refuse_calls(sc_relay *relay)
{
    pthread_mutex_lock(&relay->lock);
    relay->serving = false;
    pthread_mutex_unlock(&relay->lock);
    take_calls(relay);
    while (!sc_list_empty(&relay->waits)) {
        sc_call *call = SC_OWNER(relay->waits.next, sc_call, link);

        sc_list_remove(&call->link);
        answer(relay, call, APR_EINIT);
    }
}

static apr_time_t earlier(apr_time_t a, apr_time_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

static void *relay_main(void *data)
{
    sc_relay *relay = data;
    bool was_drained = false, is_drained;
    apr_time_t until;

    while (!relay->stopping) {
        until = handle_calls(relay);
        sc_dispatch_run(relay);
        is_drained = relay->mode == SC_RELAY_HELD && drained(relay);
        if (is_drained && !was_drained) {
            sc_relay_tell(relay, SC_RELAY_EVENT_DRAINED);
        }
        was_drained = is_drained;
        sc_relay_publish(relay);
        if (!relay->dispatch_due && !relay->stopping) {
            until = earlier(until, relay->dispatch_at);
            sc_loop_turn(&relay->loop, until);
        }
    }
    refuse_calls(relay);
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

/* --- calls, from other threads -------------------------------------------------------------------- */

static apr_status_t call_relay(sc_relay *relay, sc_call *call)
{
    apr_status_t rv;

    call->done = false;
    sc_list_init(&call->link);
    pthread_mutex_lock(&relay->lock);
    if (!relay->serving) {
        pthread_mutex_unlock(&relay->lock);
        return APR_EINIT;
    }
    sc_list_append(&relay->calls, &call->link);
    sc_loop_ring(&relay->loop);
    while (!call->done) {
        pthread_cond_wait(&relay->answered, &relay->lock);
    }
    rv = call->rv;
    pthread_mutex_unlock(&relay->lock);
    return rv;
}

void sc_relay_stop(sc_relay *relay)
{
    sc_call call = { .kind = CALL_STOP };

    if (!relay->started) {
        return;
    }
    call_relay(relay, &call);
    pthread_join(relay->thread, NULL);
    relay->started = false;
}

apr_status_t sc_relay_hold(sc_relay *relay, apr_interval_time_t young, apr_interval_time_t limit)
{
    sc_call call = { .kind = CALL_HOLD, .young = young, .until = sc_loop_clock() + limit };

    return call_relay(relay, &call);
}

apr_status_t sc_relay_ease(sc_relay *relay, unsigned few, apr_interval_time_t young,
                           apr_interval_time_t limit)
{
    sc_call call = { .kind = CALL_EASE, .few = few, .young = young,
                     .until = sc_loop_clock() + limit };

    return call_relay(relay, &call);
}

apr_status_t sc_relay_wait_drained(sc_relay *relay, apr_interval_time_t limit)
{
    sc_call call = { .kind = CALL_DRAINED, .until = sc_loop_clock() + limit };

    return call_relay(relay, &call);
}

apr_status_t sc_relay_wait_quiet(sc_relay *relay, apr_interval_time_t limit)
{
    sc_call call = { .kind = CALL_QUIET, .until = sc_loop_clock() + limit };

    return call_relay(relay, &call);
}

apr_status_t sc_relay_release_local(sc_relay *relay, uint64_t epoch)
{
    sc_call call = { .kind = CALL_LOCAL, .epoch = epoch };

    return call_relay(relay, &call);
}

apr_status_t sc_relay_forward_to(sc_relay *relay, const char *address, uint64_t epoch)
{
    char error[SC_ERROR_TEXT];
    sc_address parsed;
    sc_call call = { .kind = CALL_FORWARD, .epoch = epoch, .address = &parsed };
    apr_status_t rv = sc_address_parse(&parsed, address, false, error, sizeof(error));

    return rv != APR_SUCCESS ? rv : call_relay(relay, &call);
}

apr_status_t sc_relay_lame_duck(sc_relay *relay)
{
    sc_call call = { .kind = CALL_LAME_DUCK };

    return call_relay(relay, &call);
}
