#include "mod_demo/background/demo_resolve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http_log.h"

#include "mod_demo/backend/demo_backend.h"
#include "mod_demo/shm/demo_clock.h"

APLOG_USE_MODULE(demo);

#define POLL_US 20000LL /* how often an open question is looked at */

/* Owned by the asking thread until it is ASK_DONE; then by the leader, unless that
 * has gone away (ASK_ABANDONED). */
enum { ASK_RUNNING, ASK_DONE, ASK_ABANDONED };

typedef struct {
    atomic_int         state;
    char               host[DEMO_URL_MAX];
    char               port[8];
    int                error; /* of getaddrinfo */
    int                sys_errno;
    unsigned           n, left_out;
    demo_sockaddr      addrs[DEMO_PER_BACKEND_MAX];
    socklen_t          lens[DEMO_PER_BACKEND_MAX];
    unsigned           n_had; /* what the name had when it was asked for */
    demo_address       had[DEMO_PER_BACKEND_MAX];
} question;

/* The leader's view of each backend; same index as demo_backends. */
static struct {
    question *asked;   /* or NULL */
    int64_t   next;    /* when to ask again */
    int64_t   last;    /* when it was asked last */
    int       failing; /* the last answer was an error, which is logged once */
    unsigned  left_out; /* of the last answer; logged when it changes */
} views[DEMO_BACKENDS_MAX];

static bool is_same(const demo_sockaddr *addr, socklen_t len, const struct addrinfo *ai)
{
    return len == ai->ai_addrlen && memcmp(addr, ai->ai_addr, len) == 0;
}

static bool was_had(const question *q, const struct addrinfo *ai)
{
    for (unsigned i = 0; i < q->n_had; i++) {
        if (is_same(&q->had[i].addr, q->had[i].len, ai)) {
            return true;
        }
    }
    return false;
}

static bool is_taken(const question *q, const struct addrinfo *ai)
{
    for (unsigned i = 0; i < q->n; i++) {
        if (is_same(&q->addrs[i], q->lens[i], ai)) {
            return true;
        }
    }
    return false;
}

/* What the name had before comes first: resolvers answer in any order, and where
 * there are more than fit, each answer would be others. */
static void take_answers(question *q, const struct addrinfo *found)
{
    for (int had = 1; had >= 0; had--) {
        for (const struct addrinfo *ai = found; ai != NULL; ai = ai->ai_next) {
            if (ai->ai_addrlen > sizeof(q->addrs[0].un) || was_had(q, ai) != (had == 1)
                || is_taken(q, ai)) {
                continue;
            }
            if (q->n == DEMO_PER_BACKEND_MAX) {
                q->left_out++;
                continue;
            }
            memset(&q->addrs[q->n], 0, sizeof(q->addrs[0]));
            memcpy(&q->addrs[q->n], ai->ai_addr, ai->ai_addrlen);
            q->lens[q->n++] = ai->ai_addrlen;
        }
    }
}

static void *ask_main(void *arg)
{
    question *q = arg;
    struct addrinfo hints = { .ai_flags = AI_ADDRCONFIG, .ai_socktype = SOCK_STREAM };
    struct addrinfo *found = NULL;
    int running = ASK_RUNNING;

    q->error = getaddrinfo(q->host, q->port, &hints, &found);
    q->sys_errno = errno;
    if (q->error == 0) {
        take_answers(q, found);
        freeaddrinfo(found);
    }
    if (!atomic_compare_exchange_strong(&q->state, &running, ASK_DONE)) {
        free(q); /* abandoned */
    }
    return NULL;
}

static void note_had(question *q, const demo_backend *b)
{
    uint16_t slots[DEMO_PER_BACKEND_MAX];
    unsigned n = demo_backend_slots(b, slots);

    for (unsigned i = 0; i < n; i++) {
        q->n_had += demo_backend_address(b, slots[i], &q->had[q->n_had]) != 0;
    }
}

static question *ask(const demo_backend *b)
{
    question *q = calloc(1, sizeof(*q));
    pthread_attr_t attr;
    pthread_t thread;

    if (q == NULL || pthread_attr_init(&attr) != 0) {
        free(q);
        return NULL;
    }
    (void)snprintf(q->host, sizeof(q->host), "%s", b->endpoint->host);
    (void)snprintf(q->port, sizeof(q->port), "%u", (unsigned)b->endpoint->port);
    note_had(q, b);
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    int rc = pthread_create(&thread, &attr, ask_main, q);
    (void)pthread_attr_destroy(&attr);
    if (rc != 0) {
        free(q);
        return NULL;
    }
    return q;
}

