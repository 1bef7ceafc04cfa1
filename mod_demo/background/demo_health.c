#include "mod_demo/background/demo_health.h"

#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apr_strings.h"
#include "http_log.h"

#include "mod_demo/backend/demo_backend.h"
#include "mod_demo/background/demo_fetch.h"
#include "mod_demo/shm/demo_clock.h"

APLOG_USE_MODULE(demo);

enum { PING_BODY_MAX = 8192 };

typedef struct {
    demo_fetch          fetch;
    const demo_backend *backend; /* NULL: this one is free */
    demo_address        address;
    char                body[PING_BODY_MAX];
} check;

/* Leader's thread only. */
static check  *checks;
static int64_t next_at[DEMO_ADDRESSES_MAX]; /* when an address is due */
static uint32_t next_use[DEMO_ADDRESSES_MAX]; /* which address that was */

apr_status_t demo_health_begin(void)
{
    checks = calloc(DEMO_CHECKS_MAX, sizeof(*checks));
    if (checks == NULL) {
        return APR_ENOMEM;
    }
    for (int i = 0; i < DEMO_CHECKS_MAX; i++) {
        demo_fetch_init(&checks[i].fetch, checks[i].body, sizeof(checks[i].body));
    }
    memset(next_at, 0, sizeof(next_at));
    return APR_SUCCESS;
}

void demo_health_finish(void)
{
    for (int i = 0; checks != NULL && i < DEMO_CHECKS_MAX; i++) {
        demo_fetch_close(&checks[i].fetch);
    }
    free(checks);
    checks = NULL;
}

/* --- a result ------------------------------------------------------------------------ */

/* php-fpm without ping.path takes the URI for a script and finds none. */
static int no_ping_page(const check *c)
{
    const char *uri = c->backend->health->uri;
    size_t len = strcspn(uri, "?");

    return (c->fetch.status == 404 || c->fetch.status == 403)
        && (len < 4 || strncmp(uri + len - 4, ".php", 4) != 0)
        && (strstr(c->fetch.body, "File not found") != NULL
            || strstr(c->fetch.body, "Access denied") != NULL);
}

/* Whether a check failed only since there is much to do there: requests succeed
 * meanwhile, or, where the refusal came at once, did since the check before. */
static bool is_busy(const check *c)
{
    const demo_fetch *f = &c->fetch;
    const demo_shm_addr *a = &demo_seg->addrs[c->address.slot];
    int64_t ok_at = atomic_load_explicit(&a->last_ok, memory_order_relaxed);
    int64_t since = f->busy ? atomic_load_explicit(&a->checked_at, memory_order_relaxed)
                            : f->started;

    return (f->timed_out || f->busy) && ok_at != 0 && ok_at >= since;
}

/* 1 when the answer is a good one; text says what was found. */
static int judge(const check *c, char *text, size_t size)
{
    const demo_fetch *f = &c->fetch;
    const demo_health_conf *h = c->backend->health;

    if (f->state == DEMO_FETCH_FAILED) {
        if (is_busy(c)) {
            (void)snprintf(text, size, "busy: %s: %s: %s, but requests succeed", h->uri, f->phase,
                           f->text);
            return 1;
        }
        (void)snprintf(text, size, "%s: %s", f->phase, f->text);
        return 0;
    }
    if (no_ping_page(c)) {
        (void)snprintf(text, size, "%s: php-fpm answers, but has no ping page there (%d):"
                       " set ping.path = %s in its pool", DEMO_HEALTH_NO_PING, f->status, h->uri);
        return 1;
    }
    if (f->status < 200 || f->status > 299) {
        (void)snprintf(text, size, "response: %s answered with status %d", h->uri, f->status);
        return 0;
    }
    if (strncmp(f->body, h->expect, strlen(h->expect)) != 0) {
        (void)snprintf(text, size, "response: %s did not answer \"%.40s\" but \"%.40s\"", h->uri,
                       h->expect, f->body);
        return 0;
    }
    (void)snprintf(text, size, "ok");
    return 1;
}

