#include <inttypes.h>

#include "fcgi-sidecar/relay/sc_relay_core.h"
#include "fcgi-sidecar/relay/sc_upstream.h"

/* How long a worker that has answered is given to come back before another
 * connection is opened in its place. */
#define WORKER_RETURNS (1 * APR_TIME_C(1000))
#define LOOK_AGAIN     (20 * APR_TIME_C(1000))
#define REST_MAX       (20 * APR_TIME_C(1000)) /* between two requests while few are let through */

static sc_target *target_of(sc_relay *relay)
{
    return relay->mode == SC_RELAY_FORWARD ? &relay->forward : &relay->local;
}

/* --- queue ------------------------------------------------------------------------ */

static void start_wait(sc_client *c)
{
    sc_relay *relay = c->relay;
    bool held = relay->mode == SC_RELAY_HELD;

    if (held) {
        sc_count_add(relay, SC_N_HELD, 1);
    }
    sc_timer_start(&relay->loop, held ? &relay->after_hold : &relay->after_queue, &c->queue_timer);
}

void sc_dispatch_enqueue(sc_client *c)
{
    sc_relay *relay = c->relay;
    unsigned max = relay->mode == SC_RELAY_HELD ? relay->config.hold_max : relay->config.queue_max;

    if (relay->queue_len >= max) {
        sc_count_add(relay, SC_N_OVERLOADED_QUEUE, 1);
        sc_client_refuse(c, FCGIW_OVERLOADED);
        return;
    }
    c->queued_at = relay->loop.now;
    sc_list_append(&relay->queue, &c->queue_link);
    relay->queue_len++;
    start_wait(c);
    sc_dispatch_wake(relay);
}

void sc_dispatch_requeue(sc_client *c)
{
    sc_relay *relay = c->relay;

    sc_list_prepend(&relay->queue, &c->queue_link);
    relay->queue_len++;
    if (relay->mode != SC_RELAY_HELD && relay->loop.now - c->queued_at >= relay->config.queue_timeout) {
        sc_dispatch_timeout(c); /* to and fro for long enough */
        return;
    }
    start_wait(c);
    sc_dispatch_wake(relay);
}

void sc_dispatch_remove(sc_client *c)
{
    if (!sc_list_empty(&c->queue_link)) {
        sc_list_remove(&c->queue_link);
        c->relay->queue_len--;
        sc_timer_stop(&c->queue_timer);
    }
}

void sc_dispatch_timeout(sc_client *c)
{
    sc_count_add(c->relay, SC_N_OVERLOADED_TIMEOUT, 1);
    sc_dispatch_remove(c);
    sc_client_refuse(c, FCGIW_OVERLOADED);
}

void sc_dispatch_mode_changed(sc_relay *relay)
{
    sc_link *l;

    for (l = relay->queue.next; l != &relay->queue; l = l->next) {
        start_wait(SC_OWNER(l, sc_client, queue_link));
    }
    sc_dispatch_wake(relay);
}

void sc_dispatch_wake(sc_relay *relay)
{
    relay->dispatch_due = true;
}

/* --- who runs where ------------------------------------------------------------------ */

/* Each crossing from one instance to another must be made with newer knowledge
 * than the one before, so no request can go round: a standby's request that met
 * the cut-over at the old primary goes back to the standby, which is primary
 * one epoch later. */
static bool admit(sc_client *c)
{
    sc_relay *relay = c->relay;

    if (c->request.hop == 0) {
        return true;
    }
    if (relay->mode == SC_RELAY_FORWARD
        && (c->request.epoch >= relay->epoch || c->request.hop >= SC_RELAY_HOP_MAX)) {
        sc_count_add(relay, SC_N_REFUSED_HOP, 1);
        sc_relay_log(relay, SC_RELAY_LOG_WARNING, "SC0311",
                     "a request that was forwarded here would have to be forwarded again: refused");
    }
    else if (relay->mode != SC_RELAY_FORWARD && c->request.epoch > relay->epoch) {
        sc_count_add(relay, SC_N_REFUSED_EPOCH, 1);
        sc_relay_log(relay, SC_RELAY_LOG_WARNING, "SC0312",
                     "a request was forwarded with epoch %" PRIu64 ", ours is %" PRIu64 ": refused",
                     c->request.epoch, relay->epoch);
    }
    else {
        return true;
    }
    sc_dispatch_remove(c);
    sc_client_refuse(c, FCGIW_OVERLOADED);
    return false;
}

/* The connection used last, so that those not needed get old and are closed.
 * php-fpm over TCP: a request that must not run twice wants a new connection,
 * which can not have been closed by the peer's own time-out. */
