/*
 * http_mix -- a mixed load of HTTP/1.1 requests in which every failure is looked at.
 *
 *   http_mix PORT CONNECTIONS KINDS
 *
 * KINDS: names of the table below with weights, "get=60,head=10,post=10".  Each connection is a thread that sends one
 * request after the other until SIGTERM comes; then each ends the request that it is at.  What is asked for and what a
 * right answer is: tests/integration/www/soak.php; static.bin lies beside it.
 *
 * Standard output, a line each:
 *   P ANSWERS FAILED                    once a second
 *   A ID LENGTH                         a POST was acknowledged
 *   F KIND PHASE CAUSE fresh|kept BYTES BEFORE STATUS ID
 *       a request without a right answer: PHASE connect, send, head, body, check; BYTES of the answer came, BEFORE
 *       requests were answered on the connection
 *   J {…}                               the sums, at the end
 *
 * A request is sent again only where RFC 9112 §9.3.1 lets a client: the method is idempotent, and a connection that had
 * carried an answer before was closed before a byte of this answer came.  Those are counted apart ("closed_kept"); so
 * are POSTs to which the same happened ("unsure"), which are not sent again: whoever has the list of what was executed
 * knows what they are.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_S 60      /* without a byte */
#define BUFFER 65536
#define BODY_MAX 262144    /* of a POST */
#define CHAIN_MAX 200      /* requests on a connection */
#define THREADS_MAX 512

enum body { NO_BODY, PLAIN, CHUNKED };

typedef struct {
    const char *name, *method, *path; /* path: its parameters follow */
    enum body body;
    bool fresh;                       /* on a connection of its own */
    unsigned low, high;               /* bytes of the answer, or of the body */
    bool demo;                        /* answered by mod_demo */
} kind;

static const kind KINDS[] = {
    { "get",     "GET",  "/soak.php",   NO_BODY, false, 0, 16384, true },
    { "head",    "HEAD", "/soak.php",   NO_BODY, false, 0, 16384, true },
    { "post",    "POST", "/soak.php",   PLAIN,   true,  1, 65536, true },
    { "postbig", "POST", "/soak.php",   PLAIN,   true,  65536, BODY_MAX, true },
    { "chunked", "POST", "/soak.php",   CHUNKED, true,  1, 65536, true },
    { "keptpost", "POST", "/soak.php",  PLAIN,   false, 1, 4096, true },
    { "big",     "GET",  "/soak.php",   NO_BODY, false, 1 << 20, 4 << 20, true },
    { "slow",    "GET",  "/soak.php",   NO_BODY, false, 1024, 1024, true },
    { "static",  "GET",  "/static.bin", NO_BODY, false, 4096, 4096, false },
};
#define KIND_COUNT (sizeof KINDS / sizeof KINDS[0])

typedef struct {
    uint64_t sent, answered, failed, closed_kept, unsure, body_in, body_out;
    uint64_t connects;
} sums;

typedef struct {
    unsigned index, random;
    int fd;
    unsigned before, chain;      /* answers on this connection, and the most of them */
    uint64_t serial;
    size_t have, at;             /* of in[] */
    char in[BUFFER];
    sums by_kind[KIND_COUNT];
} client;

/* One try of a request. */
typedef struct {
    const kind *k;
    uint64_t id;
    unsigned size;
    const char *phase;
    int error;                   /* errno; 0: closed, or see phase */
    size_t came;                 /* bytes of the answer */
    int status;
    int64_t length;              /* Content-Length, or -1 */
    bool chunked, close;
    uint64_t body;               /* bytes of the body */
    uint32_t sum;
} try;

static struct sockaddr_in server = { .sin_family = AF_INET };
static atomic_bool stopping;
static _Atomic uint64_t answers, failures;
static unsigned weight[KIND_COUNT], weight_sum;
static uint32_t run_id;
static uint8_t pattern[BODY_MAX + 256];
static pthread_mutex_t out_lock = PTHREAD_MUTEX_INITIALIZER;

static void say(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    pthread_mutex_lock(&out_lock);
    vprintf(format, ap);
    pthread_mutex_unlock(&out_lock);
    va_end(ap);
}

static unsigned any(client *c, unsigned low, unsigned high)
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

static bool fail(try *t, const char *phase, int error)
{
    t->phase = phase;
    t->error = error;
    return false;
}

static void hang_up(client *c)
{
    if (c->fd >= 0) {
        close(c->fd);
    }
    c->fd = -1;
}

static bool dial(client *c, try *t)
{
    struct timeval limit = { .tv_sec = PATIENCE_S };
    int one = 1;

    c->before = 0;
    c->have = c->at = 0;
    c->chain = any(c, 1, CHAIN_MAX);
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
    c->by_kind[t->k - KINDS].connects++;
    return true;
}

static bool push(client *c, try *t, const void *data, size_t len)
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

static bool more(client *c, try *t, const char *phase)
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

static bool line_read(client *c, try *t, char *line, size_t cap, const char *phase)
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

