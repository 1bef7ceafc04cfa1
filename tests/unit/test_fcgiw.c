/* The FastCGI wire codec: records, bodies, names. */
#include "lib/fcgiw.h"
#include "testlib.h"

#include <fastcgi.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* --- the numbers of the protocol ------------------------------------------- */

static void constants_equal_libfcgi(void **state)
{
    assert_int_equal(FCGIW_VERSION, FCGI_VERSION_1);
    assert_int_equal(FCGIW_HEADER_LEN, FCGI_HEADER_LEN);
    assert_int_equal(FCGIW_HEADER_LEN, sizeof(FCGI_Header));
    assert_int_equal(FCGIW_BODY_LEN, sizeof(FCGI_BeginRequestBody));
    assert_int_equal(FCGIW_BODY_LEN, sizeof(FCGI_EndRequestBody));
    assert_int_equal(FCGIW_CONTENT_MAX, FCGI_MAX_LENGTH);
    assert_int_equal(FCGIW_NULL_ID, FCGI_NULL_REQUEST_ID);
    assert_int_equal(FCGIW_BEGIN_REQUEST, FCGI_BEGIN_REQUEST);
    assert_int_equal(FCGIW_ABORT_REQUEST, FCGI_ABORT_REQUEST);
    assert_int_equal(FCGIW_END_REQUEST, FCGI_END_REQUEST);
    assert_int_equal(FCGIW_PARAMS, FCGI_PARAMS);
    assert_int_equal(FCGIW_STDIN, FCGI_STDIN);
    assert_int_equal(FCGIW_STDOUT, FCGI_STDOUT);
    assert_int_equal(FCGIW_STDERR, FCGI_STDERR);
    assert_int_equal(FCGIW_DATA, FCGI_DATA);
    assert_int_equal(FCGIW_GET_VALUES, FCGI_GET_VALUES);
    assert_int_equal(FCGIW_GET_VALUES_RESULT, FCGI_GET_VALUES_RESULT);
    assert_int_equal(FCGIW_UNKNOWN_TYPE, FCGI_UNKNOWN_TYPE);
    assert_int_equal(FCGIW_TYPE_MAX, FCGI_MAXTYPE);
    assert_int_equal(FCGIW_RESPONDER, FCGI_RESPONDER);
    assert_int_equal(FCGIW_AUTHORIZER, FCGI_AUTHORIZER);
    assert_int_equal(FCGIW_FILTER, FCGI_FILTER);
    assert_int_equal(FCGIW_KEEP_CONN, FCGI_KEEP_CONN);
    assert_int_equal(FCGIW_REQUEST_COMPLETE, FCGI_REQUEST_COMPLETE);
    assert_int_equal(FCGIW_CANT_MPX_CONN, FCGI_CANT_MPX_CONN);
    assert_int_equal(FCGIW_OVERLOADED, FCGI_OVERLOADED);
    assert_int_equal(FCGIW_UNKNOWN_ROLE, FCGI_UNKNOWN_ROLE);
}

/* --- records ------------------------------------------------------------- */

static void header_has_the_layout_of_libfcgi(void **state)
{
    const fcgiw_header h = { FCGIW_STDOUT, 0x1234, 0xabcd, 0x7f };
    uint8_t *out = tight_new(FCGIW_HEADER_LEN);
    FCGI_Header theirs;

    memset(out, 0xee, FCGIW_HEADER_LEN);
    fcgiw_header_encode(out, &h);
    memcpy(&theirs, out, sizeof(theirs));
    assert_int_equal(theirs.version, FCGI_VERSION_1);
    assert_int_equal(theirs.type, FCGI_STDOUT);
    assert_int_equal(theirs.requestIdB1, 0x12);
    assert_int_equal(theirs.requestIdB0, 0x34);
    assert_int_equal(theirs.contentLengthB1, 0xab);
    assert_int_equal(theirs.contentLengthB0, 0xcd);
    assert_int_equal(theirs.paddingLength, 0x7f);
    assert_int_equal(theirs.reserved, 0);
    tight_free(out);
}

