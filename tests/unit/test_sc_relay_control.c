/* What the hand-over asks of the relay: hold, drain, release, end. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fcgi-sidecar/relay/sc_relay_core.h"
#include "tests/unit/relay_bed.h"
#include "tests/unit/testlib.h"

static atomic_int drained_events;

static void on_event(void *context, sc_relay_event event)
{
    if (event == SC_RELAY_EVENT_DRAINED) {
        atomic_fetch_add(&drained_events, 1);
    }
}

static int setup(void **state)
{
    bed *b;

    bed_setup(state);
    b = *state;
    b->config.on_event = on_event;
    return 0;
}

#define MS(n) ((apr_interval_time_t)(n) * 1000)

static void held_requests_wait(void **state)
{
    bed *b = *state;
    int busy, client, up;

    atomic_store(&drained_events, 0);
    bed_start(b);
    busy = bed_get(b, 1, "in flight", true);
    up = bed_worker(b);
    bed_take_get(up, "in flight");
    assert_int_equal(sc_relay_hold(b->relay, 0, 0), APR_SUCCESS);
    client = bed_get(b, 1, "held", true);
    bed_until(b, s.queued == 1 && s.held == 1 && s.mode == SC_RELAY_HELD);
    assert_true(APR_STATUS_IS_TIMEUP(sc_relay_wait_drained(b->relay, MS(20))));
    bed_answer(up, "done");
    bed_expect(busy, FCGIW_STDOUT, 1, "done");
    /* The answer is there, but the script may still run and write. */
    assert_true(APR_STATUS_IS_TIMEUP(sc_relay_wait_drained(b->relay, MS(20))));
    assert_int_equal(atomic_load(&drained_events), 0);
    bed_take_begin(up);
    assert_int_equal(sc_relay_wait_drained(b->relay, MS(WAIT_MS)), APR_SUCCESS);
    bed_silence(up, 20);
    assert_int_equal(sc_relay_release_local(b->relay, 1), APR_SUCCESS);
    bed_take_get(up, "held");
    assert_int_equal(atomic_load(&drained_events), 1);
    close(busy);
    close(client);
    close(up);
}

static void a_long_request_is_not_a_pause(void **state)
{
    bed *b = *state;
    int slow, client, up, other;

    bed_start(b);
    slow = bed_get(b, 1, "slow", true);
    up = bed_worker(b);
    bed_take_get(up, "slow");
    bed_sleep(40);
    assert_true(APR_STATUS_IS_TIMEUP(sc_relay_hold(b->relay, MS(30), MS(20))));
    client = bed_get(b, 1, "goes on", true); /* nothing was held */
    other = bed_worker(b);
    bed_take_get(other, "goes on");
    bed_answer(up, "at last");
    bed_expect(slow, FCGIW_STDOUT, 1, "at last");
    assert_int_equal(sc_relay_hold(b->relay, MS(WAIT_MS), MS(10)), APR_SUCCESS);
    bed_until(b, s.mode == SC_RELAY_HELD && s.in_flight == 1);
    close(slow);
    close(client);
    close(up);
    close(other);
}

struct holder {
    bed         *b;
    apr_status_t rv;
};

static void *hold_it(void *data)
{
    struct holder *h = data;

    h->rv = sc_relay_hold(h->b->relay, MS(20), MS(WAIT_MS));
    return NULL;
}

static void the_hold_comes_when_all_are_young(void **state)
{
    bed *b = *state;
    struct holder h = { .b = b, .rv = APR_EGENERAL };
    pthread_t thread;
    int slow, up;

    bed_start(b);
    slow = bed_get(b, 1, "slow", true);
    up = bed_worker(b);
    bed_take_get(up, "slow");
    bed_until(b, s.oldest_in_flight > MS(30));
    assert_int_equal(pthread_create(&thread, NULL, hold_it, &h), 0);
    bed_sleep(20);
    bed_until(b, s.mode == SC_RELAY_LOCAL);
    bed_answer(up, "done");
    pthread_join(thread, NULL);
    assert_int_equal(h.rv, APR_SUCCESS);
    bed_until(b, s.mode == SC_RELAY_HELD && s.in_flight == 0 && s.oldest_in_flight == 0);
    close(slow);
    close(up);
}

