/* The CGI response header parser (RFC 3875 §6). */
#include "lib/cgih.h"
#include "testlib.h"

#include <stdio.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define S(literal) literal, sizeof(literal) - 1

/* --- where the header ends --------------------------------------------------- */

/* Where a feed in two pieces, cut at split, finds the end; 0: it does not. */
static size_t scan_split(const char *in, size_t len, size_t split)
{
    cgih_scan s;
    char *a = (char *)tight(in, split), *b = (char *)tight(in + split, len - split);
    size_t end;

    cgih_scan_init(&s);
    end = cgih_scan_feed(&s, a, split);
    if (end == 0) {
        end = cgih_scan_feed(&s, b, len - split);
        if (end > 0) {
            end += split;
        }
    }
    tight_free(a);
    tight_free(b);
    return end;
}

static size_t scan_bytes(const char *in, size_t len)
{
    cgih_scan s;

    cgih_scan_init(&s);
    for (size_t i = 0; i < len; i++) {
        char *c = (char *)tight(in + i, 1);
        size_t n = cgih_scan_feed(&s, c, 1);
        tight_free(c);
        assert_true(n <= 1);
        if (n > 0) {
            return i + 1;
        }
    }
    return 0;
}

static void scan_finds_the_end(void **state)
{
    static const struct {
        const char *in;
        size_t len, end;
    } cases[] = {
        { S("A: b\n\nbody"), 6 },
        { S("A: b\r\n\r\nbody"), 8 },
        { S("A: b\r\n\nbody"), 7 },
        { S("A: b\n\r\nbody"), 7 },
        { S("A: b\nC: d\r\nE: f\n\r\n"), 18 },
        { S("\nbody"), 1 },
        { S("\r\nbody"), 2 },
        { S("A: b\n\n\n\n"), 6 },
        { S("A: b\r\n\r\n\r\n"), 8 },
        { S("\n\n"), 1 },
        /* no end: a CR is an end of line only in front of a LF */
        { S(""), 0 },
        { S("A: b"), 0 },
        { S("A: b\n"), 0 },
        { S("A: b\r\n"), 0 },
        { S("A: b\r\n\r"), 0 },
        { S("A: b\n\r"), 0 },
        { S("A: b\r\r"), 0 },
        { S("\r"), 0 },
        { S("\r\r\n"), 0 },
        { S("\rA\n"), 0 },
        { S("A: b\n \n"), 0 },
        { S("A: b\n\r\r\n"), 0 },
        { S("A: b\n\rX\n\n"), 9 },
        { S("\r\r\n\r\n"), 5 },
        { S("A: b\n\0\n\n"), 8 },
        { S("A\0B: b\r\n\r\n"), 10 },
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        for (size_t split = 0; split <= cases[i].len; split++) {
            assert_int_equal(scan_split(cases[i].in, cases[i].len, split), cases[i].end);
        }
        assert_int_equal(scan_bytes(cases[i].in, cases[i].len), cases[i].end);
    }
}

static void scan_of_a_long_header(void **state)
{
    const size_t len = 300000;
    char *in = (char *)tight_new(len);
    cgih_scan s;

    memset(in, 'x', len);
    cgih_scan_init(&s);
    assert_int_equal(cgih_scan_feed(&s, in, len), 0);
    memcpy(in + len - 4, "\r\n\r\n", 4);
    cgih_scan_init(&s);
    assert_int_equal(cgih_scan_feed(&s, in, len), len);
    tight_free(in);
}

/* An empty piece neither ends nor changes anything. */
static void scan_of_nothing(void **state)
{
    cgih_scan s;

    cgih_scan_init(&s);
    assert_int_equal(cgih_scan_feed(&s, NULL, 0), 0);
    assert_int_equal(cgih_scan_feed(&s, "A: b\n\r", 6), 0);
    assert_int_equal(cgih_scan_feed(&s, NULL, 0), 0);
    assert_int_equal(cgih_scan_feed(&s, "\n", 1), 1);
}

/* --- fields ---------------------------------------------------------------- */

/* Parses a whole header into "name=value;…", then "end" or the error. */
static const char *fields(const char *in, size_t len)
{
    static char out[4096];
    char *header = (char *)tight(in, len);
    size_t pos = 0, used = 0;
    cgih_field f;
    int rc;

    out[0] = '\0';
    while ((rc = cgih_next(header, len, &pos, &f)) > 0) {
        assert_int_equal(rc, 1);
        assert_true(pos <= len);
        assert_true(used < sizeof(out) - 300);
        used += (size_t)snprintf(out + used, sizeof(out) - used, "%.*s=%.*s;", (int)f.name_len,
                                 f.name, (int)f.value_len, f.value);
    }
    assert_true(pos <= len);
    (void)snprintf(out + used, sizeof(out) - used, "%s", rc == 0 ? "end" : cgih_error_name(rc));
    tight_free(header);
    return out;
}

