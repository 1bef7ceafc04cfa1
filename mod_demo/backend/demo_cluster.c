#include "mod_demo/backend/demo_cluster.h"

#include <assert.h>
#include <netdb.h>
#include <string.h>

#include "apr_strings.h"

#include "mod_demo/backend/demo_backend.h"
#include "mod_demo/shm/demo_clock.h"

/* What the configuration that is read names so far, in all servers. */
static struct {
    unsigned             n;
    const demo_endpoint *endpoints[DEMO_BACKENDS_MAX];
} admitted;

/* --- into shared memory ------------------------------------------------------------------ */

/* The place that holds this URL, else a free one, else the one whose
 * configuration is longest gone: no more are admitted than there are places. */
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

/* Its addresses' slots may be given away once nobody needs them. */
static void place_retire(int index)
{
    for (int i = 0; i < DEMO_ADDRESSES_MAX; i++) {
        demo_shm_addr *a = &demo_seg->addrs[i];
        if (atomic_load(&a->backend) == index && atomic_load(&a->retired_at) == 0) {
            atomic_store(&a->retired_at, demo_now());
        }
    }
}

static void place_take(int index, const char *url)
{
    demo_shm_backend *sb = &demo_seg->backends[index];
    char text[DEMO_URL_MAX] = "";

    place_retire(index);
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

/* A place that is named again.  An earlier configuration may have given it up, and
 * some of its slots may be another backend's by now. */
static void place_keep(int index)
{
    demo_shm_backend *sb = &demo_seg->backends[index];
    uint32_t n = atomic_load(&sb->n), kept = 0;
    uint32_t seq = demo_seq_write(&sb->seq);

    for (uint32_t i = 0; i < n && i < DEMO_PER_BACKEND_MAX; i++) {
        uint16_t slot = atomic_load(&sb->slots[i]);
        if (atomic_load(&demo_seg->addrs[slot].backend) == index) {
            atomic_store(&demo_seg->addrs[slot].retired_at, 0);
            atomic_store(&sb->slots[kept++], slot);
        }
    }
    atomic_store(&sb->n, kept);
    demo_seq_written(&sb->seq, seq);
}

/* The backend of this URL; made when it is new. */
static const demo_backend *backend_get(const demo_endpoint *e, const demo_health_conf *health,
                                       server_rec *s, const char *script_root)
{
    for (unsigned i = 0; i < demo_backend_count; i++) {
        if (strcmp(demo_backends[i].endpoint->url, e->url) == 0) {
            return &demo_backends[i];
        }
    }
    demo_lock(&demo_seg->table);
    int index = place_find(e->url);
    assert(index >= 0 && demo_backend_count < DEMO_BACKENDS_MAX);
    demo_shm_backend *sb = &demo_seg->backends[index];
    char known[DEMO_URL_MAX];
    demo_words_load(known, sb->url, sizeof(known));
    if (atomic_load(&sb->epoch) == 0 || strncmp(known, e->url, sizeof(known)) != 0) {
        place_take(index, e->url);
    }
    else {
        place_keep(index);
    }
    atomic_store(&sb->epoch, demo_epoch);
    demo_unlock(&demo_seg->table);
    demo_backend *b = &demo_backends[demo_backend_count++];
    b->endpoint = e;
    b->health = health;
    b->server = s;
    b->script_root = script_root;
    b->index = (uint32_t)index;
    b->use = atomic_load(&demo_seg->backends[index].use);
    publish_fixed(b);
    return b;
}

/* --- clusters ------------------------------------------------------------------------------ */

void demo_health_defaults(demo_health_conf *conf)
{
    conf->uri = "/ping";
    conf->expect = "pong";
    conf->interval = apr_time_from_sec(2);
    conf->timeout = apr_time_from_sec(1);
    conf->fall = 2;
    conf->rise = 1;
}

void demo_cluster_reset(void)
{
    demo_backend_count = 0;
    admitted.n = 0;
}

const char *demo_cluster_admit(const demo_endpoint *e, apr_pool_t *pconf)
{
    for (unsigned i = 0; i < admitted.n; i++) {
        if (strcmp(admitted.endpoints[i]->url, e->url) == 0) {
            return NULL;
        }
    }
    if (admitted.n == DEMO_BACKENDS_MAX) {
        return apr_psprintf(pconf, "\"%s\": more than %d different backends in all servers, status "
                            "pages included (DEMO_BACKENDS_MAX): name fewer, or one name with "
                            "several addresses", e->url, DEMO_BACKENDS_MAX);
    }
    admitted.endpoints[admitted.n++] = e;
    return NULL;
}

demo_cluster *demo_cluster_create(apr_pool_t *pconf)
{
    demo_cluster *c = apr_pcalloc(pconf, sizeof(*c));
    demo_health_conf *health = apr_palloc(pconf, sizeof(*health));

    demo_health_defaults(health);
    c->pool = pconf;
    c->health = health;
    c->urls[0] = apr_array_make(pconf, 2, sizeof(const demo_endpoint *));
    c->urls[1] = apr_array_make(pconf, 2, sizeof(const demo_endpoint *));
    c->status = apr_array_make(pconf, 1, sizeof(demo_status_place));
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
        wrong = demo_cluster_admit(e, pconf);
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

void demo_cluster_publish(demo_cluster *c, server_rec *s, const char *script_root)
{
    int n = c->urls[0]->nelts, all = n + c->urls[1]->nelts;

    c->n_backends = (unsigned)n;
    c->n_backups = (unsigned)(all - n);
    c->backends = apr_pcalloc(c->pool, (apr_size_t)(all + 1) * sizeof(const demo_backend *));
    for (int i = 0; i < all; i++) {
        const demo_endpoint *e = i < n ? APR_ARRAY_IDX(c->urls[0], i, const demo_endpoint *)
                                       : APR_ARRAY_IDX(c->urls[1], i - n, const demo_endpoint *);
        c->backends[i] = backend_get(e, c->health, s, script_root);
    }
}

void demo_cluster_publish_status(demo_cluster *c, const demo_endpoint *status, server_rec *s,
                                 const char *script_root)
{
    demo_status_place place = { backend_get(status, NULL, s, script_root),
                                status->path != NULL ? status->path : DEMO_STATUS_PATH };

    for (int i = 0; i < c->status->nelts; i++) {
        const demo_status_place *known = &APR_ARRAY_IDX(c->status, i, demo_status_place);
        if (known->backend == place.backend && strcmp(known->path, place.path) == 0) {
            return; /* several servers name it */
        }
    }
    APR_ARRAY_PUSH(c->status, demo_status_place) = place;
}

void demo_cluster_published(void)
{
    demo_lock(&demo_seg->table);
    for (int i = 0; i < DEMO_BACKENDS_MAX; i++) {
        if (atomic_load(&demo_seg->backends[i].epoch) != demo_epoch) {
            place_retire(i);
        }
    }
    demo_unlock(&demo_seg->table);
}
