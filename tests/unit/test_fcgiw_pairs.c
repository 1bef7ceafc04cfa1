/* The FastCGI wire codec: name-value pairs and the PARAMS builder. */
#include "lib/fcgiw.h"
#include "testlib.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* --- name-value pairs ---------------------------------------------------- */

static const size_t pair_lengths[] = { 0, 1, 126, 127, 128, 129, 255, 256, 16383, 65526, 65527,
                                       65535, 65536, 100000 };

static void pair_round_trip_at(size_t name_len, size_t value_len)
{
    uint8_t *name = tight_new(name_len), *value = tight_new(value_len);
    const fcgiw_pair in = { name, name_len, value, value_len };
    fcgiw_pair out;
    size_t size = (name_len < 128 ? 1 : 4) + (value_len < 128 ? 1 : 4) + name_len + value_len;
    uint8_t *wire = tight_new(size);

    memset(name, 'n', name_len);
    memset(value, 'v', value_len);
    assert_int_equal(fcgiw_pair_size(name_len, value_len), size);
    assert_int_equal(fcgiw_pair_encode(wire, size, &in), size);
    assert_int_equal(fcgiw_pair_decode(&out, wire, size), size);
    assert_int_equal(out.name_len, name_len);
    assert_int_equal(out.value_len, value_len);
    assert_ptr_equal(out.name, wire + size - value_len - name_len);
    assert_ptr_equal(out.value, wire + size - value_len);
    assert_memory_equal(out.name, name, name_len);
    assert_memory_equal(out.value, value, value_len);
    tight_free(name);
    tight_free(value);
    tight_free(wire);
}

static void pair_round_trip(void **state)
{
    for (size_t i = 0; i < COUNT(pair_lengths); i++) {
        for (size_t j = 0; j < COUNT(pair_lengths); j++) {
            pair_round_trip_at(pair_lengths[i], pair_lengths[j]);
        }
    }
}

/* The bytes themselves, §3.4: no round trip shows a wrong but symmetric code. */
static void pair_on_the_wire(void **state)
{
    uint8_t name[128], out[300];
    fcgiw_pair pair = { (const uint8_t *)"AB", 2, (const uint8_t *)"xyz", 3 };

    assert_int_equal(fcgiw_pair_encode(out, sizeof(out), &pair), 7);
    assert_memory_equal(out, "\2\3ABxyz", 7);
    memset(name, 'q', sizeof(name));
    pair.name = name;
    pair.name_len = 127;
    assert_int_equal(fcgiw_pair_encode(out, sizeof(out), &pair), 1 + 1 + 127 + 3);
    assert_memory_equal(out, "\x7f\3q", 3);
    pair.name_len = 128;
    assert_int_equal(fcgiw_pair_encode(out, sizeof(out), &pair), 4 + 1 + 128 + 3);
    assert_memory_equal(out, "\x80\0\0\x80\3q", 6);
    pair.name_len = 0;
    pair.value_len = 0;
    pair.name = NULL;
    pair.value = NULL;
    assert_int_equal(fcgiw_pair_encode(out, sizeof(out), &pair), 2);
    assert_memory_equal(out, "\0\0", 2);
}

static void pair_sizes_up_to_31_bits(void **state)
{
    const size_t max = FCGIW_PAIR_LEN_MAX;

    assert_int_equal(fcgiw_pair_size(0, 0), 2);
    assert_int_equal(fcgiw_pair_size(127, 127), 256);
    assert_int_equal(fcgiw_pair_size(128, 127), 4 + 1 + 255);
    assert_int_equal(fcgiw_pair_size(0, 65535), 1 + 4 + 65535);
    assert_int_equal(fcgiw_pair_size(65535, 65535), 8 + 131070);
    if (sizeof(fcgiw_result) > 4) {
        assert_true(fcgiw_pair_size(max, 0) == (fcgiw_result)(max + 5));
        assert_true(fcgiw_pair_size(0, max) == (fcgiw_result)(max + 5));
        assert_true(fcgiw_pair_size(max, max) == (fcgiw_result)(2 * (uint64_t)max + 8));
    }
    else {
        assert_int_equal(fcgiw_pair_size(max, 0), FCGIW_ETOOBIG);
        assert_int_equal(fcgiw_pair_size(max, max), FCGIW_ETOOBIG);
        assert_int_equal(fcgiw_pair_size(max - 105, 100), max);
    }
    assert_int_equal(fcgiw_pair_size(max + 1, 0), FCGIW_ETOOBIG);
    assert_int_equal(fcgiw_pair_size(0, max + 1), FCGIW_ETOOBIG);
    assert_int_equal(fcgiw_pair_size(SIZE_MAX, 1), FCGIW_ETOOBIG);
    assert_int_equal(fcgiw_pair_size(1, SIZE_MAX), FCGIW_ETOOBIG);
    assert_int_equal(fcgiw_pair_size(SIZE_MAX, SIZE_MAX), FCGIW_ETOOBIG);
}

