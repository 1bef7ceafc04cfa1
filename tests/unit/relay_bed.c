#include "tests/unit/relay_bed.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tests/unit/testlib.h"

void bed_sleep(int ms)
{
    struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };

    nanosleep(&t, NULL);
}

/* What the relay logs, for whoever looks at a failing test: RELAY_BED_LOG=1. */
static void log_line(void *context, sc_relay_log_level level, const char *id, const char *message)
{
    if (getenv("RELAY_BED_LOG") != NULL) {
        fprintf(stderr, "%s: %s\n", id, message);
    }
}

void bed_init(bed *b)
{
    memset(b, 0, sizeof(*b));
    b->up = -1;
    snprintf(b->dir, sizeof(b->dir), "/tmp/relay-bed.XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    snprintf(b->upstream, sizeof(b->upstream), "unix:%s/up", b->dir);
    snprintf(b->listen, sizeof(b->listen), "unix:%s/in", b->dir);
    b->listens[0] = b->listen;
    sc_relay_config_init(&b->config);
    b->config.listen = b->listens;
    b->config.listen_count = 1;
    b->config.upstream = b->upstream;
    b->config.log = log_line;
}

int bed_setup(void **state)
{
    static bed b;

    bed_init(&b);
    bed_upstream_open(&b);
    *state = &b;
    return 0;
}

int bed_teardown(void **state)
{
    bed_stop(*state);
    return 0;
}

static void address(struct sockaddr_un *sun, const char *text)
{
    memset(sun, 0, sizeof(*sun));
    sun->sun_family = AF_UNIX;
    snprintf(sun->sun_path, sizeof(sun->sun_path), "%s", text + strlen("unix:"));
}

void bed_upstream_open(bed *b)
{
    struct sockaddr_un sun;

    address(&sun, b->upstream);
    b->up = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(b->up >= 0);
    assert_int_equal(bind(b->up, (struct sockaddr *)&sun, sizeof(sun)), 0);
    assert_int_equal(listen(b->up, 64), 0);
}

void bed_upstream_close(bed *b)
{
    close(b->up);
    b->up = -1;
    unlink(b->upstream + strlen("unix:"));
}

void bed_start(bed *b)
{
    char error[256] = "";

    if (sc_relay_create(&b->relay, &b->config, error, sizeof(error)) != APR_SUCCESS) {
        fail_msg("%s", error);
    }
    assert_int_equal(sc_relay_start(b->relay), APR_SUCCESS);
}

void bed_stop(bed *b)
{
    sc_relay_destroy(b->relay);
    if (b->up >= 0) {
        bed_upstream_close(b);
    }
    assert_int_equal(rmdir(b->dir), 0);
}

int bed_dial(const bed *b)
{
    struct sockaddr_un sun;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address(&sun, b->listen);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
    return fd;
}

int bed_dial_tcp(const bed *b)
{
    struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    sin.sin_port = htons(sc_relay_port(b->relay));
    assert_int_equal(connect(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
    return fd;
}

static bool readable(int fd, int ms)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    return poll(&p, 1, ms) > 0;
}

int bed_accept(const bed *b)
{
    int fd;

    if (!readable(b->up, WAIT_MS)) {
        fail_msg("the relay does not connect to the upstream");
    }
    fd = accept(b->up, NULL, NULL);
    assert_true(fd >= 0);
    return fd;
}

void bed_no_accept(const bed *b, int ms)
{
    if (readable(b->up, ms)) {
        fail_msg("the relay opens a connection that it should not need");
    }
}

void bed_send(int fd, const void *bytes, size_t len)
{
    const uint8_t *at = bytes;
    ssize_t n;

    while (len > 0) {
        n = send(fd, at, len, MSG_NOSIGNAL);
        if (n < 0) {
            fail_msg("send: %s", strerror(errno));
        }
        at += n;
        len -= (size_t)n;
    }
}

void bed_send_bytewise(int fd, const void *bytes, size_t len)
{
    size_t i;

    for (i = 0; i < len; i++) {
        bed_send(fd, (const uint8_t *)bytes + i, 1);
    }
}

void bed_silence(int fd, int ms)
{
    if (readable(fd, ms)) {
        fail_msg("bytes (or an end) where silence was expected");
    }
}

void bed_closed(int fd)
{
    char byte;
    ssize_t n;

    if (!readable(fd, WAIT_MS)) {
        fail_msg("the relay does not close");
    }
    n = recv(fd, &byte, 1, 0);
    if (n > 0) {
        fail_msg("a byte (%d) where the end was expected", byte);
    }
}

static void read_exactly(int fd, uint8_t *to, size_t len)
{
    ssize_t n;

    while (len > 0) {
        if (!readable(fd, WAIT_MS)) {
            fail_msg("%zu bytes of a record do not come", len);
        }
        n = recv(fd, to, len, 0);
        if (n <= 0) {
            fail_msg("the connection ended with %zu bytes of a record to come", len);
        }
        to += n;
        len -= (size_t)n;
    }
}

void bed_read(int fd, bed_record *r)
{
    uint8_t header[FCGIW_HEADER_LEN], padding[FCGIW_PADDING_MAX];

    read_exactly(fd, header, sizeof(header));
    assert_int_equal(fcgiw_header_decode(&r->h, header, sizeof(header)), FCGIW_HEADER_LEN);
    read_exactly(fd, r->content, r->h.content_length);
    r->content[r->h.content_length] = '\0';
    read_exactly(fd, padding, r->h.padding_length);
}

void bed_expect(int fd, unsigned type, unsigned id, const char *text)
{
    bed_record r;

    bed_read(fd, &r);
    assert_string_equal(fcgiw_type_name(r.h.type), fcgiw_type_name(type));
    assert_int_equal(r.h.request_id, id);
    if (text != NULL) {
        assert_string_equal((const char *)r.content, text);
    }
}

void bed_expect_end(int fd, unsigned id, unsigned protocol_status)
{
    bed_record r;
    fcgiw_end end;

    bed_read(fd, &r);
    assert_string_equal(fcgiw_type_name(r.h.type), "END_REQUEST");
    assert_int_equal(r.h.request_id, id);
    fcgiw_end_decode(&end, r.content);
    assert_string_equal(fcgiw_protocol_status_name(end.protocol_status),
                        fcgiw_protocol_status_name(protocol_status));
}

size_t put_record(uint8_t *out, unsigned type, unsigned id, const void *content, size_t len, unsigned padding)
{
    fcgiw_header h = { (uint8_t)type, (uint16_t)id, (uint16_t)len, (uint8_t)padding };

    fcgiw_header_encode(out, &h);
    if (len > 0) {
        memcpy(out + FCGIW_HEADER_LEN, content, len);
    }
    memset(out + FCGIW_HEADER_LEN + len, 0xaa, padding);
    return FCGIW_HEADER_LEN + len + padding;
}

size_t put_begin(uint8_t *out, unsigned id, unsigned role, unsigned flags)
{
    fcgiw_begin begin = { (uint16_t)role, (uint8_t)flags };

    fcgiw_begin_encode(out, (uint16_t)id, &begin);
    return FCGIW_HEADER_LEN + FCGIW_BODY_LEN;
}

size_t put_end(uint8_t *out, unsigned id, unsigned protocol_status)
{
    fcgiw_end end = { 0, (uint8_t)protocol_status };

    fcgiw_end_encode(out, (uint16_t)id, &end);
    return FCGIW_HEADER_LEN + FCGIW_BODY_LEN;
}

size_t put_head(uint8_t *out, unsigned id, const char *method, const char *x, bool keep)
{
    fcgiw_pair pairs[] = {
        { (const uint8_t *)"REQUEST_METHOD", 14, (const uint8_t *)method, strlen(method) },
        { (const uint8_t *)"X", 1, (const uint8_t *)x, strlen(x) }
    };
    size_t n = put_begin(out, id, FCGIW_RESPONDER, keep ? FCGIW_KEEP_CONN : 0);
    fcgiw_params p;

    fcgiw_params_init(&p, out + n, 1024, (uint16_t)id);
    fcgiw_params_add(&p, &pairs[0]);
    fcgiw_params_add(&p, &pairs[1]);
    fcgiw_params_end(&p);
    return n + p.len;
}

size_t put_get(uint8_t *out, unsigned id, const char *x, bool keep)
{
    size_t n = put_head(out, id, "GET", x, keep);

    return n + put_record(out + n, FCGIW_STDIN, id, NULL, 0, 0);
}

int bed_get(const bed *b, unsigned id, const char *x, bool keep)
{
    uint8_t request[1024];
    int fd = bed_dial(b);

    bed_send(fd, request, put_get(request, id, x, keep));
    return fd;
}

void bed_take_begin(int fd)
{
    bed_record r;

    bed_read(fd, &r);
    assert_string_equal(fcgiw_type_name(r.h.type), "BEGIN_REQUEST");
    assert_int_equal(r.h.request_id, 1);
    assert_int_equal(r.content[2], FCGIW_KEEP_CONN);
}

int bed_worker(const bed *b)
{
    int fd = bed_accept(b);

    bed_take_begin(fd);
    return fd;
}

void bed_take_get(int fd, const char *x)
{
    bed_record r;

    bed_read(fd, &r);
    assert_string_equal(fcgiw_type_name(r.h.type), "PARAMS");
    assert_string_equal(bed_param(&r, "X"), x);
    bed_expect(fd, FCGIW_PARAMS, 1, "");
    bed_expect(fd, FCGIW_STDIN, 1, "");
}

void bed_answer(int fd, const char *text)
{
    uint8_t out[1024];
    size_t n = put_record(out, FCGIW_STDOUT, 1, text, strlen(text), 0);

    n += put_end(out + n, 1, FCGIW_REQUEST_COMPLETE);
    bed_send(fd, out, n);
}

const char *bed_param(const bed_record *r, const char *name)
{
    static char value[1024];
    size_t at = 0;
    fcgiw_pair pair;
    fcgiw_result rc;

    while (at < r->h.content_length) {
        rc = fcgiw_pair_decode(&pair, r->content + at, r->h.content_length - at);
        assert_true(rc > 0);
        at += (size_t)rc;
        if (pair.name_len == strlen(name) && memcmp(pair.name, name, pair.name_len) == 0
            && pair.value_len < sizeof(value)) {
            memcpy(value, pair.value, pair.value_len);
            value[pair.value_len] = '\0';
            return value;
        }
    }
    return NULL;
}
