#include "fcgi-sidecar/relay/sc_request.h"

#include <string.h>

#include "fcgi-sidecar/relay/sc_relay.h"

void sc_request_begin(sc_request *r, uint16_t id, bool keep)
{
    sc_request_reset(r);
    r->state = SC_REQUEST_PARAMS;
    r->id = id;
    r->keep = keep;
    r->intact = true;
}

int sc_request_params(sc_request *r, const uint8_t *data, size_t len, size_t params_max)
{
    /* The first record's header is filled in when the length is known. */
    static const uint8_t header[FCGIW_HEADER_LEN];
    size_t have = sc_buffer_len(&r->wire);

    if (len > params_max || have > params_max - len) {
        return SC_REQUEST_EBIG;
    }
    if (have == 0 && !sc_buffer_add(&r->wire, header, sizeof(header))) {
        return SC_REQUEST_EMEMORY;
    }
    return sc_buffer_add(&r->wire, data, len) ? 0 : SC_REQUEST_EMEMORY;
}

static bool pair_is(const fcgiw_pair *pair, const char *name)
{
    return pair->name_len == strlen(name) && memcmp(pair->name, name, pair->name_len) == 0;
}

static bool value_is(const fcgiw_pair *pair, const char *value)
{
    return pair->value_len == strlen(value) && memcmp(pair->value, value, pair->value_len) == 0;
}

/* A number that does not parse counts as the greatest: refused, not trusted. */
static uint64_t value_number(const fcgiw_pair *pair)
{
    uint64_t n = 0;
    size_t i;

    if (pair->value_len == 0 || pair->value_len > 18) {
        return UINT64_MAX;
    }
    for (i = 0; i < pair->value_len; i++) {
        if (pair->value[i] < '0' || pair->value[i] > '9') {
            return UINT64_MAX;
        }
        n = n * 10 + (uint64_t)(pair->value[i] - '0');
    }
    return n;
}

/* True when the pair is the relay's own and not for PHP. */
static bool look_at(sc_request *r, const fcgiw_pair *pair)
{
    uint64_t hop;

    if (pair_is(pair, "REQUEST_METHOD")) {
        r->safe = value_is(pair, "GET") || value_is(pair, "HEAD") || value_is(pair, "OPTIONS");
    }
    else if (pair_is(pair, "CONTENT_LENGTH")) {
        r->announced = pair->value_len == 0 ? 0 : value_number(pair);
    }
    else if (pair_is(pair, SC_RELAY_PARAM_HOP)) {
        hop = value_number(pair);
        r->hop = hop < 1000 ? (unsigned)hop : 1000;
        return true;
    }
    else if (pair_is(pair, SC_RELAY_PARAM_EPOCH)) {
        r->epoch = value_number(pair);
        return true;
    }
    return false;
}

/* The pairs anew, without the relay's own and none of them split. */
static int encode_again(sc_request *r, const uint8_t *pairs, size_t len)
{
    sc_buffer again = { 0 };
    /* Each record but the last is closed by a pair that did not fit: two
     * neighbours hold more than FCGIW_CONTENT_MAX together. */
    size_t room = len + FCGIW_HEADER_LEN * (2 * (len / FCGIW_CONTENT_MAX) + 4);
    size_t offset = 0;
    fcgiw_pair pair;
    fcgiw_params out;
    fcgiw_result rc = 0;

    if (sc_buffer_reserve(&again, room) == NULL) {
        return SC_REQUEST_EMEMORY;
    }
    fcgiw_params_init(&out, again.data, again.cap, SC_REQUEST_ID);
    while (offset < len && rc >= 0) { /* the caller has decoded them all: none is broken */
        offset += (size_t)fcgiw_pair_decode(&pair, pairs + offset, len - offset);
        if (!pair_is(&pair, SC_RELAY_PARAM_HOP) && !pair_is(&pair, SC_RELAY_PARAM_EPOCH)) {
            rc = fcgiw_params_add(&out, &pair);
        }
    }
    if (rc >= 0) {
        rc = fcgiw_params_end(&out);
    }
    if (rc < 0) {
        sc_buffer_release(&again);
        return (int)rc;
    }
    sc_buffer_commit(&again, out.len);
    sc_buffer_release(&r->wire);
    r->wire = again;
    return 0;
}

