#include "mod_demo/demo_backend.h"

#include "mod_demo/demo_directives.h"
#include "mod_demo/demo_status.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "apr_strings.h"
#include "http_core.h"
#include "http_log.h"

APLOG_USE_MODULE(demo);

static_assert(sizeof(struct sockaddr_in6) <= sizeof(struct sockaddr_un), "no room for IPv6");

/* A retired slot may still be somebody's kept connection or pending request. */
#define RETIRED_KEEP_US (60 * 1000000LL)

demo_backend demo_backends[DEMO_BACKENDS_MAX];
unsigned     demo_backend_count;

int demo_backend_current(const demo_backend *b)
{
    return atomic_load_explicit(&demo_seg->backends[b->index].use, memory_order_acquire) == b->use;
}

unsigned demo_backend_slots(const demo_backend *b, uint16_t slots[DEMO_PER_BACKEND_MAX])
{
    const demo_shm_backend *sb = &demo_seg->backends[b->index];
    uint32_t seq, n;
    int tries = 0;

    if (!demo_backend_current(b)) {
        return 0;
    }
    do {
        seq = demo_seq_read(&sb->seq);
        n = atomic_load_explicit(&sb->n, memory_order_relaxed);
        for (uint32_t i = 0; i < n && i < DEMO_PER_BACKEND_MAX; i++) {
            slots[i] = atomic_load_explicit(&sb->slots[i], memory_order_relaxed);
        }
    } while (demo_seq_again(&sb->seq, seq, &tries));
    return n < DEMO_PER_BACKEND_MAX ? n : DEMO_PER_BACKEND_MAX;
}

int demo_backend_address(const demo_backend *b, int slot, demo_address *out)
{
    const demo_shm_addr *a = &demo_seg->addrs[slot];
    uint32_t seq;
    int32_t owner;
    int tries = 0;

    do {
        seq = demo_seq_read(&a->seq);
        owner = atomic_load_explicit(&a->backend, memory_order_relaxed);
        out->use = atomic_load_explicit(&a->use, memory_order_relaxed);
        out->len = atomic_load_explicit(&a->addr_len, memory_order_relaxed);
        demo_words_load(out->addr.words, a->addr, sizeof(struct sockaddr_un));
    } while (demo_seq_again(&a->seq, seq, &tries));
    out->slot = slot;
    return owner == (int32_t)b->index && tries < DEMO_SEQ_TRIES;
}

void demo_address_text(const struct sockaddr *sa, char *text, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "?";

    if (sa->sa_family == AF_UNIX) {
        (void)snprintf(text, size, "%s", ((const struct sockaddr_un *)(const void *)sa)->sun_path);
    }
    else if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)sa;
        (void)inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof(host));
        (void)snprintf(text, size, "[%s]:%u", host, ntohs(in->sin6_port));
    }
    else {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)sa;
        (void)inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
        (void)snprintf(text, size, "%s:%u", host, ntohs(in->sin_port));
    }
}

/* --- the table of addresses; the caller holds demo_seg->table -------------------------- */

static int slot_idle(const demo_shm_addr *a, int64_t now)
{
    int64_t retired = atomic_load(&a->retired_at);

    if (atomic_load(&a->backend) < 0) {
        return 1;
    }
    if (retired == 0 || now - retired < RETIRED_KEEP_US) {
        return 0;
    }
    for (int g = 0; g < DEMO_G_COUNT; g++) {
        if (atomic_load(&a->gauge[g]) != 0) {
            return 0;
        }
    }
    return 1;
}

static void slot_fill(demo_shm_addr *a, const demo_backend *b, const demo_sockaddr *addr,
                      socklen_t len)
{
    char where[DEMO_TARGET_NAME_MAX], name[DEMO_TARGET_NAME_MAX];

    demo_address_text(&addr->sa, where, sizeof(where));
    if (b->endpoint->kind == DEMO_ENDPOINT_UNIX) {
        (void)apr_cpystrn(name, b->endpoint->url, sizeof(name));
    }
    else {
        (void)apr_snprintf(name, sizeof(name), "%s (%s)", b->endpoint->url, where);
    }
    uint32_t seq = demo_seq_write(&a->seq);
    (void)atomic_fetch_add(&a->use, 1);
    atomic_store(&a->backend, (int32_t)b->index);
    atomic_store(&a->addr_len, len);
    demo_words_store(a->addr, addr, sizeof(addr->un));
    demo_words_store(a->name, name, sizeof(name));
    atomic_store(&a->retired_at, 0);
    for (int i = 0; i < DEMO_OUTCOME_COUNT; i++) {
        atomic_store(&a->outcome[i], 0);
    }
    atomic_store(&a->last_ok, 0);
    atomic_store(&a->held_until, 0);
    atomic_store(&a->failures, 0);
    atomic_store(&a->bound_more, 0);
    atomic_store(&a->bound_score, 0);
    atomic_store(&a->health, DEMO_HEALTH_UNKNOWN);
    atomic_store(&a->health_run, 0);
    atomic_store(&a->checked_at, 0);
    atomic_store(&a->check_us, 0);
    for (int i = 0; i < DEMO_RESULT_COUNT; i++) {
        atomic_store(&a->checks[i], 0);
    }
    demo_seq_written(&a->seq, seq);
}