/* In whatever order; an address keeps its slot. */
static bool are_same(const uint16_t *had, unsigned before, const uint16_t *has, unsigned n)
{
    bool same = before == n;

    for (unsigned i = 0; i < n && same; i++) {
        unsigned k = 0;
        while (k < before && had[k] != has[i]) {
            k++;
        }
        same = k < before;
    }
    return same;
}

/* Names change seldom: a log line for each change, none for the rest. */
static void answer(server_rec *s, unsigned i)
{
    const demo_backend *b = &demo_backends[i];
    demo_shm_backend *sb = &demo_seg->backends[b->index];
    question *q = views[i].asked;
    int failed = q->error != 0 || q->n == 0;

    (void)atomic_fetch_add(&sb->resolutions[failed ? DEMO_RESULT_FAILED : DEMO_RESULT_OK], 1);
    if (failed) {
        const char *why = q->error == EAI_SYSTEM ? strerror(q->sys_errno)
                        : q->error != 0 ? gai_strerror(q->error) : "no address";
        demo_text_store(&sb->text_seq, sb->text, DEMO_HEALTH_TEXT_MAX, why);
        if (!views[i].failing) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                         "DM0220: backend %s: resolve: %s; %u addresses known so far are kept",
                         b->endpoint->url, why, (unsigned)atomic_load(&sb->n));
        }
    }
    else {
        uint16_t had[DEMO_PER_BACKEND_MAX], has[DEMO_PER_BACKEND_MAX];
        unsigned before = demo_backend_slots(b, had);
        q->left_out += demo_backend_set(b, q->addrs, q->lens, q->n);
        unsigned n = demo_backend_slots(b, has);
        if (!are_same(had, before, has, n) || views[i].failing) {
            ap_log_error(APLOG_MARK, APLOG_INFO, 0, s,
                         "DM0221: backend %s: resolve: %u addresses, %u before", b->endpoint->url,
                         n, before);
        }
        if (q->left_out > 0 && q->left_out != views[i].left_out) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, 0, s,
                         "DM0222: backend %s: resolve: %u addresses are left out: at most %d a"
                         " backend and %d in all", b->endpoint->url, q->left_out,
                         DEMO_PER_BACKEND_MAX, DEMO_ADDRESSES_MAX);
        }
        views[i].left_out = q->left_out;
    }
    views[i].failing = failed;
    views[i].next = demo_now() + (failed ? DEMO_RESOLVE_AGAIN : DEMO_RESOLVE_INTERVAL);
    free(q);
    views[i].asked = NULL;
}

static int is_name(const demo_backend *b)
{
    struct in6_addr any;

    return b->endpoint->kind == DEMO_ENDPOINT_TCP
        && inet_pton(AF_INET, b->endpoint->host, &any) != 1
        && inet_pton(AF_INET6, b->endpoint->host, &any) != 1;
}

static int64_t backend_tick(server_rec *s, unsigned i, int64_t now)
{
    demo_shm_backend *sb = &demo_seg->backends[demo_backends[i].index];

    if (views[i].asked != NULL && atomic_load(&views[i].asked->state) == ASK_DONE) {
        answer(s, i);
    }
    if (views[i].asked != NULL) {
        return now + POLL_US;
    }
    if (atomic_load_explicit(&sb->resolve_now, memory_order_relaxed) != 0
        && views[i].next > views[i].last + DEMO_RESOLVE_AGAIN) {
        views[i].next = views[i].last + DEMO_RESOLVE_AGAIN;
    }
    if (now >= views[i].next) {
        atomic_store(&sb->resolve_now, 0);
        views[i].last = now;
        views[i].asked = ask(&demo_backends[i]);
        views[i].next = now + DEMO_RESOLVE_AGAIN; /* when no thread could be had */
        return now + POLL_US;
    }
    return views[i].next;
}

int64_t demo_resolve_tick(server_rec *s, int64_t now)
{
    int64_t next = INT64_MAX;

    for (unsigned i = 0; i < demo_backend_count; i++) {
        if (is_name(&demo_backends[i]) && demo_backend_current(&demo_backends[i])) {
            int64_t due = backend_tick(s, i, now);
            next = due < next ? due : next;
        }
    }
    return next;
}

void demo_resolve_finish(void)
{
    for (unsigned i = 0; i < demo_backend_count; i++) {
        question *q = views[i].asked;
        if (q != NULL && atomic_exchange(&q->state, ASK_ABANDONED) == ASK_DONE) {
            free(q);
        }
        views[i].asked = NULL;
        views[i].next = 0;
    }
}
