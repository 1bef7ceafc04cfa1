/* Many threads at once on the shared memory: nothing is lost, no reader sees half
 * an address, no slot is given to two backends.
 *
 * Meant to be run with ThreadSanitizer as well.  All that lies in the shared
 * memory is atomic, so ThreadSanitizer has nothing to say where a lock is
 * missing: what the locks are for is looked at here. */
#include "testlib.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "mod_demo/backend/demo_backend.h"
#include "mod_demo/backend/demo_balance.h"
#include "mod_demo/observe/demo_counters.h"
#include "mod_demo/shm/demo_shm.h"
#include "addresses.h"
#include "stub_httpd.h"

/* ThreadSanitizer slows the readers down, but not an empty loop. */
#if defined(__SANITIZE_THREAD__)
enum { PAUSE = 100000 };
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
enum { PAUSE = 100000 };
#else
enum { PAUSE = 2000 };
#endif
#else
enum { PAUSE = 2000 };
#endif

enum { THREADS = 4, ROUNDS = 20000, ADDRESSES = 5, BACKENDS = 2, HELD_MS = 100 };

static apr_pool_t   *pool;
static demo_cluster *cluster;
static atomic_int    stop, torn, doubled;

/* Is each of a backend's slots its own, and does it hold the address that was set? */
static int slots_are_own(const demo_backend *b, unsigned first)
{
    const demo_shm_backend *sb = &demo_seg->backends[b->index];
    unsigned n = atomic_load(&sb->n), seen = 0;

    for (unsigned i = 0; i < n; i++) {
        demo_address a;
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)&a.addr;
        if (!demo_backend_address(b, atomic_load(&sb->slots[i]), &a)) {
            return 0;
        }
        unsigned at = ntohl(in->sin_addr.s_addr) - ADDRESSES_NET - first;
        if (at >= ADDRESSES || (seen & 1u << at) != 0) {
            return 0;
        }
        seen |= 1u << at;
    }
    return n == ADDRESSES;
}

static void change_addresses(unsigned which, unsigned first)
{
    const demo_backend *b = cluster->backends[which];

    if (set_addresses(b, first, ADDRESSES) == 0 && !slots_are_own(b, first)) {
        atomic_fetch_add(&doubled, 1);
    }
}

/* The leader: the name changes all the time, and slots are used again at once.
 * A second one is at work on another backend, as after a graceful restart. */
static void *changer(void *arg)
{
    unsigned which = *(unsigned *)arg;

    for (unsigned i = 0; !atomic_load(&stop); i++) {
        change_addresses(which, 1 + 1000 * which + i % 300);
        for (int k = 0; k < DEMO_ADDRESSES_MAX; k++) {
            if (atomic_load(&demo_seg->addrs[k].retired_at) != 0) {
                atomic_store(&demo_seg->addrs[k].retired_at, 1 - 61000000);
            }
        }
        /* Not a fifth time: then it would believe a difference, which it may since it is meant to look once a second,
         * and here is one that a thread was interrupted in. */
        if (which == 0 && i % 100 == 0 && i < 400) {
            demo_shm_mend();
        }
    }
    return NULL;
}

/* And a text that changes often, but lets readers come to an end. */
static void *writer(void *arg)
{
    char text[DEMO_HEALTH_TEXT_MAX] = "";

    (void)arg;
    for (unsigned i = 0; !atomic_load(&stop); i++) {
        memset(text, i % 2 ? 'a' : 'b', sizeof(text) - 1);
        demo_text_store(&demo_seg->addrs[0].text_seq, demo_seg->addrs[0].text, sizeof(text), text);
        for (volatile int pause = 0; pause < PAUSE; pause++) {
        }
    }
    return NULL;
}

static void check_text(void)
{
    char text[DEMO_HEALTH_TEXT_MAX];

    /* On a busy machine the writer may lose its processor in the middle, for longer than a reader tries. */
    if (!demo_text_load(&demo_seg->addrs[0].text_seq, demo_seg->addrs[0].text, sizeof(text), text)) {
        return;
    }
    if (text[0] != '\0' && strspn(text, text[0] == 'a' ? "a" : "b") != sizeof(text) - 1) {
        atomic_fetch_add(&torn, 1);
    }
}