static void pair_encode_without_room(void **state)
{
    const fcgiw_pair pair = { (const uint8_t *)"NAME", 4, (const uint8_t *)"value", 5 };

    for (size_t cap = 0; cap < 11; cap++) {
        uint8_t *out = tight_new(cap);
        memset(out, 0xee, cap);
        assert_int_equal(fcgiw_pair_encode(out, cap, &pair), FCGIW_ENOSPACE);
        for (size_t i = 0; i < cap; i++) {
            assert_int_equal(out[i], 0xee);
        }
        tight_free(out);
    }
}

/* Neither needs the bytes: the lengths alone decide. */
static void pair_encode_too_big(void **state)
{
    fcgiw_pair pair = { NULL, (size_t)FCGIW_PAIR_LEN_MAX + 1, NULL, 0 };
    uint8_t out[16];

    assert_int_equal(fcgiw_pair_encode(out, sizeof(out), &pair), FCGIW_ETOOBIG);
    pair.name_len = 0;
    pair.value_len = SIZE_MAX;
    assert_int_equal(fcgiw_pair_encode(out, sizeof(out), &pair), FCGIW_ETOOBIG);
    pair.value_len = FCGIW_PAIR_LEN_MAX - 100;
    assert_int_equal(fcgiw_pair_encode(out, sizeof(out), &pair), FCGIW_ENOSPACE);
}

static void pair_decode_of_a_part(void **state)
{
    uint8_t wire[600];
    uint8_t text[256];
    static const size_t lengths[][2] = { { 3, 4 }, { 0, 0 }, { 200, 3 }, { 3, 200 }, { 130, 131 } };

    memset(text, 't', sizeof(text));
    for (size_t i = 0; i < COUNT(lengths); i++) {
        const fcgiw_pair in = { text, lengths[i][0], text, lengths[i][1] };
        fcgiw_result size = fcgiw_pair_encode(wire, sizeof(wire), &in);
        assert_true(size > 0);
        for (size_t len = 0; len < (size_t)size; len++) {
            uint8_t *part = tight(wire, len);
            fcgiw_pair out;
            assert_int_equal(fcgiw_pair_decode(&out, part, len), 0);
            tight_free(part);
        }
    }
}

/* A peer may spend four bytes on a short length (§3.4 does not forbid it). */
static void pair_decode_of_long_form(void **state)
{
    static const uint8_t wire[] = "\x80\0\0\2\x80\0\0\3ABxyz";
    uint8_t *in = tight(wire, 13);
    fcgiw_pair out;

    assert_int_equal(fcgiw_pair_decode(&out, in, 13), 13);
    assert_int_equal(out.name_len, 2);
    assert_memory_equal(out.name, "AB", 2);
    assert_int_equal(out.value_len, 3);
    assert_memory_equal(out.value, "xyz", 3);
    for (size_t len = 0; len < 13; len++) {
        uint8_t *part = tight(wire, len);
        assert_int_equal(fcgiw_pair_decode(&out, part, len), 0);
        tight_free(part);
    }
    tight_free(in);
}

