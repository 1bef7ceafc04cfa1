#include "mod_demo/exchange/demo_exchange.h"

#include <errno.h>
#include <poll.h>

#include "apr_strings.h"

#include "mod_demo/shm/demo_clock.h"

#define ABORT_LOOK_US 250000 /* how often an HTTP/2 stream is asked whether it was reset */

bool demo_fail(demo_exchange *x, enum demo_phase phase, int status, apr_status_t cause,
               const char *what)
{
    x->failure = (demo_failure){ .phase = phase, .status = status, .cause = cause, .what = what };
    return false;
}

bool demo_total_is_over(const demo_exchange *x)
{
    return x->deadline > 0 && demo_now() >= x->deadline;
}

bool demo_fail_total(demo_exchange *x, const char *meanwhile)
{
    static const char what[] = "DemoTimeout total= ran out";

    return demo_fail(x, DEMO_PHASE_TOTAL, HTTP_GATEWAY_TIME_OUT, APR_TIMEUP, meanwhile == NULL ? what
                     : apr_pstrcat(x->r->pool, what, "; ", meanwhile, NULL));
}

static bool timed_out(demo_exchange *x, enum demo_phase phase, bool total)
{
    if (total) {
        return demo_fail_total(x, NULL);
    }
    demo_fail(x, phase, phase == DEMO_PHASE_CLIENT ? HTTP_REQUEST_TIME_OUT : HTTP_GATEWAY_TIME_OUT,
              APR_TIMEUP, phase == DEMO_PHASE_SEND ? "DemoTimeout send= ran out"
              : phase == DEMO_PHASE_CLIENT ? "the client sent nothing for httpd's Timeout"
              : "DemoTimeout read= ran out");
    x->failure.elsewhere_only = true;
    return false;
}

static bool client_gone(demo_exchange *x)
{
    x->r->connection->aborted = 1;
    return demo_fail(x, DEMO_PHASE_CLIENT, DEMO_STATUS_CLIENT_GONE, 0, "the client went away");
}

/* Waits for one of two descriptors; see demo_wait(). */
static short wait_for(demo_exchange *x, struct pollfd p[2], enum demo_phase phase,
                      apr_interval_time_t limit)
{
    apr_time_t now = demo_now(), until = limit > 0 ? now + limit : 0;
    bool total = x->deadline > 0 && (until == 0 || x->deadline <= until);

    if (total) {
        until = x->deadline;
    }
    for (;;) {
        apr_interval_time_t left = until > 0 ? until - now : ABORT_LOOK_US;
        if (left <= 0) {
            timed_out(x, phase, total);
            return 0;
        }
        if (p[1].fd < 0 && left > ABORT_LOOK_US) {
            left = ABORT_LOOK_US;
        }
        else if (left > APR_USEC_PER_SEC * 3600) {
            left = APR_USEC_PER_SEC * 3600;
        }
        int n = poll(p, 2, (int)((left + 999) / 1000));
        if (n > 0 && (p[0].revents & (POLLERR | POLLHUP | POLLNVAL))) {
            return p[0].revents | POLLIN; /* the next read tells */
        }
        if (n > 0 && p[0].revents != 0) {
            return p[0].revents;
        }
        if (n > 0 && (p[1].revents & POLLIN) && (p[1].events & POLLIN)) {
            return POLLOUT;
        }
        if ((n > 0 && p[1].revents != 0) || x->r->connection->aborted) {
            client_gone(x);
            return 0;
        }
        if (n < 0 && errno != EINTR) {
            demo_fail(x, phase, HTTP_INTERNAL_SERVER_ERROR, errno, "poll failed");
            return 0;
        }
        now = demo_now();
    }
}

short demo_wait(demo_exchange *x, int fd, short events, enum demo_phase phase,
                apr_interval_time_t limit)
{
    struct pollfd p[2] = { { .fd = fd, .events = events },
                           { .fd = x->client_fd, .events = POLLRDHUP } };

    return wait_for(x, p, phase, limit);
}

short demo_wait_client(demo_exchange *x, int fd)
{
    struct pollfd p[2] = { { .fd = fd, .events = POLLIN },
                           { .fd = x->client_fd, .events = POLLIN } };

    return wait_for(x, p, DEMO_PHASE_CLIENT, x->r->server->timeout);
}