static bool body_push(client *c, try *t)
{
    if (t->k->body == PLAIN) {
        return push(c, t, pattern + t->id % 256, t->size);
    }
    for (unsigned at = 0; at < t->size;) {
        char head[24];
        unsigned part = any(c, 1, 9000);
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

static bool request_push(client *c, try *t)
{
    const kind *k = t->k;
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

static bool head_read(client *c, try *t)
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
static bool body_take(client *c, try *t, uint64_t len, char *text, size_t cap)
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

static bool body_read(client *c, try *t, char *text, size_t cap)
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
static bool answer_check(try *t, const char *text)
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
    say("A %" PRIx64 " %u\n", t->id, t->size);
    return true;
}

static bool attempt(client *c, try *t)
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

/* --- the loop ----------------------------------------------------------------------------------- */

static const kind *kind_any(client *c)
{
    unsigned w = any(c, 0, weight_sum - 1);
    size_t i = 0;

    while (w >= weight[i]) {
        w -= weight[i++];
    }
    return &KINDS[i];
}

static void failure_note(client *c, const try *t, sums *s)
{
    s->failed++;
    atomic_fetch_add(&failures, 1);
    say("F %s %s %s %s %zu %u %d %" PRIx64 "\n", t->k->name, t->phase, t->error ? strerrorname_np(t->error) : "closed",
        c->before > 0 ? "kept" : "fresh", t->came, c->before, t->status, t->id);
}

static void request_run(client *c)
{
    try t = { .k = kind_any(c), .id = (uint64_t)run_id << 32 | (uint64_t)c->index << 24 | ++c->serial };
    sums *s = &c->by_kind[t.k - KINDS];
    bool done;

    t.size = any(c, t.k->low, t.k->high);
    if (t.k->fresh && c->before > 0) {
        hang_up(c);
    }
    s->sent++;
    while (!(done = attempt(c, &t))) {
        bool unanswered = c->fd >= 0 && c->before > 0 && t.came == 0
                          && (t.error == 0 || t.error == ECONNRESET || t.error == EPIPE);
        hang_up(c);
        if (!unanswered) {
            failure_note(c, &t, s);
            return;
        }
        s->closed_kept++;
        if (t.k->body != NO_BODY) {
            s->unsure++;
            say("F %s unsure closed kept 0 %u 0 %" PRIx64 "\n", t.k->name, c->before, t.id);
            return;
        }
    }
    s->answered++;
    s->body_in += t.body;
    s->body_out += t.k->body == NO_BODY ? 0 : t.size;
    atomic_fetch_add(&answers, 1);
    if (++c->before >= c->chain || t.close) {
        hang_up(c);
        c->before = 0;
    }
}

static void *client_main(void *data)
{
    client *c = data;

    while (!atomic_load(&stopping)) {
        request_run(c);
    }
    hang_up(c);
    return NULL;
}

static bool kinds_parse(char *text)
{
    for (char *word = strtok(text, ","); word != NULL; word = strtok(NULL, ",")) {
        char *equals = strchr(word, '=');
        size_t i = 0;
        if (equals != NULL) {
            *equals = '\0';
        }
        while (i < KIND_COUNT && strcmp(KINDS[i].name, word) != 0) {
            i++;
        }
        if (i == KIND_COUNT) {
            fprintf(stderr, "http_mix: no kind %s\n", word);
            return false;
        }
        weight[i] = equals != NULL ? (unsigned)atoi(equals + 1) : 1;
        weight_sum += weight[i];
    }
    return weight_sum > 0;
}

static void report(client **all, unsigned n)
{
    printf("J {");
    for (size_t i = 0; i < KIND_COUNT; i++) {
        sums t = { 0 };
        for (unsigned k = 0; k < n; k++) {
            const sums *s = &all[k]->by_kind[i];
            t.sent += s->sent;
            t.answered += s->answered;
            t.failed += s->failed;
            t.closed_kept += s->closed_kept;
            t.unsure += s->unsure;
            t.body_in += s->body_in;
            t.body_out += s->body_out;
            t.connects += s->connects;
        }
        printf("%s\"%s\": {\"method\": \"%s\", \"demo\": %s, \"sent\": %" PRIu64 ", \"answered\": %" PRIu64
               ", \"failed\": %" PRIu64 ", \"closed_kept\": %" PRIu64 ", \"unsure\": %" PRIu64 ", \"body_in\": %" PRIu64
               ", \"body_out\": %" PRIu64 ", \"connects\": %" PRIu64 "}", i > 0 ? ", " : "", KINDS[i].name,
               KINDS[i].method, KINDS[i].demo ? "true" : "false", t.sent, t.answered, t.failed, t.closed_kept, t.unsure,
               t.body_in, t.body_out, t.connects);
    }
    printf("}\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    client *all[THREADS_MAX];
    pthread_t thread[THREADS_MAX];
    struct timespec second = { .tv_sec = 1 };
    sigset_t term;
    unsigned n = argc == 4 ? (unsigned)atoi(argv[2]) : 0;

    if (n == 0 || n > THREADS_MAX || !kinds_parse(argv[3])) {
        fprintf(stderr, "usage: http_mix PORT CONNECTIONS KIND=WEIGHT,…\n");
        return 2;
    }
    server.sin_port = htons((uint16_t)atoi(argv[1]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    run_id = (uint32_t)getpid() ^ (uint32_t)time(NULL) << 8;
    for (size_t i = 0; i < sizeof pattern; i++) {
        pattern[i] = (uint8_t)i;
    }
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigaddset(&term, SIGINT);
    sigprocmask(SIG_BLOCK, &term, NULL);
    for (unsigned i = 0; i < n; i++) {
        all[i] = calloc(1, sizeof **all);
        *all[i] = (client){ .index = i, .random = run_id + i, .fd = -1 };
        if (pthread_create(&thread[i], NULL, client_main, all[i]) != 0) {
            perror("http_mix: a thread");
            return 1;
        }
    }
    while (sigtimedwait(&term, NULL, &second) < 0) {
        say("P %" PRIu64 " %" PRIu64 "\n", atomic_load(&answers), atomic_load(&failures));
        fflush(stdout);
    }
    atomic_store(&stopping, true);
    for (unsigned i = 0; i < n; i++) {
        pthread_join(thread[i], NULL);
    }
    report(all, n);
    return 0;
}