static int slot_find(const demo_backend *b, const demo_sockaddr *addr, socklen_t len)
{
    for (int i = 0; i < DEMO_ADDRESSES_MAX; i++) {
        demo_sockaddr known;
        const demo_shm_addr *a = &demo_seg->addrs[i];
        if (atomic_load(&a->backend) != (int32_t)b->index || atomic_load(&a->addr_len) != len) {
            continue;
        }
        demo_words_load(&known, a->addr, sizeof(known.un));
        if (memcmp(&known, addr, len) == 0) {
            return i;
        }
    }
    return -1;
}

static int slot_get(const demo_backend *b, const demo_sockaddr *addr, socklen_t len,
                    int64_t now)
{
    int slot = slot_find(b, addr, len);

    if (slot >= 0) {
        atomic_store(&demo_seg->addrs[slot].retired_at, 0);
        return slot;
    }
    for (int i = 0; i < DEMO_ADDRESSES_MAX; i++) {
        if (slot_idle(&demo_seg->addrs[i], now)) {
            slot_fill(&demo_seg->addrs[i], b, addr, len);
            return i;
        }
    }
    return -1;
}

/* What a writer that was killed left half-written; nobody else writes now. */
static void drop_torn(void)
{
    for (int i = 0; i < DEMO_ADDRESSES_MAX; i++) {
        demo_shm_addr *a = &demo_seg->addrs[i];
        uint32_t seq = atomic_load(&a->seq);
        if ((seq & 1u) != 0) {
            atomic_store(&a->backend, -1);
            demo_seq_written(&a->seq, seq);
        }
    }
}

unsigned demo_backend_set(const demo_backend *b, const demo_sockaddr *addrs,
                          const socklen_t *lens, unsigned n)
{
    demo_shm_backend *sb = &demo_seg->backends[b->index];
    uint16_t slots[DEMO_PER_BACKEND_MAX];
    int64_t now = demo_now();
    unsigned kept = 0;

    demo_lock(&demo_seg->table);
    if (!demo_backend_current(b)) {
        demo_unlock(&demo_seg->table);
        return 0;
    }
    drop_torn();
    for (unsigned i = 0; i < n; i++) {
        int slot = slot_get(b, &addrs[i], lens[i], now);
        if (slot >= 0) {
            slots[kept++] = (uint16_t)slot;
        }
    }
    for (int i = 0; i < DEMO_ADDRESSES_MAX; i++) {
        demo_shm_addr *a = &demo_seg->addrs[i];
        int used = 0;
        for (unsigned k = 0; k < kept; k++) {
            used |= slots[k] == i;
        }
        if (!used && atomic_load(&a->backend) == (int32_t)b->index
            && atomic_load(&a->retired_at) == 0) {
            atomic_store(&a->retired_at, now);
        }
    }
    uint32_t seq = demo_seq_write(&sb->seq);
    for (unsigned i = 0; i < kept; i++) {
        atomic_store_explicit(&sb->slots[i], slots[i], memory_order_relaxed);
    }
    atomic_store_explicit(&sb->n, kept, memory_order_relaxed);
    demo_seq_written(&sb->seq, seq);
    atomic_store(&sb->resolved_at, now);
    demo_unlock(&demo_seg->table);
    return n - kept;
}

/* --- publication ------------------------------------------------------------------------- */

/* The place that holds this URL, else a free one, else the one whose
 * configuration is longest gone; -1 when all are of this configuration. */
static int place_find(const char *url)
{
    int best = -1;
    uint32_t oldest = demo_epoch;

    for (int i = 0; i < DEMO_BACKENDS_MAX; i++) {
        const demo_shm_backend *sb = &demo_seg->backends[i];
        char known[DEMO_URL_MAX];
        uint32_t epoch = atomic_load(&sb->epoch);
        demo_words_load(known, sb->url, sizeof(known));
        if (epoch != 0 && strncmp(known, url, sizeof(known)) == 0) {
            return i;
        }
        if (epoch < oldest) {
            oldest = epoch;
            best = i;
        }
    }
    return best;
}