static void fields_of_good_headers(void **state)
{
    static const struct {
        const char *in;
        size_t len;
        const char *out;
    } cases[] = {
        { S("A: b\n\n"), "A=b;end" },
        { S("A: b\r\n\r\n"), "A=b;end" },
        { S("A: b\nC: d\r\n\r\n"), "A=b;C=d;end" },
        { S("\n"), "end" },
        { S("\r\n"), "end" },
        { S(""), "end" },
        { S("A:b\n\n"), "A=b;end" },
        { S("A:\n\n"), "A=;end" },
        { S("A: \t \r\n\n"), "A=;end" },
        { S("A: \t b c\td \t\r\n\n"), "A=b c\td;end" },
        { S("A: b:c: d\n\n"), "A=b:c: d;end" },
        { S("A::\n\n"), "A=:;end" },
        { S("X-!#$%&'*+-.^_`|~09azAZ: 1\n\n"), "X-!#$%&'*+-.^_`|~09azAZ=1;end" },
        { S("A: caf\xc3\xa9 \xff\n\n"), "A=caf\xc3\xa9 \xff;end" },
        { S("Set-Cookie: a=1\nSet-Cookie: b=2\n\n"), "Set-Cookie=a=1;Set-Cookie=b=2;end" },
        { S("A: b\n\nC: body, not header\n"), "A=b;end" },
        { S("A: b"), "A=b;end" },
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_string_equal(fields(cases[i].in, cases[i].len), cases[i].out);
    }
}

static void fields_of_bad_headers(void **state)
{
    static const struct {
        const char *in;
        size_t len;
        int error;
    } cases[] = {
        { S("no colon\n\n"), CGIH_EFIELD },
        { S("<html>\n\n"), CGIH_EFIELD },
        { S(": value\n\n"), CGIH_EFIELD },
        { S(":\n\n"), CGIH_EFIELD },
        { S("A : b\n\n"), CGIH_EFIELD },
        { S("A\t: b\n\n"), CGIH_EFIELD },
        { S("A B: c\n\n"), CGIH_EFIELD },
        { S("A\0: b\n\n"), CGIH_EFIELD },
        { S("\0: b\n\n"), CGIH_EFIELD },
        { S("A\x7f: b\n\n"), CGIH_EFIELD },
        { S("A\xc3\xa9: b\n\n"), CGIH_EFIELD },
        { S("A(: b\n\n"), CGIH_EFIELD },
        { S("A\"B: b\n\n"), CGIH_EFIELD },
        { S("\rA: b\n\n"), CGIH_EFIELD },
        { S("\r\r\n\n"), CGIH_EFIELD },
        { S("HTTP/1.1 200 OK\r\n\r\n"), CGIH_EFIELD },
        { S("A: b\0c\n\n"), CGIH_EVALUE },
        { S("A: \0\n\n"), CGIH_EVALUE },
        { S("A: b\rC: d\n\n"), CGIH_EVALUE },
        { S("A: b\r\r\n\r\n"), CGIH_EVALUE },
        { S("A: b\x01\n\n"), CGIH_EVALUE },
        { S("A: b\x0b" "c\n\n"), CGIH_EVALUE },
        { S("A: b\x1b[0m\n\n"), CGIH_EVALUE },
        { S("A: b\x7f\n\n"), CGIH_EVALUE },
        { S(" A: b\n\n"), CGIH_EFOLD },
        { S("\tA: b\n\n"), CGIH_EFOLD },
        { S(" \r\n\r\n"), CGIH_EFOLD },
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_string_equal(fields(cases[i].in, cases[i].len), cgih_error_name(cases[i].error));
    }
    assert_string_equal(fields(S("A: b\r\n c\r\n\r\n")), "A=b;folded header line");
    assert_string_equal(fields(S("A: b\n\tc\n\n")), "A=b;folded header line");
    assert_string_equal(fields(S("A: b\nC d\n\n")), "A=b;malformed header line");
}

/* All bytes, alone: which of them a name or a value may hold. */
static void every_byte_in_a_field(void **state)
{
    static const char tokens[] = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz";

    for (int c = 0; c <= 255; c++) {
        char in[] = "A?B: c?d\n\n";
        size_t pos = 0;
        cgih_field f;
        in[1] = (char)c;
        in[6] = '-';
        int rc = cgih_next(in, sizeof(in) - 1, &pos, &f);
        if (c == ':') {
            assert_int_equal(rc, 1);
        }
        else {
            assert_int_equal(rc, c != 0 && strchr(tokens, c) != NULL ? 1 : CGIH_EFIELD);
        }
        if (c == '\n') {
            continue;
        }
        pos = 0;
        in[1] = '-';
        in[6] = (char)c;
        rc = cgih_next(in, sizeof(in) - 1, &pos, &f);
        assert_int_equal(rc, (c >= 0x20 && c != 0x7f) || c == '\t' ? 1 : CGIH_EVALUE);
    }
}