static sc_upstream *pick(sc_target *t, const sc_client *c)
{
    sc_link *l;
    sc_upstream *u;

    for (l = t->ready.next; l != &t->ready; l = l->next) {
        u = SC_OWNER(l, sc_upstream, link);
        if (t->proves || t->is_forward || c->request.safe || !u->used) {
            return u;
        }
    }
    if (!sc_list_empty(&t->ready) && t->count == t->max && t->offered_count == 0) {
        sc_upstream_close(SC_OWNER(t->ready.prev, sc_upstream, link));
    }
    return NULL;
}

/* Connections whose worker is likely to be back in a moment. */
static unsigned returning(const sc_target *t, apr_time_t now)
{
    const sc_link *l;
    const sc_upstream *u;
    unsigned n = 0;

    if (t->after_end_count == 0) {
        return 0;
    }
    for (l = t->offered.prev; l != &t->offered; l = l->prev) {
        u = SC_OWNER(l, const sc_upstream, link);
        if (u->since + WORKER_RETURNS <= now) {
            break;
        }
        n += u->used ? 1 : 0;
    }
    return n;
}

/* The kernel tells when a worker has read; asking now and then costs little and
 * does not rely on it. */
static void look_again(sc_relay *relay, sc_target *t)
{
    sc_link *l, *next;
    sc_upstream *u;

    if (!t->proves || relay->look_again_at > relay->loop.now) {
        return;
    }
    relay->look_again_at = relay->loop.now + LOOK_AGAIN;
    for (l = t->offered.next; l != &t->offered; l = next) {
        next = l->next;
        u = SC_OWNER(l, sc_upstream, link);
        if (u->state == SC_UPSTREAM_OFFERED) {
            sc_upstream_check_offer(u);
        }
    }
}

static void due_at(sc_relay *relay, apr_time_t when)
{
    if (relay->dispatch_at == 0 || when < relay->dispatch_at) {
        relay->dispatch_at = when;
    }
}

/* One connection on its way for each request that waits. */
static void open_more(sc_relay *relay, sc_target *t)
{
    apr_time_t now = relay->loop.now;
    unsigned back = returning(t, now);
    unsigned coming = t->offered_count - t->after_end_count + back;

    while (coming < relay->queue_len && sc_upstream_open(t)) {
        coming++;
    }
    if (t->retry_at > now) {
        due_at(relay, t->retry_at);
    }
    else if (back > 0 && t->count < t->max) {
        due_at(relay, now + WORKER_RETURNS);
    }
    if (t->proves && t->offered_count > 0) {
        due_at(relay, relay->look_again_at);
    }
}

unsigned sc_dispatch_new(const sc_relay *relay)
{
    const sc_target *t = &relay->local;
    const sc_link *l;
    unsigned n = 0;

    for (l = t->busy.prev; l != &t->busy && n < relay->few; l = l->prev) {
        if (SC_OWNER(l, const sc_upstream, link)->since < relay->few_from) {
            break;
        }
        n++;
    }
    return n;
}

/* Does the bound of sc_relay_ease() let no further request begin now?  After
 * each comes a rest as long as it took: else those that wait for SQLite's lock
 * would find it taken as often as not. */
static bool enough(sc_relay *relay)
{
    apr_time_t now = relay->loop.now, took;

    if (relay->few == 0) {
        return false;
    }
    if (sc_dispatch_new(relay) >= relay->few) {
        relay->few_full = true;
        return true; /* the end of a request wakes us */
    }
    if (relay->few_full) {
        relay->few_full = false;
        took = now - relay->few_began;
        relay->rest_until = now + (took < REST_MAX ? took : REST_MAX);
    }
    if (now < relay->rest_until) {
        due_at(relay, relay->rest_until);
        return true;
    }
    return false;
}

void sc_dispatch_run(sc_relay *relay)
{
    sc_target *t = target_of(relay);
    sc_client *c;
    sc_upstream *u;

    if (relay->dispatch_at != 0 && relay->dispatch_at <= relay->loop.now) {
        relay->dispatch_at = 0;
        relay->dispatch_due = true;
    }
    if (!relay->dispatch_due) {
        return;
    }
    relay->dispatch_due = false;
    if (relay->mode == SC_RELAY_HELD) {
        return;
    }
    if (t->pause_until > relay->loop.now) {
        due_at(relay, t->pause_until);
        return;
    }
    while (!sc_list_empty(&relay->queue)) {
        if (enough(relay)) {
            return;
        }
        c = SC_OWNER(relay->queue.next, sc_client, queue_link);
        if (!admit(c)) {
            continue;
        }
        u = pick(t, c);
        if (u == NULL) {
            break;
        }
        relay->few_began = relay->loop.now;
        sc_upstream_run(u, c); /* false: that connection had gone, the next one */
    }
    if (relay->queue_len > 0) {
        look_again(relay, t);
        open_more(relay, t);
    }
}
