/* The table of addresses over changes of the configuration. */
#include "testlib.h"

#include <stdio.h>

#include "mod_demo/backend/demo_backend.h"
#include "mod_demo/backend/demo_balance.h"
#include "mod_demo/shm/demo_clock.h"
#include "mod_demo/shm/demo_shm.h"
#include "addresses.h"
#include "stub_httpd.h"

static apr_pool_t   *pool;
static demo_cluster *cluster;

/* As a graceful restart does; the first one after stub_retained = NULL is a start. */
static const demo_backend *configure(const char *url)
{
    server_rec *s = stub_server(pool);

    demo_cluster_reset();
    cluster = demo_cluster_create(pool);
    assert_null(demo_cluster_add(cluster, url, 0, pool));
    assert_int_equal(demo_shm_open(s), APR_SUCCESS);
    demo_cluster_publish(cluster, s, "/srv/www");
    demo_cluster_published();
    return cluster->backends[0];
}

/* The minute for which a slot is kept is over. */
static void minute_passes(void)
{
    for (int i = 0; i < DEMO_ADDRESSES_MAX; i++) {
        if (atomic_load(&demo_seg->addrs[i].retired_at) != 0) {
            atomic_store(&demo_seg->addrs[i].retired_at, demo_now() - 61000000);
        }
    }
}

static void test_restarts_with_other_names_do_not_exhaust_the_table(void **state)
{
    uint16_t slots[DEMO_PER_BACKEND_MAX];
    demo_target t;

    stub_retained = NULL;
    for (unsigned i = 0; i < 10; i++) {
        char url[64];
        (void)snprintf(url, sizeof(url), "fcgi://php-%u", i);
        const demo_backend *b = configure(url);
        assert_int_equal(set_addresses(b, i * 64, 64), 0);
        assert_int_equal(demo_backend_slots(b, slots), 64);
        assert_int_equal(demo_balance_pick(cluster, -1, &t), APR_SUCCESS);
        demo_balance_done(&t, DEMO_OUTCOME_OK);
        minute_passes();
        assert_int_equal(demo_backend_slots(b, slots), 64);
    }
}

static void test_name_that_comes_back_has_what_is_left(void **state)
{
    uint16_t before[DEMO_PER_BACKEND_MAX], slots[DEMO_PER_BACKEND_MAX];

    stub_retained = NULL;
    const demo_backend *b = configure("fcgi://php");
    assert_int_equal(set_addresses(b, 0, 2), 0);
    assert_int_equal(demo_backend_slots(b, before), 2);
    (void)demo_gauge_add(before[1], DEMO_G_CONNS, 1); /* a kept connection */
    demo_backend old = *b;
    b = configure("fcgi://other");
    assert_int_equal(set_addresses(&old, 0, 2), 0); /* a thread of before */
    minute_passes();
    for (unsigned i = 0; i < 4; i++) { /* others have all that is free */
        (void)set_addresses(b, 1000 + 64 * i, 64);
    }
    b = configure("fcgi://php");
    assert_int_equal(demo_backend_slots(b, slots), 1);
    assert_int_equal(slots[0], before[1]);
    assert_int_equal(atomic_load(&demo_seg->addrs[slots[0]].retired_at), 0);
    (void)demo_gauge_add(before[1], DEMO_G_CONNS, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_restarts_with_other_names_do_not_exhaust_the_table),
        cmocka_unit_test(test_name_that_comes_back_has_what_is_left),
    };

    (void)apr_initialize();
    (void)apr_pool_create(&pool, NULL);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