static void place_take(int index, const char *url)
{
    demo_shm_backend *sb = &demo_seg->backends[index];
    char text[DEMO_URL_MAX] = "";

    for (int i = 0; i < DEMO_ADDRESSES_MAX; i++) {
        if (atomic_load(&demo_seg->addrs[i].backend) == index
            && atomic_load(&demo_seg->addrs[i].retired_at) == 0) {
            atomic_store(&demo_seg->addrs[i].retired_at, demo_now());
        }
    }
    (void)apr_cpystrn(text, url, sizeof(text));
    uint32_t seq = demo_seq_write(&sb->seq);
    (void)atomic_fetch_add(&sb->use, 1);
    atomic_store(&sb->n, 0);
    demo_words_store(sb->url, text, sizeof(text));
    demo_seq_written(&sb->seq, seq);
    for (int i = 0; i < DEMO_RESULT_COUNT; i++) {
        atomic_store(&sb->resolutions[i], 0);
    }
    atomic_store(&sb->resolved_at, 0);
    demo_text_store(&sb->text_seq, sb->text, DEMO_HEALTH_TEXT_MAX, "not resolved yet");
}

/* Unix sockets and numeric hosts need no resolver. */
static void publish_fixed(const demo_backend *b)
{
    demo_sockaddr addr;
    socklen_t len;

    memset(&addr, 0, sizeof(addr));
    if (b->endpoint->kind == DEMO_ENDPOINT_UNIX) {
        addr.un.sun_family = AF_UNIX;
        (void)apr_cpystrn(addr.un.sun_path, b->endpoint->sock, sizeof(addr.un.sun_path));
        len = sizeof(addr.un);
    }
    else {
        struct addrinfo hints = { .ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM };
        struct addrinfo *found = NULL;
        char port[8];
        (void)apr_snprintf(port, sizeof(port), "%u", (unsigned)b->endpoint->port);
        if (getaddrinfo(b->endpoint->host, port, &hints, &found) != 0) {
            return; /* a name: demo_resolve's */
        }
        memcpy(&addr, found->ai_addr, found->ai_addrlen);
        len = found->ai_addrlen;
        freeaddrinfo(found);
    }
    (void)demo_backend_set(b, &addr, &len, 1);
}

static const char *script_root(server_rec *s)
{
    const demo_dir_conf *dir = ap_get_module_config(s->lookup_defaults, &demo_module);
    const core_server_config *core = ap_get_core_module_config(s->module_config);

    if (dir != NULL && dir->document_root != NULL) {
        return dir->document_root;
    }
    return core->ap_document_root != NULL ? core->ap_document_root : "";
}

/* The backend of this URL; made when it is new.  NULL: no place is left. */
static const demo_backend *backend_get(const demo_endpoint *e, const demo_health_conf *health,
                                       server_rec *s)
{
    for (unsigned i = 0; i < demo_backend_count; i++) {
        if (strcmp(demo_backends[i].endpoint->url, e->url) == 0) {
            return &demo_backends[i];
        }
    }
    demo_lock(&demo_seg->table);
    int index = demo_backend_count < DEMO_BACKENDS_MAX ? place_find(e->url) : -1;
    if (index >= 0) {
        demo_shm_backend *sb = &demo_seg->backends[index];
        char known[DEMO_URL_MAX];
        demo_words_load(known, sb->url, sizeof(known));
        if (atomic_load(&sb->epoch) == 0 || strncmp(known, e->url, sizeof(known)) != 0) {
            place_take(index, e->url);
        }
        atomic_store(&sb->epoch, demo_epoch);
    }
    demo_unlock(&demo_seg->table);
    if (index < 0) {
        return NULL;
    }
    demo_backend *b = &demo_backends[demo_backend_count++];
    b->endpoint = e;
    b->health = health;
    b->server = s;
    b->script_root = script_root(s);
    b->index = (uint32_t)index;
    b->use = atomic_load(&demo_seg->backends[index].use);
    publish_fixed(b);
    return b;
}

/* --- clusters ------------------------------------------------------------------------------ */

static struct {
    apr_pool_t         *pool;
    apr_array_header_t *clusters; /* demo_cluster * */
    demo_health_conf    health;   /* the default */
} configuration;

void demo_balance_reset(apr_pool_t *pconf)
{
    configuration.pool = pconf;
    configuration.clusters = apr_array_make(pconf, 4, sizeof(demo_cluster *));
    demo_health_defaults(&configuration.health);
    demo_backend_count = 0;
}

