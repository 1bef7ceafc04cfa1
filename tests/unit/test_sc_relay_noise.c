/* Two thousand connections of damaged records from both sides, then one good
 * request: the relay lives, holds nothing, and mixes nothing up. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/relay_bed.h"
#include "tests/unit/testlib.h"

#define ROUNDS 2000
#define OPEN   16

static unsigned next(unsigned *seed, unsigned below)
{
    *seed = *seed * 1103515245u + 12345u;
    return (*seed >> 8) % below;
}

/* Changes, cuts or doubles a part, more often than not. */
static size_t damage(uint8_t *bytes, size_t len, unsigned *seed)
{
    unsigned i, n = next(seed, 4);

    for (i = 0; i < n && len > 0; i++) {
        bytes[next(seed, (unsigned)len)] = (uint8_t)next(seed, 256);
    }
    return next(seed, 5) == 0 ? next(seed, (unsigned)len + 1) : len;
}

static void send_in_pieces(int fd, const uint8_t *bytes, size_t len, unsigned *seed)
{
    size_t at, n;

    for (at = 0; at < len; at += n) {
        n = 1 + next(seed, 40);
        n = n < len - at ? n : len - at;
        if (send(fd, bytes + at, n, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
            return; /* closed on us, as may well be */
        }
    }
}

struct upstream {
    int        listening;
    atomic_int ending;
};

static void answer_badly(int fd, unsigned *seed)
{
    uint8_t out[512];
    size_t n = put_record(out, next(seed, 8) == 0 ? next(seed, 12) : FCGIW_STDOUT, 1, "noise", 5, next(seed, 9));

    if (next(seed, 6) != 0) {
        n += put_end(out + n, 1, next(seed, 5));
    }
    if (next(seed, 3) == 0) {
        n = damage(out, n, seed);
    }
    send_in_pieces(fd, out, n, seed);
}

/* Accepts, reads, answers something or other, and closes when it likes. */
static void *bad_upstream(void *data)
{
    struct upstream *up = data;
    struct pollfd fds[OPEN + 1];
    unsigned seed = 99, i, n = 0;
    uint8_t bytes[4096];

    while (!atomic_load(&up->ending)) {
        fds[0] = (struct pollfd){ .fd = n < OPEN ? up->listening : -1, .events = POLLIN };
        poll(fds, n + 1, 10);
        for (i = 1; i <= n; i++) {
            if ((fds[i].revents & (POLLIN | POLLHUP)) != 0) {
                ssize_t got = recv(fds[i].fd, bytes, sizeof(bytes), MSG_DONTWAIT);

                if (got > 16) {
                    answer_badly(fds[i].fd, &seed);
                }
                if (got == 0 || next(&seed, 8) == 0) {
                    close(fds[i].fd);
                    fds[i--] = fds[n--];
                }
            }
        }
        if ((fds[0].revents & POLLIN) != 0) {
            fds[++n] = (struct pollfd){ .fd = accept(up->listening, NULL, NULL), .events = POLLIN };
        }
    }
    for (i = 1; i <= n; i++) {
        close(fds[i].fd);
    }
    return NULL;
}

static size_t bad_request(uint8_t *out, unsigned *seed)
{
    size_t n = put_head(out, 1 + next(seed, 2), next(seed, 2) == 0 ? "GET" : "POST", "x", next(seed, 2) == 0);
    unsigned id = out[3];

    if (next(seed, 4) == 0) {
        n += put_record(out + n, next(seed, 14), next(seed, 3), "stray", 5, next(seed, 5));
    }
    n += put_record(out + n, FCGIW_STDIN, id, "body", next(seed, 5), next(seed, 5));
    n += put_record(out + n, FCGIW_STDIN, id, NULL, 0, 0);
    if (next(seed, 10) == 0) {
        n += put_record(out + n, FCGIW_ABORT_REQUEST, id, NULL, 0, 0);
    }
    return next(seed, 3) == 0 ? damage(out, n, seed) : n;
}

static void wait_a_little(int fd, int ms)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    poll(&p, 1, ms);
}

static void noise(void **state)
{
    static bed b;
    struct upstream up = { 0 };
    int client[OPEN] = { 0 }, i, good, worker;
    uint8_t out[2048];
    unsigned seed = 7;
    pthread_t thread;

    bed_init(&b);
    bed_upstream_open(&b);
    b.config.workers = 6;
    b.config.request_wait = 5000;
    b.config.queue_timeout = 50 * 1000;
    bed_start(&b);
    up.listening = b.up;
    assert_int_equal(pthread_create(&thread, NULL, bad_upstream, &up), 0);
    for (i = 0; i < ROUNDS; i++) {
        int *c = &client[i % OPEN];

        if (*c > 0 && next(&seed, 3) != 0) {
            close(*c);
            *c = 0;
        }
        *c = *c > 0 ? *c : bed_dial(&b);
        send_in_pieces(*c, out, bad_request(out, &seed), &seed);
        wait_a_little(*c, next(&seed, 3) == 0 ? 20 : 0);
        while (recv(*c, out, sizeof(out), MSG_DONTWAIT) > 0) {
        }
    }
    for (i = 0; i < OPEN; i++) {
        close(client[i]);
    }
    bed_until(&b, s.clients == 0 && s.in_flight == 0 && s.queued == 0);
    atomic_store(&up.ending, 1);
    pthread_join(thread, NULL);
    bed_until(&b, s.requests > ROUNDS / 8 && s.completed > 50 && s.client_errors > 50 && s.upstream_errors > 5);
    good = bed_get(&b, 1, "after the noise", true);
    do { /* those that were opened for noise first */
        worker = bed_accept(&b);
        bed_take_begin(worker);
    } while (recv(worker, out, 1, MSG_PEEK) != 1);
    bed_take_get(worker, "after the noise");
    bed_answer(worker, "clear");
    bed_expect(good, FCGIW_STDOUT, 1, "clear");
    bed_expect_end(good, 1, FCGIW_REQUEST_COMPLETE);
    close(good);
    close(worker);
    bed_stop(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(noise) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
