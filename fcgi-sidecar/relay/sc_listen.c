#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "fcgi-sidecar/relay/sc_relay_core.h"

#define LISTEN_BACKLOG 4096
#define ACCEPT_AT_ONCE 64

static void accept_pause(sc_relay *relay)
{
    size_t i;

    for (i = 0; i < relay->listener_count; i++) {
        sc_loop_rewatch(&relay->loop, &relay->listeners[i].io, SC_LOOP_LEVEL);
    }
    sc_timer_start(&relay->loop, &relay->after_accept, &relay->accept_timer);
}

void sc_listen_resume(sc_timer *timer)
{
    sc_relay *relay = SC_OWNER(timer, sc_relay, accept_timer);
    size_t i;

    for (i = 0; i < relay->listener_count; i++) {
        sc_loop_rewatch(&relay->loop, &relay->listeners[i].io, SC_LOOP_READ | SC_LOOP_LEVEL);
    }
}

static void listener_ready(sc_io *io, uint32_t events)
{
    sc_listener *l = SC_OWNER(io, sc_listener, io);
    sc_relay *relay = l->relay;
    int i, fd;

    for (i = 0; i < ACCEPT_AT_ONCE; i++) {
        if (relay->client_count >= relay->config.max_clients) {
            accept_pause(relay);
            return;
        }
        fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            sc_client_accept(relay, fd);
        }
        else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            sc_relay_log(relay, SC_RELAY_LOG_ERROR, "SC0331", "listen %s: accept: %s; new clients wait",
                         l->address.text, strerror(errno));
            accept_pause(relay);
            return;
        }
        else if (errno != EINTR && errno != ECONNABORTED) {
            return;
        }
    }
}

/* A socket file that nobody listens on is left over from a crash. */
static void remove_stale(const sc_address *a)
{
    const struct sockaddr_un *sun = (const struct sockaddr_un *)&a->sa;
    struct stat st;
    int fd;

    if (stat(sun->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode)) {
        return;
    }
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        if (connect(fd, (const struct sockaddr *)&a->sa, a->len) < 0 && errno == ECONNREFUSED) {
            unlink(sun->sun_path);
        }
        close(fd);
    }
}

/* Accepted sockets inherit these; they fail on a Unix socket, and do no harm. */
static void set_options(int fd)
{
    const int one = 1, idle = 60, interval = 15, probes = 4;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    /* A client's host that vanished is found out within two minutes. */
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

apr_status_t sc_listen_open(sc_relay *relay, const char *text, char *error, size_t error_size)
{
    sc_listener *l = &relay->listeners[relay->listener_count];
    char why[SC_ERROR_TEXT] = "";
    apr_status_t rv;

    rv = sc_address_parse(&l->address, text, true, why, sizeof(why));
    if (rv != APR_SUCCESS) {
        snprintf(error, error_size, "--listen: %s", why);
        return rv;
    }
    if (l->address.is_unix) {
        remove_stale(&l->address);
    }
    l->relay = relay;
    l->io.ready = listener_ready;
    l->io.release = NULL;
    l->io.fd = socket(l->address.sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->io.fd >= 0) {
        relay->listener_count++; /* closed with the others from here on */
        set_options(l->io.fd);
        l->bound = bind(l->io.fd, (struct sockaddr *)&l->address.sa, l->address.len) == 0;
    }
    if (!l->bound || listen(l->io.fd, LISTEN_BACKLOG) < 0) {
        rv = errno;
        snprintf(error, error_size, "--listen: can not listen on %.180s: %s", text, strerror(rv));
        return rv;
    }
    return sc_loop_watch(&relay->loop, &l->io, SC_LOOP_READ | SC_LOOP_LEVEL);
}

void sc_listen_close(sc_relay *relay)
{
    const struct sockaddr_un *sun;
    size_t i;

    for (i = 0; i < relay->listener_count; i++) {
        if (relay->listeners[i].address.is_unix && relay->listeners[i].bound) {
            sun = (const struct sockaddr_un *)&relay->listeners[i].address.sa;
            unlink(sun->sun_path);
        }
        sc_loop_close(&relay->loop, &relay->listeners[i].io);
    }
}

unsigned short sc_relay_port(const sc_relay *relay)
{
    struct sockaddr_storage sa = { 0 };
    socklen_t len;
    size_t i;

    for (i = 0; i < relay->listener_count; i++) {
        len = sizeof(sa);
        if (getsockname(relay->listeners[i].io.fd, (struct sockaddr *)&sa, &len) == 0) {
            if (sa.ss_family == AF_INET) {
                return ntohs(((struct sockaddr_in *)&sa)->sin_port);
            }
            if (sa.ss_family == AF_INET6) {
                return ntohs(((struct sockaddr_in6 *)&sa)->sin6_port);
            }
        }
    }
    return 0;
}
