/* The relay with clients that break, lie, stall and vanish. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/relay_bed.h"
#include "tests/unit/testlib.h"

static void malformed_requests(void **state)
{
    static const struct { uint8_t bytes[40]; size_t len; } bad[] = {
        { "GET / HTTP/1.1\r\n\r\n", 18 },
        { { 1, 1, 0, 0, 0, 8, 0, 0, 0, 1 }, 16 },         /* BEGIN_REQUEST with id 0 */
        { { 1, 1, 0, 1, 0, 4, 0, 0, 0, 1, 0, 0 }, 12 },   /* BEGIN_REQUEST of four bytes */
        { { 1, 3, 0, 1, 0, 8, 0, 0 }, 16 },               /* END_REQUEST from a client */
        { { 1, 6, 0, 1, 0, 0, 0, 0 }, 8 },                /* STDOUT from a client */
        { { 1, 9, 0, 5, 0, 0, 0, 0 }, 8 },                /* GET_VALUES with an id */
        { { 1, 9, 0, 0, 0, 2, 0, 0, 9, 9 }, 10 },         /* … with a broken pair */
        { { 1, 9, 0, 0, 255, 255, 0, 0, 1, 1 }, 10 },     /* … of 64 KiB */
        { { 1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, /* PARAMS that end in a pair */
            1, 4, 0, 1, 0, 2, 0, 0, 5, 5, 1, 4, 0, 1, 0, 0, 0, 0 }, 34 },
        { { 1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, /* BEGIN_REQUEST twice */
            1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0 }, 32 },
        { { 1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, /* STDIN before the end of PARAMS */
            1, 5, 0, 1, 0, 1, 0, 0, 'x' }, 25 }
    };
    bed *b = *state;
    size_t i;
    int client;

    bed_start(b);
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        client = bed_dial(b);
        bed_send(client, bad[i].bytes, bad[i].len);
        bed_closed(client);
        close(client);
    }
    bed_until(b, s.client_errors == sizeof(bad) / sizeof(bad[0]) && s.clients == 0);
    bed_no_accept(b, 10);
}

static void a_client_that_goes_while_it_waits_runs_nothing(void **state)
{
    bed *b = *state;
    int client, up;

    b->config.workers = 1;
    bed_start(b);
    client = bed_get(b, 1, "gone", true);
    bed_until(b, s.queued == 1);
    close(client);
    bed_until(b, s.queued == 0 && s.client_aborts == 1);
    up = bed_worker(b); /* was opened for it */
    client = bed_get(b, 1, "here", true);
    bed_take_get(up, "here");
    close(client);
    close(up);
}

static void a_client_that_goes_closes_the_upstream(void **state)
{
    bed *b = *state;
    int client, up;

    bed_start(b);
    client = bed_get(b, 1, "gone", true);
    up = bed_worker(b);
    bed_take_get(up, "gone");
    close(client);
    bed_closed(up); /* php-fpm's real abort */
    close(up);
    bed_until(b, s.client_aborts == 1 && s.in_flight == 0);
}

static void abort_request(void **state)
{
    bed *b = *state;
    uint8_t out[1024];
    int client, up;

    bed_start(b);
    client = bed_get(b, 1, "abort", true);
    up = bed_worker(b);
    bed_take_get(up, "abort");
    bed_send(client, out, put_record(out, FCGIW_ABORT_REQUEST, 1, NULL, 0, 0));
    bed_expect_end(client, 1, FCGIW_REQUEST_COMPLETE);
    bed_closed(up);
    close(up);
    bed_send(client, out, put_get(out, 1, "next", true));
    up = bed_worker(b);
    bed_take_get(up, "next");
    close(client);
    close(up);
}

static void queue_bound(void **state)
{
    bed *b = *state;
    uint8_t out[1024];
    int waiting[3], client, up, i;

    b->config.queue_max = 3;
    bed_start(b);
    for (i = 0; i < 3; i++) {
        waiting[i] = bed_get(b, 1, "waits", true);
    }
    bed_until(b, s.queued == 3);
    client = bed_get(b, 7, "too many", true);
    bed_expect_end(client, 7, FCGIW_OVERLOADED);
    bed_until(b, s.overloaded_queue == 1);
    up = bed_worker(b);
    bed_take_get(up, "waits");
    bed_send(client, out, put_get(out, 7, "again", true)); /* on the same connection */
    bed_until(b, s.queued == 3);
    for (i = 0; i < 3; i++) {
        close(waiting[i]);
    }
    close(client);
    close(up);
}

