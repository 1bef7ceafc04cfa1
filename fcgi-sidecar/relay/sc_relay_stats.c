#include <stdarg.h>
#include <stdio.h>

#include "fcgi-sidecar/relay/sc_relay_core.h"
#include "fcgi-sidecar/relay/sc_upstream.h"

const char *sc_relay_mode_name(sc_relay_mode mode)
{
    switch (mode) {
    case SC_RELAY_HELD:    return "held";
    case SC_RELAY_LOCAL:   return "local";
    case SC_RELAY_FORWARD: return "forward";
    default:               return "unknown";
    }
}

/* One writer, so no read-modify-write is needed. */
void sc_count_add(sc_relay *relay, enum sc_count which, uint64_t n)
{
    uint64_t v = atomic_load_explicit(&relay->count[which], memory_order_relaxed);

    atomic_store_explicit(&relay->count[which], v + n, memory_order_relaxed);
}

static void set(sc_relay *relay, enum sc_count which, uint64_t v)
{
    atomic_store_explicit(&relay->count[which], v, memory_order_relaxed);
}

static uint64_t get(const sc_relay *relay, enum sc_count which)
{
    return atomic_load_explicit(&relay->count[which], memory_order_relaxed);
}

void sc_relay_log(sc_relay *relay, sc_relay_log_level level, const char *id, const char *format, ...)
{
    char message[1024];
    va_list ap;

    if (relay->config.log == NULL) {
        return;
    }
    va_start(ap, format);
    vsnprintf(message, sizeof(message), format, ap);
    va_end(ap);
    relay->config.log(relay->config.context, level, id, message);
}

void sc_relay_tell(sc_relay *relay, sc_relay_event event)
{
    if (relay->config.on_event != NULL) {
        relay->config.on_event(relay->config.context, event);
    }
}

unsigned sc_relay_in_flight(const sc_relay *relay)
{
    return relay->local.busy_count + relay->forward.busy_count;
}

void sc_relay_publish(sc_relay *relay)
{
    const sc_client *first = sc_list_empty(&relay->queue)
        ? NULL : SC_OWNER(relay->queue.next, const sc_client, queue_link);
    apr_time_t local = sc_target_oldest(&relay->local);
    apr_time_t forward = sc_target_oldest(&relay->forward);

    set(relay, SC_G_MODE, relay->mode);
    set(relay, SC_G_EPOCH, relay->epoch);
    set(relay, SC_G_LAME_DUCK, relay->lame_duck);
    set(relay, SC_G_UPSTREAM_UP, relay->local.up);
    set(relay, SC_G_CLIENTS, relay->client_count);
    set(relay, SC_G_CLIENTS_BUSY, relay->busy_count);
    set(relay, SC_G_QUEUED, relay->queue_len);
    set(relay, SC_G_IN_FLIGHT, sc_relay_in_flight(relay));
    set(relay, SC_G_OLDEST_START, (uint64_t)(forward == 0 || (local != 0 && local < forward) ? local : forward));
    set(relay, SC_G_OLDEST_QUEUED, first == NULL ? 0 : (uint64_t)first->queued_at);
    set(relay, SC_G_CONNECTIONS, relay->local.count);
    set(relay, SC_G_READY, relay->local.ready_count);
    set(relay, SC_G_OFFERED, relay->local.offered_count);
    set(relay, SC_G_AFTER_END, relay->local.after_end_count);
}

static apr_interval_time_t age(uint64_t since)
{
    apr_interval_time_t a;

    if (since == 0) {
        return 0;
    }
    a = sc_loop_clock() - (apr_time_t)since;
    return a > 0 ? a : 1;
}

/* The two are read one after the other, while clients come and go. */
static unsigned idle_of(uint64_t clients, uint64_t busy)
{
    return clients > busy ? (unsigned)(clients - busy) : 0;
}

void sc_relay_stats_get(const sc_relay *relay, sc_relay_stats *s)
{
    s->mode = (sc_relay_mode)get(relay, SC_G_MODE);
    s->epoch = get(relay, SC_G_EPOCH);
    s->lame_duck = get(relay, SC_G_LAME_DUCK) != 0;
    s->upstream_up = get(relay, SC_G_UPSTREAM_UP) != 0;
    s->clients = (unsigned)get(relay, SC_G_CLIENTS);
    s->clients_idle = idle_of(s->clients, get(relay, SC_G_CLIENTS_BUSY));
    s->queued = (unsigned)get(relay, SC_G_QUEUED);
    s->in_flight = (unsigned)get(relay, SC_G_IN_FLIGHT);
    s->oldest_in_flight = age(get(relay, SC_G_OLDEST_START));
    s->oldest_queued = age(get(relay, SC_G_OLDEST_QUEUED));
    s->upstream_connections = (unsigned)get(relay, SC_G_CONNECTIONS);
    s->upstream_idle = (unsigned)get(relay, SC_G_READY);
    s->upstream_unread = (unsigned)get(relay, SC_G_OFFERED);
    s->after_end = (unsigned)get(relay, SC_G_AFTER_END);
    s->accepted = get(relay, SC_N_ACCEPTED);
    s->requests = get(relay, SC_N_REQUESTS);
    s->completed = get(relay, SC_N_COMPLETED);
    s->forwarded = get(relay, SC_N_FORWARDED);
    s->taken_back = get(relay, SC_N_TAKEN_BACK);
    s->held = get(relay, SC_N_HELD);
    s->overloaded_queue = get(relay, SC_N_OVERLOADED_QUEUE);
    s->overloaded_timeout = get(relay, SC_N_OVERLOADED_TIMEOUT);
    s->refused_hop = get(relay, SC_N_REFUSED_HOP);
    s->refused_epoch = get(relay, SC_N_REFUSED_EPOCH);
    s->refused_multiplex = get(relay, SC_N_REFUSED_MULTIPLEX);
    s->client_aborts = get(relay, SC_N_CLIENT_ABORTS);
    s->client_errors = get(relay, SC_N_CLIENT_ERRORS);
    s->upstream_connects = get(relay, SC_N_UPSTREAM_CONNECTS);
    s->upstream_connect_errors = get(relay, SC_N_UPSTREAM_CONNECT_ERRORS);
    s->upstream_stale = get(relay, SC_N_UPSTREAM_STALE);
    s->upstream_errors = get(relay, SC_N_UPSTREAM_ERRORS);
    s->bytes_in = get(relay, SC_N_BYTES_IN);
    s->bytes_out = get(relay, SC_N_BYTES_OUT);
    s->queue_wait_us = get(relay, SC_N_QUEUE_WAIT);
}
