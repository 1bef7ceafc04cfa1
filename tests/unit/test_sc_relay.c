/* The relay with well-behaved peers: what passes, how, and what it answers itself. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/relay_bed.h"
#include "tests/unit/testlib.h"

static void one_request(void **state)
{
    bed *b = *state;
    int client, up;

    bed_start(b);
    client = bed_get(b, 1, "one", true);
    up = bed_worker(b);
    bed_take_get(up, "one");
    bed_answer(up, "hello");
    bed_expect(client, FCGIW_STDOUT, 1, "hello");
    bed_expect_end(client, 1, FCGIW_REQUEST_COMPLETE);
    bed_take_begin(up); /* ahead of the next request */
    bed_silence(client, 20);
    close(client);
    close(up);
}

static void nothing_is_sent_before_a_worker_reads(void **state)
{
    bed *b = *state;
    int client, up;
    bed_record r;

    bed_start(b);
    client = bed_get(b, 1, "wait", true);
    up = bed_accept(b);
    bed_until(b, s.upstream_unread == 1 && s.queued == 1);
    bed_sleep(30);
    bed_until(b, s.in_flight == 0 && s.queued == 1);
    bed_read(up, &r);
    assert_int_equal(r.h.type, FCGIW_BEGIN_REQUEST);
    bed_take_get(up, "wait");
    bed_until(b, s.in_flight == 1 && s.queued == 0);
    close(client);
    close(up);
}

static void requests_share_one_connection(void **state)
{
    bed *b = *state;
    char x[8];
    int client, up = -1, i;

    bed_start(b);
    for (i = 0; i < 20; i++) {
        snprintf(x, sizeof(x), "%d", i);
        client = bed_get(b, 1, x, i % 2 == 0);
        if (up < 0) {
            up = bed_worker(b);
        }
        bed_take_get(up, x);
        bed_answer(up, x);
        bed_expect(client, FCGIW_STDOUT, 1, x);
        bed_expect_end(client, 1, FCGIW_REQUEST_COMPLETE);
        if (i % 2 == 1) {
            bed_closed(client); /* FCGI_KEEP_CONN was not set */
        }
        bed_take_begin(up);
        close(client);
    }
    bed_no_accept(b, 20);
    close(up);
}

static void other_request_ids(void **state)
{
    bed *b = *state;
    uint8_t out[64];
    size_t n;
    int client, up;

    bed_start(b);
    client = bed_get(b, 513, "id", true);
    up = bed_worker(b);
    bed_take_get(up, "id");
    n = put_record(out, FCGIW_STDERR, 1, "oops", 4, 3);
    bed_send_bytewise(up, out, n);
    n = put_record(out, 77, 1, "unknown", 7, 0);
    bed_send(up, out, n);
    bed_answer(up, "body");
    n = 0;
    while (n < 4) { /* pieces may come as records of their own */
        bed_record r;
        bed_read(client, &r);
        assert_int_equal(r.h.type, FCGIW_STDERR);
        assert_int_equal(r.h.request_id, 513);
        assert_memory_equal(r.content, &"oops"[n], r.h.content_length);
        n += r.h.content_length;
    }
    bed_expect(client, FCGIW_STDOUT, 513, "body");
    bed_expect_end(client, 513, FCGIW_REQUEST_COMPLETE);
    close(client);
    close(up);
}

static void byte_by_byte(void **state)
{
    bed *b = *state;
    uint8_t request[1024], answer[256];
    size_t n;
    int client, up;

    bed_start(b);
    client = bed_dial(b);
    n = put_begin(request, 1, FCGIW_RESPONDER, FCGIW_KEEP_CONN);
    n += put_record(request + n, FCGIW_PARAMS, 1, "\001\003Xone", 6, 255);
    n += put_record(request + n, FCGIW_PARAMS, 1, NULL, 0, 7);
    n += put_record(request + n, FCGIW_STDIN, 1, NULL, 0, 1);
    bed_send_bytewise(client, request, n);
    up = bed_worker(b);
    bed_take_get(up, "one");
    n = put_record(answer, FCGIW_STDOUT, 1, "abc", 3, 5);
    n += put_end(answer + n, 1, FCGIW_REQUEST_COMPLETE);
    bed_send_bytewise(up, answer, n);
    bed_expect(client, FCGIW_STDOUT, 1, "abc");
    bed_expect_end(client, 1, FCGIW_REQUEST_COMPLETE);
    close(client);
    close(up);
}

