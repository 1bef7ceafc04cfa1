/*
 * The incremental demultiplexer: a wire image a case, and the events it must
 * give however it is cut (wire.h).
 */
#include "lib/fcgiw_stream.h"
#include "wire.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* --- the responder's side ---------------------------------------------------- */

static void plain_response(void **state)
{
    wire w = { 0 };

    wire_text(&w, FCGIW_STDOUT, 1, "Content-Type: text/plain\r\n\r\nhi", 1);
    wire_record(&w, FCGIW_END_REQUEST, 1, "\0\0\0\0\0\0\0\0", 8, 0);
    check(&w, FCGIW_FROM_RESPONDER, "STDOUT 1 @8+30\nEND 1 app 0 status 0\nidle\n");
}

static void several_records(void **state)
{
    wire w = { 0 };

    wire_text(&w, FCGIW_STDERR, 1, "PHP Warning", 5);
    wire_text(&w, FCGIW_STDOUT, 1, "abc", 0);
    wire_text(&w, FCGIW_STDOUT, 1, "d", 7);
    wire_text(&w, FCGIW_STDERR, 1, "x", 0);
    wire_record(&w, FCGIW_END_REQUEST, 1, "\0\0\0\7\0\0\0\0", 8, 8);
    check(&w, FCGIW_FROM_RESPONDER,
          "STDERR 1 @8+11\nSTDOUT 1 @32+3\nSTDOUT 1 @43+1\nSTDERR 1 @59+1\n"
          "END 1 app 7 status 0\nidle\n");
}

/* Neither ends the response (§3.3; php-fpm sends none, others do). */
static void empty_stdout_and_stderr(void **state)
{
    wire w = { 0 };

    wire_record(&w, FCGIW_STDOUT, 1, NULL, 0, 0);
    wire_record(&w, FCGIW_STDERR, 1, NULL, 0, 3);
    wire_text(&w, FCGIW_STDOUT, 1, "A: b\n\n", 0);
    wire_record(&w, FCGIW_STDOUT, 1, NULL, 0, 255);
    wire_record(&w, FCGIW_STDERR, 1, NULL, 0, 0);
    wire_record(&w, FCGIW_END_REQUEST, 1, "\0\0\0\0\0\0\0\0", 8, 0);
    check(&w, FCGIW_FROM_RESPONDER,
          "STDOUT 1 EOS\nSTDERR 1 EOS\nSTDOUT 1 @27+6\nSTDOUT 1 EOS\nSTDERR 1 EOS\n"
          "END 1 app 0 status 0\nidle\n");
}

static void every_end_status(void **state)
{
    for (unsigned status = 0; status <= 255; status++) {
        const fcgiw_end end = { 0xdeadbeef, (uint8_t)status };
        uint8_t record[FCGIW_HEADER_LEN + FCGIW_BODY_LEN];
        char want[100];
        wire w = { 0 };

        fcgiw_end_encode(record, 1, &end);
        wire_bytes(&w, record, sizeof(record));
        (void)snprintf(want, sizeof(want), "END 1 app 3735928559 status %u\nidle\n", status);
        check(&w, FCGIW_FROM_RESPONDER, want);
    }
}

static void every_padding(void **state)
{
    for (size_t padding = 0; padding <= FCGIW_PADDING_MAX; padding += padding < 20 ? 1 : 47) {
        char want[200];
        wire w = { 0 };

        wire_text(&w, FCGIW_STDOUT, 1, "x", padding);
        wire_record(&w, FCGIW_STDOUT, 1, NULL, 0, padding);
        wire_text(&w, FCGIW_STDERR, 1, "y", padding);
        wire_record(&w, FCGIW_END_REQUEST, 1, "\0\0\0\0\1\0\0\0", 8, padding);
        (void)snprintf(want, sizeof(want),
                       "STDOUT 1 @8+1\nSTDOUT 1 EOS\nSTDERR 1 @%zu+1\nEND 1 app 0 status 1\nidle\n",
                       25 + 2 * padding);
        check(&w, FCGIW_FROM_RESPONDER, want);
    }
}

