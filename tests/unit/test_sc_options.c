/* Options as values, and what the relay is told of them. */
#include <stdlib.h>

#include "fcgi-sidecar/commands/sc_serve.h"
#include "tests/unit/testlib.h"

static void times_that_are_taken(void **state)
{
    static const struct { const char *text; apr_interval_time_t us; } good[] = {
        { "0s", 0 }, { "1ms", 1000 }, { "10s", 10 * APR_USEC_PER_SEC }, { "5m", 300 * APR_USEC_PER_SEC },
        { "100h", SC_DURATION_MAX }, { "360000s", SC_DURATION_MAX }, { "360000000ms", SC_DURATION_MAX }
    };
    static const char *const bad[] = {
        "", "5", "s", "-1s", " 1s", "1 s", "1d", "1hh", "101h", "6001m", "360001s", "360000001ms",
        "2562047788016h", "9223372036854775807ms", "99999999999999999999s"
    };
    apr_interval_time_t us;
    size_t i;

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        us = -1;
        assert_true(sc_duration_parse(good[i].text, &us));
        assert_int_equal(us, good[i].us);
    }
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (sc_duration_parse(bad[i], &us)) {
            fail_msg("\"%s\" is taken", bad[i]);
        }
    }
    assert_true(3 * SC_DURATION_MAX / 1000 <= INT32_MAX);
}

static apr_interval_time_t held_for(const char *hold_timeout)
{
    char program[] = "fcgi-sidecar", command[] = "serve", argument[64];
    char *argv[] = { program, command, argument, NULL };
    sc_relay_config c;
    sc_options o;
    sc_error err = { 0, "" };

    snprintf(argument, sizeof(argument), "--hold-timeout=%s", hold_timeout);
    assert_int_equal(sc_options_parse(&o, 3, argv, stdout, &err), APR_SUCCESS);
    sc_serve_relay_config(&c, &o);
    return c.hold_timeout;
}

/* A request is not refused while the cut-over that holds it may still succeed. */
static void held_requests_outlast_the_cut_over(void **state)
{
    assert_int_equal(held_for("5s"), 60 * APR_USEC_PER_SEC);
    assert_int_equal(held_for("50s"), 100 * APR_USEC_PER_SEC);
    assert_int_equal(held_for("100h"), 2 * SC_DURATION_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_that_are_taken),
        cmocka_unit_test(held_requests_outlast_the_cut_over)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
