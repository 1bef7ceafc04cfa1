/*
 * A request on the control port (sc_inbound.h): whatever comes, and however it
 * is cut, the same request is taken or none; its parts are within their limits,
 * and the answer is records that hold what was written.
 *
 * Input: size of the pieces (0: whole), then what the peer sends.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fcgi-sidecar/control/sc_inbound.h"

FUZZ_NOT_COVERED

enum { BODY_MAX = 4096, PIECES_MAX = 100, BYTES_MAX = 16384 };

static const char *const names[] = { "", "SIDECAR_PATH", "CONTENT_LENGTH", "A" };

/* What is compared between two readings of the same bytes. */
struct result {
    apr_status_t rv;
    size_t params_len, body_len;
    uint8_t params[SC_INBOUND_PARAMS_MAX], body[BODY_MAX];
};

/* A socket that keeps the pieces apart: each recv() gets one. */
static void put(int fd, const uint8_t *data, size_t len, size_t piece)
{
    size_t pieces = 0;

    while (len > 0) {
        size_t part = piece > 0 && piece < len && pieces < PIECES_MAX ? piece : len;

        FUZZ_CHECK(send(fd, data, part, MSG_NOSIGNAL) == (ssize_t)part);
        data += part;
        len -= part;
        pieces++;
    }
    FUZZ_CHECK(shutdown(fd, SHUT_WR) == 0);
}

/* Records of the answer, one a packet: STDOUT with what was written, its end,
 * END_REQUEST. */
static void check_answer(sc_inbound *in, int fd)
{
    static uint8_t packet[FCGIW_HEADER_LEN + SC_INBOUND_RECORD];
    fcgiw_header h;
    ssize_t n;

    FUZZ_CHECK(sc_inbound_write(in, "answer", 6) == APR_SUCCESS);
    FUZZ_CHECK(sc_inbound_end(in) == APR_SUCCESS && sc_inbound_end(in) == APR_SUCCESS);
    n = recv(fd, packet, sizeof(packet), 0);
    FUZZ_CHECK(n == FCGIW_HEADER_LEN + 6 && fcgiw_header_decode(&h, packet, (size_t)n) > 0);
    FUZZ_CHECK(h.type == FCGIW_STDOUT && h.request_id == in->id && h.content_length == 6);
    FUZZ_CHECK(memcmp(packet + FCGIW_HEADER_LEN, "answer", 6) == 0);
    n = recv(fd, packet, sizeof(packet), 0);
    FUZZ_CHECK(n == 2 * FCGIW_HEADER_LEN + FCGIW_BODY_LEN);
    FUZZ_CHECK(packet[FCGIW_HEADER_LEN + 1] == FCGIW_END_REQUEST);
    FUZZ_CHECK(recv(fd, packet, sizeof(packet), 0) == 0);
}

static void look_up(const sc_inbound *in)
{
    char *out = fuzz_copy("", 1);
    char text[64];
    size_t i;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        memset(text, 'x', sizeof(text));
        FUZZ_CHECK(!sc_inbound_param(in, names[i], text, sizeof(text))
                   || memchr(text, '\0', sizeof(text)) != NULL);
        (void)sc_inbound_param(in, names[i], out, 1); /* no room but for its end */
    }
    free(out);
}

static void run(struct result *r, const uint8_t *data, size_t len, size_t piece)
{
    static sc_inbound in;
    const char *body;
    int fd[2];

    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd) == 0);
    put(fd[0], data, len, piece);
    r->rv = sc_inbound_read(&in, fd[1], BODY_MAX);
    FUZZ_CHECK(r->rv == APR_SUCCESS || r->rv == SC_ECORRUPT || (r->rv == APR_EOF && len == 0));
    FUZZ_CHECK(in.params_len <= SC_INBOUND_PARAMS_MAX);
    body = sc_inbound_body(&in, &r->body_len);
    FUZZ_CHECK(r->body_len <= BODY_MAX);
    r->params_len = in.params_len;
    if (r->rv == APR_SUCCESS) {
        memcpy(r->params, in.params, in.params_len);
        memcpy(r->body, body, r->body_len);
        look_up(&in);
        check_answer(&in, fd[0]);
    }
    sc_inbound_free(&in);
    close(fd[0]);
    close(fd[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct result whole, cut;

    if (size < 1 || size > BYTES_MAX) {
        return 0;
    }
    run(&whole, data + 1, size - 1, 0);
    run(&cut, data + 1, size - 1, data[0] > 0 ? data[0] : 1);
    FUZZ_CHECK(whole.rv == cut.rv);
    if (whole.rv == APR_SUCCESS) {
        FUZZ_CHECK(whole.params_len == cut.params_len && whole.body_len == cut.body_len);
        FUZZ_CHECK(memcmp(whole.params, cut.params, whole.params_len) == 0);
        FUZZ_CHECK(memcmp(whole.body, cut.body, whole.body_len) == 0);
    }
    return 0;
}

FUZZ_COVERED