static void few_at_a_time_before_a_hold(void **state)
{
    bed *b = *state;
    int first, second, up;

    bed_start(b);
    assert_int_equal(sc_relay_ease(b->relay, 1, MS(WAIT_MS), 0), APR_SUCCESS); /* nothing is in flight */
    first = bed_get(b, 1, "first", true);
    up = bed_worker(b);
    bed_take_get(up, "first");
    second = bed_get(b, 1, "second", true);
    bed_until(b, s.queued == 1 && s.in_flight == 1);
    bed_no_accept(b, 20);
    bed_answer(up, "done");
    bed_expect(first, FCGIW_STDOUT, 1, "done");
    bed_take_begin(up);
    bed_take_get(up, "second");
    assert_int_equal(sc_relay_hold(b->relay, MS(WAIT_MS), 0), APR_SUCCESS);
    bed_answer(up, "done");
    bed_expect(second, FCGIW_STDOUT, 1, "done");
    bed_take_begin(up);
    assert_int_equal(sc_relay_wait_drained(b->relay, MS(WAIT_MS)), APR_SUCCESS);
    close(first);
    close(second);
    close(up);
}

struct easer {
    bed         *b;
    apr_status_t rv;
    atomic_bool  done;
};

static void *ease_it(void *data)
{
    struct easer *e = data;

    e->rv = sc_relay_ease(e->b->relay, 1, MS(WAIT_MS), 0);
    e->done = true;
    return NULL;
}

static void the_ease_ends_with_those_that_were_there(void **state)
{
    bed *b = *state;
    struct easer e = { .b = b, .rv = APR_EGENERAL };
    pthread_t thread;
    int client[2], up[2], i;

    bed_start(b);
    for (i = 0; i < 2; i++) {
        client[i] = bed_get(b, 1, "old", true);
        up[i] = bed_worker(b);
        bed_take_get(up[i], "old");
    }
    assert_int_equal(pthread_create(&thread, NULL, ease_it, &e), 0);
    for (i = 0; i < 2; i++) {
        bed_sleep(20);
        assert_false(e.done); /* nor with one of them left, whom a hold would wait for */
        bed_answer(up[i], "done");
        bed_expect(client[i], FCGIW_STDOUT, 1, "done");
    }
    pthread_join(thread, NULL);
    assert_int_equal(e.rv, APR_SUCCESS);
    for (i = 0; i < 2; i++) {
        close(client[i]);
        close(up[i]);
    }
}

/* A report of ten seconds does not make the others wait in a row. */
static void a_long_request_keeps_the_others_at_full_speed(void **state)
{
    bed *b = *state;
    int slow, client[2], up, other[2], i;

    bed_start(b);
    slow = bed_get(b, 1, "slow", true);
    up = bed_worker(b);
    bed_take_get(up, "slow");
    bed_until(b, s.oldest_in_flight > MS(30));
    assert_true(APR_STATUS_IS_TIMEUP(sc_relay_ease(b->relay, 1, MS(20), MS(20))));
    for (i = 0; i < 2; i++) {
        client[i] = bed_get(b, 1, "at once", true);
        other[i] = bed_worker(b);
        bed_take_get(other[i], "at once");
    }
    bed_until(b, s.in_flight == 3);
    close(slow);
    close(up);
    for (i = 0; i < 2; i++) {
        close(client[i]);
        close(other[i]);
    }
}

static void a_hold_has_an_end(void **state)
{
    bed *b = *state;
    int client;

    b->config.mode = SC_RELAY_HELD;
    b->config.hold_timeout = MS(30);
    b->config.hold_max = 1;
    bed_start(b);
    client = bed_get(b, 1, "held", true);
    bed_expect_end(client, 1, FCGIW_OVERLOADED);
    close(client);
    bed_no_accept(b, 10);
}

/* --- the end ------------------------------------------------------------------------------ */

static void lame_duck(void **state)
{
    bed *b = *state;
    uint8_t out[1024];
    int idle, client, up;

    bed_start(b);
    idle = bed_dial(b);
    client = bed_get(b, 1, "before", true);
    up = bed_worker(b);
    bed_take_get(up, "before");
    assert_int_equal(sc_relay_lame_duck(b->relay), APR_SUCCESS);
    bed_answer(up, "before");
    bed_expect(client, FCGIW_STDOUT, 1, "before");
    bed_expect_end(client, 1, FCGIW_REQUEST_COMPLETE);
    bed_closed(client);
    close(client);
    bed_silence(idle, 30); /* left to its client */
    assert_true(APR_STATUS_IS_TIMEUP(sc_relay_wait_quiet(b->relay, MS(10))));
    bed_take_begin(up);
    bed_send(idle, out, put_get(out, 1, "after", true));
    bed_take_get(up, "after");
    bed_answer(up, "after");
    bed_expect(idle, FCGIW_STDOUT, 1, "after");
    bed_expect_end(idle, 1, FCGIW_REQUEST_COMPLETE);
    bed_closed(idle);
    close(idle);
    assert_int_equal(sc_relay_wait_quiet(b->relay, MS(WAIT_MS)), APR_SUCCESS);
    close(up);
}

