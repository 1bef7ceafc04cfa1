/*
 * Name-value pairs: what decodes encodes again to the same pairs; the PARAMS
 * builder keeps each pair whole, in order, in valid records.
 *
 * Input: two bytes, the room the builder begins with; then encoded pairs.
 */
#include "fuzz.h"

#include "lib/fcgiw.h"

static void check_equal(const fcgiw_pair *a, const fcgiw_pair *b)
{
    FUZZ_CHECK(a->name_len == b->name_len && a->value_len == b->value_len);
    FUZZ_CHECK(memcmp(a->name, b->name, a->name_len) == 0);
    FUZZ_CHECK(memcmp(a->value, b->value, a->value_len) == 0);
}

/* Encoded into a block of just its size; one byte less is refused. */
static void round_trip(const fcgiw_pair *pair, size_t consumed)
{
    fcgiw_result size = fcgiw_pair_size(pair->name_len, pair->value_len);
    fcgiw_pair again;
    uint8_t *wire;

    /* a peer may spend four bytes on a short length, the encoder does not */
    FUZZ_CHECK(size > 0 && (size_t)size <= consumed && consumed - (size_t)size <= 6);
    wire = malloc((size_t)size);
    FUZZ_CHECK(wire != NULL);
    FUZZ_CHECK(fcgiw_pair_encode(wire, (size_t)size - 1, pair) == FCGIW_ENOSPACE);
    FUZZ_CHECK(fcgiw_pair_encode(wire, (size_t)size, pair) == size);
    FUZZ_CHECK(fcgiw_pair_decode(&again, wire, (size_t)size - 1) == 0);
    FUZZ_CHECK(fcgiw_pair_decode(&again, wire, (size_t)size) == size);
    check_equal(pair, &again);
    free(wire);
}

/* Grows as the header of the codec says, into a block of just that size. */
static void grow(fcgiw_params *p, size_t need)
{
    uint8_t *buf = realloc(p->buf, p->len + need);

    FUZZ_CHECK(buf != NULL);
    p->buf = buf;
    p->cap = p->len + need;
}

static size_t build(fcgiw_params *p, const uint8_t *in, size_t len)
{
    size_t at = 0, added = 0;
    fcgiw_pair pair;
    fcgiw_result rc;

    while ((rc = fcgiw_pair_decode(&pair, in + at, len - at)) > 0) {
        size_t consumed = (size_t)rc, before = p->len;
        FUZZ_CHECK(consumed <= len - at);
        FUZZ_CHECK(pair.value == pair.name + pair.name_len);
        FUZZ_CHECK(pair.value + pair.value_len == in + at + consumed);
        round_trip(&pair, consumed);
        rc = fcgiw_params_add(p, &pair);
        if (rc == FCGIW_ENOSPACE) {
            FUZZ_CHECK(p->len == before);
            grow(p, FCGIW_HEADER_LEN
                        + (size_t)fcgiw_pair_size(pair.name_len, pair.value_len));
            rc = fcgiw_params_add(p, &pair);
        }
        if (rc == FCGIW_ETOOBIG) {
            FUZZ_CHECK(fcgiw_pair_size(pair.name_len, pair.value_len) > FCGIW_CONTENT_MAX);
            FUZZ_CHECK(p->len == before);
        }
        else {
            FUZZ_CHECK(rc > 0 && p->len == before + (size_t)rc && p->len <= p->cap);
            added++;
        }
        at += consumed;
    }
    FUZZ_CHECK(rc == 0);
    if (fcgiw_params_end(p) == FCGIW_ENOSPACE) {
        grow(p, FCGIW_HEADER_LEN);
        FUZZ_CHECK(fcgiw_params_end(p) == FCGIW_HEADER_LEN);
    }
    return added;
}

/* The next pair of the input that a record can hold. */
static fcgiw_pair next_pair(const uint8_t *in, size_t len, size_t *at)
{
    fcgiw_pair pair;

    do {
        fcgiw_result rc = fcgiw_pair_decode(&pair, in + *at, len - *at);
        FUZZ_CHECK(rc > 0);
        *at += (size_t)rc;
    } while (fcgiw_pair_size(pair.name_len, pair.value_len) > FCGIW_CONTENT_MAX);
    return pair;
}

/* Reads the records as php-fpm does, each on its own. */
static size_t check_records(const fcgiw_params *p, const uint8_t *in, size_t len)
{
    size_t at = 0, source = 0, pairs = 0;
    fcgiw_header h = { 0 };

    while (at < p->len) {
        FUZZ_CHECK(fcgiw_header_decode(&h, p->buf + at, p->len - at) == FCGIW_HEADER_LEN);
        FUZZ_CHECK(h.type == FCGIW_PARAMS && h.request_id == 9 && h.padding_length == 0);
        at += FCGIW_HEADER_LEN;
        FUZZ_CHECK(h.content_length <= p->len - at);
        FUZZ_CHECK((h.content_length == 0) == (at == p->len)); /* the last, and it alone */
        for (size_t end = at + h.content_length; at < end; pairs++) {
            fcgiw_pair pair, want = next_pair(in, len, &source);
            fcgiw_result rc = fcgiw_pair_decode(&pair, p->buf + at, end - at);
            FUZZ_CHECK(rc > 0);
            check_equal(&want, &pair);
            at += (size_t)rc;
        }
    }
    return pairs;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fcgiw_params p;
    size_t cap, added;
    uint8_t *in;

    if (size < 2) {
        return 0;
    }
    cap = (size_t)(data[0] << 8 | data[1]);
    in = fuzz_copy(data + 2, size - 2);
    fcgiw_params_init(&p, malloc(cap > 0 ? cap : 1), cap, 9);
    FUZZ_CHECK(p.buf != NULL);
    added = build(&p, in, size - 2);
    FUZZ_CHECK(check_records(&p, in, size - 2) == added);
    free(p.buf);
    free(in);
    return 0;
}
