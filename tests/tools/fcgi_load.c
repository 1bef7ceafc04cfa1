/* Asks a FastCGI responder for the same thing again and again: one thread, epoll, CONNECTIONS requests at a time.
 *
 *   fcgi_load ADDRESS CONNECTIONS SECONDS keep|new NAME=VALUE…
 *
 * ADDRESS is unix:/path or 127.0.0.1:PORT. keep: a connection carries one request after the other (FCGI_KEEP_CONN), and
 * is opened again when the peer has closed it; new: each has one of its own. NAME=VALUE: the parameters of the request,
 * which has no body. An answer is good when END_REQUEST says REQUEST_COMPLETE and STDOUT began with no "Status:" other
 * than 200. Prints one line of JSON:
 *
 *   {"answers": N, "failed": N, "seconds": S, "p50_us": N, "p99_us": N, "cpu_us": N}
 *
 * cpu_us is the processor time of this program for each answer. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { BEGIN = 1, END = 3, PARAMS = 4, STDIN = 5, STDOUT = 6 };
enum { CONNECTIONS_MAX = 4096, LATENCY_MAX_US = 4000000, BATCH = 256, BUFFER = 1 << 16, RETRY_MS = 5 };

struct client {
    int fd;                 /* -1: to be opened */
    uint64_t since;         /* the request at hand was sent, ns */
    unsigned char head[16]; /* of the record at hand: its header, and what its content begins with */
    unsigned have;          /* bytes in head */
    unsigned skip;          /* bytes of the record still to come */
    bool spoke;             /* STDOUT has begun */
    bool bad;
};

static struct sockaddr_storage peer;
static socklen_t peer_len;
static unsigned char request[65536];
static size_t request_len;
static bool keep;
static struct client clients[CONNECTIONS_MAX];
static uint32_t latency[LATENCY_MAX_US + 1];
static uint64_t answers, failed;
static int ep;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
    fprintf(stderr, "fcgi_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void parse_address(const char *text)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&peer;
    struct sockaddr_in *in = (struct sockaddr_in *)&peer;
    const char *colon = strrchr(text, ':');

    if (strncmp(text, "unix:", 5) == 0 && strlen(text + 5) < sizeof un->sun_path) {
        un->sun_family = AF_UNIX;
        strcpy(un->sun_path, text + 5);
        peer_len = sizeof *un;
    }
    else if (colon != NULL) {
        in->sin_family = AF_INET;
        in->sin_port = htons((uint16_t)atoi(colon + 1));
        in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        peer_len = sizeof *in;
    }
    else {
        errno = EINVAL;
        die(text);
    }
}

static void add(const void *bytes, size_t n)
{
    if (request_len + n > sizeof request) {
        errno = E2BIG;
        die("parameters");
    }
    memcpy(request + request_len, bytes, n);
    request_len += n;
}

static void add_length(size_t n)
{
    unsigned char four[4] = { (unsigned char)(n >> 24 | 0x80), (unsigned char)(n >> 16), (unsigned char)(n >> 8),
                              (unsigned char)n };
    unsigned char one = (unsigned char)n;
    n < 128 ? add(&one, 1) : add(four, 4);
}

static void make_request(char **pairs)
{
    const unsigned char begin[16] = { 1, BEGIN, 0, 1, 0, 8, 0, 0, 0, 1, keep };
    const unsigned char end[16] = { 1, PARAMS, 0, 1, 0, 0, 0, 0, 1, STDIN, 0, 1, 0, 0, 0, 0 };
    unsigned char head[8] = { 1, PARAMS, 0, 1 };
    size_t at = sizeof begin, len;

    add(begin, sizeof begin);
    add(head, sizeof head);
    for (; *pairs != NULL; pairs++) {
        char *value = strchr(*pairs, '=');
        if (value == NULL) {
            errno = EINVAL;
            die(*pairs);
        }
        add_length((size_t)(value - *pairs));
        add_length(strlen(value + 1));
        add(*pairs, (size_t)(value - *pairs));
        add(value + 1, strlen(value + 1));
    }
    len = request_len - at - sizeof head;
    request[at + 4] = (unsigned char)(len >> 8);
    request[at + 5] = (unsigned char)len;
    add(end, sizeof end);
}

static bool dial(struct client *c)
{
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };
    int one = 1, fd = socket(peer.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        die("socket");
    }
    if (connect(fd, (struct sockaddr *)&peer, peer_len) != 0) {
        close(fd);
        return false;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) != 0) {
        die("epoll_ctl");
    }
    c->fd = fd;
    return true;
}

static void hang_up(struct client *c)
{
    if (c->fd >= 0) {
        close(c->fd);
    }
    c->fd = -1;
    c->have = c->skip = 0;
}

