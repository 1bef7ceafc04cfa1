/* When a worker that has answered is back: php-fpm's way of saying so, and workers that do not say it. */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/relay_bed.h"
#include "tests/unit/testlib.h"

static int setup(void **state)
{
    bed *b;

    bed_setup(state);
    b = *state;
    b->config.workers = 1;
    bed_start(b);
    return 0;
}

/* Upstream: PARAMS with X=x and their end; the end of STDIN stays unread, as php-fpm leaves it. */
static void take_params(int fd, const char *x)
{
    bed_record r;

    bed_read(fd, &r);
    assert_string_equal(fcgiw_type_name(r.h.type), "PARAMS");
    assert_string_equal(bed_param(&r, "X"), x);
    bed_expect(fd, FCGIW_PARAMS, 1, "");
}

/* A worker that has answered one request and has not read the end of its STDIN. */
static int late_worker(const bed *b, int *client)
{
    int worker;

    *client = bed_get(b, 1, "1", true);
    worker = bed_worker(b);
    take_params(worker, "1");
    bed_answer(worker, "one");
    bed_expect(*client, FCGIW_STDOUT, 1, "one");
    bed_expect_end(*client, 1, FCGIW_REQUEST_COMPLETE);
    bed_until(b, s.after_end == 1);
    return worker;
}

/* Its script runs on after END_REQUEST: nothing more is sent, until it reads what was left. */
static void it_says_so(void **state)
{
    bed *b = *state;
    int one, two, worker = late_worker(b, &one);

    two = bed_get(b, 1, "2", true);
    bed_until(b, s.queued == 1);
    bed_expect(worker, FCGIW_STDIN, 1, "");
    bed_take_begin(worker);
    bed_take_get(worker, "2");
    bed_answer(worker, "two");
    bed_expect(two, FCGIW_STDOUT, 1, "two");
    bed_expect_end(two, 1, FCGIW_REQUEST_COMPLETE);
    /* Once they are known to say it, one that was quick is believed, too. */
    bed_until(b, s.upstream_idle == 1 && s.after_end == 0);
    bed_silence(worker, 50);
    close(worker);
    close(one);
    close(two);
}

/* php-fpm at pm.max_requests: shuts its side, then reads over what there is. */
static void it_leaves_instead(void **state)
{
    bed *b = *state;
    int one, two, next, worker = late_worker(b, &one);

    two = bed_get(b, 1, "2", true);
    bed_until(b, s.queued == 1);
    shutdown(worker, SHUT_WR);
    bed_expect(worker, FCGIW_STDIN, 1, "");
    bed_closed(worker);
    next = bed_worker(b);
    bed_take_get(next, "2");
    bed_answer(next, "two");
    bed_expect(two, FCGIW_STDOUT, 1, "two");
    bed_expect_end(two, 1, FCGIW_REQUEST_COMPLETE);
    bed_until(b, s.upstream_errors == 0);
    close(worker);
    close(next);
    close(one);
    close(two);
}

/* A hand-over waits for the script that runs on. */
static void it_is_waited_for(void **state)
{
    bed *b = *state;
    int one, worker = late_worker(b, &one);

    assert_int_equal(sc_relay_hold(b->relay, 0, 0), APR_SUCCESS);
    assert_int_equal(sc_relay_wait_drained(b->relay, 50000), APR_TIMEUP);
    bed_expect(worker, FCGIW_STDIN, 1, "");
    assert_int_equal(sc_relay_wait_drained(b->relay, WAIT_MS * 1000), APR_SUCCESS);
    close(worker);
    close(one);
}

/* Who is told more than comes reads to the end of STDIN for it, which says nothing: he is asked. */
static void a_wrong_length_is_asked(void **state)
{
    const fcgiw_pair length = { (const uint8_t *)"CONTENT_LENGTH", 14, (const uint8_t *)"5", 1 };
    bed *b = *state;
    int one, two, worker = late_worker(b, &one);
    uint8_t request[1024];
    fcgiw_params p;
    size_t n;

    bed_expect(worker, FCGIW_STDIN, 1, "");
    bed_until(b, s.upstream_idle == 1);
    n = put_begin(request, 1, FCGIW_RESPONDER, FCGIW_KEEP_CONN);
    fcgiw_params_init(&p, request + n, 512, 1);
    fcgiw_params_add(&p, &length);
    fcgiw_params_end(&p);
    n += p.len;
    n += put_record(request + n, FCGIW_STDIN, 1, NULL, 0, 0);
    two = bed_dial(b);
    bed_send(two, request, n);
    bed_take_begin(worker);
    bed_expect(worker, FCGIW_PARAMS, 1, NULL);
    bed_expect(worker, FCGIW_PARAMS, 1, "");
    bed_expect(worker, FCGIW_STDIN, 1, "");
    bed_answer(worker, "two");
    bed_expect(two, FCGIW_STDOUT, 1, "two");
    bed_expect_end(two, 1, FCGIW_REQUEST_COMPLETE);
    bed_until(b, s.after_end == 1);
    bed_take_begin(worker);
    bed_until(b, s.upstream_idle == 1 && s.after_end == 0);
    close(worker);
    close(one);
    close(two);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, bed_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(it_says_so),
        T(it_leaves_instead),
        T(it_is_waited_for),
        T(a_wrong_length_is_asked)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
