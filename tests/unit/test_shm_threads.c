/* Many threads at once on the shared memory: nothing is lost, and no reader sees
 * half an address.  Meant to be run with ThreadSanitizer as well. */
#include "testlib.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>

#include "mod_demo/backend/demo_backend.h"
#include "mod_demo/backend/demo_balance.h"
#include "mod_demo/observe/demo_counters.h"
#include "mod_demo/shm/demo_shm.h"
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

enum { THREADS = 4, ROUNDS = 20000, ADDRESSES = 5 };

static apr_pool_t   *pool;
static demo_cluster *cluster;
static atomic_int    stop, torn;

static void set_addresses(unsigned first)
{
    demo_sockaddr addrs[ADDRESSES];
    socklen_t lens[ADDRESSES];

    memset(addrs, 0, sizeof(addrs));
    for (unsigned i = 0; i < ADDRESSES; i++) {
        struct sockaddr_in *in = (struct sockaddr_in *)(void *)&addrs[i];
        in->sin_family = AF_INET;
        in->sin_port = htons(9000);
        in->sin_addr.s_addr = htonl(0x0a000000u + first + i);
        lens[i] = sizeof(*in);
    }
    (void)demo_backend_set(cluster->backends[0], addrs, lens, ADDRESSES);
}

/* The leader: the name changes all the time, and slots are used again at once. */
static void *changer(void *arg)
{
    (void)arg;
    for (unsigned i = 0; !atomic_load(&stop); i++) {
        set_addresses(1 + i % 300);
        for (int k = 0; k < DEMO_ADDRESSES_MAX; k++) {
            if (atomic_load(&demo_seg->addrs[k].retired_at) != 0) {
                atomic_store(&demo_seg->addrs[k].retired_at, 1 - 61000000);
            }
        }
        demo_shm_mend();
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
        (void)snprintf(name, sizeof(name), "fcgi://php-fpm:9000 (%s)", where);
        if (strcmp(name, t.name) != 0) {
            atomic_fetch_add(&torn, 1);
        }
        check_text();
        demo_balance_done(&t, i % 50 ? DEMO_OUTCOME_OK : DEMO_OUTCOME_FAILED);
        demo_metrics_request(&sample);
    }
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t threads[THREADS], leader, text;
    uint64_t buckets[DEMO_HISTOGRAM_BOUNDS + 1];
    uint64_t counted;

    demo_cluster_reset();
    cluster = demo_cluster_create(pool);
    assert_null(demo_cluster_add(cluster, "fcgi://php-fpm", 0, pool));
    server_rec *s = stub_server(pool);
    assert_int_equal(demo_shm_open(s), APR_SUCCESS);
    assert_int_equal(demo_cluster_publish(cluster, s, "/srv/www"), APR_SUCCESS);
    demo_shm_child_init(s);
    set_addresses(1);
    assert_int_equal(pthread_create(&leader, NULL, changer, NULL), 0);
    assert_int_equal(pthread_create(&text, NULL, writer, NULL), 0);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, worker, NULL), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    atomic_store(&stop, 1);
    assert_int_equal(pthread_join(leader, NULL), 0);
    assert_int_equal(pthread_join(text, NULL), 0);
    assert_int_equal(atomic_load(&torn), 0);
    counted = demo_requests_sum(DEMO_SCOPE_FCGI, 0, 200);
    assert_true(counted > THREADS * ROUNDS / 2);
    assert_int_equal(demo_counter_sum(DEMO_C_RESPONSE_BYTES), counted * 3);
    assert_int_equal(demo_histogram_sum(DEMO_H_DURATION, buckets), counted * 700);
    assert_int_equal(buckets[1], counted);
    for (int i = 0; i < DEMO_ADDRESSES_MAX; i++) {
        assert_int_equal(atomic_load(&demo_seg->addrs[i].gauge[DEMO_G_OUTSTANDING]), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_threads) };

    (void)apr_initialize();
    (void)apr_pool_create(&pool, NULL);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
