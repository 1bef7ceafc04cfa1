/* The relay with an upstream that breaks, lies and vanishes. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/relay_bed.h"
#include "tests/unit/testlib.h"

/* --- the upstream ----------------------------------------------------------------- */

static int post(const bed *b, const char *x, bool keep)
{
    uint8_t out[1024];
    size_t n = put_head(out, 1, "POST", x, keep);
    int client = bed_dial(b);

    n += put_record(out + n, FCGIW_STDIN, 1, "data", 4, 0);
    n += put_record(out + n, FCGIW_STDIN, 1, NULL, 0, 0);
    bed_send(client, out, n);
    return client;
}

static void take_post(int up, const char *x)
{
    bed_record r;

    bed_read(up, &r);
    assert_string_equal(bed_param(&r, "X"), x);
    bed_expect(up, FCGIW_PARAMS, 1, "");
    bed_expect(up, FCGIW_STDIN, 1, "data");
    bed_expect(up, FCGIW_STDIN, 1, "");
}

/* pm.max_requests: the worker goes after its answer. */
static void a_kept_connection_that_has_gone_is_not_noticed(void **state)
{
    bed *b = *state;
    char x[8];
    int client, up, i;

    bed_start(b);
    for (i = 0; i < 20; i++) {
        snprintf(x, sizeof(x), "%d", i);
        client = post(b, x, true);
        up = bed_worker(b);
        take_post(up, x);
        bed_answer(up, x);
        close(up);
        bed_expect(client, FCGIW_STDOUT, 1, x);
        bed_expect_end(client, 1, FCGIW_REQUEST_COMPLETE);
        close(client);
    }
    bed_until(b, s.upstream_errors == 0 && s.completed == 20);
}

/* It read what was sent ahead and died idle; a POST comes afterwards. */
static void a_worker_that_died_idle_is_not_noticed(void **state)
{
    bed *b = *state;
    int client, up;

    bed_start(b);
    client = bed_get(b, 1, "first", true);
    up = bed_worker(b);
    bed_take_get(up, "first");
    bed_answer(up, "first");
    bed_expect(client, FCGIW_STDOUT, 1, "first");
    bed_take_begin(up);
    bed_until(b, s.upstream_idle == 1);
    close(client);
    close(up);
    client = post(b, "second", true);
    up = bed_worker(b);
    take_post(up, "second");
    bed_answer(up, "second");
    bed_expect(client, FCGIW_STDOUT, 1, "second");
    close(client);
    close(up);
}

/* What a worker has read is never sent to another one, GET or not. */
static void nothing_runs_twice(void **state)
{
    bed *b = *state;
    int client, up;

    bed_start(b);
    client = post(b, "once", true);
    up = bed_worker(b);
    take_post(up, "once");
    close(up);
    bed_closed(client);
    close(client);
    client = bed_get(b, 1, "once more", true);
    up = bed_worker(b);
    bed_take_get(up, "once more");
    close(up);
    bed_closed(client);
    bed_no_accept(b, 30);
    close(client);
    bed_until(b, s.upstream_errors == 2);
}

static void death_in_the_middle_of_an_answer(void **state)
{
    bed *b = *state;
    uint8_t out[64];
    int client, up;

    bed_start(b);
    client = bed_get(b, 1, "half", true);
    up = bed_worker(b);
    bed_take_get(up, "half");
    bed_send(up, out, put_record(out, FCGIW_STDOUT, 1, "half", 4, 0));
    bed_expect(client, FCGIW_STDOUT, 1, "half");
    close(up);
    bed_closed(client); /* no END_REQUEST of ours pretends that this was all */
    close(client);
}

static void malformed_answers(void **state)
{
    static const struct { uint8_t bytes[24]; size_t len; } bad[] = {
        { { 2, 6, 0, 1, 0, 0, 0, 0 }, 8 },                /* version */
        { { 1, 6, 0, 2, 0, 1, 0, 0, 'x' }, 9 },           /* another request's id */
        { { 1, 1, 0, 1, 0, 8, 0, 0, 0, 1 }, 16 },         /* BEGIN_REQUEST from a responder */
        { { 1, 3, 0, 1, 0, 4, 0, 0, 0, 0, 0, 0 }, 12 },   /* END_REQUEST of four bytes */
        { "HTTP/1.1 200 OK\r\n", 17 }
    };
    bed *b = *state;
    size_t i;
    int client, up;

    bed_start(b);
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        client = bed_get(b, 1, "bad", true);
        up = bed_worker(b);
        bed_take_get(up, "bad");
        bed_send(up, bad[i].bytes, bad[i].len);
        bed_closed(client);
        bed_closed(up);
        close(client);
        close(up);
    }
    bed_until(b, s.upstream_errors == sizeof(bad) / sizeof(bad[0]));
}

