/*
 * What the background asks php-fpm for, the ping and the status page: the
 * result is the same however the answer comes; the page that was read is text
 * with an end; its numbers are numbers.
 *
 * Input: bytes a read (0: 256); then what the backend sends.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "mod_demo/background/demo_fetch.h"
#include "mod_demo/observe/demo_status.h"

FUZZ_NOT_COVERED

enum { BACKEND_FD = 1000 /* never given to the system */, ROOM = 2048 };

static struct {
    const uint8_t *wire;
    size_t len, at, piece;
} backend;

/* The linker lets shared libraries see them. */
#pragma GCC visibility push(default)
int __wrap_socket(int domain, int type, int protocol);
int __wrap_connect(int fd, const struct sockaddr *addr, socklen_t len);
ssize_t __wrap_send(int fd, const void *buf, size_t len, int flags);
ssize_t __wrap_recv(int fd, void *buf, size_t len, int flags);
int __wrap_close(int fd);
#pragma GCC visibility pop

int __wrap_socket(int domain, int type, int protocol)
{
    (void)domain, (void)type, (void)protocol;
    return BACKEND_FD;
}

int __wrap_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    (void)addr, (void)len;
    FUZZ_CHECK(fd == BACKEND_FD);
    return 0;
}

ssize_t __wrap_send(int fd, const void *buf, size_t len, int flags)
{
    (void)buf, (void)flags;
    FUZZ_CHECK(fd == BACKEND_FD && len > 0);
    return (ssize_t)len;
}

ssize_t __wrap_recv(int fd, void *buf, size_t len, int flags)
{
    size_t n = backend.len - backend.at;

    (void)flags;
    FUZZ_CHECK(fd == BACKEND_FD && len > 0);
    n = n < backend.piece ? n : backend.piece;
    n = n < len ? n : len;
    if (n > 0) {
        memcpy(buf, backend.wire + backend.at, n);
        backend.at += n;
    }
    return (ssize_t)n;
}

int __wrap_close(int fd)
{
    FUZZ_CHECK(fd == BACKEND_FD);
    return 0;
}

static void fetch(demo_fetch *f, char *room, size_t piece)
{
    const struct sockaddr nowhere = { .sa_family = AF_UNIX };
    const demo_fetch_request rq = { &nowhere, sizeof nowhere, "/status", "full", "/status" };

    backend.at = 0;
    backend.piece = piece;
    demo_fetch_init(f, room, ROOM);
    demo_fetch_start(f, &rq, 0, 1000000);
    FUZZ_CHECK(f->state == DEMO_FETCH_SEND);
    (void)demo_fetch_step(f, 1);
    FUZZ_CHECK(f->fd == -1); /* whatever came, it is over */
    if (f->state == DEMO_FETCH_DONE) {
        FUZZ_CHECK(f->status >= 100 && f->status <= 599);
        FUZZ_CHECK(f->body >= room && f->body + f->body_len < room + ROOM);
        FUZZ_CHECK(f->body[f->body_len] == '\0');
    }
    else {
        FUZZ_CHECK(f->state == DEMO_FETCH_FAILED && !f->timed_out);
        FUZZ_CHECK(f->text[0] != '\0' && strlen(f->text) < sizeof f->text);
    }
}

static void check_same(const demo_fetch *a, const demo_fetch *b)
{
    FUZZ_CHECK(a->state == b->state && a->status == b->status);
    if (a->state == DEMO_FETCH_FAILED) {
        FUZZ_CHECK(strcmp(a->phase, b->phase) == 0 && strcmp(a->text, b->text) == 0);
        return;
    }
    FUZZ_CHECK(a->body_len == b->body_len && memcmp(a->body, b->body, a->body_len) == 0);
}

/* Read once more, with the other kind of line's end and space around values. */
static void check_page(const char *text)
{
    demo_status_page page, again;
    size_t len = strlen(text), at = 0;
    char *copy = fuzz_copy(text, len + 1), *spaced = malloc(3 * len + 1);
    int got = demo_status_parse(copy, &page);

    FUZZ_CHECK(spaced != NULL);
    FUZZ_CHECK((page.pool[0] != '\0') == (got != 0));
    FUZZ_CHECK(memchr(page.pool, '\0', sizeof page.pool) != NULL);
    for (int i = 0; i < DEMO_ST_COUNT; i++) {
        FUZZ_CHECK(page.value[i] >= -1 && page.value[i] < 1000000000000000000);
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\n' || text[i] == '\r') {
            spaced[at++] = ' ';
            spaced[at++] = '\r';
            spaced[at++] = '\n';
        }
        else {
            spaced[at++] = text[i];
        }
    }
    spaced[at] = '\0';
    FUZZ_CHECK(demo_status_parse(spaced, &again) == got);
    FUZZ_CHECK(memcmp(page.value, again.value, sizeof page.value) == 0);
    free(spaced);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char rooms[3][ROOM];
    static demo_fetch whole, pieces, single;

    if (size < 1) {
        return 0;
    }
    backend.wire = data + 1;
    backend.len = size - 1;
    fetch(&whole, rooms[0], SIZE_MAX);
    fetch(&pieces, rooms[1], data[0] > 0 ? data[0] : 256);
    fetch(&single, rooms[2], 1);
    check_same(&whole, &pieces);
    check_same(&whole, &single);
    if (whole.state == DEMO_FETCH_DONE) {
        check_page(whole.body);
    }
    return 0;
}

FUZZ_COVERED