static void log_change(const check *c, enum demo_health_state state, const char *text)
{
    char where[DEMO_TARGET_NAME_MAX];
    server_rec *s = c->backend->server;

    demo_address_text(&c->address.addr.sa, where, sizeof(where));
    if (state == DEMO_HEALTH_UP) {
        ap_log_error(APLOG_MARK, APLOG_NOTICE, 0, s, "DM0230: backend %s (%s) is up: %s",
                     c->backend->endpoint->url, where, text);
    }
    else {
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s, "DM0231: backend %s (%s) is down: %s",
                     c->backend->endpoint->url, where, text);
    }
}

/* UNKNOWN --first result--> UP or DOWN;  UP --fall failures--> DOWN --rise successes--> UP */
static void conclude(check *c, int64_t now)
{
    demo_shm_addr *a = &demo_seg->addrs[c->address.slot];
    const demo_health_conf *h = c->backend->health;
    char text[DEMO_HEALTH_TEXT_MAX];
    int good = judge(c, text, sizeof(text));
    enum demo_health_state old = atomic_load(&a->health), wanted, state = old;

    (void)atomic_fetch_add(&a->checks[good ? DEMO_RESULT_OK : DEMO_RESULT_FAILED], 1);
    atomic_store(&a->check_us, now - c->fetch.started);
    wanted = good ? DEMO_HEALTH_UP : DEMO_HEALTH_DOWN;
    if (old == DEMO_HEALTH_UNKNOWN) {
        state = wanted;
    }
    else if (wanted != old) {
        uint32_t run = atomic_fetch_add(&a->health_run, 1) + 1;
        state = run >= (uint32_t)(good ? h->rise : h->fall) ? wanted : old;
    }
    if (state != old || wanted == old) {
        atomic_store(&a->health_run, 0);
    }
    demo_text_store(&a->text_seq, a->text, DEMO_HEALTH_TEXT_MAX, text);
    atomic_store(&a->checked_at, now);
    atomic_store(&a->health, state);
    if (old == DEMO_HEALTH_DOWN && state == DEMO_HEALTH_UP) { /* what failed was before */
        atomic_store(&a->failures, 0);
        atomic_store(&a->held_until, 0);
    }
    if (!good) {
        atomic_store(&demo_seg->backends[c->backend->index].resolve_now, 1);
    }
    if (state != old) {
        log_change(c, state, text);
    }
}

/* --- what is due ------------------------------------------------------------------------ */

static check *check_free(void)
{
    for (int i = 0; i < DEMO_CHECKS_MAX; i++) {
        if (checks[i].backend == NULL) {
            return &checks[i];
        }
    }
    return NULL;
}

static void check_start(check *c, const demo_backend *b, const demo_address *address, int64_t now)
{
    const char *uri = b->health->uri;
    int len = (int)strcspn(uri, "?");
    char path[DEMO_HEALTH_TEXT_MAX], script[DEMO_FETCH_PARAMS_MAX / 2];
    demo_fetch_request rq = { &address->addr.sa, address->len, path,
                              uri[len] == '?' ? uri + len + 1 : "", script };

    (void)snprintf(path, sizeof(path), "%.*s", len, uri);
    (void)snprintf(script, sizeof(script), "%s%s", b->script_root, path);
    c->backend = b;
    c->address = *address;
    demo_fetch_start(&c->fetch, &rq, now, now + b->health->timeout);
}

/* A check may take longer than the time to the next one; another beside it would
 * only occupy one more worker. */
static bool is_checked_now(const demo_backend *b, const demo_address *address)
{
    for (int i = 0; i < DEMO_CHECKS_MAX; i++) {
        const check *c = &checks[i];
        if (c->backend == b && c->address.slot == address->slot && c->address.use == address->use) {
            return true;
        }
    }
    return false;
}