static void calls_before_the_start(void **state)
{
    bed *b = *state;
    char error[256];

    assert_int_equal(sc_relay_create(&b->relay, &b->config, error, sizeof(error)), APR_SUCCESS);
    assert_int_equal(sc_relay_hold(b->relay, 0, 0), APR_EINIT);
    assert_int_equal(sc_relay_port(b->relay), 0); /* a Unix socket has none */
}

/* A client becomes busy between two looks at the counts: nobody is idle, not four billion. */
static void counts_of_two_moments(void **state)
{
    bed *b = *state;
    sc_relay_stats s;
    char error[256];

    assert_int_equal(sc_relay_create(&b->relay, &b->config, error, sizeof(error)), APR_SUCCESS);
    atomic_store(&b->relay->count[SC_G_CLIENTS], 1);
    atomic_store(&b->relay->count[SC_G_CLIENTS_BUSY], 2);
    sc_relay_stats_get(b->relay, &s);
    assert_int_equal(s.clients_idle, 0);
    atomic_store(&b->relay->count[SC_G_CLIENTS], 5);
    sc_relay_stats_get(b->relay, &s);
    assert_int_equal(s.clients_idle, 3);
}

static void *wait_for_quiet(void *data)
{
    struct holder *h = data;

    h->rv = sc_relay_wait_quiet(h->b->relay, MS(60000));
    return NULL;
}

static void nobody_waits_for_a_loop_that_ended(void **state)
{
    bed *b = *state;
    struct holder h = { .b = b, .rv = APR_EGENERAL };
    pthread_t thread;
    int client;

    bed_start(b);
    client = bed_dial(b);
    bed_until(b, s.clients == 1);
    assert_int_equal(pthread_create(&thread, NULL, wait_for_quiet, &h), 0);
    bed_sleep(10);
    sc_relay_stop(b->relay);
    pthread_join(thread, NULL);
    assert_int_equal(h.rv, APR_EINIT);
    assert_int_equal(sc_relay_hold(b->relay, 0, 0), APR_EINIT);
    close(client);
}

static void bad_configurations(void **state)
{
    static const char *const nowhere[] = { "127.0.0.1" };
    bed *b = *state;
    sc_relay *relay = NULL;
    sc_relay_config c = b->config;
    char error[256] = "";

    c.workers = 0;
    assert_int_equal(sc_relay_create(&relay, &c, error, sizeof(error)), APR_EINVAL);
    assert_non_null(strstr(error, "workers"));
    c = b->config;
    c.upstream = "php-fpm.sock";
    assert_int_equal(sc_relay_create(&relay, &c, error, sizeof(error)), APR_EINVAL);
    assert_non_null(strstr(error, "php-fpm.sock"));
    c = b->config;
    c.listen = nowhere;
    assert_int_equal(sc_relay_create(&relay, &c, error, sizeof(error)), APR_EINVAL);
    assert_non_null(strstr(error, "127.0.0.1"));
    assert_null(relay);
}

/* Started a second time by mistake: the one that serves keeps its socket. */
static void an_address_that_is_taken(void **state)
{
    bed *b = *state;
    sc_relay *second = NULL;
    char error[256] = "";

    bed_start(b);
    assert_int_equal(sc_relay_create(&second, &b->config, error, sizeof(error)), EADDRINUSE);
    assert_null(second);
    assert_non_null(strstr(error, b->listen));
    close(bed_dial(b));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, bed_teardown)
    const struct CMUnitTest tests[] = {
        T(held_requests_wait), T(a_long_request_is_not_a_pause),
        T(the_hold_comes_when_all_are_young), T(few_at_a_time_before_a_hold),
        T(the_ease_ends_with_those_that_were_there),
        T(a_long_request_keeps_the_others_at_full_speed), T(a_hold_has_an_end), T(lame_duck),
        T(calls_before_the_start), T(counts_of_two_moments),
        T(nobody_waits_for_a_loop_that_ended), T(bad_configurations), T(an_address_that_is_taken)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