/* What the scanner calls a header, the field parser reads to its last byte. */
static void scan_and_fields_agree(void **state)
{
    static const char alphabet[] = { 'a', ':', '\r', '\n' };
    enum { LEN = 7 };

    for (unsigned n = 0; n < 1u << (2 * LEN); n++) {
        char in[LEN];
        for (unsigned i = 0; i < LEN; i++) {
            in[i] = alphabet[n >> (2 * i) & 3];
        }
        size_t end = scan_bytes(in, LEN), pos = 0;
        if (end == 0) {
            continue;
        }
        cgih_field f;
        char *header = (char *)tight(in, end);
        while (cgih_next(header, end, &pos, &f) != 0) {
            assert_true(pos < end); /* an error does not end the walk either */
        }
        assert_int_equal(pos, end);
        tight_free(header);
    }
}

static cgih_field field_of(const char *name, const char *value)
{
    cgih_field f = { name, strlen(name), value, strlen(value) };

    return f;
}

static void names_compare_without_case(void **state)
{
    cgih_field f = field_of("Content-Type", "");

    assert_true(cgih_field_is(&f, "Content-Type"));
    assert_true(cgih_field_is(&f, "content-type"));
    assert_true(cgih_field_is(&f, "CONTENT-TYPE"));
    assert_false(cgih_field_is(&f, "Content-Typ"));
    assert_false(cgih_field_is(&f, "Content-Type2"));
    assert_false(cgih_field_is(&f, "Content_Type"));
    assert_false(cgih_field_is(&f, ""));
    f = field_of("AZ-az", "");
    assert_true(cgih_field_is(&f, "az-AZ"));
    f = field_of("@[`{", "");
    assert_false(cgih_field_is(&f, "`{@["));
    f = field_of("", "");
    assert_true(cgih_field_is(&f, ""));
    f.name = "A\0B";
    f.name_len = 3;
    assert_false(cgih_field_is(&f, "A"));
}

/* --- Status ------------------------------------------------------------------ */

static void status_codes(void **state)
{
    static const struct {
        const char *value;
        int code;
        const char *reason;
    } cases[] = {
        { "200", 200, "" },
        { "200 OK", 200, "OK" },
        { "200 ", 200, "" },
        { "404 Not Found", 404, "Not Found" },
        { "100", 100, "" },
        { "599 x", 599, "x" },
        { "500  two", 500, " two" },
        { "", CGIH_ESTATUS, NULL },
        { "2", CGIH_ESTATUS, NULL },
        { "20", CGIH_ESTATUS, NULL },
        { "20 OK", CGIH_ESTATUS, NULL },
        { "2000", CGIH_ESTATUS, NULL },
        { "200OK", CGIH_ESTATUS, NULL },
        { "200\tOK", CGIH_ESTATUS, NULL },
        { "099", CGIH_ESTATUS, NULL },
        { "000", CGIH_ESTATUS, NULL },
        { "600", CGIH_ESTATUS, NULL },
        { "999", CGIH_ESTATUS, NULL },
        { "-20", CGIH_ESTATUS, NULL },
        { "+20", CGIH_ESTATUS, NULL },
        { " 200", CGIH_ESTATUS, NULL },
        { "2x0", CGIH_ESTATUS, NULL },
        { "OK", CGIH_ESTATUS, NULL },
        { "HTTP/1.1 200 OK", CGIH_ESTATUS, NULL },
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t len = strlen(cases[i].value), reason_len = 99;
        char *value = (char *)tight(cases[i].value, len);
        cgih_field f = { "Status", 6, value, len };
        const char *reason = NULL;

        assert_int_equal(cgih_status(&f, NULL, NULL), cases[i].code);
        assert_int_equal(cgih_status(&f, &reason, &reason_len), cases[i].code);
        if (cases[i].code > 0) {
            assert_int_equal(reason_len, strlen(cases[i].reason));
            assert_memory_equal(reason, cases[i].reason, reason_len);
            assert_ptr_equal(reason + reason_len, value + len);
        }
        tight_free(value);
    }
}

static void error_names(void **state)
{
    for (int e = CGIH_EFIELD; e >= CGIH_ESTATUS; e--) {
        assert_string_not_equal(cgih_error_name(e), "unknown error");
        for (int other = e - 1; other >= CGIH_ESTATUS; other--) {
            assert_string_not_equal(cgih_error_name(e), cgih_error_name(other));
        }
    }
    assert_string_equal(cgih_error_name(CGIH_ESTATUS - 1), "unknown error");
    assert_string_equal(cgih_error_name(1), "no error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scan_finds_the_end),
        cmocka_unit_test(scan_of_a_long_header),
        cmocka_unit_test(scan_of_nothing),
        cmocka_unit_test(fields_of_good_headers),
        cmocka_unit_test(fields_of_bad_headers),
        cmocka_unit_test(every_byte_in_a_field),
        cmocka_unit_test(scan_and_fields_agree),
        cmocka_unit_test(names_compare_without_case),
        cmocka_unit_test(status_codes),
        cmocka_unit_test(error_names),
    };

    return cmocka_run_group_tests_name("cgih", tests, NULL, NULL);
}