static void pairs_are_never_split(void **state)
{
    bed *b = *state;
    uint8_t request[1024];
    size_t n;
    int client, up;

    bed_start(b);
    client = bed_dial(b);
    n = put_begin(request, 1, FCGIW_RESPONDER, 0);
    n += put_record(request + n, FCGIW_PARAMS, 1, "\001\006Xsp", 5, 0);
    n += put_record(request + n, FCGIW_PARAMS, 1, "lit", 3, 0);
    n += put_record(request + n, FCGIW_PARAMS, 1, "!", 1, 0);
    n += put_record(request + n, FCGIW_PARAMS, 1, NULL, 0, 0);
    n += put_record(request + n, FCGIW_STDIN, 1, NULL, 0, 0);
    bed_send(client, request, n);
    up = bed_worker(b);
    bed_take_get(up, "split!");
    close(client);
    close(up);
}

static void many_parameters(void **state)
{
    static uint8_t request[200000];
    static char value[30001];
    bed *b = *state;
    bed_record r;
    size_t n, size = 0, len;
    fcgiw_params p;
    fcgiw_pair pair = { (const uint8_t *)"V", 1, (const uint8_t *)value, 30000 };
    int client, up, i;

    bed_start(b);
    memset(value, 'v', 30000);
    n = put_begin(request, 1, FCGIW_RESPONDER, 0);
    fcgiw_params_init(&p, request + n, sizeof(request) - n, 1);
    for (i = 0; i < 5; i++) {
        assert_true(fcgiw_params_add(&p, &pair) > 0);
    }
    fcgiw_params_end(&p);
    n += p.len;
    n += put_record(request + n, FCGIW_STDIN, 1, NULL, 0, 0);
    client = bed_dial(b);
    bed_send(client, request, n);
    up = bed_worker(b);
    do {
        bed_read(up, &r);
        assert_int_equal(r.h.type, FCGIW_PARAMS);
        len = r.h.content_length;
        assert_int_equal(len % 30006, 0); /* whole pairs: 1 + 4 + 1 + 30000 */
        size += len;
    } while (len > 0);
    assert_int_equal(size, 5 * 30006);
    bed_expect(up, FCGIW_STDIN, 1, "");
    close(client);
    close(up);
}

static void too_many_parameters(void **state)
{
    static const uint8_t content[8000];
    static uint8_t big[9000];
    bed *b = *state;
    uint8_t request[1024];
    bed_record r;
    int client, i;

    b->config.params_max = 16384;
    bed_start(b);
    client = bed_dial(b);
    bed_send(client, request, put_begin(request, 1, FCGIW_RESPONDER, FCGIW_KEEP_CONN));
    for (i = 0; i < 4; i++) {
        bed_send(client, big, put_record(big, FCGIW_PARAMS, 1, content, sizeof(content), 0));
    }
    bed_read(client, &r);
    assert_int_equal(r.h.type, FCGIW_STDOUT);
    assert_memory_equal(r.content, "Status: 431 ", 12);
    bed_expect_end(client, 1, FCGIW_REQUEST_COMPLETE);
    bed_no_accept(b, 20);
    close(client);
}

static void body_is_whole_before_a_worker_is_taken(void **state)
{
    bed *b = *state;
    uint8_t out[1024];
    int client, up;

    b->config.request_wait = 10 * APR_USEC_PER_SEC;
    bed_start(b);
    client = bed_dial(b);
    bed_send(client, out, put_head(out, 1, "POST", "slow", true));
    bed_send(client, out, put_record(out, FCGIW_STDIN, 1, "half", 4, 0));
    bed_no_accept(b, 30);
    bed_send(client, out, put_record(out, FCGIW_STDIN, 1, NULL, 0, 0));
    up = bed_worker(b);
    bed_expect(up, FCGIW_PARAMS, 1, NULL);
    bed_expect(up, FCGIW_PARAMS, 1, "");
    bed_expect(up, FCGIW_STDIN, 1, "half");
    bed_expect(up, FCGIW_STDIN, 1, "");
    close(client);
    close(up);
}

static void a_slow_body_is_streamed_in_the_end(void **state)
{
    bed *b = *state;
    uint8_t out[1024];
    int client, up;

    b->config.request_wait = 20 * 1000;
    bed_start(b);
    client = bed_dial(b);
    bed_send(client, out, put_head(out, 1, "POST", "slow", true));
    up = bed_worker(b);
    bed_expect(up, FCGIW_PARAMS, 1, NULL);
    bed_expect(up, FCGIW_PARAMS, 1, "");
    bed_send(client, out, put_record(out, FCGIW_STDIN, 1, "first", 5, 0));
    bed_expect(up, FCGIW_STDIN, 1, "first");
    bed_send(client, out, put_record(out, FCGIW_STDIN, 1, NULL, 0, 0));
    bed_expect(up, FCGIW_STDIN, 1, "");
    close(client);
    close(up);
}

