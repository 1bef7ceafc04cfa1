#include "mod_demo/observe/demo_metrics_page.h"

#include <string.h>

#include "ap_mpm.h"
#include "apr_strings.h"
#include "http_core.h"
#include "http_main.h"
#include "http_protocol.h"
#include "http_request.h"

#include "lib/prom.h"
#include "mod_demo/backend/demo_backend.h"
#include "mod_demo/config/demo_config.h"
#include "mod_demo/observe/demo_counters.h"
#include "mod_demo/observe/demo_scoreboard.h"
#include "mod_demo/observe/demo_status.h"
#include "mod_demo/pool/demo_bound.h"
#include "mod_demo/shm/demo_clock.h"
#include "mod_demo/shm/demo_metrics.h"

#ifndef DEMO_VERSION
#error "DEMO_VERSION comes from the build"
#endif

/* --- the families of demo_metrics.def ------------------------------------------------- */

static void write_labelled(prom_writer *w, enum demo_labelled_id id, const char *label,
                           const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        prom_label l = { label, names[i] };
        if (strcmp(names[i], "none") != 0) {
            prom_u64(w, &l, 1, demo_labelled_sum(id, (unsigned)i));
        }
    }
}

static void demo_write_build(prom_writer *w)
{
    prom_label l[] = {
        { "version", DEMO_VERSION },
        { "httpd", ap_get_server_description() },
        { "mpm", ap_show_mpm() },
    };
    prom_u64(w, l, 3, 1);
}

static void demo_write_start(prom_writer *w)
{
    prom_double(w, NULL, 0, (double)demo_seg->start_wall / 1e6);
}

static void demo_write_requests(prom_writer *w)
{
    demo_write_codes(w, DEMO_SCOPE_FCGI, "code");
}

static void demo_write_in_flight(prom_writer *w)
{
    prom_u64(w, NULL, 0, demo_gauge_read(&demo_seg->server[DEMO_SG_IN_FLIGHT]));
}

static void demo_write_queue(prom_writer *w)
{
    prom_u64(w, NULL, 0, demo_gauge_read(&demo_seg->server[DEMO_SG_QUEUED]));
}

/* --- a sample for each address ------------------------------------------------------------ */

typedef struct {
    const demo_backend *backend;
    int                 slot;
    demo_shm_addr      *a;        /* in that slot */
    prom_label          where[2]; /* backend and address */
} shown;

typedef void (*address_writer)(prom_writer *w, const shown *p);

static void each_address(prom_writer *w, address_writer write)
{
    for (unsigned i = 0; i < demo_backend_count; i++) {
        const demo_backend *b = &demo_backends[i];
        uint16_t slots[DEMO_PER_BACKEND_MAX];
        unsigned n = b->health != NULL ? demo_backend_slots(b, slots) : 0;
        for (unsigned k = 0; k < n; k++) {
            char text[DEMO_TARGET_NAME_MAX];
            demo_address address;
            if (!demo_backend_address(b, slots[k], &address)) {
                continue;
            }
            demo_address_text(&address.addr.sa, text, sizeof(text));
            shown p = { b, slots[k], &demo_seg->addrs[slots[k]],
                        { { "backend", b->endpoint->url }, { "address", text } } };
            write(w, &p);
        }
    }
}

/* A third label after backend and address. */
static void with_label(prom_writer *w, const shown *p, const char *name, const char *value,
                       uint64_t n)
{
    prom_label l[] = { p->where[0], p->where[1], { name, value } };

    prom_u64(w, l, 3, n);
}

static void up_of(prom_writer *w, const shown *p)
{
    prom_u64(w, p->where, 2, (uint64_t)demo_backend_found(p->backend, p->slot, DEMO_HEALTH_UP, demo_now()));
}

static void demo_write_backend_up(prom_writer *w)
{
    each_address(w, up_of);
}

static void usable_of(prom_writer *w, const shown *p)
{
    int64_t now = demo_now();

    prom_u64(w, p->where, 2, atomic_load(&p->a->held_until) <= now
                                 && !demo_backend_found(p->backend, p->slot, DEMO_HEALTH_DOWN, now));
}

static void demo_write_backend_usable(prom_writer *w)
{
    each_address(w, usable_of);
}

static void outstanding_of(prom_writer *w, const shown *p)
{
    prom_u64(w, p->where, 2, demo_gauge_read(&p->a->gauge[DEMO_G_OUTSTANDING]));
}

static void demo_write_backend_outstanding(prom_writer *w)
{
    each_address(w, outstanding_of);
}

static void outcomes_of(prom_writer *w, const shown *p)
{
    static const char *const names[DEMO_OUTCOME_COUNT] = { "ok", "failed", "busy", "aborted" };

    for (int i = 0; i < DEMO_OUTCOME_COUNT; i++) {
        with_label(w, p, "outcome", names[i], atomic_load(&p->a->outcome[i]));
    }
}

static void demo_write_backend_requests(prom_writer *w)
{
    each_address(w, outcomes_of);
}