static void *worker(void *arg)
{
    demo_sample sample = { .status = 200, .method = M_GET, .queue_us = -1, .connect_us = 10,
                           .first_byte_us = 20, .total_us = 700, .response_bytes = 3 };

    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        demo_target t;
        char where[64], name[DEMO_TARGET_NAME_MAX];
        if (demo_balance_pick(cluster, -1, &t) != APR_SUCCESS) {
            continue; /* changed three times in between */
        }
        demo_address_text(&t.addr.sa, where, sizeof(where));
        (void)snprintf(name, sizeof(name), "fcgi://php-fpm%s:9000 (%s)",
                       (uint32_t)t.backend == cluster->backends[0]->index ? "" : "-too", where);
        if (strcmp(name, t.name) != 0) {
            atomic_fetch_add(&torn, 1);
        }
        check_text();
        demo_balance_done(&t, i % 50 ? DEMO_OUTCOME_OK : DEMO_OUTCOME_FAILED);
        demo_metrics_request(&sample);
    }
    return NULL;
}

static int setup(void **state)
{
    (void)state;
    (void)apr_pool_create(&pool, NULL);
    demo_cluster_reset();
    cluster = demo_cluster_create(pool);
    assert_null(demo_cluster_add(cluster, "fcgi://php-fpm", 0, pool));
    assert_null(demo_cluster_add(cluster, "fcgi://php-fpm-too", 0, pool));
    server_rec *s = stub_server(pool);
    assert_int_equal(demo_shm_open(s), APR_SUCCESS);
    demo_cluster_publish(cluster, s, "/srv/www");
    demo_shm_child_init(s);
    return 0;
}

static void test_threads(void **state)
{
    pthread_t threads[THREADS], leader[BACKENDS], text;
    unsigned which[BACKENDS] = { 0, 1 };
    uint64_t buckets[DEMO_HISTOGRAM_BOUNDS + 1];
    uint64_t counted;

    (void)state;
    change_addresses(0, 1);
    for (int i = 0; i < BACKENDS; i++) {
        assert_int_equal(pthread_create(&leader[i], NULL, changer, &which[i]), 0);
    }
    assert_int_equal(pthread_create(&text, NULL, writer, NULL), 0);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, worker, NULL), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < BACKENDS; i++) {
        assert_int_equal(pthread_join(leader[i], NULL), 0);
    }
    assert_int_equal(pthread_join(text, NULL), 0);
    assert_int_equal(atomic_load(&torn), 0);
    assert_int_equal(atomic_load(&doubled), 0);
    counted = demo_requests_sum(DEMO_SCOPE_FCGI, 0, 200);
    assert_true(counted > THREADS * ROUNDS / 2);
    assert_int_equal(demo_counter_sum(DEMO_C_RESPONSE_BYTES), counted * 3);
    assert_int_equal(demo_histogram_sum(DEMO_H_DURATION, buckets), counted * 700);
    assert_int_equal(buckets[1], counted);
    for (int i = 0; i < DEMO_ADDRESSES_MAX; i++) {
        assert_int_equal(atomic_load(&demo_seg->addrs[i].gauge[DEMO_G_OUTSTANDING]), 0);
    }
}

/* A new configuration takes its place in the table; children of the old one write to the table meanwhile. */
static void *publisher(void *arg)
{
    demo_cluster_reset();
    cluster = demo_cluster_create(pool);
    if (demo_cluster_add(cluster, "fcgi://quite-another", 0, pool) == NULL) {
        demo_cluster_publish(cluster, stub_server(pool), "/srv/www");
    }
    atomic_store((atomic_int *)arg, 1);
    return NULL;
}

static int is_published(const char *url)
{
    for (int i = 0; i < DEMO_BACKENDS_MAX; i++) {
        char known[DEMO_URL_MAX];
        demo_words_load(known, demo_seg->backends[i].url, sizeof(known));
        if (strcmp(known, url) == 0) {
            return 1;
        }
    }
    return 0;
}

static void test_the_table_is_changed_by_one_at_a_time(void **state)
{
    pthread_t thread;
    atomic_int done = 0;

    (void)state;
    demo_lock(&demo_seg->table);
    assert_int_equal(pthread_create(&thread, NULL, publisher, &done), 0);
    for (int i = 0; i < HELD_MS; i++) {
        (void)usleep(1000);
        assert_int_equal(atomic_load(&done), 0);
        assert_false(is_published("fcgi://quite-another:9000"));
    }
    demo_unlock(&demo_seg->table);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(atomic_load(&done), 1);
    assert_true(is_published("fcgi://quite-another:9000"));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_threads),
                                        cmocka_unit_test(test_the_table_is_changed_by_one_at_a_time) };

    (void)apr_initialize();
    int failed = cmocka_run_group_tests(tests, setup, NULL);
    apr_terminate();
    return failed;
}
