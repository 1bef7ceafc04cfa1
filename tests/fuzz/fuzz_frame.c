/*
 * Messages between sidecars (sc_frame.h): what was written is read again; with
 * one bit changed, a message left out or the end cut off no message is taken
 * that was not written there; without the key nothing is.
 *
 * Input: what is done to it (see MODE), where (two bytes); then messages: type,
 * length, payload.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#include "fcgi-sidecar/control/sc_frame.h"

FUZZ_NOT_COVERED

#define NONCE "00112233445566778899aabbccddeeff"

enum { MODE = 3, WHOLE = 0, BIT = 1, CUT = 2, RAW = 3 };
enum { MESSAGES_MAX = 16 };

static const sc_secret key = { "0123456789abcdef0123456789abcde" };

typedef struct {
    uint8_t *data;
    size_t len, at;
} wire;

typedef struct {
    enum sc_frame_type type;
    const uint8_t *data;
    size_t len;
    size_t end; /* on the wire */
} message;

static apr_status_t put(void *context, const void *data, size_t len)
{
    wire *w = context;

    w->data = realloc(w->data, w->len + len + 1);
    FUZZ_CHECK(w->data != NULL);
    memcpy(w->data + w->len, data, len);
    w->len += len;
    return APR_SUCCESS;
}

static apr_status_t take(void *context, void *data, size_t len)
{
    wire *w = context;

    if (w->len - w->at < len) {
        return ECONNRESET;
    }
    memcpy(data, w->data + w->at, len);
    w->at += len;
    return APR_SUCCESS;
}

/* Cuts the input into messages and writes them; how many. */
static size_t write_all(wire *w, message *m, const uint8_t *in, size_t len)
{
    sc_frame_writer out;
    size_t n = 0;

    FUZZ_CHECK(sc_frame_writer_init(&out, &key, NONCE, put, w) == APR_SUCCESS);
    while (len >= 2 && n < MESSAGES_MAX) {
        size_t part = in[1] < len - 2 ? in[1] : len - 2;
        sc_frame_part parts[2] = { { in + 2, part / 2 }, { in + 2 + part / 2, part - part / 2 } };
        m[n] = (message){ (enum sc_frame_type)in[0], in + 2, part, 0 };
        FUZZ_CHECK(sc_frame_write(&out, m[n].type, parts, 2) == APR_SUCCESS);
        m[n++].end = w->len;
        in += 2 + part;
        len -= 2 + part;
    }
    sc_frame_writer_free(&out);
    return n;
}

/* Reads until something is wrong; each message is the one that was written. */
static size_t read_all(wire *w, const message *m, size_t n, apr_status_t *end)
{
    sc_frame_reader in;
    enum sc_frame_type type;
    const uint8_t *payload;
    size_t len, got = 0;

    w->at = 0;
    FUZZ_CHECK(sc_frame_reader_init(&in, &key, NONCE, take, w) == APR_SUCCESS);
    while ((*end = sc_frame_read(&in, &type, &payload, &len)) == APR_SUCCESS) {
        FUZZ_CHECK(got < n && type == m[got].type && len == m[got].len);
        FUZZ_CHECK(len == 0 || memcmp(payload, m[got].data, len) == 0);
        got++;
    }
    sc_frame_reader_free(&in);
    return got;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    message m[MESSAGES_MAX];
    wire w = { NULL, 0, 0 };
    size_t n, got, want = 0, where;
    apr_status_t end;

    if (size < 3) {
        return 0;
    }
    if ((data[0] & MODE) == RAW) {
        FUZZ_CHECK(put(&w, data + 1, size - 1) == APR_SUCCESS);
        FUZZ_CHECK(read_all(&w, NULL, 0, &end) == 0);
        FUZZ_CHECK(end == SC_EAUTH || end == SC_ECORRUPT || end == ECONNRESET);
        free(w.data);
        return 0;
    }
    n = write_all(&w, m, data + 3, size - 3);
    where = w.len > 0 ? (size_t)(data[1] << 8 | data[2]) % w.len : 0;
    if ((data[0] & MODE) == WHOLE || w.len == 0) {
        want = n;
    }
    else {
        while (want < n && m[want].end <= where) {
            want++;
        }
        if ((data[0] & MODE) == BIT) {
            w.data[where] ^= (uint8_t)(1 << (data[0] >> 5));
        }
        else {
            w.len = where;
        }
    }
    got = read_all(&w, m, n, &end);
    FUZZ_CHECK(got == want);
    FUZZ_CHECK(end == ECONNRESET || ((data[0] & MODE) == BIT && (end == SC_EAUTH || end == SC_ECORRUPT)));
    free(w.data);
    return 0;
}

FUZZ_COVERED
