/* What a child knows of an address decides whether its threads wait, and how. */
#include "testlib.h"

#include <pthread.h>
#include <sched.h>

#include "mod_demo/pool/demo_place.h"
#include "mod_demo/shm/demo_clock.h"
#include "mod_demo/shm/demo_yield.h"

enum { MANY = 16, TOO_LATE_US = 40000 };

/* Connections came back so far apart, for a while. */
static void come_back(demo_place *place, demo_conn *conn, apr_time_t *now, apr_interval_time_t every)
{
    for (int i = 0; i < 4 * MANY; i++) {
        *now += every;
        assert_ptr_equal(demo_place_take(place, *now), conn);
        demo_place_unuse(place, conn);
        demo_place_give(place, conn, *now);
    }
}

/* New connections that wait in the listen queue fill it for each other: then it counts
 * what comes back to all children, and they are opened no more. */
static void test_a_queue_of_own_making_ends(void **state)
{
    apr_time_t now = demo_now();
    demo_place place = { .held = 1, .service = 5000, .parties = 2 };
    demo_conn conn = { .slot = -1, .counted = true };

    (void)state;
    demo_place_init(&place);
    demo_place_give(&place, &conn, now);
    come_back(&place, &conn, &now, 2500);
    assert_false(demo_place_flows(&place, now));    /* nothing is known of new ones */
    for (int i = 0; i < MANY; i++) {
        demo_place_note_fresh(&place, 5000);
    }
    assert_false(demo_place_flows(&place, now));    /* as quick as kept ones: long scripts, workers are free */
    for (int i = 0; i < MANY; i++) {
        demo_place_note_fresh(&place, 20000);
    }
    assert_true(demo_place_flows(&place, now));
    come_back(&place, &conn, &now, 5000);
    assert_false(demo_place_flows(&place, now));    /* too rarely for two */
    come_back(&place, &conn, &now, 2500);
    assert_true(demo_place_flows(&place, now));
    place.parties = 1;
    assert_false(demo_place_flows(&place, now));
    come_back(&place, &conn, &now, 1000);
    assert_true(demo_place_flows(&place, now));
}

/* A right stays with a connection that is in the listen queue as long as others are. */
static void test_a_new_connection_may_wait_in_the_listen_queue(void **state)
{
    const apr_time_t now = demo_now();
    demo_place place = { .held = 1, .service = 1000, .parties = 1 };
    demo_conn conn = { .counted = true, .taken = now - 2 * demo_place_long(&place) };

    (void)state;
    demo_place_init(&place);
    for (int i = 0; i < MANY; i++) {
        demo_place_note_fresh(&place, 2 * demo_place_long(&place));
    }
    demo_place_use(&place, &conn);
    assert_false(demo_place_take_over(&place, now));
    conn.reused = true;                             /* a worker has it */
    assert_true(demo_place_take_over(&place, now));
    assert_false(conn.counted);
    conn = (demo_conn){ .counted = true, .taken = now - 2 * demo_place_long(&place) };
    demo_place_use(&place, &conn);
    demo_place_note(&place, now, 50);               /* there are answers within microseconds */
    assert_true(demo_place_take_over(&place, now));
}

/* Who waits as long as it takes anyway is not woken to look for something better. */
static void test_looks_are_as_far_apart_as_waits_are_long(void **state)
{
    demo_place place = { .held = 16, .service = 1000 };
    apr_interval_time_t alone = demo_place_next_look(&place);

    (void)state;
    place.waiting = 100;
    assert_true(demo_place_next_look(&place) > alone);
    place.service = APR_USEC_PER_SEC;
    assert_in_range(demo_place_next_look(&place), alone, TOO_LATE_US);
}

/* A thread gives way and ceases to; one that was told otherwise keeps to that. */
static void *policy_main(void *unused)
{
    (void)unused;
    demo_give_way(false);
    assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
    demo_give_way(true);
    demo_give_way(true);
    assert_int_equal(sched_getscheduler(0), SCHED_BATCH);
    demo_give_way(false);
    assert_int_equal(sched_getscheduler(0), SCHED_OTHER);
    return NULL;
}

static void *chosen_main(void *unused)
{
    const struct sched_param none = { 0 };

    (void)unused;
    assert_int_equal(sched_setscheduler(0, SCHED_BATCH, &none), 0);
    demo_give_way(true);
    demo_give_way(false);
    assert_int_equal(sched_getscheduler(0), SCHED_BATCH);
    return NULL;
}

static void test_a_thread_gives_way(void **state)
{
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, policy_main, NULL), 0);
    pthread_join(thread, NULL);
    assert_int_equal(pthread_create(&thread, NULL, chosen_main, NULL), 0);
    pthread_join(thread, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_queue_of_own_making_ends),
        cmocka_unit_test(test_a_new_connection_may_wait_in_the_listen_queue),
        cmocka_unit_test(test_looks_are_as_far_apart_as_waits_are_long),
        cmocka_unit_test(test_a_thread_gives_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
