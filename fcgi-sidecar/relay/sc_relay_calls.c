#include <inttypes.h>

#include "fcgi-sidecar/relay/sc_relay_core.h"
#include "fcgi-sidecar/relay/sc_upstream.h"

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

bool sc_relay_drained(const sc_relay *relay)
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
    /* One left of those would be a sleeper as likely as not, whom the hold then waits for. */
    return relay->local.busy_count == sc_dispatch_new(relay);
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
        now = sc_relay_drained(relay);
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

apr_time_t sc_calls_handle(sc_relay *relay)
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

void sc_calls_refuse(sc_relay *relay)
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
