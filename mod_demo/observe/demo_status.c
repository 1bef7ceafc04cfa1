#include "mod_demo/observe/demo_status.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "apr_strings.h"

#include "mod_demo/backend/demo_backend.h"
#include "mod_demo/background/demo_fetch.h"
#include "mod_demo/config/demo_config.h"
#include "mod_demo/observe/demo_fpmqueue.h"
#include "mod_demo/shm/demo_clock.h"

enum { URI_MAX = DEMO_TARGET_NAME_MAX + DEMO_PATH_MAX + 8, PAGE_MAX = 512 * 1024 /* some 1200 workers */ };

/* --- the text of a page ---------------------------------------------------------------- */

static const struct {
    const char *key; /* in php-fpm's text */
    prom_family family;
} fields[DEMO_ST_COUNT] = {
    /* php-fpm_exporter calls some of these counters, but without _total: untyped
     * keeps the names and breaks no rule. */
    [DEMO_ST_START_SINCE] = { "start since", { "phpfpm_start_since", PROM_UNKNOWN, NULL,
        "Seconds since php-fpm started." } },
    [DEMO_ST_ACCEPTED] = { "accepted conn", { "phpfpm_accepted_connections", PROM_UNKNOWN, NULL,
        "Connections the pool accepted." } },
    [DEMO_ST_QUEUE] = { "listen queue", { "phpfpm_listen_queue", PROM_GAUGE, NULL,
        "Connections that wait to be accepted; for a Unix socket as the kernel counts them." } },
    [DEMO_ST_MAX_QUEUE] = { "max listen queue", { "phpfpm_max_listen_queue", PROM_UNKNOWN, NULL,
        "Most connections that waited at once since php-fpm started." } },
    [DEMO_ST_QUEUE_LEN] = { "listen queue len", { "phpfpm_listen_queue_length", PROM_GAUGE, NULL,
        "Connections that may wait: the backlog." } },
    [DEMO_ST_IDLE] = { "idle processes", { "phpfpm_idle_processes", PROM_GAUGE, NULL,
        "Workers without a request." } },
    [DEMO_ST_ACTIVE] = { "active processes", { "phpfpm_active_processes", PROM_GAUGE, NULL,
        "Workers with a request." } },
    [DEMO_ST_TOTAL] = { "total processes", { "phpfpm_total_processes", PROM_GAUGE, NULL,
        "Workers." } },
    [DEMO_ST_MAX_ACTIVE] = { "max active processes", { "phpfpm_max_active_processes", PROM_UNKNOWN,
        NULL, "Most workers that had a request at once since php-fpm started." } },
    [DEMO_ST_MAX_CHILDREN] = { "max children reached", { "phpfpm_max_children_reached", PROM_UNKNOWN,
        NULL, "How often pm.max_children was reached." } },
    [DEMO_ST_SLOW] = { "slow requests", { "phpfpm_slow_requests", PROM_UNKNOWN, NULL,
        "Requests that took longer than request_slowlog_timeout." } },
};

static int parse_number(const char *s, size_t len, int64_t *out)
{
    int64_t n = 0;

    if (len == 0 || len > 18) {
        return 0;
    }
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9') {
            return 0;
        }
        n = n * 10 + (s[i] - '0');
    }
    *out = n;
    return 1;
}

static int is(const char *s, size_t len, const char *word)
{
    return strlen(word) == len && memcmp(s, word, len) == 0;
}

/* A line of the list of workers that ?full adds. */
static void parse_worker(const char *key, size_t key_len, const char *value, size_t value_len,
                         int64_t workers[2])
{
    if (is(key, key_len, "state")) {
        workers[is(value, value_len, "Idle")]++;
    }
}

static void parse_line(const char *key, size_t key_len, const char *value, size_t value_len,
                       demo_status_page *page)
{
    if (is(key, key_len, "pool")) {
        size_t n = value_len < sizeof(page->pool) - 1 ? value_len : sizeof(page->pool) - 1;
        memcpy(page->pool, value, n);
        page->pool[n] = '\0';
    }
    for (int i = 0; i < DEMO_ST_COUNT; i++) {
        int64_t n;
        if (is(key, key_len, fields[i].key) && parse_number(value, value_len, &n)) {
            page->value[i] = n;
        }
    }
}

/* php-fpm counts a worker as active once for each request on a kept connection
 * and puts that right only once a second, so its numbers run to thousands under
 * load.  The list of workers is right. */
static void count_workers(const int64_t workers[2], demo_status_page *page)
{
    if (workers[0] + workers[1] > 0) {
        page->value[DEMO_ST_ACTIVE] = workers[0];
        page->value[DEMO_ST_IDLE] = workers[1];
        page->value[DEMO_ST_TOTAL] = workers[0] + workers[1];
        if (page->value[DEMO_ST_MAX_ACTIVE] > page->value[DEMO_ST_TOTAL]) {
            page->value[DEMO_ST_MAX_ACTIVE] = page->value[DEMO_ST_TOTAL];
        }
    }
}