static void management_records(void **state)
{
    bed *b = *state;
    uint8_t out[128];
    bed_record r;
    int client;

    bed_start(b);
    client = bed_dial(b);
    bed_send_bytewise(client, out, put_record(out, FCGIW_GET_VALUES, 0,
                      "\017\000FCGI_MPXS_CONNS\016\000FCGI_MAX_CONNS\002\000NO", 17 + 16 + 4, 3));
    bed_read(client, &r);
    assert_int_equal(r.h.type, FCGIW_GET_VALUES_RESULT);
    assert_int_equal(r.h.request_id, 0);
    assert_string_equal(bed_param(&r, "FCGI_MPXS_CONNS"), "0");
    assert_string_equal(bed_param(&r, "FCGI_MAX_CONNS"), "4096");
    assert_null(bed_param(&r, "NO"));
    bed_send(client, out, put_record(out, 42, 0, "what", 4, 0));
    bed_read(client, &r);
    assert_int_equal(r.h.type, FCGIW_UNKNOWN_TYPE);
    assert_int_equal(r.content[0], 42);
    close(client);
}

static void unknown_role(void **state)
{
    bed *b = *state;
    uint8_t out[1024];
    int client, up;

    bed_start(b);
    client = bed_dial(b);
    bed_send(client, out, put_begin(out, 3, FCGIW_AUTHORIZER, FCGIW_KEEP_CONN));
    bed_expect_end(client, 3, FCGIW_UNKNOWN_ROLE);
    bed_send(client, out, put_get(out, 4, "next", true));
    up = bed_worker(b);
    bed_take_get(up, "next");
    close(client);
    close(up);
}

static void multiplexing_is_refused(void **state)
{
    bed *b = *state;
    uint8_t out[1024];
    int client, up;

    bed_start(b);
    client = bed_get(b, 1, "first", true);
    up = bed_worker(b);
    bed_take_get(up, "first");
    bed_send(client, out, put_get(out, 2, "second", true));
    bed_expect_end(client, 2, FCGIW_CANT_MPX_CONN);
    /* Half a record of the answer is out: the next refusal has to wait. */
    bed_send(up, out, put_record(out, FCGIW_STDOUT, 1, "abcdef", 6, 0) - 3);
    bed_until(b, s.bytes_out >= 16 + 11);
    bed_send(client, out, put_get(out, 9, "third", true));
    bed_until(b, s.refused_multiplex == 2);
    bed_send(up, "def", 3);
    bed_expect(client, FCGIW_STDOUT, 1, "abcdef");
    bed_expect_end(client, 9, FCGIW_CANT_MPX_CONN);
    bed_send(up, out, put_end(out, 1, FCGIW_REQUEST_COMPLETE));
    bed_expect_end(client, 1, FCGIW_REQUEST_COMPLETE);
    close(client);
    close(up);
}

static void requests_run_in_order_of_arrival(void **state)
{
    bed *b = *state;
    int client[5], up, i;
    char x[8];

    b->config.workers = 1;
    bed_start(b);
    for (i = 0; i < 5; i++) {
        snprintf(x, sizeof(x), "%d", i);
        client[i] = bed_get(b, 1, x, true);
        bed_until(b, s.requests == (unsigned)i + 1);
    }
    up = bed_worker(b);
    for (i = 0; i < 5; i++) {
        snprintf(x, sizeof(x), "%d", i);
        bed_take_get(up, x);
        bed_answer(up, x);
        bed_expect(client[i], FCGIW_STDOUT, 1, x);
        bed_take_begin(up);
        close(client[i]);
    }
    close(up);
}

static void never_behind_a_script_that_still_runs(void **state)
{
    bed *b = *state;
    int client, up, other;

    bed_start(b);
    client = bed_get(b, 1, "finish_request", true);
    up = bed_worker(b);
    bed_take_get(up, "finish_request");
    bed_answer(up, "done"); /* and the script goes on: nothing is read from now on */
    bed_expect(client, FCGIW_STDOUT, 1, "done");
    bed_until(b, s.after_end == 1);
    bed_expect_end(client, 1, FCGIW_REQUEST_COMPLETE);
    close(client);
    client = bed_get(b, 1, "next", true);
    other = bed_worker(b);
    bed_take_get(other, "next");
    bed_answer(other, "next");
    bed_expect(client, FCGIW_STDOUT, 1, "next");
    bed_until(b, s.after_end == 2);
    bed_take_begin(up); /* now it has ended */
    bed_until(b, s.after_end == 1 && s.upstream_idle == 1);
    close(client);
    close(up);
    close(other);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
    const struct CMUnitTest tests[] = {
        T(one_request), T(nothing_is_sent_before_a_worker_reads), T(requests_share_one_connection),
        T(other_request_ids), T(byte_by_byte), T(pairs_are_never_split), T(many_parameters),
        T(too_many_parameters), T(body_is_whole_before_a_worker_is_taken),
        T(a_slow_body_is_streamed_in_the_end), T(management_records), T(unknown_role),
        T(multiplexing_is_refused), T(requests_run_in_order_of_arrival),
        T(never_behind_a_script_that_still_runs)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
