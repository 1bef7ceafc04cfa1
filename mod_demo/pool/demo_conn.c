#include "mod_demo/pool/demo_conn.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mod_demo/shm/demo_clock.h"
#include "mod_demo/shm/demo_gauges.h"

#define FREE_MAX 256 /* records kept for the next connection of this child */

/* php-fpm writes an answer in pieces of 8 KiB and leaves Nagle's algorithm on: it
 * sends the last one when the one before is acknowledged.  A receiver does that at
 * once for more than a segment, else after 40 ms or when it reads.  On the loopback
 * a segment has 64 KiB; so it gets those of an Ethernet, too.  And where php-fpm
 * ends in that time (a reload, while a kept connection has the end of STDIN unread),
 * its system drops what was not sent. */
#define MSS_MAX 1448

static pthread_mutex_t free_lock = PTHREAD_MUTEX_INITIALIZER;
static demo_conn *free_list;
static unsigned free_count;

static demo_conn *record_take(void)
{
    demo_conn *conn;

    pthread_mutex_lock(&free_lock);
    conn = free_list;
    if (conn != NULL) {
        free_list = conn->next;
        free_count--;
    }
    pthread_mutex_unlock(&free_lock);
    return conn != NULL ? conn : malloc(sizeof *conn);
}

static void record_give(demo_conn *conn)
{
    pthread_mutex_lock(&free_lock);
    if (free_count < FREE_MAX) {
        conn->next = free_list;
        free_list = conn;
        free_count++;
        conn = NULL;
    }
    pthread_mutex_unlock(&free_lock);
    free(conn);
}

static struct timeval to_timeval(apr_interval_time_t t)
{
    return (struct timeval){ .tv_sec = (time_t)apr_time_sec(t),
                             .tv_usec = (suseconds_t)apr_time_usec(t) };
}

/* connect() of a blocking socket waits as long as SO_SNDTIMEO says and then
 * fails with EINPROGRESS (TCP) or EAGAIN (Unix: the listen queue is full). */
static apr_status_t socket_connect(int fd, const demo_target *target, apr_interval_time_t timeout)
{
    struct timeval wait = to_timeval(timeout);
    int one = 1, mss = MSS_MAX;

    if (timeout > 0 && setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait) != 0) {
        return errno;
    }
    if (target->addr.sa.sa_family != AF_UNIX) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        (void)setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &mss, sizeof mss);
    }
    if (connect(fd, &target->addr.sa, target->addr_len) == 0) {
        return APR_SUCCESS;
    }
    if (errno == EINTR) {
        struct pollfd p = { .fd = fd, .events = POLLOUT };
        int ms = timeout > 0 ? (int)((timeout + 999) / 1000) : -1, error = 0;
        socklen_t len = sizeof error;
        if (poll(&p, 1, ms) != 1) {
            return APR_TIMEUP;
        }
        return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 ? error : errno;
    }
    return errno == EINPROGRESS ? APR_TIMEUP : errno;
}

apr_status_t demo_conn_open(demo_conn **out, const demo_target *target,
                            apr_interval_time_t timeout)
{
    struct timeval slice = to_timeval(DEMO_READ_SLICE_US);
    demo_conn *conn = record_take();
    apr_status_t rv;

    if (conn == NULL) {
        return APR_ENOMEM;
    }
    conn->slot = target->slot;
    conn->use = target->use;
    conn->tcp = target->addr.sa.sa_family != AF_UNIX;
    conn->keep = conn->counted = conn->reused = conn->asked = conn->brief = false;
    conn->busy = 0;
    conn->taken = demo_now();
    conn->fd = socket(target->addr.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (conn->fd < 0) {
        rv = errno;
        record_give(conn);
        return rv;
    }
    rv = socket_connect(conn->fd, target, timeout);
    if (rv == APR_SUCCESS
        && setsockopt(conn->fd, SOL_SOCKET, SO_RCVTIMEO, &slice, sizeof slice) != 0) {
        rv = errno;
    }
    if (rv != APR_SUCCESS) {
        demo_conn_close(conn);
        return rv;
    }
    *out = conn;
    return APR_SUCCESS;
}

void demo_conn_close(demo_conn *conn)
{
    if (conn == NULL) {
        return;
    }
    close(conn->fd);
    conn->fd = -1;
    if (conn->counted) {
        demo_conns_release(conn->slot);
    }
    record_give(conn);
}

bool demo_conn_usable(const demo_conn *conn)
{
    char byte;

    return recv(conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0
           && (errno == EAGAIN || errno == EWOULDBLOCK);
}
