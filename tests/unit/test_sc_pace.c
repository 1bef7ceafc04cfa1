/* The pauses of a base copy: what requests make of them. */
#include "testlib.h"

#include "fcgi-sidecar/handoff/sc_pace.h"

#define PIECE 1000 /* us that a piece takes */

/* A site that answers `alone` requests a second, and less for each hundredth of the time
 * that is spent copying. */
struct site {
    sc_pace pace;
    int64_t now, quiet;      /* clock; time of pauses without copying */
    double alone, loss, done;
};

static void begin(struct site *s, double alone, double loss)
{
    memset(s, 0, sizeof(*s));
    s->now = 1000000;
    s->alone = alone;
    s->loss = loss;
    sc_pace_begin(&s->pace, s->now, 0);
}

static void pass(struct site *s, int64_t us, double rate)
{
    s->now += us;
    s->done += rate * (double)us / 1e6;
}

/* One piece and its pause; returns the pause. */
static int64_t piece(struct site *s)
{
    double rate = s->alone * (1.0 - s->loss / s->pace.times);
    int64_t pause;

    pass(s, PIECE, rate);
    pause = sc_pace_piece(&s->pace, s->now, PIECE, (uint64_t)s->done);
    pass(s, pause, pause == SC_PACE_QUIET ? s->alone : rate);
    if (pause > 0) {
        sc_pace_resume(&s->pace, s->now, (uint64_t)s->done);
    }
    return pause;
}

static void copy_for(struct site *s, int64_t us)
{
    int64_t end = s->now + us;

    while (s->now < end) {
        int64_t pause = piece(s);

        if (pause == SC_PACE_QUIET) {
            s->quiet += pause;
        }
        else {
            assert_true(pause <= SC_PACE_PAUSE_MAX);
        }
    }
}

static void nobody_asks_and_nothing_waits(void **state)
{
    struct site s;
    int i;

    begin(&s, 0, 0);
    for (i = 0; i < 1000; i++) {
        assert_int_equal(piece(&s), 0);
    }
}

static void pauses_are_so_many_pieces_and_bounded(void **state)
{
    sc_pace p;

    sc_pace_begin(&p, 0, 7);
    assert_int_equal(sc_pace_piece(&p, PIECE, PIECE, 7), 0);
    assert_int_equal(sc_pace_piece(&p, 2 * PIECE, PIECE, 8), (int)(SC_PACE_TIMES_START * PIECE));
    assert_int_equal(sc_pace_piece(&p, 3 * PIECE, 60 * PIECE, 9), SC_PACE_PAUSE_MAX);
}

/* A slow page is no reason to copy at full speed between two of its answers. */
static void what_was_asked_is_remembered_for_a_while(void **state)
{
    sc_pace p;

    sc_pace_begin(&p, 0, 0);
    assert_true(sc_pace_piece(&p, PIECE, PIECE, 1) > 0);
    assert_true(sc_pace_piece(&p, PIECE + SC_PACE_BUSY - 1, PIECE, 1) > 0);
    assert_int_equal(sc_pace_piece(&p, PIECE + SC_PACE_BUSY, PIECE, 1), 0);
}

static void requests_that_suffer_make_pauses_longer(void **state)
{
    struct site s;

    begin(&s, 2000, 4.0); /* a fifth is lost at twenty times, a tenth at forty */
    copy_for(&s, 20 * (SC_PACE_WORK + SC_PACE_QUIET));
    assert_true(s.pace.times > SC_PACE_TIMES_MAX - 1);
    begin(&s, 2000, 2.0); /* 0.93 is left at 28.6 */
    copy_for(&s, 40 * (SC_PACE_WORK + SC_PACE_QUIET));
    assert_true(s.pace.times > 22 && s.pace.times < 38);
}

static void requests_that_do_not_suffer_make_them_shorter(void **state)
{
    struct site s;

    begin(&s, 2000, 0.0);
    copy_for(&s, 20 * (SC_PACE_WORK + SC_PACE_QUIET));
    assert_true(s.pace.times < SC_PACE_TIMES_MIN + 1);
    assert_true(s.pace.times >= SC_PACE_TIMES_MIN);
}

static void a_fifth_of_the_time_is_quiet(void **state)
{
    struct site s;

    begin(&s, 2000, 1.0);
    copy_for(&s, 20 * (SC_PACE_WORK + SC_PACE_QUIET));
    assert_in_range(s.quiet, 18 * SC_PACE_QUIET, 20 * SC_PACE_QUIET);
}

static void too_few_requests_tell_nothing(void **state)
{
    struct site s;

    begin(&s, SC_PACE_ENOUGH * 2, 10.0); /* not enough in the quiet part */
    copy_for(&s, 20 * (SC_PACE_WORK + SC_PACE_QUIET));
    assert_true(s.pace.times > SC_PACE_TIMES_START - 1e-9);
    assert_true(s.pace.times < SC_PACE_TIMES_START + 1e-9);
}

#define T(name) cmocka_unit_test(name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(nobody_asks_and_nothing_waits), T(pauses_are_so_many_pieces_and_bounded),
        T(what_was_asked_is_remembered_for_a_while), T(requests_that_suffer_make_pauses_longer),
        T(requests_that_do_not_suffer_make_them_shorter), T(a_fifth_of_the_time_is_quiet),
        T(too_few_requests_tell_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
