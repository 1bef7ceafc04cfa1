/* Where requests go when not to php-fpm's socket: to another instance, or to an upstream over TCP. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/relay_bed.h"
#include "tests/unit/testlib.h"

#define MS(n) ((apr_interval_time_t)(n) * 1000)

/* --- two instances --------------------------------------------------------------------- */

static void forwarding(void **state)
{
    bed *b = *state;
    bed second;
    int client, up;

    bed_start(b);
    bed_init(&second);
    second.config.mode = SC_RELAY_HELD;
    second.config.epoch = 4;
    bed_start(&second);
    client = bed_get(&second, 1, "over there", true);
    bed_until(&second, s.queued == 1);
    assert_int_equal(sc_relay_release_local(b->relay, 4), APR_SUCCESS);
    assert_int_equal(sc_relay_forward_to(second.relay, b->listen, 4), APR_SUCCESS);
    up = bed_worker(b);
    {
        bed_record r;

        bed_read(up, &r);
        assert_string_equal(bed_param(&r, "X"), "over there");
        assert_null(bed_param(&r, SC_RELAY_PARAM_HOP)); /* not for PHP */
        assert_null(bed_param(&r, SC_RELAY_PARAM_EPOCH));
    }
    bed_expect(up, FCGIW_PARAMS, 1, "");
    bed_expect(up, FCGIW_STDIN, 1, "");
    bed_answer(up, "hello from there");
    bed_expect(client, FCGIW_STDOUT, 1, "hello from there");
    bed_expect_end(client, 1, FCGIW_REQUEST_COMPLETE);
    bed_until(&second, s.forwarded == 1 && s.completed == 1);
    close(client);
    close(up);
    bed_stop(&second);
}

static void no_second_hop(void **state)
{
    bed *b = *state;
    bed second;
    int client;

    b->config.queue_timeout = MS(100);
    bed_start(b);
    bed_init(&second);
    bed_start(&second);
    /* Each believes that the other one is primary. */
    assert_int_equal(sc_relay_forward_to(b->relay, second.listen, 2), APR_SUCCESS);
    assert_int_equal(sc_relay_forward_to(second.relay, b->listen, 2), APR_SUCCESS);
    client = bed_get(b, 1, "loop", true);
    bed_expect_end(client, 1, FCGIW_OVERLOADED);
    bed_until(&second, s.refused_hop > 1 && s.requests == s.refused_hop);
    bed_until(b, s.refused_hop == 0 && s.requests == 1);
    close(client);
    bed_stop(&second);
}

/* A standby's request is held by the old primary; the cut-over makes the
 * standby primary one epoch later, and the request goes back to it. */
static void back_with_newer_knowledge(void **state)
{
    bed *b = *state;
    bed second;
    int client, up;

    bed_start(b);
    bed_init(&second);
    bed_start(&second);
    assert_int_equal(sc_relay_hold(second.relay, 0, 0), APR_SUCCESS);
    assert_int_equal(sc_relay_forward_to(b->relay, second.listen, 1), APR_SUCCESS);
    client = bed_get(b, 1, "there and back", true);
    bed_until(&second, s.queued == 1);
    assert_int_equal(sc_relay_release_local(b->relay, 2), APR_SUCCESS);
    assert_int_equal(sc_relay_forward_to(second.relay, b->listen, 2), APR_SUCCESS);
    up = bed_worker(b);
    {
        bed_record r;

        bed_read(up, &r);
        assert_string_equal(bed_param(&r, "X"), "there and back");
    }
    bed_expect(up, FCGIW_PARAMS, 1, "");
    bed_expect(up, FCGIW_STDIN, 1, "");
    bed_answer(up, "here after all");
    bed_expect(client, FCGIW_STDOUT, 1, "here after all");
    bed_expect_end(client, 1, FCGIW_REQUEST_COMPLETE);
    bed_until(b, s.refused_hop == 0);
    close(client);
    close(up);
    bed_stop(&second);
}

/* A refusal of the other instance ran nothing: the request waits here again, and
 * runs here when we serve. */