/* Lengths that lie by up to 31 bits: nothing is read, nothing overflows. */
static void pair_decode_of_huge_lengths(void **state)
{
    static const uint8_t wires[][9] = {
        "\xff\xff\xff\xff\xff\xff\xff\xff", "\xff\xff\xff\xff\0abc", "\0\xff\xff\xff\xff\141bc",
        "\xff\xff\xff\xf0\x80\0\0\0"
    };
    fcgiw_pair out;

    for (size_t i = 0; i < COUNT(wires); i++) {
        uint8_t *in = tight(wires[i], 8);
        fcgiw_result rc = fcgiw_pair_decode(&out, in, 8);
        assert_int_equal(rc, sizeof(fcgiw_result) > 4 ? 0 : FCGIW_ETOOBIG);
        tight_free(in);
    }
}

static void pair_sequence(void **state)
{
    static const char wire[] = "\1\1ab\0\0\3\0xyz\0\2hi";
    uint8_t *in = tight(wire, sizeof(wire) - 1);
    size_t at = 0, n = 0, name_len[4], value_len[4];
    fcgiw_pair pair;

    while (at < sizeof(wire) - 1) {
        fcgiw_result rc = fcgiw_pair_decode(&pair, in + at, sizeof(wire) - 1 - at);
        assert_true(rc > 0 && n < 4);
        name_len[n] = pair.name_len;
        value_len[n++] = pair.value_len;
        at += (size_t)rc;
    }
    assert_int_equal(n, 4);
    assert_memory_equal(name_len, ((size_t[]){ 1, 0, 3, 0 }), sizeof(name_len));
    assert_memory_equal(value_len, ((size_t[]){ 1, 0, 0, 2 }), sizeof(value_len));
    tight_free(in);
}

/* --- PARAMS stream --------------------------------------------------------- */

/* Walks the records of a PARAMS stream as php-fpm does, each on its own, and
 * returns how many pairs they hold; contents are the lengths of the records. */
static size_t params_check(const fcgiw_params *p, uint16_t id, size_t *contents, size_t max_records)
{
    size_t at = 0, pairs = 0, n = 0;

    memset(contents, 0, max_records * sizeof(*contents));
    while (at < p->len) {
        fcgiw_header h;
        assert_int_equal(fcgiw_header_decode(&h, p->buf + at, p->len - at), FCGIW_HEADER_LEN);
        assert_int_equal(h.type, FCGIW_PARAMS);
        assert_int_equal(h.request_id, id);
        assert_int_equal(h.padding_length, 0);
        at += FCGIW_HEADER_LEN;
        assert_true(h.content_length <= p->len - at && n < max_records);
        contents[n++] = h.content_length;
        for (size_t end = at + h.content_length; at < end; pairs++) {
            fcgiw_pair pair;
            fcgiw_result rc = fcgiw_pair_decode(&pair, p->buf + at, end - at);
            assert_true(rc > 0);
            at += (size_t)rc;
        }
    }
    assert_int_equal(at, p->len);
    return pairs;
}

static uint8_t filler[FCGIW_CONTENT_MAX + 1];

/* A pair whose encoding has exactly that many bytes. */
static fcgiw_pair pair_of(size_t size)
{
    size_t value_len = size < 2 + 128 ? size - 2 : size - 5;
    fcgiw_pair pair = { filler, 0, filler, value_len };

    if (value_len < 128 && size >= 2 + 128) {
        pair.name_len = size - 2 - 127; /* 130..132 bytes: by a value alone not to be had */
        pair.value_len = 127;
    }
    assert_int_equal(fcgiw_pair_size(pair.name_len, pair.value_len), size);
    return pair;
}

static void params_in_one_record(void **state)
{
    uint8_t *buf = tight_new(8 + 7 + 4 + 8);
    const fcgiw_pair a = { (const uint8_t *)"AB", 2, (const uint8_t *)"xyz", 3 };
    const fcgiw_pair b = { (const uint8_t *)"C", 1, (const uint8_t *)"1", 1 };
    fcgiw_params p;

    fcgiw_params_init(&p, buf, 27, 258);
    assert_int_equal(p.len, 0);
    assert_int_equal(fcgiw_params_add(&p, &a), 8 + 7);
    assert_int_equal(fcgiw_params_add(&p, &b), 4);
    assert_int_equal(fcgiw_params_end(&p), 8);
    assert_int_equal(p.len, 27);
    assert_memory_equal(buf, "\1\4\1\2\0\13\0\0\2\3ABxyz\1\1C1\1\4\1\2\0\0\0\0", 27);
    tight_free(buf);
}

