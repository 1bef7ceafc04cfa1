#include "mod_demo/background/demo_leader.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "http_log.h"

#include "mod_demo/backend/demo_backend.h"
#include "mod_demo/background/demo_health.h"
#include "mod_demo/background/demo_resolve.h"
#include "mod_demo/shm/demo_clock.h"
#include "mod_demo/shm/demo_segment.h"

APLOG_USE_MODULE(demo);

#define LEAD_WAIT_US     100000LL /* longest sleep of the leader: it notices a new configuration */
#define MEND_EVERY_US   1000000LL
#define EAGER_US        2000000LL /* a new child looks often at first: the old leader steps down */
#define EAGER_WAIT_MS        20
#define FOLLOW_WAIT_MS     1000
#define STOP_WAIT_S           1

static struct {
    pthread_t   thread;
    int         running;
    int         wake[2]; /* a pipe; closed at the writing end to stop */
    server_rec *server;
} leader = { .wake = { -1, -1 } };

/* 1 when the thread is to end. */
static int wait_for(struct pollfd *fds, int n, int timeout_ms)
{
    fds[n].fd = leader.wake[0];
    fds[n].events = POLLIN;
    fds[n].revents = 0;
    return poll(fds, (nfds_t)n + 1, timeout_ms) > 0 && fds[n].revents != 0;
}

static int outdated(void)
{
    return atomic_load_explicit(&demo_seg->epoch, memory_order_relaxed) != demo_epoch;
}

/* 1: ours; 0: told to stop, or a newer configuration leads. */
static int follow(void)
{
    struct pollfd fd[1];
    int64_t start = demo_now();

    while (!outdated()) {
        if (demo_trylock(&demo_seg->leader)) {
            return 1;
        }
        if (wait_for(fd, 0, demo_now() - start < EAGER_US ? EAGER_WAIT_MS : FOLLOW_WAIT_MS)) {
            return 0;
        }
    }
    return 0;
}

static void lead(void)
{
    struct pollfd fds[DEMO_CHECKS_MAX + 1];
    int64_t mend_at = demo_now() + MEND_EVERY_US;

    if (demo_health_begin() != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_ERR, APR_ENOMEM, leader.server,
                     "DM0211: no memory for health checks");
        return;
    }
    while (!outdated()) {
        int n = 0;
        int64_t now = demo_now(), next = now + LEAD_WAIT_US, due;
        due = demo_resolve_tick(leader.server, now);
        next = due < next ? due : next;
        due = demo_health_tick(now, fds, &n);
        next = due < next ? due : next;
        if (now >= mend_at) {
            demo_shm_mend();
            mend_at = now + MEND_EVERY_US;
        }
        now = demo_now();
        if (wait_for(fds, n, next > now ? (int)((next - now + 999) / 1000) : 0)) {
            break;
        }
    }
    demo_health_finish();
    demo_resolve_finish();
}

static void *leader_main(void *unused)
{
    (void)unused;
    if (follow()) {
        lead();
        demo_unlock(&demo_seg->leader);
    }
    return NULL;
}

/* httpd's exit unloads modules; a resolver that still hangs would return into
 * nothing.  So the code stays mapped from here on. */
static void pin_module(void)
{
    Dl_info info;

    if (dladdr(&leader, &info) != 0 && info.dli_fname != NULL) {
        (void)dlopen(info.dli_fname, RTLD_NOW | RTLD_NODELETE);
    }
}

static void leader_start(server_rec *s)
{
    sigset_t all, before;

    if (demo_backend_count == 0 || leader.running) {
        return;
    }
    leader.server = s;
    pin_module();
    if (pipe2(leader.wake, O_CLOEXEC | O_NONBLOCK) != 0) {
        ap_log_error(APLOG_MARK, APLOG_ERR, errno, s, "DM0212: no pipe for the background thread");
        return;
    }
    /* Signals are for httpd's own threads. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&leader.thread, NULL, leader_main, NULL);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        ap_log_error(APLOG_MARK, APLOG_ERR, rc, s, "DM0213: no background thread for health checks");
        (void)close(leader.wake[0]);
        (void)close(leader.wake[1]);
        return;
    }
    leader.running = 1;
}

static apr_status_t leader_stop(void *unused)
{
    struct timespec until;

    (void)unused;
    if (!leader.running) {
        return APR_SUCCESS;
    }
    leader.running = 0;
    (void)close(leader.wake[1]);
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += STOP_WAIT_S;
    if (pthread_timedjoin_np(leader.thread, NULL, &until) == 0) {
        (void)close(leader.wake[0]);
    }
    return APR_SUCCESS;
}

void demo_leader_child_init(apr_pool_t *pchild, server_rec *s)
{
    if (demo_seg != NULL) {
        apr_pool_cleanup_register(pchild, NULL, leader_stop, apr_pool_cleanup_null);
        leader_start(s);
    }
}