static void pool_of(prom_writer *w, const shown *p)
{
    uint32_t all = demo_gauge_read(&p->a->gauge[DEMO_G_CONNS]);
    uint32_t idle = demo_gauge_read(&p->a->gauge[DEMO_G_IDLE]);

    with_label(w, p, "state", "busy", all > idle ? all - idle : 0);
    with_label(w, p, "state", "idle", idle);
}

static void demo_write_pool(prom_writer *w)
{
    each_address(w, pool_of);
}

static void pool_bound_of(prom_writer *w, const shown *p)
{
    prom_u64(w, p->where, 2, demo_bound_get(p->slot));
}

static void demo_write_pool_bound(prom_writer *w)
{
    each_address(w, pool_bound_of);
}

static const char *const result_names[DEMO_RESULT_COUNT] = { "ok", "failed" };

static void checks_of(prom_writer *w, const shown *p)
{
    for (int i = 0; i < DEMO_RESULT_COUNT; i++) {
        with_label(w, p, "outcome", result_names[i], atomic_load(&p->a->checks[i]));
    }
}

static void demo_write_health_checks(prom_writer *w)
{
    each_address(w, checks_of);
}

static void check_duration_of(prom_writer *w, const shown *p)
{
    prom_double(w, p->where, 2, (double)atomic_load(&p->a->check_us) / 1e6);
}

static void demo_write_health_duration(prom_writer *w)
{
    each_address(w, check_duration_of);
}

static void demo_write_backend_addresses(prom_writer *w)
{
    for (unsigned i = 0; i < demo_backend_count; i++) {
        const demo_backend *b = &demo_backends[i];
        prom_label l = { "backend", b->endpoint->url };
        uint16_t slots[DEMO_PER_BACKEND_MAX];
        if (b->health != NULL) { /* a status page's host takes no requests */
            prom_u64(w, &l, 1, demo_backend_slots(b, slots));
        }
    }
}

static void demo_write_backend_resolutions(prom_writer *w)
{
    for (unsigned i = 0; i < demo_backend_count; i++) {
        const demo_shm_backend *sb = &demo_seg->backends[demo_backends[i].index];
        for (int k = 0; k < DEMO_RESULT_COUNT; k++) {
            prom_label l[] = {
                { "backend", demo_backends[i].endpoint->url }, { "outcome", result_names[k] }
            };
            prom_u64(w, l, 2, atomic_load(&sb->resolutions[k]));
        }
    }
}

/* --- all of it --------------------------------------------------------------------------- */

static void write_own(prom_writer *w)
{
#define BEGIN(id, name, type, unit, help)                                \
    do {                                                                 \
        static const prom_family family_##id = { name, type, unit, help }; \
        prom_begin(w, &family_##id);                                     \
    } while (0)
#define DEMO_COUNTER(id, name, unit, help)                               \
    BEGIN(id, name, PROM_COUNTER, unit, help);                           \
    prom_u64(w, NULL, 0, demo_counter_sum(DEMO_C_##id));
#define DEMO_LABELLED(id, name, unit, label, names, help)                \
    BEGIN(id, name, PROM_COUNTER, unit, help);                           \
    write_labelled(w, DEMO_L_##id, label, names, sizeof(names) / sizeof((names)[0]));
#define DEMO_HISTOGRAM(id, name, unit, help)                             \
    BEGIN(id, name, PROM_HISTOGRAM, unit, help);                         \
    demo_write_histogram(w, DEMO_H_##id);
#define DEMO_WRITTEN(id, name, type, unit, help)                         \
    BEGIN(id, name, type, unit, help);                                   \
    demo_write_##id(w);
#include "mod_demo/shm/demo_metrics.def"
#undef BEGIN
}

/* --- the handler ---------------------------------------------------------------------------- */

static int sink(void *ctx, const char *data, size_t len)
{
    return ap_rwrite(data, (int)len, (request_rec *)ctx) < 0 ? -1 : 0;
}

int demo_metrics_handler(request_rec *r)
{
    prom_writer w;

    if (r->handler == NULL || strcmp(r->handler, DEMO_HANDLER_METRICS) != 0) {
        return DECLINED;
    }
    ap_allow_methods(r, REPLACE_ALLOW, "GET", NULL);
    if (r->method_number != M_GET) {
        return HTTP_METHOD_NOT_ALLOWED;
    }
    if (demo_seg == NULL) {
        return HTTP_SERVICE_UNAVAILABLE;
    }
    enum prom_format format = prom_negotiate(apr_table_get(r->headers_in, "Accept"));
    ap_set_content_type(r, prom_content_type(format));
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    apr_table_mergen(r->headers_out, "Vary", "Accept");
    prom_init(&w, format, sink, r);
    write_own(&w);
    demo_scoreboard_write(&w);
    demo_status_write(&w, ap_server_conf);
    if (prom_end(&w) != 0) {
        return AP_FILTER_ERROR;
    }
    return OK;
}