static void queue_timeout(void **state)
{
    bed *b = *state;
    int client;

    b->config.queue_timeout = 30 * 1000;
    bed_start(b);
    client = bed_get(b, 1, "keeps", true);
    bed_expect_end(client, 1, FCGIW_OVERLOADED);
    bed_silence(client, 10);
    close(client);
    client = bed_get(b, 1, "closes", false);
    bed_expect_end(client, 1, FCGIW_OVERLOADED);
    bed_closed(client);
    close(client);
    bed_until(b, s.overloaded_timeout == 2);
}

static void idle_clients_are_closed(void **state)
{
    bed *b = *state;
    int client;

    b->config.client_idle_timeout = 30 * 1000;
    bed_start(b);
    client = bed_dial(b);
    bed_closed(client);
    close(client);
    bed_until(b, s.client_errors == 0 && s.clients == 0);
}

static void half_a_request_is_not_waited_for_for_ever(void **state)
{
    bed *b = *state;
    uint8_t out[64];
    int client;

    b->config.client_receive_timeout = 30 * 1000;
    bed_start(b);
    client = bed_dial(b);
    bed_send(client, out, put_begin(out, 1, FCGIW_RESPONDER, 0));
    bed_closed(client);
    close(client);
    bed_until(b, s.client_errors == 1);
}

/* Time-outs of clients that a test lets pass: long enough for its own steps. */
#define SHORT_MS 1000

static void body_record(uint8_t *record, char fill, size_t len)
{
    uint8_t content[8192];

    memset(content, fill, len);
    put_record(record, FCGIW_STDIN, 1, content, len, 0);
}

/* From its last byte on the time is the script's. */
static void a_script_may_take_longer_than_its_body(void **state)
{
    bed *b = *state;
    uint8_t out[9216];
    int client, up;

    b->config.request_buffer = 4096;
    b->config.client_receive_timeout = SHORT_MS * 1000;
    bed_start(b);
    client = bed_dial(b);
    bed_send(client, out, put_head(out, 1, "POST", "slow", true));
    body_record(out, 'a', 8000);
    bed_send(client, out, FCGIW_HEADER_LEN + 8000);
    up = bed_worker(b);
    bed_expect(up, FCGIW_PARAMS, 1, NULL);
    bed_expect(up, FCGIW_PARAMS, 1, "");
    bed_expect(up, FCGIW_STDIN, 1, NULL);
    bed_send(client, out, put_record(out, FCGIW_STDIN, 1, NULL, 0, 0));
    bed_expect(up, FCGIW_STDIN, 1, "");
    bed_silence(client, 2 * SHORT_MS);
    bed_answer(up, "at last");
    bed_expect(client, FCGIW_STDOUT, 1, "at last");
    bed_expect_end(client, 1, FCGIW_REQUEST_COMPLETE);
    close(client);
    close(up);
}

static void idle_upstream_connections_free_their_workers(void **state)
{
    bed *b = *state;
    int client, up;

    b->config.upstream_idle_timeout = 30 * 1000;
    bed_start(b);
    client = bed_get(b, 1, "x", true);
    up = bed_worker(b);
    bed_take_get(up, "x");
    bed_answer(up, "x");
    bed_take_begin(up);
    bed_closed(up);
    bed_until(b, s.upstream_connections == 0);
    close(client);
    close(up);
}

/* --- back-pressure -------------------------------------------------------------------------- */

#define CHUNKS 200

static void fill(uint8_t *record, unsigned type, int i)
{
    static uint8_t content[60000];

    memset(content, 'a' + i % 26, sizeof(content));
    put_record(record, type, 1, content, sizeof(content), 0);
}

/* Sends as many records as the socket takes without blocking; their number. */
static int stuff(int fd, unsigned type, int from)
{
    static uint8_t record[FCGIW_HEADER_LEN + 60000];
    size_t sent = 0;
    int i = from, idle = 0;
    ssize_t n;

    while (i < CHUNKS && idle < 50) {
        fill(record, type, i);
        n = send(fd, record + sent, sizeof(record) - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EPIPE) {
            return i;
        }
        if (n < 0) {
            assert_int_equal(errno, EAGAIN);
            idle++;
            bed_sleep(1);
            continue;
        }
        idle = 0;
        sent += (size_t)n;
        if (sent == sizeof(record)) {
            sent = 0;
            i++;
        }
    }
    if (sent > 0) { /* finish the record: the peer has begun to read */
        return -i - 1;
    }
    return i;
}

static void a_client_that_does_not_read_stops_the_upstream(void **state)
{
    bed *b = *state;
    int client, up, i;
    bed_record r;

    bed_start(b);
    client = bed_get(b, 1, "big", true);
    up = bed_worker(b);
    bed_take_get(up, "big");
    i = stuff(up, FCGIW_STDOUT, 0);
    assert_true(i < 40); /* 256 KiB, and what the sockets hold */
    bed_until(b, s.in_flight == 1);
    for (i = 0; i < 2; i++) {
        bed_read(client, &r);
        assert_int_equal(r.h.content_length, 60000);
        assert_int_equal(r.content[0], 'a' + i);
        assert_int_equal(r.content[59999], 'a' + i);
    }
    close(client);
    bed_until(b, s.in_flight == 0 && s.client_aborts == 1);
    close(up);
}