static void largest_record(void **state)
{
    wire w = { 0 };

    wire_record(&w, FCGIW_STDOUT, 1, NULL, FCGIW_CONTENT_MAX, FCGIW_PADDING_MAX);
    assert_int_equal(w.len, FCGIW_RECORD_MAX);
    wire_text(&w, FCGIW_STDOUT, 1, "z", 0);
    check(&w, FCGIW_FROM_RESPONDER, "STDOUT 1 @8+65535\nSTDOUT 1 @65806+1\nidle\n");
}

/* §3.3 gives the body 8 bytes; a longer one is read over, not misread as records. */
static void end_with_a_longer_body(void **state)
{
    for (size_t len = 9; len <= 30; len++) {
        wire w = { 0 };
        uint8_t body[30] = { 0, 0, 0, 1, 2 };

        wire_record(&w, FCGIW_END_REQUEST, 1, body, len, len % 3);
        check(&w, FCGIW_FROM_RESPONDER, "END 1 app 1 status 2\nidle\n");
    }
}

static void unknown_types_are_skipped(void **state)
{
    static const unsigned types[] = { 0, 12, 13, 127, 128, 255 };
    static const size_t lengths[] = { 0, 1, 7, 8, 9, 300, 9000 };

    for (size_t i = 0; i < COUNT(types); i++) {
        for (size_t j = 0; j < COUNT(lengths); j++) {
            size_t padding = (i + j) % 3 * 5;
            unsigned id = j % 3 == 0 ? 1 : j % 3 == 1 ? 0 : 4242; /* whatever its id is */
            char want[200];
            wire w = { 0 };

            wire_record(&w, types[i], id, NULL, lengths[j], padding);
            wire_text(&w, FCGIW_STDOUT, 1, "x", 0);
            (void)snprintf(want, sizeof(want), "UNKNOWN %u %u +%zu\nSTDOUT 1 @%zu+1\nidle\n",
                           types[i], id, lengths[j], 16 + lengths[j] + padding);
            check(&w, FCGIW_FROM_RESPONDER, want);
        }
    }
}

static void unknown_type_of_any_length(void **state)
{
    wire w = { 0 };

    wire_record(&w, 99, 1, NULL, FCGIW_CONTENT_MAX, 255);
    wire_record(&w, FCGIW_END_REQUEST, 1, "\0\0\0\0\3\0\0\0", 8, 0);
    check(&w, FCGIW_FROM_RESPONDER, "UNKNOWN 99 1 +65535\nEND 1 app 0 status 3\nidle\n");
}

static void management_results(void **state)
{
    wire w = { 0 };

    wire_text(&w, FCGIW_GET_VALUES_RESULT, 0, "\017\001FCGI_MPXS_CONNS0", 1);
    wire_record(&w, FCGIW_UNKNOWN_TYPE, 0, "\14\0\0\0\0\0\0\0", 8, 0);
    wire_record(&w, FCGIW_GET_VALUES_RESULT, 0, NULL, 0, 0);
    check(&w, FCGIW_FROM_RESPONDER,
          "GET_VALUES_RESULT 0 @8+18\nUNKNOWN_TYPE 0 @35+8\nGET_VALUES_RESULT 0 EOS\nidle\n");
}

/* --- malformed: the exact error ---------------------------------------------- */

static void types_of_the_other_side(void **state)
{
    for (unsigned type = 1; type <= FCGIW_TYPE_MAX; type++) {
        bool from_client = type == FCGIW_BEGIN_REQUEST || type == FCGIW_ABORT_REQUEST
                           || type == FCGIW_PARAMS || type == FCGIW_STDIN || type == FCGIW_DATA
                           || type == FCGIW_GET_VALUES;
        unsigned id = type >= FCGIW_GET_VALUES ? 0 : 1;
        char want[200];
        wire w = { 0 };

        (void)snprintf(want, sizeof(want), "STD%s 1 @8+2\n%s\n", from_client ? "OUT" : "IN",
                       fcgiw_error_name(FCGIW_ETYPE));
        wire_text(&w, from_client ? FCGIW_STDOUT : FCGIW_STDIN, 1, "ok", 2);
        wire_record(&w, type, id, "\0\0\0\0\0\0\0\0", 8, 0);
        check(&w, from_client ? FCGIW_FROM_RESPONDER : FCGIW_FROM_CLIENT, want);
    }
}

