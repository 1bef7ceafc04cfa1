#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fcgi-sidecar/relay/sc_upstream.h"

#define BACKOFF_FIRST (10 * APR_TIME_C(1000))
#define BACKOFF_MAX   (500 * APR_TIME_C(1000))

void sc_target_up(sc_target *t)
{
    t->backoff = 0;
    t->retry_at = 0;
    if (!t->up) {
        t->up = true;
        if (t->tried) {
            sc_relay_log(t->relay, SC_RELAY_LOG_INFO, "SC0302", "upstream %s: answers again", t->address.text);
        }
        if (!t->is_forward) {
            sc_relay_tell(t->relay, SC_RELAY_EVENT_UPSTREAM_UP);
        }
    }
    t->tried = true;
}

void sc_target_down(sc_target *t, const char *phase, int error)
{
    sc_relay *relay = t->relay;

    sc_count_add(relay, SC_N_UPSTREAM_CONNECT_ERRORS, 1);
    t->backoff = t->backoff == 0 ? BACKOFF_FIRST : t->backoff * 2;
    if (t->backoff > BACKOFF_MAX) {
        t->backoff = BACKOFF_MAX;
    }
    t->retry_at = relay->loop.now + t->backoff;
    if (t->up || !t->tried) {
        t->up = false;
        t->tried = true;
        sc_relay_log(relay, SC_RELAY_LOG_WARNING, "SC0301",
                     "upstream %s: %s: %s; requests wait while it is tried again",
                     t->address.text, phase, strerror(error));
        if (!t->is_forward) {
            sc_relay_tell(relay, SC_RELAY_EVENT_UPSTREAM_DOWN);
        }
    }
    sc_dispatch_wake(relay);
}

void sc_target_dropped(sc_target *t)
{
    if (t->backoff > 0) {
        sc_target_down(t, "closes connections before a worker takes them", ECONNRESET);
        return;
    }
    t->backoff = BACKOFF_FIRST;
    t->retry_at = t->relay->loop.now + t->backoff;
    sc_dispatch_wake(t->relay);
}

void sc_target_init(sc_target *t, sc_relay *relay, bool is_forward, unsigned max)
{
    memset(t, 0, sizeof(*t));
    t->relay = relay;
    t->is_forward = is_forward;
    t->max = max;
    sc_list_init(&t->offered);
    sc_list_init(&t->ready);
    sc_list_init(&t->busy);
}

/* Whether SIOCOUTQ on a Unix socket tells what the peer has not read, as Linux
 * does; a sandbox's kernel may not. */
static bool kernel_proves(void)
{
    int pair[2], before = 0, after = -1;
    char byte = 0;
    bool proves;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        return false;
    }
    proves = write(pair[0], &byte, 1) == 1 && ioctl(pair[0], SIOCOUTQ, &before) == 0 && before > 0
        && read(pair[1], &byte, 1) == 1 && ioctl(pair[0], SIOCOUTQ, &after) == 0 && after == 0;
    close(pair[0]);
    close(pair[1]);
    return proves;
}

static void close_list(sc_link *list)
{
    while (!sc_list_empty(list)) {
        sc_upstream_close(SC_OWNER(list->next, sc_upstream, link));
    }
}

void sc_target_set(sc_target *t, const sc_address *address)
{
    sc_link *l;

    close_list(&t->offered);
    close_list(&t->ready);
    for (l = t->busy.next; l != &t->busy; l = l->next) {
        SC_OWNER(l, sc_upstream, link)->hung_up = true; /* not kept after its answer */
    }
    t->address = *address;
    /* The other relay reads whatever comes: its socket proves nothing. */
    t->proves = address->is_unix && !t->is_forward && kernel_proves();
    t->backoff = 0;
    t->retry_at = t->pause_until = 0;
    t->tried = t->up = false;
}

void sc_target_close(sc_target *t)
{
    close_list(&t->offered);
    close_list(&t->ready);
    close_list(&t->busy);
}

apr_time_t sc_target_oldest(const sc_target *t)
{
    return sc_list_empty(&t->busy) ? 0 : SC_OWNER(t->busy.next, const sc_upstream, link)->since;
}