int sc_request_params_end(sc_request *r)
{
    fcgiw_header h = { FCGIW_PARAMS, SC_REQUEST_ID, 0, 0 };
    size_t have = sc_buffer_len(&r->wire);
    size_t len = have > 0 ? have - FCGIW_HEADER_LEN : 0;
    const uint8_t *pairs = have > 0 ? sc_buffer_head(&r->wire) + FCGIW_HEADER_LEN : NULL;
    uint8_t end[FCGIW_HEADER_LEN];
    bool ours = false;
    size_t offset = 0;
    fcgiw_pair pair;
    fcgiw_result rc;

    while (offset < len) {
        rc = fcgiw_pair_decode(&pair, pairs + offset, len - offset);
        if (rc <= 0) {
            return rc < 0 ? (int)rc : FCGIW_EPAIR;
        }
        ours |= look_at(r, &pair);
        offset += (size_t)rc;
    }
    r->state = SC_REQUEST_BODY;
    if (ours || len > FCGIW_CONTENT_MAX) {
        return encode_again(r, pairs, len);
    }
    fcgiw_header_encode(end, &h);
    if (len > 0) {
        h.content_length = (uint16_t)len;
        fcgiw_header_encode(sc_buffer_head(&r->wire), &h);
    }
    return sc_buffer_add(&r->wire, end, sizeof(end)) ? 0 : SC_REQUEST_EMEMORY;
}

int sc_request_body(sc_request *r, const uint8_t *data, size_t len)
{
    fcgiw_header h = { FCGIW_STDIN, SC_REQUEST_ID, (uint16_t)len, 0 };
    uint8_t *room;

    if (r->sent > 0 && sc_buffer_len(&r->wire) > r->sent) {
        /* What was sent makes room; from here on it can not be sent again. */
        sc_buffer_consume(&r->wire, r->sent);
        r->sent = 0;
        r->intact = false;
    }
    room = sc_buffer_reserve(&r->wire, FCGIW_HEADER_LEN + len);
    if (room == NULL) {
        return SC_REQUEST_EMEMORY;
    }
    fcgiw_header_encode(room, &h);
    if (len > 0) {
        memcpy(room + FCGIW_HEADER_LEN, data, len);
    }
    sc_buffer_commit(&r->wire, FCGIW_HEADER_LEN + len);
    r->body += len;
    return 0;
}

int sc_request_body_end(sc_request *r)
{
    int rc = sc_request_body(r, NULL, 0);

    if (rc == 0) {
        r->state = SC_REQUEST_WHOLE;
    }
    return rc;
}

const uint8_t *sc_request_pending(const sc_request *r, size_t *len)
{
    *len = sc_buffer_len(&r->wire) - r->sent;
    return *len > 0 ? sc_buffer_head(&r->wire) + r->sent : NULL;
}

void sc_request_sent(sc_request *r, size_t n)
{
    r->sent += n;
    if (r->state != SC_REQUEST_WHOLE && r->sent == sc_buffer_len(&r->wire)) {
        sc_buffer_consume(&r->wire, r->sent);
        r->sent = 0;
        r->intact = false;
    }
}

bool sc_request_all_sent(const sc_request *r)
{
    return r->state == SC_REQUEST_WHOLE && r->sent == sc_buffer_len(&r->wire);
}

bool sc_request_measured(const sc_request *r)
{
    return r->state == SC_REQUEST_WHOLE && r->body == r->announced;
}

void sc_request_rewind(sc_request *r)
{
    r->sent = 0;
}

void sc_request_reset(sc_request *r)
{
    sc_buffer_release(&r->wire);
    memset(r, 0, sizeof(*r));
}