demo_cluster *demo_cluster_create(apr_pool_t *pconf)
{
    demo_cluster *c = apr_pcalloc(pconf, sizeof(*c));

    c->urls[0] = apr_array_make(pconf, 2, sizeof(const demo_endpoint *));
    c->urls[1] = apr_array_make(pconf, 2, sizeof(const demo_endpoint *));
    c->health = &configuration.health;
    APR_ARRAY_PUSH(configuration.clusters, demo_cluster *) = c;
    return c;
}

const char *demo_cluster_add(demo_cluster *cluster, const char *url, int backup, apr_pool_t *pconf)
{
    const demo_endpoint *e = NULL;
    const char *wrong = demo_endpoint_parse(&e, url, DEMO_PATH_NONE, pconf);

    for (int i = 0; wrong == NULL && i < cluster->urls[backup != 0]->nelts; i++) {
        if (strcmp(APR_ARRAY_IDX(cluster->urls[backup != 0], i, const demo_endpoint *)->url,
                   e->url) == 0) {
            return NULL; /* named twice */
        }
    }
    if (wrong == NULL) {
        APR_ARRAY_PUSH(cluster->urls[backup != 0], const demo_endpoint *) = e;
    }
    return wrong;
}

demo_cluster *demo_cluster_with_backups(const demo_cluster *backends, const demo_cluster *backups,
                                        apr_pool_t *pconf)
{
    demo_cluster *c = demo_cluster_create(pconf);

    c->urls[0] = apr_array_copy(pconf, backends->urls[0]);
    c->urls[1] = apr_array_copy(pconf, backups->urls[1]);
    return c;
}

void demo_cluster_health(demo_cluster *cluster, const demo_health_conf *conf)
{
    cluster->health = conf;
}

/* The first server that uses the cluster; NULL when none does. */
static server_rec *cluster_server(const demo_cluster *c, server_rec *s)
{
    for (server_rec *v = s; v != NULL; v = v->next) {
        if (demo_server_conf_get(v)->cluster == c) {
            return v;
        }
    }
    return NULL;
}

static apr_status_t cluster_publish(demo_cluster *c, server_rec *s)
{
    int n = c->urls[0]->nelts, all = n + c->urls[1]->nelts;

    c->n_backends = (unsigned)n;
    c->n_backups = (unsigned)(all - n);
    c->backends = apr_pcalloc(configuration.pool, (apr_size_t)(all + 1) * sizeof(const demo_backend *));
    for (int i = 0; i < all; i++) {
        const demo_endpoint *e = i < n ? APR_ARRAY_IDX(c->urls[0], i, const demo_endpoint *)
                                       : APR_ARRAY_IDX(c->urls[1], i - n, const demo_endpoint *);
        c->backends[i] = backend_get(e, c->health, s);
        if (c->backends[i] == NULL) {
            ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s,
                         "DM0204: DemoBackend %s: more than %d different backends", e->url,
                         DEMO_BACKENDS_MAX);
            return APR_ENOSPC;
        }
    }
    return APR_SUCCESS;
}

static apr_status_t status_publish(server_rec *s)
{
    const demo_server_conf *conf = demo_server_conf_get(s);
    const demo_endpoint *e = conf->status;

    if (e == NULL || conf->cluster == NULL) {
        return APR_SUCCESS;
    }
    conf->cluster->status = backend_get(e, NULL, s);
    conf->cluster->status_path = e->path != NULL ? e->path : DEMO_STATUS_PATH;
    if (conf->cluster->status == NULL) {
        ap_log_error(APLOG_MARK, APLOG_EMERG, 0, s,
                     "DM0205: DemoStatus %s: more than %d different backends", e->url,
                     DEMO_BACKENDS_MAX);
        return APR_ENOSPC;
    }
    return APR_SUCCESS;
}

apr_status_t demo_balance_publish(server_rec *s)
{
    server_rec *main_server = s;

    demo_backend_count = 0;
    for (int i = 0; i < configuration.clusters->nelts; i++) {
        demo_cluster *c = APR_ARRAY_IDX(configuration.clusters, i, demo_cluster *);
        server_rec *user = cluster_server(c, s);
        apr_status_t rv = user != NULL ? cluster_publish(c, user) : APR_SUCCESS;
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    /* Afterwards, so that an address that is also a backend's is checked as such. */
    for (s = main_server; s != NULL; s = s->next) {
        apr_status_t rv = status_publish(s);
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    return APR_SUCCESS;
}
