#define _GNU_SOURCE
#include "http_mix_try.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define PATIENCE_S 60      /* without a byte */
#define CHAIN_MAX 200      /* requests on a connection */

static struct sockaddr_in server = { .sin_family = AF_INET };
static uint8_t pattern[MIX_BODY_MAX + 256];

void mix_init(uint16_t port)
{
    server.sin_port = htons(port);
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (size_t i = 0; i < sizeof pattern; i++) {
        pattern[i] = (uint8_t)i;
    }
}

unsigned mix_any(mix_client *c, unsigned low, unsigned high)
{
    return low + (unsigned)rand_r(&c->random) % (high - low + 1);
}

/* Adler-32 (RFC 1950 §8.2), which PHP has too: hash('adler32', …). */
static uint32_t adler(uint32_t sum, const uint8_t *data, size_t len)
{
    uint32_t a = sum & 0xffff, b = sum >> 16;

    while (len > 0) {
        size_t part = len < 5000 ? len : 5000;
        for (size_t i = 0; i < part; i++) {
            a += data[i];
            b += a;
        }
        a %= 65521;
        b %= 65521;
        data += part;
        len -= part;
    }
    return b << 16 | a;
}

/* --- the connection ------------------------------------------------------------------------- */

static bool fail(mix_try *t, const char *phase, int error)
{
    t->phase = phase;
    t->error = error;
    return false;
}

void mix_hang_up(mix_client *c)
{
    if (c->fd >= 0) {
        close(c->fd);
    }
    c->fd = -1;
}

static bool dial(mix_client *c, mix_try *t)
{
    struct timeval limit = { .tv_sec = PATIENCE_S };
    int one = 1;

    c->before = 0;
    c->have = c->at = 0;
    c->chain = mix_any(c, 1, CHAIN_MAX);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        return fail(t, "connect", errno);
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(c->fd, (struct sockaddr *)&server, sizeof server) != 0) {
        return fail(t, "connect", errno);
    }
    t->connects++;
    return true;
}

static bool push(mix_client *c, mix_try *t, const void *data, size_t len)
{
    const char *p = data;

    while (len > 0) {
        ssize_t n = send(c->fd, p, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue; /* as SIGCONT does to a socket with a time-out */
        }
        if (n <= 0) {
            return fail(t, "send", errno);
        }
        p += n;
        len -= (size_t)n;
    }
    return true;
}

static bool more(mix_client *c, mix_try *t, const char *phase)
{
    ssize_t n;

    do {
        n = recv(c->fd, c->in, sizeof c->in, 0);
    } while (n < 0 && errno == EINTR);
    if (n <= 0) {
        return fail(t, phase, n < 0 ? errno : 0);
    }
    t->came += (size_t)n;
    c->at = 0;
    c->have = (size_t)n;
    return true;
}

static bool line_read(mix_client *c, mix_try *t, char *line, size_t cap, const char *phase)
{
    size_t len = 0;

    for (;;) {
        if (c->at == c->have && !more(c, t, phase)) {
            return false;
        }
        char ch = c->in[c->at++];
        if (ch == '\n') {
            line[len] = '\0';
            return true;
        }
        if (ch != '\r' && len + 1 < cap) {
            line[len++] = ch;
        }
    }
}

/* --- the request ------------------------------------------------------------------------------ */

static bool body_push(mix_client *c, mix_try *t)
{
    if (t->k->body == PLAIN) {
        return push(c, t, pattern + t->id % 256, t->size);
    }
    for (unsigned at = 0; at < t->size;) {
        char head[24];
        unsigned part = mix_any(c, 1, 9000);
        if (part > t->size - at) {
            part = t->size - at;
        }
        snprintf(head, sizeof head, "%x\r\n", part);
        if (!push(c, t, head, strlen(head)) || !push(c, t, pattern + t->id % 256 + at, part)
            || !push(c, t, "\r\n", 2)) {
            return false;
        }
        at += part;
    }
    return push(c, t, "0\r\n\r\n", 5);
}