static void header_round_trip(void **state)
{
    static const uint16_t ids[] = { 0, 1, 255, 256, 65535 };
    static const uint16_t lengths[] = { 0, 1, 8, 255, 256, 65535 };

    for (unsigned type = 0; type <= 255; type++) {
        for (size_t i = 0; i < COUNT(ids) * COUNT(lengths); i++) {
            fcgiw_header in = { (uint8_t)type, ids[i % COUNT(ids)], lengths[i / COUNT(ids)],
                                (uint8_t)(255 - type) };
            fcgiw_header out = { 0 };
            uint8_t *wire = tight_new(FCGIW_HEADER_LEN);

            fcgiw_header_encode(wire, &in);
            assert_int_equal(fcgiw_header_decode(&out, wire, FCGIW_HEADER_LEN), FCGIW_HEADER_LEN);
            assert_int_equal(out.type, in.type);
            assert_int_equal(out.request_id, in.request_id);
            assert_int_equal(out.content_length, in.content_length);
            assert_int_equal(out.padding_length, in.padding_length);
            tight_free(wire);
        }
    }
}

static void header_in_pieces(void **state)
{
    const fcgiw_header h = { FCGIW_STDERR, 1, 5, 3 };
    uint8_t wire[FCGIW_HEADER_LEN];
    fcgiw_header out;

    fcgiw_header_encode(wire, &h);
    for (size_t len = 0; len < FCGIW_HEADER_LEN; len++) {
        uint8_t *part = tight(wire, len);
        assert_int_equal(fcgiw_header_decode(&out, part, len), 0);
        tight_free(part);
    }
}

/* A wrong version is told by the first byte: the rest may never come. */
static void header_of_another_version(void **state)
{
    fcgiw_header out;

    for (unsigned version = 0; version <= 255; version++) {
        uint8_t wire[FCGIW_HEADER_LEN] = { (uint8_t)version, FCGIW_STDOUT, 0, 1 };
        for (size_t len = 1; len <= FCGIW_HEADER_LEN; len++) {
            uint8_t *part = tight(wire, len);
            fcgiw_result want = version != 1 ? FCGIW_EVERSION : len == 8 ? 8 : 0;
            assert_int_equal(fcgiw_header_decode(&out, part, len), want);
            tight_free(part);
        }
    }
}

/* The reserved byte is the sender's to set and nobody's to judge (§3.3). */
static void header_reserved_byte_is_ignored(void **state)
{
    const uint8_t wire[FCGIW_HEADER_LEN] = { 1, FCGIW_STDOUT, 0, 1, 0, 2, 3, 0xff };
    fcgiw_header out;

    assert_int_equal(fcgiw_header_decode(&out, wire, sizeof(wire)), FCGIW_HEADER_LEN);
    assert_int_equal(out.content_length, 2);
    assert_int_equal(out.padding_length, 3);
}

static void begin_request(void **state)
{
    static const fcgiw_begin begins[] = {
        { FCGIW_RESPONDER, 0 }, { FCGIW_RESPONDER, FCGIW_KEEP_CONN }, { FCGIW_AUTHORIZER, 0 },
        { FCGIW_FILTER, FCGIW_KEEP_CONN }, { 0, 0 }, { 0xffff, 0xff }
    };

    for (size_t i = 0; i < COUNT(begins); i++) {
        uint8_t *wire = tight_new(FCGIW_HEADER_LEN + FCGIW_BODY_LEN);
        FCGI_BeginRequestRecord theirs;
        fcgiw_begin out;

        memset(wire, 0xee, sizeof(theirs));
        fcgiw_begin_encode(wire, 0x0102, &begins[i]);
        memcpy(&theirs, wire, sizeof(theirs));
        assert_int_equal(theirs.header.version, FCGI_VERSION_1);
        assert_int_equal(theirs.header.type, FCGI_BEGIN_REQUEST);
        assert_int_equal(theirs.header.requestIdB1, 1);
        assert_int_equal(theirs.header.requestIdB0, 2);
        assert_int_equal(theirs.header.contentLengthB1, 0);
        assert_int_equal(theirs.header.contentLengthB0, 8);
        assert_int_equal(theirs.header.paddingLength, 0);
        assert_int_equal(theirs.body.roleB1 << 8 | theirs.body.roleB0, begins[i].role);
        assert_int_equal(theirs.body.flags, begins[i].flags);
        assert_memory_equal(theirs.body.reserved, "\0\0\0\0\0", 5);
        fcgiw_begin_decode(&out, wire + FCGIW_HEADER_LEN);
        assert_int_equal(out.role, begins[i].role);
        assert_int_equal(out.flags, begins[i].flags);
        tight_free(wire);
    }
}