/* No pair at all: the stream is its end. */
static void params_empty(void **state)
{
    uint8_t *buf = tight_new(8);
    fcgiw_params p;

    fcgiw_params_init(&p, buf, 8, 1);
    assert_int_equal(fcgiw_params_end(&p), 8);
    assert_memory_equal(buf, "\1\4\0\1\0\0\0\0", 8);
    assert_int_equal(fcgiw_params_end(&p), FCGIW_ENOSPACE);
    tight_free(buf);
}

static void params_record_filled_exactly(void **state)
{
    const size_t cap = (size_t)2 * FCGIW_RECORD_MAX;
    uint8_t *buf = tight_new(cap);
    size_t contents[4];
    fcgiw_pair pair = pair_of(FCGIW_CONTENT_MAX - 100);
    fcgiw_params p;

    fcgiw_params_init(&p, buf, cap, 7);
    assert_int_equal(fcgiw_params_add(&p, &pair), 8 + FCGIW_CONTENT_MAX - 100);
    pair = pair_of(100);
    assert_int_equal(fcgiw_params_add(&p, &pair), 100);
    assert_int_equal(params_check(&p, 7, contents, 4), 2);
    assert_int_equal(contents[0], FCGIW_CONTENT_MAX);
    pair = pair_of(2);
    assert_int_equal(fcgiw_params_add(&p, &pair), 8 + 2);
    assert_int_equal(fcgiw_params_end(&p), 8);
    assert_int_equal(params_check(&p, 7, contents, 4), 3);
    assert_int_equal(contents[1], 2);
    assert_int_equal(contents[2], 0);
    tight_free(buf);
}

static void params_break_between_pairs(void **state)
{
    const size_t cap = (size_t)3 * FCGIW_RECORD_MAX;
    uint8_t *buf = tight_new(cap);
    size_t contents[5];
    fcgiw_pair pair = pair_of(FCGIW_CONTENT_MAX - 100);
    fcgiw_params p;

    fcgiw_params_init(&p, buf, cap, 1);
    assert_true(fcgiw_params_add(&p, &pair) > 0);
    pair = pair_of(101);
    assert_int_equal(fcgiw_params_add(&p, &pair), 8 + 101);
    pair = pair_of(FCGIW_CONTENT_MAX);
    assert_int_equal(fcgiw_params_add(&p, &pair), 8 + FCGIW_CONTENT_MAX);
    pair = pair_of(3);
    assert_int_equal(fcgiw_params_add(&p, &pair), 8 + 3);
    assert_int_equal(fcgiw_params_add(&p, &pair), 3);
    assert_int_equal(fcgiw_params_add(&p, &pair), 3);
    assert_int_equal(fcgiw_params_end(&p), 8);
    assert_int_equal(params_check(&p, 1, contents, 5), 6);
    assert_int_equal(contents[0], FCGIW_CONTENT_MAX - 100);
    assert_int_equal(contents[1], 101);
    assert_int_equal(contents[2], FCGIW_CONTENT_MAX);
    assert_int_equal(contents[3], 9);
    assert_int_equal(contents[4], 0);
    tight_free(buf);
}

static void params_pair_too_big(void **state)
{
    const size_t cap = (size_t)2 * FCGIW_RECORD_MAX;
    uint8_t *buf = tight_new(cap);
    fcgiw_pair pair = { filler, 0, filler, FCGIW_CONTENT_MAX - 4 };
    fcgiw_params p;

    fcgiw_params_init(&p, buf, cap, 1);
    assert_int_equal(fcgiw_params_add(&p, &pair), FCGIW_ETOOBIG);
    pair.value_len = 65535;
    assert_int_equal(fcgiw_params_add(&p, &pair), FCGIW_ETOOBIG);
    pair.value_len = SIZE_MAX;
    assert_int_equal(fcgiw_params_add(&p, &pair), FCGIW_ETOOBIG);
    pair.name_len = FCGIW_PAIR_LEN_MAX;
    pair.value_len = 0;
    assert_int_equal(fcgiw_params_add(&p, &pair), FCGIW_ETOOBIG);
    assert_int_equal(p.len, 0);
    pair = pair_of(FCGIW_CONTENT_MAX);
    assert_int_equal(fcgiw_params_add(&p, &pair), 8 + FCGIW_CONTENT_MAX);
    tight_free(buf);
}

