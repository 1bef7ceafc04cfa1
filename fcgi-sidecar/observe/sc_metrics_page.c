#include "config.h"
#include "fcgi-sidecar/observe/sc_metrics_page.h"

#include <string.h>

#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/database/sc_db.h"
#include "fcgi-sidecar/handoff/sc_ship.h"

enum family_id {
#define X(id, type, unit, name, help) F_##id,
#include "fcgi-sidecar/observe/sc_metrics.def"
#undef X
};

static const prom_family families[] = {
#define X(id, type, unit, name, help) { name, PROM_##type, unit, help },
#include "fcgi-sidecar/observe/sc_metrics.def"
#undef X
};

/* --- one family, few samples --------------------------------------------------------- */

static void single(prom_writer *w, enum family_id id, uint64_t value)
{
    prom_begin(w, &families[id]);
    prom_u64(w, NULL, 0, value);
}

static void seconds(prom_writer *w, enum family_id id, double value)
{
    prom_begin(w, &families[id]);
    prom_double(w, NULL, 0, value);
}

/* A family with one label and two values. */
static void pair(prom_writer *w, enum family_id id, const char *label, const char *const names[2],
                 const uint64_t values[2])
{
    size_t i;

    prom_begin(w, &families[id]);
    for (i = 0; i < 2; i++) {
        prom_label l = { label, names[i] };

        prom_u64(w, &l, 1, values[i]);
    }
}

static void write_pause(prom_writer *w, const sc_metrics *m)
{
    uint64_t counts[SC_PAUSE_BUCKETS + 1];
    prom_histogram h = { sc_pause_bounds, SC_PAUSE_BUCKETS, counts,
                         (double)atomic_load(&m->pause_sum_us) / 1e6 };
    size_t i;

    for (i = 0; i <= SC_PAUSE_BUCKETS; i++) {
        counts[i] = atomic_load(&m->pause_counts[i]);
    }
    prom_begin(w, &families[F_PAUSE]);
    prom_histogram_write(w, NULL, 0, &h);
}

/* --- the node ---------------------------------------------------------------------------- */

struct picture {
    sc_state_id id;
    uint64_t epoch, lag_bytes, copy_done, copy_total;
    unsigned followers, standbys;
    double lag_seconds;
};

static void take_picture(sc_node *n, struct picture *p)
{
    memset(p, 0, sizeof(*p));
    pthread_mutex_lock(&n->lock);
    p->id = n->state.id;
    p->epoch = n->state.epoch;
    p->copy_done = n->start.done;
    p->copy_total = n->start.total;
    sc_ship_count(n, &p->followers, &p->standbys, &p->lag_bytes);
    if (p->id == SC_STATE_STANDBY && n->caught_up_ms != 0) {
        p->lag_seconds = (double)(sc_now_ms() - n->caught_up_ms) / 1e3;
    }
    pthread_mutex_unlock(&n->lock);
}

static void write_state(prom_writer *w, const struct picture *p)
{
    prom_label build[2] = { { "version", PACKAGE_VERSION }, { "sqlite", sc_db_library_version() } };
    unsigned i;

    prom_begin(w, &families[F_BUILD]);
    prom_u64(w, build, 2, 1);
    prom_begin(w, &families[F_STATE]);
    for (i = 0; i < SC_STATE_COUNT; i++) {
        prom_label l = { "state", sc_state_name((sc_state_id)i) };

        prom_u64(w, &l, 1, p->id == i ? 1 : 0);
    }
    single(w, F_EPOCH, p->epoch);
    single(w, F_PRIMARY, sc_state_writable(p->id) ? 1 : 0);
    single(w, F_FOLLOWERS, p->followers);
    single(w, F_STANDBYS, p->standbys);
    single(w, F_LAG_BYTES, p->lag_bytes);
    seconds(w, F_LAG_SECONDS, p->lag_seconds);
    single(w, F_COPY_DONE, p->copy_done);
    single(w, F_COPY_TOTAL, p->copy_total);
}

static void write_counters(prom_writer *w, const sc_metrics *m)
{
    static const char *const handoff[2] = { "done", "rolled_back" };
    static const char *const sync[2] = { "done", "failed" };
    uint64_t handoffs[2] = { atomic_load(&m->handoffs_done), atomic_load(&m->handoffs_rolled_back) };
    uint64_t syncs[2] = { atomic_load(&m->syncs), atomic_load(&m->sync_failures) };

    single(w, F_SHIPPED, atomic_load(&m->bytes_shipped));
    single(w, F_RECEIVED, atomic_load(&m->bytes_received));
    single(w, F_KEPT, atomic_load(&m->bytes_kept));
    single(w, F_FRAMES_OUT, atomic_load(&m->frames_shipped));
    single(w, F_FRAMES_IN, atomic_load(&m->frames_applied));
    pair(w, F_HANDOFFS, "result", handoff, handoffs);
    single(w, F_PROMOTIONS, atomic_load(&m->promotions));
    pair(w, F_SYNCS, "result", sync, syncs);
    write_pause(w, m);
}

/* --- the relay ----------------------------------------------------------------------------- */

static void write_relay(prom_writer *w, const sc_relay_stats *s)
{
    static const char *const busy[2] = { "busy", "idle" };
    static const char *const direction[2] = { "in", "out" };
    const struct { const char *reason; uint64_t value; } overloaded[] = {
        { "queue", s->overloaded_queue }, { "timeout", s->overloaded_timeout },
        { "hop", s->refused_hop }, { "epoch", s->refused_epoch }
    };
    uint64_t clients[2] = { s->clients - s->clients_idle, s->clients_idle };
    uint64_t bytes[2] = { s->bytes_in, s->bytes_out };
    unsigned i;

    prom_begin(w, &families[F_RELAY_MODE]);
    for (i = SC_RELAY_HELD; i <= SC_RELAY_FORWARD; i++) {
        prom_label l = { "mode", sc_relay_mode_name((sc_relay_mode)i) };

        prom_u64(w, &l, 1, s->mode == i ? 1 : 0);
    }
    single(w, F_RELAY_UP, s->upstream_up ? 1 : 0);
    pair(w, F_CLIENTS, "state", busy, clients);
    single(w, F_QUEUED, s->queued);
    single(w, F_IN_FLIGHT, s->in_flight);
    single(w, F_UPSTREAMS, s->upstream_connections);
    single(w, F_REQUESTS, s->requests);
    single(w, F_COMPLETED, s->completed);
    single(w, F_FORWARDED, s->forwarded);
    single(w, F_HELD, s->held);
    prom_begin(w, &families[F_OVERLOADED]);
    for (i = 0; i < sizeof(overloaded) / sizeof(overloaded[0]); i++) {
        prom_label l = { "reason", overloaded[i].reason };

        prom_u64(w, &l, 1, overloaded[i].value);
    }
    single(w, F_ABORTS, s->client_aborts);
    single(w, F_UP_ERRORS, s->upstream_errors);
    seconds(w, F_QUEUE_WAIT, (double)s->queue_wait_us / 1e6);
    pair(w, F_BYTES, "direction", direction, bytes);
}

int sc_metrics_write(sc_node *n, enum prom_format format, prom_sink sink, void *context)
{
    sc_relay_stats stats;
    struct picture p;
    prom_writer w;

    sc_relay_stats_get(n->relay, &stats);
    take_picture(n, &p);
    prom_init(&w, format, sink, context);
    write_state(&w, &p);
    write_counters(&w, &n->metrics);
    single(&w, F_REFUSED, n->control != NULL ? sc_control_refused(n->control) : 0);
    write_relay(&w, &stats);
    return prom_end(&w);
}
