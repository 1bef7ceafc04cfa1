/* A FastCGI responder that costs next to nothing, for measuring what is in front of it: one thread, epoll, the same
 * answer to every request, FCGI_KEEP_CONN honoured.
 *
 *   fcgi_null PORT BODY_BYTES [DELAY_US]
 *
 * It reads no more of a request than it needs: the header of each record, and the flags of BEGIN_REQUEST. */
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
#include <sys/socket.h>
#include <unistd.h>

enum { BEGIN = 1, END = 3, STDIN = 5, STDOUT = 6, RECORD = 32768, BATCH = 128 };

struct client {
    int fd;
    bool keep;             /* FCGI_KEEP_CONN of the request at hand */
    unsigned char head[16];/* of the record at hand: header, and the body of BEGIN_REQUEST */
    unsigned have;         /* bytes in head */
    unsigned skip;         /* bytes of the record still to come */
};

static unsigned char *answer;
static size_t answer_len;
static unsigned delay_us;

static void put_record(int type, const void *data, size_t len)
{
    unsigned char h[8] = { 1, (unsigned char)type, 0, 1, (unsigned char)(len >> 8), (unsigned char)len, 0, 0 };
    answer = realloc(answer, answer_len + sizeof h + len);
    if (answer == NULL) {
        exit(1);
    }
    memcpy(answer + answer_len, h, sizeof h);
    if (len > 0) {
        memcpy(answer + answer_len + sizeof h, data, len);
    }
    answer_len += sizeof h + len;
}

static void make_answer(size_t body)
{
    char head[96];
    int n = snprintf(head, sizeof head, "Content-Type: text/plain\r\nContent-Length: %zu\r\n\r\n", body);
    size_t all = (size_t)n + body;
    char *text = malloc(all);
    if (text == NULL) {
        exit(1);
    }
    memcpy(text, head, (size_t)n);
    memset(text + n, 'x', body);
    for (size_t at = 0; at < all; at += RECORD) {
        put_record(STDOUT, text + at, all - at < RECORD ? all - at : RECORD);
    }
    put_record(END, "\0\0\0\0\0\0\0\0", 8);
    free(text);
}

/* The whole answer; a client that does not take it is waited for. */
static bool reply(int fd)
{
    if (delay_us > 0) {
        usleep(delay_us);
    }
    for (size_t at = 0; at < answer_len;) {
        ssize_t n = send(fd, answer + at, answer_len - at, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return false;
        }
        at += n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* One record is whole as far as it matters; false: close. */
static bool record_done(struct client *c)
{
    bool ok = true;
    if (c->head[1] == BEGIN) {
        c->keep = c->head[10] & 1;
    }
    else if (c->head[1] == STDIN && c->head[4] == 0 && c->head[5] == 0) {
        ok = reply(c->fd) && c->keep;
    }
    c->have = 0;
    return ok;
}

static bool feed(struct client *c, const unsigned char *in, size_t len)
{
    while (len > 0 || (c->have >= 8 && c->skip == 0)) {
        if (c->have < 8) {
            c->head[c->have++] = *in++;
            len--;
            if (c->have == 8) {
                c->skip = (unsigned)(c->head[4] << 8 | c->head[5]) + c->head[6];
            }
            continue;
        }
        if (c->skip > 0 && c->have < sizeof c->head) {
            c->head[c->have++] = *in++;
            len--;
            c->skip--;
            continue;
        }
        size_t part = c->skip < len ? c->skip : len;
        in += part;
        len -= part;
        c->skip -= (unsigned)part;
        if (c->skip > 0) {
            return true;
        }
        if (!record_done(c)) {
            return false;
        }
    }
    return true;
}

static void accept_all(int listener, int ep)
{
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        struct client *c = calloc(1, sizeof *c);
        struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (c == NULL || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) != 0) {
            close(fd);
            free(c);
            continue;
        }
        c->fd = fd;
    }
}

static int listen_on(int port)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0
        || bind(fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(fd, 4096) != 0) {
        perror("fcgi_null: cannot listen");
        exit(1);
    }
    return fd;
}

int main(int argc, char **argv)
{
    static unsigned char in[1 << 16];
    struct epoll_event got[BATCH], first = { .events = EPOLLIN, .data.ptr = NULL };
    if (argc < 3) {
        fprintf(stderr, "usage: fcgi_null PORT BODY_BYTES [DELAY_US]\n");
        return 2;
    }
    make_answer((size_t)strtoul(argv[2], NULL, 10));
    delay_us = argc > 3 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
    int listener = listen_on(atoi(argv[1])), ep = epoll_create1(EPOLL_CLOEXEC);
    if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, listener, &first) != 0) {
        perror("fcgi_null: epoll");
        return 1;
    }
    for (;;) {
        int n = epoll_wait(ep, got, BATCH, -1);
        for (int i = 0; i < n; i++) {
            struct client *c = got[i].data.ptr;
            if (c == NULL) {
                accept_all(listener, ep);
                continue;
            }
            ssize_t len = recv(c->fd, in, sizeof in, MSG_DONTWAIT);
            if ((len < 0 && (errno == EAGAIN || errno == EINTR)) || (len > 0 && feed(c, in, (size_t)len))) {
                continue;
            }
            close(c->fd);
            free(c);
        }
    }
}