static void an_upstream_that_does_not_read_stops_the_client(void **state)
{
    bed *b = *state;
    uint8_t out[1024];
    int client, up, i;
    bed_record r;

    bed_start(b);
    client = bed_dial(b);
    bed_send(client, out, put_head(out, 1, "POST", "big", true));
    up = bed_accept(b);
    bed_take_begin(up);
    i = stuff(client, FCGIW_STDIN, 0);
    assert_true(i < 40);
    bed_expect(up, FCGIW_PARAMS, 1, NULL);
    bed_expect(up, FCGIW_PARAMS, 1, "");
    bed_read(up, &r);
    assert_int_equal(r.h.type, FCGIW_STDIN);
    assert_int_equal(r.content[0], 'a');
    close(client);
    bed_until(b, s.in_flight == 0);
    close(up);
}

/* Idle is who has his answer, not who still takes it. */
static void an_answer_that_is_taken_late(void **state)
{
    static uint8_t record[FCGIW_HEADER_LEN + 60000];
    bed *b = *state;
    uint8_t out[1024];
    int client, up, i;
    bed_record r;

    b->config.client_idle_timeout = SHORT_MS * 1000;
    b->config.response_buffer = 1 << 20;
    bed_start(b);
    client = bed_get(b, 1, "big", true);
    up = bed_worker(b);
    bed_take_get(up, "big");
    for (i = 0; i < 10; i++) {
        fill(record, FCGIW_STDOUT, i);
        bed_send(up, record, sizeof(record));
    }
    bed_answer(up, "end");
    bed_until(b, s.completed == 1);
    bed_sleep(2 * SHORT_MS);
    for (i = 0; i < 10; i++) {
        bed_read(client, &r);
        assert_int_equal(r.h.content_length, 60000);
    }
    bed_expect(client, FCGIW_STDOUT, 1, "end");
    bed_expect_end(client, 1, FCGIW_REQUEST_COMPLETE);
    bed_send(client, out, put_record(out, FCGIW_GET_VALUES, 0, NULL, 0, 0));
    bed_expect(client, FCGIW_GET_VALUES_RESULT, 0, ""); /* the idle time begins with its last byte */
    bed_closed(client);
    close(client);
    close(up);
}

static void an_answer_that_is_never_taken(void **state)
{
    bed *b = *state;
    int client, up;

    b->config.client_send_timeout = 50 * 1000;
    bed_start(b);
    client = bed_get(b, 1, "big", true);
    up = bed_worker(b);
    bed_take_get(up, "big");
    stuff(up, FCGIW_STDOUT, 0);
    bed_until(b, s.client_errors == 1 && s.clients == 0 && s.in_flight == 0);
    close(client);
    close(up);
}

/* The relay's thread writes it, the test reads it when that one has ended. */
static void keep_line(void *context, sc_relay_log_level level, const char *id, const char *message)
{
    (void)level;
    snprintf(context, 256, "%s %s", id, message);
}

static void the_log_names_the_client(void **state)
{
    bed *b = *state;
    struct sockaddr_in sin;
    socklen_t len = sizeof(sin);
    char line[256] = "", expected[64];
    int client;

    b->listens[1] = "127.0.0.1:0";
    b->config.listen_count = 2;
    b->config.log = keep_line;
    b->config.context = line;
    bed_start(b);
    client = bed_dial_tcp(b);
    assert_int_equal(getsockname(client, (struct sockaddr *)&sin, &len), 0);
    bed_send(client, "GET / HTTP/1.1\r\n\r\n", 18);
    bed_closed(client);
    sc_relay_stop(b->relay);
    snprintf(expected, sizeof(expected), "SC0321 client 127.0.0.1:%u: ", ntohs(sin.sin_port));
    assert_int_equal(strncmp(line, expected, strlen(expected)), 0);
    close(client);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
    const struct CMUnitTest tests[] = {
        T(malformed_requests), T(the_log_names_the_client), T(a_client_that_goes_while_it_waits_runs_nothing),
        T(a_client_that_goes_closes_the_upstream), T(abort_request), T(queue_bound),
        T(queue_timeout), T(idle_clients_are_closed), T(half_a_request_is_not_waited_for_for_ever),
        T(a_script_may_take_longer_than_its_body), T(idle_upstream_connections_free_their_workers),
        T(a_client_that_does_not_read_stops_the_upstream),
        T(an_upstream_that_does_not_read_stops_the_client), T(an_answer_that_is_never_taken),
        T(an_answer_that_is_taken_late)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
