/* A request in the form it is sent on: whatever the client cuts, pairs stay whole. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-sidecar/relay/sc_relay.h"
#include "fcgi-sidecar/relay/sc_request.h"
#include "tests/unit/testlib.h"

#define PARAMS_MAX (256 * 1024)

static unsigned seed;

static unsigned rnd(unsigned below)
{
    seed = seed * 1103515245u + 12345u;
    return (seed >> 8) % below;
}

/* PARAMS content of count pairs, the i-th named "Pi". */
static size_t make_pairs(uint8_t *out, size_t cap, unsigned count, size_t longest)
{
    static uint8_t value[FCGIW_CONTENT_MAX];
    char name[16];
    size_t len = 0;
    fcgiw_pair pair = { .name = (uint8_t *)name, .value = value };
    fcgiw_result rc;
    unsigned i;

    for (i = 0; i < count; i++) {
        pair.name_len = (size_t)snprintf(name, sizeof(name), "P%u", i);
        pair.value_len = rnd((unsigned)longest);
        memset(value, 'a' + (int)(i % 26), pair.value_len);
        rc = fcgiw_pair_encode(out + len, cap - len, &pair);
        assert_true(rc > 0);
        len += (size_t)rc;
    }
    return len;
}

/* The content of the PARAMS records in wire; each must hold whole pairs. */
static size_t take_params(const sc_request *r, uint8_t *out)
{
    const uint8_t *at;
    size_t len, total = 0, used;
    fcgiw_header h;
    fcgiw_pair pair;
    fcgiw_result rc;

    at = sc_request_pending(r, &len);
    for (;;) {
        assert_int_equal(fcgiw_header_decode(&h, at, len), FCGIW_HEADER_LEN);
        assert_int_equal(h.type, FCGIW_PARAMS);
        assert_int_equal(h.request_id, SC_REQUEST_ID);
        assert_int_equal(h.padding_length, 0);
        at += FCGIW_HEADER_LEN;
        len -= FCGIW_HEADER_LEN;
        if (h.content_length == 0) {
            assert_int_equal(len, 0);
            return total;
        }
        for (used = 0; used < h.content_length; used += (size_t)rc) {
            rc = fcgiw_pair_decode(&pair, at + used, h.content_length - used);
            assert_true(rc > 0);
        }
        memcpy(out + total, at, h.content_length);
        total += h.content_length;
        at += h.content_length;
        len -= h.content_length;
    }
}

static void random_parameters(void **state)
{
    static uint8_t in[PARAMS_MAX], out[PARAMS_MAX];
    sc_request r = { 0 };
    size_t len, at, n;
    unsigned round;

    seed = 4711;
    for (round = 0; round < 300; round++) {
        len = make_pairs(in, sizeof(in), rnd(12), round % 3 == 0 ? 20000 : 200);
        sc_request_begin(&r, (uint16_t)(1 + rnd(65535)), true);
        for (at = 0; at < len; at += n) { /* cut anywhere */
            n = 1 + rnd(5000);
            n = n < len - at ? n : len - at;
            assert_int_equal(sc_request_params(&r, in + at, n, PARAMS_MAX), 0);
        }
        assert_int_equal(sc_request_params_end(&r), 0);
        assert_int_equal(r.state, SC_REQUEST_BODY);
        assert_int_equal(take_params(&r, out), len);
        assert_memory_equal(in, out, len);
        sc_request_reset(&r);
    }
}

static size_t put_pair(uint8_t *out, const char *name, const char *value)
{
    fcgiw_pair pair = { (const uint8_t *)name, strlen(name), (const uint8_t *)value, strlen(value) };
    fcgiw_result rc = fcgiw_pair_encode(out, 256, &pair);

    assert_true(rc > 0);
    return (size_t)rc;
}

static void with_pair(sc_request *r, const char *name, const char *value)
{
    uint8_t in[512];
    size_t len = put_pair(in, "A", "before");

    len += put_pair(in + len, name, value);
    len += put_pair(in + len, "B", "behind");
    sc_request_begin(r, 1, true);
    assert_int_equal(sc_request_params(r, in, len, PARAMS_MAX), 0);
    assert_int_equal(sc_request_params_end(r), 0);
}

static void methods(void **state)
{
    static const struct { const char *method; bool safe; } known[] = {
        { "GET", true }, { "HEAD", true }, { "OPTIONS", true }, { "POST", false }, { "PUT", false },
        { "DELETE", false }, { "PATCH", false }, { "GETX", false }, { "get", false }, { "", false }
    };
    sc_request r = { 0 };
    size_t i;

    for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        with_pair(&r, "REQUEST_METHOD", known[i].method);
        assert_int_equal(r.safe, known[i].safe);
    }
    sc_request_reset(&r);
}