static bool request_push(mix_client *c, mix_try *t)
{
    const mix_kind *k = t->k;
    char head[512];
    int n = snprintf(head, sizeof head, "%s %s?id=%" PRIx64 "&bytes=%u%s HTTP/1.1\r\nHost: soak\r\n", k->method, k->path,
                     t->id, k->body == NO_BODY ? t->size : 0, strcmp(k->name, "slow") == 0 ? "&ms=300" : "");

    if (k->body == PLAIN) {
        n += snprintf(head + n, sizeof head - (size_t)n, "Content-Length: %u\r\n", t->size);
    }
    else if (k->body == CHUNKED) {
        n += snprintf(head + n, sizeof head - (size_t)n, "Transfer-Encoding: chunked\r\n");
    }
    n += snprintf(head + n, sizeof head - (size_t)n, "\r\n");
    return push(c, t, head, (size_t)n) && (k->body == NO_BODY || body_push(c, t));
}

/* --- the answer ------------------------------------------------------------------------------- */

static bool head_read(mix_client *c, mix_try *t)
{
    char line[1024];

    t->length = -1;
    if (!line_read(c, t, line, sizeof line, "head")) {
        return false;
    }
    if (sscanf(line, "HTTP/1.1 %d", &t->status) != 1) {
        return fail(t, "head", EPROTO);
    }
    for (;;) {
        if (!line_read(c, t, line, sizeof line, "head")) {
            return false;
        }
        if (line[0] == '\0') {
            return true;
        }
        if (strncasecmp(line, "Content-Length:", 15) == 0) {
            t->length = atoll(line + 15);
        }
        t->chunked |= strcasecmp(line, "Transfer-Encoding: chunked") == 0;
        t->close |= strcasecmp(line, "Connection: close") == 0;
    }
}

/* len bytes of the body; those of an acknowledgement are kept. */
static bool body_take(mix_client *c, mix_try *t, uint64_t len, char *text, size_t cap)
{
    while (len > 0) {
        if (c->at == c->have && !more(c, t, "body")) {
            return false;
        }
        size_t part = c->have - c->at;
        if (part > len) {
            part = len;
        }
        if (t->body + part < cap) {
            memcpy(text + t->body, c->in + c->at, part);
        }
        t->sum = adler(t->sum, (const uint8_t *)c->in + c->at, part);
        t->body += part;
        c->at += part;
        len -= part;
    }
    return true;
}

static bool body_read(mix_client *c, mix_try *t, char *text, size_t cap)
{
    char line[64];

    if (t->k->method[0] == 'H') {
        return true;
    }
    if (!t->chunked) {
        return t->length < 0 ? fail(t, "head", EPROTO) : body_take(c, t, (uint64_t)t->length, text, cap);
    }
    for (;;) {
        if (!line_read(c, t, line, sizeof line, "body")) {
            return false;
        }
        uint64_t len = strtoull(line, NULL, 16);
        if (len > 0 && !body_take(c, t, len, text, cap)) {
            return false;
        }
        if (!line_read(c, t, line, sizeof line, "body")) {
            return false;
        }
        if (len == 0) {
            return true;
        }
    }
}

/* Is it the answer to this request, whole? */
static bool answer_check(mix_try *t, const char *text)
{
    uint64_t id = 0, len = 0;
    uint32_t sum = 0;

    if (t->status != 200) {
        return fail(t, "status", 0);
    }
    if (t->k->method[0] == 'H') {
        return true;
    }
    if (t->k->body == NO_BODY) {
        return t->body == t->size ? true : fail(t, "check", 0);
    }
    if (sscanf(text, "%" SCNx64 " %" SCNu64 " %" SCNx32, &id, &len, &sum) != 3 || id != t->id || len != t->size
        || sum != adler(1, pattern + t->id % 256, t->size)) {
        return fail(t, "check", 0);
    }
    return true;
}

bool mix_attempt(mix_client *c, mix_try *t)
{
    char text[64] = "";
    bool sent;

    t->came = 0;
    t->status = 0;
    t->chunked = t->close = false;
    t->body = 0;
    t->sum = 1;
    if (c->fd < 0 && !dial(c, t)) {
        return false;
    }
    sent = request_push(c, t);
    /* An answer may have come before the request was sent whole. */
    if (!sent && t->error != EPIPE && t->error != ECONNRESET) {
        return false;
    }
    return head_read(c, t) && body_read(c, t, text, sizeof text) && answer_check(t, text);
}
