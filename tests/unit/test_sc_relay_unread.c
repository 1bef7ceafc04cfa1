/* Bodies that nobody waits for any more: their requests were refused, or answered before their end,
 * or their clients have gone. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/relay_bed.h"
#include "tests/unit/testlib.h"

#define PIECE 50000

/* A POST with one piece of its body, more than the relay wants before it runs. */
static int post_begin(const bed *b, bool keep)
{
    static const uint8_t content[PIECE];
    static uint8_t record[FCGIW_HEADER_LEN + PIECE];
    uint8_t out[1024];
    int client = bed_dial_tcp(b); /* a Unix socket has events of its own when the peer takes something, or is shut down */

    bed_send(client, out, put_head(out, 1, "POST", "big", keep));
    bed_send(client, record, put_record(record, FCGIW_STDIN, 1, content, PIECE, 0));
    return client;
}

/* The rest of it: taken by the sockets, whoever reads. */
static void post_end(int client, int pieces)
{
    static const uint8_t content[PIECE];
    static uint8_t record[FCGIW_HEADER_LEN + PIECE];

    while (pieces-- > 0) {
        bed_send(client, record, put_record(record, FCGIW_STDIN, 1, content, PIECE, 0));
    }
    bed_send(client, record, put_record(record, FCGIW_STDIN, 1, NULL, 0, 0));
}

/* The connection is as good as new. */
static void next_is_answered(const bed *b, int client)
{
    uint8_t out[1024];
    int up;

    bed_until(b, s.clients_idle == 1);
    bed_send(client, out, put_get(out, 1, "next", true));
    up = bed_worker(b);
    bed_take_get(up, "next");
    bed_answer(up, "here");
    bed_expect(client, FCGIW_STDOUT, 1, "here");
    bed_expect_end(client, 1, FCGIW_REQUEST_COMPLETE);
    close(client);
    close(up);
}

static void after_a_refusal(void **state)
{
    bed *b = *state;
    int client;

    b->config.queue_timeout = 1000 * 1000; /* no worker until then, and enough for the next one */
    b->config.upstream_idle_timeout = 60 * 1000 * 1000;
    bed_start(b);
    client = post_begin(b, true);
    post_end(client, 2);
    bed_expect_end(client, 1, FCGIW_OVERLOADED);
    next_is_answered(b, client);
}

/* Upstream: answers without a look at the body, of which more has come than it could take. */
static void answer_early(const bed *b, int client)
{
    int up = bed_worker(b);

    bed_expect(up, FCGIW_PARAMS, 1, NULL);
    bed_expect(up, FCGIW_PARAMS, 1, "");
    post_end(client, 6);
    bed_answer(up, "not allowed");
    bed_until(b, s.completed == 1);
    close(up);
}

static void after_an_early_answer(void **state)
{
    bed *b = *state;
    int client;

    bed_start(b);
    client = post_begin(b, true);
    answer_early(b, client);
    bed_expect(client, FCGIW_STDOUT, 1, "not allowed");
    bed_expect_end(client, 1, FCGIW_REQUEST_COMPLETE);
    next_is_answered(b, client);
}

/* A connection that is not kept ends by itself, and not with a reset, which takes answers along. */
static void no_reset(void **state)
{
    bed *b = *state;
    char byte;
    int client;

    bed_start(b);
    client = post_begin(b, false);
    answer_early(b, client);
    bed_until(b, s.clients == 0);
    bed_expect(client, FCGIW_STDOUT, 1, "not allowed");
    bed_expect_end(client, 1, FCGIW_REQUEST_COMPLETE);
    assert_int_equal(recv(client, &byte, 1, 0), 0);
    close(client);
}

/* Upstream: a worker whose script has read the body's first piece, and may want more. */
static int half_way(const bed *b)
{
    int up = bed_worker(b);
    size_t got = 0;
    bed_record r;

    bed_expect(up, FCGIW_PARAMS, 1, NULL);
    bed_expect(up, FCGIW_PARAMS, 1, "");
    while (got < PIECE) {
        bed_read(up, &r);
        assert_string_equal(fcgiw_type_name(r.h.type), "STDIN");
        got += r.h.content_length;
    }
    return up;
}

/* A hand-over waits for the script that runs on, answers nobody and ends. */
static void drained_with(const bed *b, int up)
{
    bed_until(b, s.in_flight == 0 && s.after_end == 1);
    assert_int_equal(sc_relay_hold(b->relay, 0, 0), APR_SUCCESS);
    assert_int_equal(sc_relay_wait_drained(b->relay, 50000), APR_TIMEUP);
    bed_closed(up);
    bed_answer(up, "to whom?");
    assert_int_equal(sc_relay_wait_drained(b->relay, 50000), APR_TIMEUP);
    close(up);
    assert_int_equal(sc_relay_wait_drained(b->relay, WAIT_MS * 1000), APR_SUCCESS);
    bed_until(b, s.upstream_connections == 0);
}

static void half_a_body_and_no_client(void **state)
{
    bed *b = *state;
    int client, up;

    bed_start(b);
    client = post_begin(b, true);
    up = half_way(b);
    close(client);
    drained_with(b, up);
}

static void half_a_body_and_an_abort(void **state)
{
    bed *b = *state;
    uint8_t out[64];
    int client, up;

    bed_start(b);
    client = post_begin(b, true);
    up = half_way(b);
    bed_send(client, out, put_record(out, FCGIW_ABORT_REQUEST, 1, NULL, 0, 0));
    bed_expect_end(client, 1, FCGIW_REQUEST_COMPLETE);
    drained_with(b, up);
    close(client);
}

static void half_a_body_and_an_answer(void **state)
{
    bed *b = *state;
    int client, up;

    bed_start(b);
    client = post_begin(b, true);
    up = half_way(b);
    bed_answer(up, "enough");
    bed_expect(client, FCGIW_STDOUT, 1, "enough");
    drained_with(b, up);
    close(client);
}

static int setup(void **state)
{
    bed *b;

    bed_setup(state);
    b = *state;
    b->listens[1] = "127.0.0.1:0";
    b->config.listen_count = 2;
    b->config.request_buffer = 4096;
    return 0;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, bed_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(after_a_refusal), T(after_an_early_answer), T(no_reset),
        T(half_a_body_and_no_client), T(half_a_body_and_an_abort), T(half_a_body_and_an_answer)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