static void own_parameters_are_taken_out(void **state)
{
    static const struct { const char *value; unsigned hop; } hops[] = {
        { "1", 1 }, { "2", 2 }, { "007", 7 }, { "", 1000 }, { "x", 1000 }, { "-1", 1000 },
        { "99999999999999999999", 1000 }
    };
    uint8_t out[512], expected[64];
    sc_request r = { 0 };
    size_t i, len = put_pair(expected, "A", "before");

    len += put_pair(expected + len, "B", "behind");
    for (i = 0; i < sizeof(hops) / sizeof(hops[0]); i++) {
        with_pair(&r, SC_RELAY_PARAM_HOP, hops[i].value);
        assert_int_equal(r.hop, hops[i].hop);
        assert_int_equal(take_params(&r, out), len);
        assert_memory_equal(out, expected, len);
    }
    with_pair(&r, SC_RELAY_PARAM_EPOCH, "12345678901");
    assert_true(r.epoch == 12345678901u && r.hop == 0);
    assert_int_equal(take_params(&r, out), len);
    sc_request_reset(&r);
}

static void bounds_and_broken_pairs(void **state)
{
    static uint8_t big[PARAMS_MAX];
    sc_request r = { 0 };

    sc_request_begin(&r, 1, true);
    assert_int_equal(sc_request_params_end(&r), 0); /* none at all */
    sc_request_begin(&r, 1, true);
    assert_int_equal(sc_request_params(&r, big, 5000, 4096), SC_REQUEST_EBIG);
    assert_int_equal(sc_request_params(&r, (const uint8_t *)"\003\003abc", 5, 4096), 0);
    assert_int_equal(sc_request_params_end(&r), FCGIW_EPAIR);
    /* 70,000 bytes in one pair: no record can hold it. */
    memcpy(big, "\200\001\021\160\000", 5);
    sc_request_begin(&r, 1, true);
    assert_int_equal(sc_request_params(&r, big, 5 + 70000, PARAMS_MAX), 0);
    assert_int_equal(sc_request_params_end(&r), FCGIW_ETOOBIG);
    sc_request_reset(&r);
}

static void sent_again_only_while_intact(void **state)
{
    sc_request r = { 0 };
    size_t len, all;

    with_pair(&r, "REQUEST_METHOD", "GET");
    assert_int_equal(sc_request_body(&r, (const uint8_t *)"body", 4), 0);
    assert_int_equal(sc_request_body_end(&r), 0);
    sc_request_pending(&r, &all);
    sc_request_sent(&r, 10);
    sc_request_pending(&r, &len);
    assert_int_equal(len, all - 10);
    sc_request_sent(&r, len);
    assert_true(sc_request_all_sent(&r) && r.intact);
    sc_request_rewind(&r);
    sc_request_pending(&r, &len);
    assert_int_equal(len, all);
    /* Streamed: what was sent is gone. */
    with_pair(&r, "REQUEST_METHOD", "POST");
    sc_request_sent(&r, 10);
    assert_true(r.intact);
    assert_int_equal(sc_request_body(&r, (const uint8_t *)"more", 4), 0);
    assert_false(r.intact);
    assert_false(sc_request_all_sent(&r));
    sc_request_reset(&r);
}

/* A body is measured when it is whole and as long as CONTENT_LENGTH said. */
static void measured_bodies(void **state)
{
    const struct { const char *length; size_t body; bool measured; } cases[] = {
        { NULL, 0, true }, { "", 0, true }, { "0", 0, true }, { "5", 5, true }, { "05", 5, true },
        { NULL, 5, false }, { "", 5, false }, { "5", 0, false }, { "5", 4, false }, { "5", 6, false },
        { " 5", 5, false }, { "5x", 5, false }, { "-1", 0, false }
    };
    sc_request r = { 0 };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        with_pair(&r, cases[i].length != NULL ? "CONTENT_LENGTH" : "NONE", cases[i].length != NULL ? cases[i].length : "");
        if (cases[i].body > 0) {
            assert_int_equal(sc_request_body(&r, (const uint8_t *)"123456", cases[i].body), 0);
        }
        assert_false(sc_request_measured(&r));
        assert_int_equal(sc_request_body_end(&r), 0);
        if (sc_request_measured(&r) != cases[i].measured) {
            fail_msg("CONTENT_LENGTH \"%s\", %zu bytes of body", cases[i].length == NULL ? "none" : cases[i].length,
                     cases[i].body);
        }
        sc_request_reset(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_parameters), cmocka_unit_test(methods),
        cmocka_unit_test(own_parameters_are_taken_out), cmocka_unit_test(bounds_and_broken_pairs),
        cmocka_unit_test(sent_again_only_while_intact), cmocka_unit_test(measured_bodies)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