static void a_refused_request_is_taken_back(void **state)
{
    bed *b = *state;
    bed old;
    int client, up;

    bed_init(&old);
    old.config.mode = SC_RELAY_HELD;
    bed_start(&old);
    bed_start(b);
    assert_int_equal(sc_relay_forward_to(b->relay, old.listen, 0), APR_SUCCESS);
    client = bed_get(b, 1, "to and fro", true);
    bed_until(&old, s.queued == 1);
    assert_int_equal(sc_relay_release_local(b->relay, 0), APR_SUCCESS);
    assert_int_equal(sc_relay_forward_to(old.relay, b->listen, 0), APR_SUCCESS);
    up = bed_worker(b);
    bed_take_get(up, "to and fro");
    bed_answer(up, "here");
    bed_expect(client, FCGIW_STDOUT, 1, "here");
    bed_expect_end(client, 1, FCGIW_REQUEST_COMPLETE);
    bed_until(b, s.taken_back == 1 && s.completed == 1);
    close(client);
    close(up);
    bed_stop(&old);
}

static void a_stale_instance_refuses(void **state)
{
    bed *b = *state;
    bed second;
    int client;

    b->config.epoch = 2;
    bed_start(b);
    bed_init(&second);
    second.config.queue_timeout = MS(30);
    bed_start(&second);
    assert_int_equal(sc_relay_forward_to(second.relay, b->listen, 3), APR_SUCCESS);
    client = bed_get(&second, 1, "too new", true);
    bed_expect_end(client, 1, FCGIW_OVERLOADED);
    bed_until(b, s.refused_epoch >= 1 && s.queued == 0);
    close(client);
    bed_stop(&second);
}

static void a_bad_address_changes_nothing(void **state)
{
    bed *b = *state;

    bed_start(b);
    assert_int_not_equal(sc_relay_forward_to(b->relay, "nonsense", 9), APR_SUCCESS);
    assert_int_not_equal(sc_relay_forward_to(b->relay, "host.invalid:9000", 9), APR_SUCCESS);
    bed_until(b, s.mode == SC_RELAY_LOCAL && s.epoch == 0);
}

/* --- over TCP, where nothing proves that a worker reads -------------------------------------- */

static int tcp_listener(char *text, size_t size)
{
    struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(sin);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
    snprintf(text, size, "127.0.0.1:%u", (unsigned)ntohs(sin.sin_port));
    return fd;
}

static void a_tcp_upstream(void **state)
{
    bed *b = *state;
    uint8_t out[1024];
    char address[64];
    size_t n;
    int client, up, own;

    bed_upstream_close(b);
    b->up = tcp_listener(address, sizeof(address));
    b->config.upstream = address;
    bed_start(b);
    client = bed_get(b, 1, "get", true);
    up = bed_worker(b);
    bed_take_get(up, "get");
    bed_answer(up, "got");
    bed_expect(client, FCGIW_STDOUT, 1, "got");
    bed_expect_end(client, 1, FCGIW_REQUEST_COMPLETE);
    bed_send(client, out, put_get(out, 1, "kept", true));
    bed_take_begin(up);
    bed_take_get(up, "kept");
    close(up); /* a safe request runs again when a kept connection ends without a byte */
    up = bed_worker(b);
    bed_take_get(up, "kept");
    bed_answer(up, "again");
    bed_expect(client, FCGIW_STDOUT, 1, "again");
    bed_expect_end(client, 1, FCGIW_REQUEST_COMPLETE);
    n = put_head(out, 1, "POST", "post", true);
    n += put_record(out + n, FCGIW_STDIN, 1, NULL, 0, 0);
    bed_send(client, out, n);
    own = bed_worker(b); /* any other gets a connection of its own … */
    bed_take_get(own, "post");
    close(own);            /* … and is not repeated */
    bed_closed(client);
    bed_no_accept(b, 20);
    close(client);
    close(up);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, bed_setup, bed_teardown)
    const struct CMUnitTest tests[] = {
        T(forwarding), T(no_second_hop), T(a_refused_request_is_taken_back), T(back_with_newer_knowledge),
        T(a_stale_instance_refuses), T(a_bad_address_changes_nothing), T(a_tcp_upstream)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