static void bytes_after_the_end_never_reach_the_next_client(void **state)
{
    bed *b = *state;
    uint8_t out[128];
    size_t n;
    int client, up;

    bed_start(b);
    client = bed_get(b, 1, "first", true);
    up = bed_worker(b);
    bed_take_get(up, "first");
    n = put_record(out, FCGIW_STDOUT, 1, "mine", 4, 0);
    n += put_end(out + n, 1, FCGIW_REQUEST_COMPLETE);
    n += put_record(out + n, FCGIW_STDOUT, 1, "left", 4, 0);
    bed_send(up, out, n);
    bed_expect(client, FCGIW_STDOUT, 1, "mine");
    bed_expect_end(client, 1, FCGIW_REQUEST_COMPLETE);
    bed_closed(up);
    close(up);
    bed_send(client, out, put_get(out, 1, "second", true));
    up = bed_worker(b);
    bed_take_get(up, "second");
    bed_answer(up, "other");
    bed_expect(client, FCGIW_STDOUT, 1, "other");
    bed_until(b, s.upstream_errors == 1);
    close(client);
    close(up);
}

static void an_idle_upstream_that_speaks_is_closed(void **state)
{
    bed *b = *state;
    int client, up;

    bed_start(b);
    client = bed_get(b, 1, "x", true);
    up = bed_worker(b);
    bed_take_get(up, "x");
    bed_answer(up, "x");
    bed_take_begin(up);
    bed_until(b, s.upstream_idle == 1);
    bed_answer(up, "nobody asked");
    bed_closed(up);
    bed_expect(client, FCGIW_STDOUT, 1, "x");
    bed_expect_end(client, 1, FCGIW_REQUEST_COMPLETE);
    bed_silence(client, 20);
    close(client);
    close(up);
}

static void requests_wait_while_the_upstream_is_down(void **state)
{
    bed *b = *state;
    int client[4], up, i;
    char x[8];

    bed_upstream_close(b);
    b->config.workers = 1;
    bed_start(b);
    for (i = 0; i < 4; i++) {
        snprintf(x, sizeof(x), "%d", i);
        client[i] = post(b, x, false);
        bed_until(b, s.requests == (unsigned)i + 1);
    }
    bed_until(b, s.upstream_connect_errors >= 3 && !s.upstream_up);
    bed_upstream_open(b);
    up = bed_worker(b);
    for (i = 0; i < 4; i++) {
        snprintf(x, sizeof(x), "%d", i);
        take_post(up, x);
        bed_answer(up, x);
        bed_expect(client[i], FCGIW_STDOUT, 1, x);
        bed_take_begin(up);
        close(client[i]);
    }
    bed_until(b, s.upstream_up);
    close(up);
}

/* A restart drops what waits in the listen queue: nobody had read it. */
static void a_restart_with_connections_in_the_listen_queue(void **state)
{
    bed *b = *state;
    int client, up;

    bed_start(b);
    client = post(b, "restart", true);
    bed_until(b, s.upstream_unread == 1);
    bed_upstream_close(b);
    bed_upstream_open(b);
    up = bed_worker(b);
    take_post(up, "restart");
    bed_answer(up, "ok");
    bed_expect(client, FCGIW_STDOUT, 1, "ok");
    close(client);
    close(up);
}

static void an_answer_before_the_body_was_read(void **state)
{
    static uint8_t body[FCGIW_CONTENT_MAX];
    static uint8_t out[FCGIW_CONTENT_MAX + 64];
    bed *b = *state;
    int client, up, i;

    bed_start(b);
    client = bed_dial(b);
    bed_send(client, out, put_head(out, 1, "POST", "early", true));
    for (i = 0; i < 2; i++) {
        bed_send(client, out, put_record(out, FCGIW_STDIN, 1, body, sizeof(body), 0));
    }
    up = bed_worker(b);
    bed_expect(up, FCGIW_PARAMS, 1, NULL);
    bed_answer(up, "too large");
    bed_expect(client, FCGIW_STDOUT, 1, "too large");
    bed_expect_end(client, 1, FCGIW_REQUEST_COMPLETE);
    close(up);
    for (i = 0; i < 40; i++) { /* the client goes on, as it may */
        bed_send(client, out, put_record(out, FCGIW_STDIN, 1, body, sizeof(body), 0));
    }
    bed_send(client, out, put_record(out, FCGIW_STDIN, 1, NULL, 0, 0));
    bed_send(client, out, put_get(out, 1, "next", true));
    up = bed_worker(b);
    bed_take_get(up, "next");
    bed_answer(up, "ok");
    bed_expect(client, FCGIW_STDOUT, 1, "ok");
    close(client);
    close(up);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
    const struct CMUnitTest tests[] = {
        T(a_kept_connection_that_has_gone_is_not_noticed),
        T(a_worker_that_died_idle_is_not_noticed), T(nothing_runs_twice),
        T(death_in_the_middle_of_an_answer), T(malformed_answers),
        T(bytes_after_the_end_never_reach_the_next_client),
        T(an_idle_upstream_that_speaks_is_closed), T(requests_wait_while_the_upstream_is_down),
        T(a_restart_with_connections_in_the_listen_queue), T(an_answer_before_the_body_was_read)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