static void wrong_versions(void **state)
{
    for (unsigned version = 0; version <= 255; version += version < 3 ? 1 : 63) {
        uint8_t header[FCGIW_HEADER_LEN] = { (uint8_t)version, FCGIW_STDOUT, 0, 1, 0, 0, 0, 0 };
        char want[200];
        wire w = { 0 };

        if (version == 1) {
            continue;
        }
        (void)snprintf(want, sizeof(want), "%s\n", fcgiw_error_name(FCGIW_EVERSION));
        wire_bytes(&w, header, 1); /* known by its first byte */
        check(&w, FCGIW_FROM_RESPONDER, want);
        (void)snprintf(want, sizeof(want), "STDOUT 1 @8+1\n%s\n", fcgiw_error_name(FCGIW_EVERSION));
        wire_text(&w, FCGIW_STDOUT, 1, "x", 3);
        wire_bytes(&w, header, sizeof(header));
        check(&w, FCGIW_FROM_RESPONDER, want);
    }
}

static void not_fastcgi_at_all(void **state)
{
    static const char http[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    wire w = { 0 };

    wire_bytes(&w, http, sizeof(http) - 1);
    check(&w, FCGIW_FROM_RESPONDER, "unsupported FastCGI version\n");
}

static void wrong_request_ids(void **state)
{
    static const struct {
        unsigned type, id;
        uint16_t own;
    } cases[] = {
        { FCGIW_STDOUT, 2, 1 }, { FCGIW_STDERR, 0, 1 }, { FCGIW_END_REQUEST, 257, 1 },
        { FCGIW_END_REQUEST, 0, 1 }, { FCGIW_STDOUT, 1, 256 }, { FCGIW_STDOUT, 0xfffe, 0xffff },
        { FCGIW_GET_VALUES_RESULT, 1, 1 }, { FCGIW_UNKNOWN_TYPE, 1, 1 },
        { FCGIW_STDOUT, 0, 0 } /* any id, but that of management records */
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        char want[200];
        wire w = { 0 };

        (void)snprintf(want, sizeof(want), "%s\n", fcgiw_error_name(FCGIW_EID));
        wire_record(&w, cases[i].type, cases[i].id, "\0\0\0\0\0\0\0\0", 8, 0);
        check_id(&w, FCGIW_FROM_RESPONDER, cases[i].own, want);
    }
}

static void largest_request_id(void **state)
{
    wire w = { 0 };

    wire_text(&w, FCGIW_STDOUT, 65535, "x", 0);
    check_id(&w, FCGIW_FROM_RESPONDER, 65535, "STDOUT 65535 @8+1\nidle\n");
}

static void bodies_too_short(void **state)
{
    for (size_t len = 0; len < FCGIW_BODY_LEN; len++) {
        char want[200];
        wire w = { 0 };

        (void)snprintf(want, sizeof(want), "%s\n", fcgiw_error_name(FCGIW_EBODY));
        wire_record(&w, FCGIW_END_REQUEST, 1, NULL, len, 0);
        check(&w, FCGIW_FROM_RESPONDER, want);
        wire_record(&w, FCGIW_BEGIN_REQUEST, 1, NULL, len, 0);
        check(&w, FCGIW_FROM_CLIENT, want);
    }
}

static void bytes_after_the_end(void **state)
{
    wire w = { 0 };

    wire_record(&w, FCGIW_END_REQUEST, 1, "\0\0\0\0\0\0\0\0", 8, 4);
    wire_text(&w, FCGIW_STDOUT, 1, "more", 0);
    check(&w, FCGIW_FROM_RESPONDER, "END 1 app 0 status 0\nrecord out of order\n");
    wire_record(&w, FCGIW_END_REQUEST, 1, "\0\0\0\0\0\0\0\0", 8, 0);
    wire_bytes(&w, "\0", 1); /* even one that starts no record */
    check(&w, FCGIW_FROM_RESPONDER, "END 1 app 0 status 0\nrecord out of order\n");
}

/* The caller stops at END: the left-over bytes are its to see. */
static void left_over_bytes_stay_with_the_caller(void **state)
{
    fcgiw_stream s;
    fcgiw_event ev;
    wire w = { 0 };

    wire_record(&w, FCGIW_END_REQUEST, 1, "\0\0\0\0\0\0\0\0", 8, 4);
    size_t whole = w.len, at = 0;
    wire_text(&w, FCGIW_STDOUT, 1, "next", 0);
    fcgiw_stream_init(&s, FCGIW_FROM_RESPONDER, 1);
    do {
        fcgiw_result rc = fcgiw_stream_feed(&s, w.data + at, w.len - at, &ev);
        assert_true(rc > 0);
        at += (size_t)rc;
    } while (ev.kind != FCGIW_EV_END);
    assert_int_equal(at, whole);
    assert_true(fcgiw_stream_idle(&s));
    free(w.data);
}

/* A connection that ends inside a record is not idle: what came is no whole. */
static void cut_responses(void **state)
{
    wire w = { 0 };
    fcgiw_event ev;

    wire_text(&w, FCGIW_STDOUT, 1, "abc", 2);
    wire_record(&w, FCGIW_END_REQUEST, 1, "\0\0\0\0\0\0\0\0", 8, 3);
    for (size_t len = 0; len <= w.len; len++) {
        fcgiw_stream s;
        bool ended = false;
        size_t at = 0;

        fcgiw_stream_init(&s, FCGIW_FROM_RESPONDER, 1);
        while (at < len) {
            fcgiw_result rc = fcgiw_stream_feed(&s, w.data + at, len - at, &ev);
            assert_true(rc > 0);
            at += (size_t)rc;
            ended = ev.kind == FCGIW_EV_END;
        }
        assert_int_equal(fcgiw_stream_idle(&s), len == 0 || len == 13 || len == w.len);
        assert_int_equal(ended, len == w.len); /* not before the padding has come */
    }
    free(w.data);
}

/* --- the client's side ------------------------------------------------------- */

static void plain_request(void **state)
{
    wire w = { 0 };

    wire_record(&w, FCGIW_BEGIN_REQUEST, 1, "\0\1\1\0\0\0\0\0", 8, 0);
    wire_text(&w, FCGIW_PARAMS, 1, "\1\1ab", 4);
    wire_record(&w, FCGIW_PARAMS, 1, NULL, 0, 0);
    wire_text(&w, FCGIW_STDIN, 1, "body", 4);
    wire_record(&w, FCGIW_STDIN, 1, NULL, 0, 0);
    check(&w, FCGIW_FROM_CLIENT,
          "BEGIN 1 role 1 flags 1\nPARAMS 1 @24+4\nPARAMS 1 EOS\nSTDIN 1 @48+4\nSTDIN 1 EOS\nidle\n");
}

static void requests_on_one_connection(void **state)
{
    wire w = { 0 };

    wire_record(&w, FCGIW_BEGIN_REQUEST, 1, "\0\3\0\0\0\0\0\0", 8, 200);
    wire_text(&w, FCGIW_DATA, 1, "file", 0);
    wire_record(&w, FCGIW_DATA, 1, NULL, 0, 1);
    wire_record(&w, FCGIW_BEGIN_REQUEST, 300, "\xff\xff\xff\0\0\0\0\0", 8, 0);
    wire_record(&w, FCGIW_ABORT_REQUEST, 1, NULL, 0, 0);
    wire_record(&w, FCGIW_STDIN, 300, NULL, 0, 0);
    wire_record(&w, FCGIW_BEGIN_REQUEST, 1, "\0\2\0\0\0\0\0\0xxxx", 12, 0);
    check(&w, FCGIW_FROM_CLIENT,
          "BEGIN 1 role 3 flags 0\nDATA 1 @224+4\nDATA 1 EOS\nBEGIN 300 role 65535 flags 255\n"
          "ABORT 1\nSTDIN 300 EOS\nBEGIN 1 role 2 flags 0\nidle\n");
}

static void abort_with_content_and_padding(void **state)
{
    wire w = { 0 };

    wire_record(&w, FCGIW_ABORT_REQUEST, 1, NULL, 20, 9);
    wire_record(&w, FCGIW_ABORT_REQUEST, 1, NULL, 0, 9);
    wire_record(&w, FCGIW_ABORT_REQUEST, 1, NULL, 1, 0);
    wire_record(&w, FCGIW_STDIN, 1, NULL, 0, 0);
    check(&w, FCGIW_FROM_CLIENT, "ABORT 1\nABORT 1\nABORT 1\nSTDIN 1 EOS\nidle\n");
}

static void get_values(void **state)
{
    wire w = { 0 };

    wire_text(&w, FCGIW_GET_VALUES, 0, "\016FCGI_MAX_CONNS", 0);
    wire_record(&w, 77, 0, NULL, 3, 3);
    wire_record(&w, FCGIW_BEGIN_REQUEST, 1, "\0\1\0\0\0\0\0\0", 8, 0);
    check(&w, FCGIW_FROM_CLIENT,
          "GET_VALUES 0 @8+15\nUNKNOWN 77 0 +3\nBEGIN 1 role 1 flags 0\nidle\n");
}

static void client_ids(void **state)
{
    static const unsigned types[] = { FCGIW_BEGIN_REQUEST, FCGIW_ABORT_REQUEST, FCGIW_PARAMS,
                                      FCGIW_STDIN, FCGIW_DATA };
    wire w = { 0 };

    for (size_t i = 0; i < COUNT(types); i++) {
        wire_record(&w, types[i], 0, "\0\1\0\0\0\0\0\0", 8, 0);
        check(&w, FCGIW_FROM_CLIENT, "record of another request id\n");
        wire_record(&w, types[i], 2, "\0\1\0\0\0\0\0\0", 8, 0);
        check_id(&w, FCGIW_FROM_CLIENT, 1, "record of another request id\n");
    }
    wire_record(&w, FCGIW_GET_VALUES, 5, NULL, 0, 0);
    check(&w, FCGIW_FROM_CLIENT, "record of another request id\n");
}

static void empty_input(void **state)
{
    wire w = { 0 };

    check(&w, FCGIW_FROM_RESPONDER, "idle\n");
    check(&w, FCGIW_FROM_CLIENT, "idle\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_response),
        cmocka_unit_test(several_records),
        cmocka_unit_test(empty_stdout_and_stderr),
        cmocka_unit_test(every_end_status),
        cmocka_unit_test(every_padding),
        cmocka_unit_test(largest_record),
        cmocka_unit_test(end_with_a_longer_body),
        cmocka_unit_test(unknown_types_are_skipped),
        cmocka_unit_test(unknown_type_of_any_length),
        cmocka_unit_test(management_results),
        cmocka_unit_test(types_of_the_other_side),
        cmocka_unit_test(wrong_versions),
        cmocka_unit_test(not_fastcgi_at_all),
        cmocka_unit_test(wrong_request_ids),
        cmocka_unit_test(largest_request_id),
        cmocka_unit_test(bodies_too_short),
        cmocka_unit_test(bytes_after_the_end),
        cmocka_unit_test(left_over_bytes_stay_with_the_caller),
        cmocka_unit_test(cut_responses),
        cmocka_unit_test(plain_request),
        cmocka_unit_test(requests_on_one_connection),
        cmocka_unit_test(abort_with_content_and_padding),
        cmocka_unit_test(get_values),
        cmocka_unit_test(client_ids),
        cmocka_unit_test(empty_input),
    };

    return cmocka_run_group_tests_name("fcgiw_stream", tests, NULL, NULL);
}