/* ENOSPACE leaves the builder as it was at every size; a buffer grown and moved
 * as the header says takes the pair; the result is that of a large buffer. */
static void params_grow(void **state)
{
    static const size_t sizes[] = { 2, 130, 131, 132, 133, 40000, 30000, 65535, 2, 65534, 9 };
    const size_t cap_max = (size_t)6 * FCGIW_RECORD_MAX;
    uint8_t *whole = tight_new(cap_max), *buf = tight_new(0);
    fcgiw_params big, p;
    size_t contents[8], refused = 0;

    fcgiw_params_init(&big, whole, cap_max, 3);
    fcgiw_params_init(&p, buf, 0, 3);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        fcgiw_pair pair = pair_of(sizes[i]);
        fcgiw_params before = p;
        fcgiw_result rc = fcgiw_params_add(&p, &pair);
        if (rc == FCGIW_ENOSPACE) {
            refused++;
            assert_ptr_equal(p.buf, before.buf);
            assert_int_equal(p.len, before.len);
            assert_int_equal(p.open, before.open);
            p.cap = p.len + FCGIW_HEADER_LEN + sizes[i];
            p.buf = tight_new(p.cap);
            memcpy(p.buf, buf, p.len);
            tight_free(buf);
            buf = p.buf;
            rc = fcgiw_params_add(&p, &pair);
        }
        assert_true(rc > 0);
        assert_int_equal(fcgiw_params_add(&big, &pair), rc);
        assert_int_equal(params_check(&p, 3, contents, 8), i + 1);
    }
    assert_int_equal(refused, COUNT(sizes)); /* 8 bytes to spare at most: each one grew */
    assert_int_equal(p.len, big.len);
    assert_memory_equal(p.buf, big.buf, p.len);
    tight_free(buf);
    tight_free(whole);
}

static void params_no_room_at_any_cap(void **state)
{
    const fcgiw_pair a = { (const uint8_t *)"A", 1, (const uint8_t *)"1", 1 };

    for (size_t cap = 0; cap < 8 + 4 + 4 + 8; cap++) {
        uint8_t *buf = tight_new(cap);
        fcgiw_params p;
        fcgiw_params_init(&p, buf, cap, 1);
        assert_int_equal(fcgiw_params_add(&p, &a), cap < 12 ? FCGIW_ENOSPACE : 12);
        if (cap >= 12) {
            assert_int_equal(fcgiw_params_add(&p, &a), cap < 16 ? FCGIW_ENOSPACE : 4);
        }
        size_t len = p.len;
        assert_int_equal(fcgiw_params_end(&p), cap - len < 8 ? FCGIW_ENOSPACE : 8);
        tight_free(buf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pair_round_trip),
        cmocka_unit_test(pair_on_the_wire),
        cmocka_unit_test(pair_sizes_up_to_31_bits),
        cmocka_unit_test(pair_encode_without_room),
        cmocka_unit_test(pair_encode_too_big),
        cmocka_unit_test(pair_decode_of_a_part),
        cmocka_unit_test(pair_decode_of_long_form),
        cmocka_unit_test(pair_decode_of_huge_lengths),
        cmocka_unit_test(pair_sequence),
        cmocka_unit_test(params_in_one_record),
        cmocka_unit_test(params_empty),
        cmocka_unit_test(params_record_filled_exactly),
        cmocka_unit_test(params_break_between_pairs),
        cmocka_unit_test(params_pair_too_big),
        cmocka_unit_test(params_grow),
        cmocka_unit_test(params_no_room_at_any_cap),
    };

    return cmocka_run_group_tests_name("fcgiw_pairs", tests, NULL, NULL);
}