/* The next request, on the connection that there is or a new one. A small request fits into an empty socket buffer. */
static void ask(struct client *c)
{
    c->since = now_ns();
    c->spoke = c->bad = false;
    if ((c->fd < 0 && !dial(c)) || send(c->fd, request, request_len, MSG_NOSIGNAL) != (ssize_t)request_len) {
        hang_up(c);
        failed++;
    }
}

static void answered(struct client *c)
{
    uint64_t us = (now_ns() - c->since) / 1000;

    if (c->bad || c->head[12] != 0) {
        failed++;
    }
    else {
        answers++;
        latency[us < LATENCY_MAX_US ? us : LATENCY_MAX_US]++;
    }
    if (!keep) {
        hang_up(c);
    }
    ask(c);
}

/* A record has ended. True: with it the answer has. */
static bool record_done(struct client *c)
{
    bool end = c->head[1] == END;

    if (c->head[1] == STDOUT && !c->spoke && c->have == sizeof c->head) {
        c->spoke = true;
        c->bad = memcmp(c->head + 8, "Status: ", 8) == 0;
    }
    c->have = 0;
    return end;
}

/* What comes after END_REQUEST is nothing of ours. */
static void feed(struct client *c, const unsigned char *in, size_t len)
{
    while (len > 0) {
        size_t part = c->have < 8 ? 8 - c->have : c->skip;
        part = part < len ? part : len;
        if (c->have < sizeof c->head) {
            size_t kept = part < sizeof c->head - c->have ? part : sizeof c->head - c->have;
            memcpy(c->head + c->have, in, kept);
        }
        if (c->have < 8) {
            c->have += (unsigned)part;
            c->skip = c->have == 8 ? (unsigned)(c->head[4] << 8 | c->head[5]) + c->head[6] : 0;
        }
        else {
            c->have = c->have + part < sizeof c->head ? c->have + (unsigned)part : sizeof c->head;
            c->skip -= (unsigned)part;
        }
        in += part;
        len -= part;
        if (c->have >= 8 && c->skip == 0 && record_done(c)) {
            answered(c);
            return;
        }
    }
}

static void read_answer(struct client *c)
{
    static unsigned char in[BUFFER];
    ssize_t n = recv(c->fd, in, sizeof in, MSG_DONTWAIT);

    if (n > 0) {
        feed(c, in, (size_t)n);
    }
    else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        hang_up(c); /* a kept connection's end meets the request that was under way */
        failed++;
        ask(c);
    }
}

static unsigned percentile(unsigned of_hundred)
{
    uint64_t seen = 0;
    unsigned us = 0;

    while (us < LATENCY_MAX_US && (seen += latency[us]) * 100 < answers * of_hundred) {
        us++;
    }
    return us;
}

static void report(double seconds)
{
    struct rusage used;

    getrusage(RUSAGE_SELF, &used);
    double cpu = 1e6 * (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec)
        + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
    printf("{\"answers\": %llu, \"failed\": %llu, \"seconds\": %.3f, \"p50_us\": %u, \"p99_us\": %u, \"cpu_us\": %.1f}\n",
           (unsigned long long)answers, (unsigned long long)failed, seconds, percentile(50), percentile(99),
           cpu / (double)(answers > 0 ? answers : 1));
}

int main(int argc, char **argv)
{
    struct epoll_event got[BATCH];
    uint64_t begin, until;
    int i, n, count;

    if (argc < 6 || (count = atoi(argv[2])) < 1 || count > CONNECTIONS_MAX
        || (strcmp(argv[4], "keep") != 0 && strcmp(argv[4], "new") != 0)) {
        fprintf(stderr, "usage: fcgi_load unix:/PATH|127.0.0.1:PORT CONNECTIONS SECONDS keep|new NAME=VALUE...\n");
        return 2;
    }
    keep = strcmp(argv[4], "keep") == 0;
    parse_address(argv[1]);
    make_request(argv + 5);
    ep = epoll_create1(EPOLL_CLOEXEC);
    begin = now_ns();
    until = begin + (uint64_t)(atof(argv[3]) * 1e9);
    for (i = 0; i < count; i++) {
        clients[i].fd = -1;
        ask(&clients[i]);
    }
    while (now_ns() < until) {
        n = epoll_wait(ep, got, BATCH, RETRY_MS);
        for (i = 0; i < n; i++) {
            read_answer(got[i].data.ptr);
        }
        for (i = 0; n == 0 && i < count; i++) {
            if (clients[i].fd < 0) {
                ask(&clients[i]);
            }
        }
    }
    report((double)(now_ns() - begin) / 1e9);
    return 0;
}