static void end_request(void **state)
{
    static const uint32_t app[] = { 0, 1, 255, 256, 0x01020304, 0xfffffffe, 0xffffffff };

    for (unsigned status = 0; status <= 255; status++) {
        for (size_t i = 0; i < COUNT(app); i++) {
            const fcgiw_end end = { app[i], (uint8_t)status };
            uint8_t *wire = tight_new(FCGIW_HEADER_LEN + FCGIW_BODY_LEN);
            FCGI_EndRequestRecord theirs;
            fcgiw_end out;

            memset(wire, 0xee, sizeof(theirs));
            fcgiw_end_encode(wire, 65535, &end);
            memcpy(&theirs, wire, sizeof(theirs));
            assert_int_equal(theirs.header.type, FCGI_END_REQUEST);
            assert_int_equal(theirs.header.requestIdB1 << 8 | theirs.header.requestIdB0, 65535);
            assert_int_equal(theirs.header.contentLengthB0, 8);
            assert_int_equal(theirs.body.appStatusB3, app[i] >> 24);
            assert_int_equal(theirs.body.appStatusB0, app[i] & 0xff);
            assert_int_equal(theirs.body.protocolStatus, status);
            assert_memory_equal(theirs.body.reserved, "\0\0\0", 3);
            fcgiw_end_decode(&out, wire + FCGIW_HEADER_LEN);
            assert_int_equal(out.app_status, app[i]);
            assert_int_equal(out.protocol_status, status);
            tight_free(wire);
        }
    }
}

/* --- names ----------------------------------------------------------------- */

static void names(void **state)
{
    assert_string_equal(fcgiw_type_name(FCGIW_BEGIN_REQUEST), "BEGIN_REQUEST");
    assert_string_equal(fcgiw_type_name(FCGIW_STDOUT), "STDOUT");
    assert_string_equal(fcgiw_type_name(FCGIW_UNKNOWN_TYPE), "UNKNOWN_TYPE");
    assert_string_equal(fcgiw_type_name(12), "unknown type");
    assert_string_equal(fcgiw_type_name(~0u), "unknown type");
    assert_string_equal(fcgiw_protocol_status_name(FCGIW_REQUEST_COMPLETE), "REQUEST_COMPLETE");
    assert_string_equal(fcgiw_protocol_status_name(FCGIW_CANT_MPX_CONN), "CANT_MPX_CONN");
    assert_string_equal(fcgiw_protocol_status_name(FCGIW_OVERLOADED), "OVERLOADED");
    assert_string_equal(fcgiw_protocol_status_name(FCGIW_UNKNOWN_ROLE), "UNKNOWN_ROLE");
    assert_string_equal(fcgiw_protocol_status_name(4), "unknown protocol status");
    for (fcgiw_result e = FCGIW_EVERSION; e >= FCGIW_EORDER; e--) {
        assert_string_not_equal(fcgiw_error_name(e), "unknown error");
        for (fcgiw_result other = e - 1; other >= FCGIW_EORDER; other--) {
            assert_string_not_equal(fcgiw_error_name(e), fcgiw_error_name(other));
        }
    }
    assert_string_equal(fcgiw_error_name(FCGIW_EORDER - 1), "unknown error");
    assert_string_equal(fcgiw_error_name(0), "no error");
    for (unsigned type = 0; type < 300; type++) {
        assert_non_null(fcgiw_type_name(type));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constants_equal_libfcgi),
        cmocka_unit_test(header_has_the_layout_of_libfcgi),
        cmocka_unit_test(header_round_trip),
        cmocka_unit_test(header_in_pieces),
        cmocka_unit_test(header_of_another_version),
        cmocka_unit_test(header_reserved_byte_is_ignored),
        cmocka_unit_test(begin_request),
        cmocka_unit_test(end_request),
        cmocka_unit_test(names),
    };

    return cmocka_run_group_tests_name("fcgiw", tests, NULL, NULL);
}