int demo_status_parse(const char *text, demo_status_page *page)
{
    int64_t workers[2] = { 0, 0 }; /* active, idle */
    int in_list = 0;

    memset(page->pool, 0, sizeof(page->pool));
    for (int i = 0; i < DEMO_ST_COUNT; i++) {
        page->value[i] = -1;
    }
    while (*text != '\0') {
        const char *end = text + strcspn(text, "\r\n");
        const char *colon = memchr(text, ':', (size_t)(end - text));
        in_list |= *text == '*';
        if (colon != NULL) {
            const char *value = colon + 1, *stop = end;
            while (value < stop && (*value == ' ' || *value == '\t')) {
                value++;
            }
            while (stop > value && (stop[-1] == ' ' || stop[-1] == '\t')) {
                stop--;
            }
            size_t key_len = (size_t)(colon - text), len = (size_t)(stop - value);
            if (in_list) {
                parse_worker(text, key_len, value, len, workers);
            }
            else {
                parse_line(text, key_len, value, len, page);
            }
        }
        text = end + strspn(end, "\r\n");
        if (text == end) {
            break;
        }
    }
    count_workers(workers, page);
    return page->pool[0] != '\0';
}

/* --- which pages -------------------------------------------------------------------------- */

typedef struct {
    const demo_backend *backend;
    const char         *path;
    const char         *sock; /* Unix socket that the pool listens on, or NULL */
    int                 slot;
    /* the result */
    int                 up;
    int64_t             absent_until; /* the page does not exist: not asked before */
    char                uri[URI_MAX];
    demo_status_page    page;
} source;

static struct {
    pthread_mutex_t lock;
    int64_t         at; /* when the sources were fetched, or 0 */
    unsigned        n;
    source          sources[DEMO_STATUS_MAX];
} cache = { .lock = PTHREAD_MUTEX_INITIALIZER };

typedef struct {
    unsigned n;
    source  *sources; /* DEMO_STATUS_MAX */
} source_list;

static int is_listed(const source_list *list, const char *uri)
{
    for (unsigned i = 0; i < list->n; i++) {
        if (strcmp(list->sources[i].uri, uri) == 0) {
            return 1;
        }
    }
    return 0;
}

static void source_add(source_list *list, const demo_backend *b, const char *path,
                       const char *sock)
{
    uint16_t slots[DEMO_PER_BACKEND_MAX];
    unsigned n = demo_backend_slots(b, slots);

    for (unsigned i = 0; i < n && list->n < DEMO_STATUS_MAX; i++) {
        source *s = &list->sources[list->n];
        demo_address address;
        char where[DEMO_TARGET_NAME_MAX];
        if (!demo_backend_address(b, slots[i], &address)) {
            continue;
        }
        memset(s, 0, sizeof(*s));
        s->backend = b;
        s->path = path;
        s->slot = slots[i];
        s->sock = sock;
        demo_address_text(&address.addr.sa, where, sizeof(where));
        /* As php-fpm_exporter writes them: unix:///run/php.sock;/status */
        (void)apr_snprintf(s->uri, sizeof(s->uri),
                           address.addr.sa.sa_family == AF_UNIX ? "unix://%s;%s" : "tcp://%s%s",
                           where, path);
        list->n += !is_listed(list, s->uri); /* two names may have one address */
    }
}

static void sources_list(source_list *list, server_rec *s)
{
    for (; s != NULL; s = s->next) {
        const demo_cluster *c = demo_server_conf_get(s)->cluster;
        if (c == NULL) {
            continue;
        }
        for (int i = 0; i < c->status->nelts; i++) {
            const demo_status_place *p = &APR_ARRAY_IDX(c->status, i, demo_status_place);
            /* A page of its own: of the one pool that there is. */
            source_add(list, p->backend, p->path,
                       c->status->nelts == 1 && c->n_backends == 1 ? c->backends[0]->endpoint->sock
                                                                   : NULL);
        }
        for (unsigned i = 0; c->status->nelts == 0 && i < c->n_backends + c->n_backups; i++) {
            source_add(list, c->backends[i], DEMO_STATUS_PATH, c->backends[i]->endpoint->sock);
        }
    }
}

/* --- fetching ------------------------------------------------------------------------------- */

typedef struct {
    demo_fetch fetch;
    char       text[PAGE_MAX];
} fetching;

static void fetch_start(fetching *f, const source *s, int64_t now)
{
    demo_address address;

    demo_fetch_init(&f->fetch, f->text, sizeof(f->text));
    if (now >= s->absent_until && demo_backend_address(s->backend, s->slot, &address)) {
        demo_fetch_request rq = { &address.addr.sa, address.len, s->path, "full", s->path };
        demo_fetch_start(&f->fetch, &rq, now, now + DEMO_STATUS_TIMEOUT);
    }
}

