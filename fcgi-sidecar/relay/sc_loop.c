#include "fcgi-sidecar/relay/sc_loop.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_AT_ONCE 128
#define LONGEST_SLEEP  APR_USEC_PER_SEC

apr_time_t sc_loop_clock(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (apr_time_t)t.tv_sec * APR_USEC_PER_SEC + t.tv_nsec / 1000;
}

apr_status_t sc_loop_init(sc_loop *loop)
{
    struct epoll_event ev = { .events = EPOLLIN, .data.ptr = NULL };
    apr_status_t rv;

    memset(loop, 0, sizeof(*loop));
    sc_list_init(&loop->classes);
    sc_list_init(&loop->graves);
    loop->now = sc_loop_clock();
    loop->bell_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->bell_fd < 0 || loop->epoll_fd < 0
        || epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->bell_fd, &ev) < 0) {
        rv = errno;
        sc_loop_destroy(loop);
        return rv;
    }
    return APR_SUCCESS;
}

static void bury(sc_loop *loop)
{
    sc_io *io;

    while (!sc_list_empty(&loop->graves)) {
        io = SC_OWNER(loop->graves.next, sc_io, grave);
        sc_list_remove(&io->grave);
        io->release(io);
    }
}

void sc_loop_destroy(sc_loop *loop)
{
    bury(loop);
    if (loop->bell_fd >= 0) {
        close(loop->bell_fd);
    }
    if (loop->epoll_fd >= 0) {
        close(loop->epoll_fd);
    }
    loop->bell_fd = loop->epoll_fd = -1;
}

static apr_status_t control(sc_loop *loop, int op, sc_io *io, uint32_t events)
{
    struct epoll_event ev = { .events = events ^ SC_LOOP_LEVEL, .data.ptr = io };

    return epoll_ctl(loop->epoll_fd, op, io->fd, &ev) < 0 ? errno : APR_SUCCESS;
}

apr_status_t sc_loop_watch(sc_loop *loop, sc_io *io, uint32_t events)
{
    sc_list_init(&io->grave);
    return control(loop, EPOLL_CTL_ADD, io, events);
}

apr_status_t sc_loop_rewatch(sc_loop *loop, sc_io *io, uint32_t events)
{
    return control(loop, EPOLL_CTL_MOD, io, events);
}

void sc_loop_close(sc_loop *loop, sc_io *io)
{
    if (io->fd < 0) {
        return;
    }
    close(io->fd); /* epoll forgets it: the descriptor has no duplicate */
    io->fd = -1;
    if (io->release != NULL) {
        sc_list_append(&loop->graves, &io->grave);
    }
}

void sc_timer_class_init(sc_loop *loop, sc_timer_class *c, apr_interval_time_t after)
{
    sc_list_init(&c->link);
    sc_list_init(&c->running);
    c->after = after;
    sc_list_append(&loop->classes, &c->link);
}

void sc_timer_init(sc_timer *t, void (*fire)(sc_timer *timer))
{
    sc_list_init(&t->link);
    t->deadline = 0;
    t->fire = fire;
}

void sc_timer_start(sc_loop *loop, sc_timer_class *c, sc_timer *t)
{
    sc_list_remove(&t->link);
    t->deadline = loop->now + c->after;
    sc_list_append(&c->running, &t->link);
}

void sc_timer_stop(sc_timer *t)
{
    sc_list_remove(&t->link);
}

static void fire_timers(sc_loop *loop)
{
    sc_link *l, *first;
    sc_timer_class *c;
    sc_timer *t;

    for (l = loop->classes.next; l != &loop->classes; l = l->next) {
        c = SC_OWNER(l, sc_timer_class, link);
        while (!sc_list_empty(&c->running)) {
            first = c->running.next;
            t = SC_OWNER(first, sc_timer, link);
            if (t->deadline > loop->now) {
                break;
            }
            sc_list_remove(first);
            t->fire(t);
        }
    }
}

/* Milliseconds, rounded up so that a due timer is due when epoll returns. */
static int sleep_ms(const sc_loop *loop, apr_time_t until)
{
    apr_time_t next = loop->now + LONGEST_SLEEP;
    const sc_link *l;
    const sc_timer_class *c;
    const sc_timer *t;

    if (until != 0 && until < next) {
        next = until;
    }
    for (l = loop->classes.next; l != &loop->classes; l = l->next) {
        c = SC_OWNER(l, const sc_timer_class, link);
        if (!sc_list_empty(&c->running)) {
            t = SC_OWNER(c->running.next, const sc_timer, link);
            if (t->deadline < next) {
                next = t->deadline;
            }
        }
    }
    return next <= loop->now ? 0 : (int)((next - loop->now + 999) / 1000);
}

void sc_loop_turn(sc_loop *loop, apr_time_t until)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    uint64_t rung;
    sc_io *io;
    int i, n;

    n = epoll_wait(loop->epoll_fd, events, EVENTS_AT_ONCE, sleep_ms(loop, until));
    loop->now = sc_loop_clock();
    for (i = 0; i < n; i++) {
        io = events[i].data.ptr;
        if (io == NULL) {
            (void)!read(loop->bell_fd, &rung, sizeof(rung));
        }
        else if (io->fd >= 0) {
            io->ready(io, events[i].events);
        }
    }
    fire_timers(loop);
    bury(loop);
}

void sc_loop_ring(sc_loop *loop)
{
    const uint64_t one = 1;

    /* EAGAIN means that the bell is rung already. */
    (void)!write(loop->bell_fd, &one, sizeof(one));
}