/* What could be checked now. */
typedef struct {
    const demo_backend *backend;
    demo_address        address;
    int64_t             at; /* since when */
} due_check;

typedef struct {
    unsigned  n;
    due_check all[DEMO_ADDRESSES_MAX];
} due_list;

/* Adds b's addresses that are due; when the next one will be. */
static int64_t backend_due(const demo_backend *b, int64_t now, due_list *due)
{
    uint16_t slots[DEMO_PER_BACKEND_MAX];
    unsigned n = demo_backend_slots(b, slots);
    int64_t next = INT64_MAX;

    for (unsigned i = 0; i < n && due->n < DEMO_ADDRESSES_MAX; i++) {
        int slot = slots[i];
        due_check *d = &due->all[due->n];
        if (!demo_backend_address(b, slot, &d->address)) {
            continue;
        }
        if (next_use[slot] != d->address.use) {
            next_use[slot] = d->address.use;
            next_at[slot] = 0;
        }
        if (now < next_at[slot]) {
            next = next_at[slot] < next ? next_at[slot] : next;
        }
        else if (!is_checked_now(b, &d->address)) {
            d->backend = b;
            d->at = next_at[slot];
            due->n++;
        }
    }
    return next;
}

static int longest_first(const void *a, const void *b)
{
    int64_t x = ((const due_check *)a)->at, y = ((const due_check *)b)->at;

    return (x > y) - (x < y);
}

/* Starts what is due, the longest overdue first: addresses that all run into their
 * time-out occupy every check, and the others would never have their turn.  Returns
 * when the next one will be due.  One that can not be started waits for the end of
 * a check, which is an event of its own. */
static int64_t due_start(int64_t now)
{
    static due_list due;
    int64_t next = INT64_MAX;
    check *c;

    due.n = 0;
    for (unsigned i = 0; i < demo_backend_count; i++) {
        if (demo_backends[i].health != NULL && demo_backend_current(&demo_backends[i])) {
            int64_t at = backend_due(&demo_backends[i], now, &due);
            next = at < next ? at : next;
        }
    }
    qsort(due.all, due.n, sizeof(due.all[0]), longest_first);
    for (unsigned i = 0; i < due.n && (c = check_free()) != NULL; i++) {
        const due_check *d = &due.all[i];
        int64_t again = now + d->backend->health->interval;
        next_at[d->address.slot] = again;
        next = again < next ? again : next;
        check_start(c, d->backend, &d->address, now);
    }
    return next;
}

/* Whether the address was given up while it was checked. */
static int outlived(const check *c)
{
    demo_address now_there;

    return !demo_backend_address(c->backend, c->address.slot, &now_there)
        || now_there.use != c->address.use;
}

/* Goes on with the checks that run. */
static void checks_step(int64_t now)
{
    for (int i = 0; i < DEMO_CHECKS_MAX; i++) {
        check *c = &checks[i];
        if (c->backend == NULL) {
            continue;
        }
        (void)demo_fetch_step(&c->fetch, now);
        if (demo_fetch_events(&c->fetch) == 0) {
            demo_fetch_close(&c->fetch);
            if (!outlived(c)) {
                conclude(c, demo_now());
            }
            c->backend = NULL;
        }
    }
}

int64_t demo_health_tick(int64_t now, struct pollfd *fds, int *n)
{
    checks_step(now);
    int64_t next = due_start(now);
    for (int i = 0; i < DEMO_CHECKS_MAX; i++) {
        const check *c = &checks[i];
        if (c->backend == NULL) {
            continue;
        }
        if (demo_fetch_events(&c->fetch) == 0) {
            next = now; /* failed as it started */
            continue;
        }
        fds[*n].fd = c->fetch.fd;
        fds[*n].events = demo_fetch_events(&c->fetch);
        fds[(*n)++].revents = 0;
        next = c->fetch.deadline < next ? c->fetch.deadline : next;
    }
    return next;
}