/* Waits until all have ended; the deadline of each bounds it. */
static void fetch_all(fetching *fetches, unsigned n)
{
    for (;;) {
        struct pollfd fds[DEMO_STATUS_MAX];
        nfds_t open = 0;
        int64_t now = demo_now(), next = now + DEMO_STATUS_TIMEOUT;
        for (unsigned i = 0; i < n; i++) {
            demo_fetch *f = &fetches[i].fetch;
            (void)demo_fetch_step(f, now);
            if (demo_fetch_events(f) != 0) {
                fds[open].fd = f->fd;
                fds[open].revents = 0;
                fds[open++].events = demo_fetch_events(f);
                next = f->deadline < next ? f->deadline : next;
            }
        }
        if (open == 0) {
            return;
        }
        (void)poll(fds, open, next > now ? (int)((next - now + 999) / 1000) : 0);
    }
}

static void fetch_take(const fetching *f, source *s, int64_t now)
{
    demo_fpmqueue queue;

    if (f->fetch.state == DEMO_FETCH_IDLE) {
        return; /* known to be absent */
    }
    s->up = f->fetch.state == DEMO_FETCH_DONE && f->fetch.status == 200
            && demo_status_parse(f->fetch.body, &s->page);
    s->absent_until = f->fetch.state == DEMO_FETCH_DONE && f->fetch.status >= 400
                      && f->fetch.status < 500 ? now + DEMO_STATUS_ABSENT : 0;
    if (s->up && s->sock != NULL && demo_fpmqueue_read(s->sock, &queue) == 0) {
        s->page.value[DEMO_ST_QUEUE] = queue.waiting;
        s->page.value[DEMO_ST_QUEUE_LEN] = queue.max;
    }
}

/* The caller holds the lock. */
static void cache_refresh(server_rec *s)
{
    int64_t now = demo_now();
    source_list list = { 0, NULL };

    if (cache.at != 0 && now - cache.at < DEMO_STATUS_FRESH) {
        return;
    }
    list.sources = calloc(DEMO_STATUS_MAX, sizeof(*list.sources));
    if (list.sources == NULL) {
        return;
    }
    sources_list(&list, s);
    for (unsigned i = 0; i < list.n; i++) {
        for (unsigned k = 0; k < cache.n; k++) {
            if (strcmp(list.sources[i].uri, cache.sources[k].uri) == 0) {
                list.sources[i].absent_until = cache.sources[k].absent_until;
            }
        }
    }
    /* Mapped, so that only what the pages really need is touched, and all of it is
     * given back. */
    size_t size = (list.n > 0 ? list.n : 1) * sizeof(fetching);
    fetching *fetches = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fetches != MAP_FAILED) {
        for (unsigned i = 0; i < list.n; i++) {
            fetch_start(&fetches[i], &list.sources[i], now);
        }
        fetch_all(fetches, list.n);
        for (unsigned i = 0; i < list.n; i++) {
            fetch_take(&fetches[i], &list.sources[i], now);
            demo_fetch_close(&fetches[i].fetch);
        }
        memcpy(cache.sources, list.sources, list.n * sizeof(*list.sources));
        cache.n = list.n;
        cache.at = demo_now();
        (void)munmap(fetches, size);
    }
    free(list.sources);
}

/* --- output ------------------------------------------------------------------------------------ */

static void write_field(prom_writer *w, enum demo_status_field field)
{
    prom_begin(w, &fields[field].family);
    for (unsigned i = 0; i < cache.n; i++) {
        const source *s = &cache.sources[i];
        prom_label l[] = { { "pool", s->page.pool }, { "scrape_uri", s->uri } };
        if (s->up && s->page.value[field] >= 0) {
            prom_u64(w, l, 2, (uint64_t)s->page.value[field]);
        }
    }
}

void demo_status_write(prom_writer *w, server_rec *s)
{
    static const prom_family up = {
        "phpfpm_up", PROM_GAUGE, NULL, "1 when php-fpm's status page could be read."
    };

    (void)pthread_mutex_lock(&cache.lock);
    cache_refresh(s);
    prom_begin(w, &up);
    for (unsigned i = 0; i < cache.n; i++) {
        const source *src = &cache.sources[i];
        prom_label l[] = { { "pool", src->page.pool }, { "scrape_uri", src->uri } };
        prom_u64(w, l, 2, src->up != 0);
    }
    for (int i = 0; i < DEMO_ST_COUNT; i++) {
        write_field(w, (enum demo_status_field)i);
    }
    (void)pthread_mutex_unlock(&cache.lock);
}
