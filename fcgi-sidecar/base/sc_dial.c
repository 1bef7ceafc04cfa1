#include "fcgi-sidecar/base/sc_dial.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fcgi-sidecar/base/sc_fault.h"
#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/base/sc_options.h"

apr_status_t sc_dial_wait(int fd, short events, int timeout_ms)
{
    struct pollfd p = { fd, events, 0 };
    int64_t end = sc_now_ms() + timeout_ms;
    int n;

    do {
        int64_t left = end - sc_now_ms();

        n = poll(&p, 1, left > 0 ? (int)left : 0);
    } while (n < 0 && errno == EINTR);
    return n > 0 ? APR_SUCCESS : n == 0 ? ETIMEDOUT : errno;
}

static apr_status_t connect_one(const struct addrinfo *ai, int timeout_ms, int *out)
{
    int one = 1;
    int errnum = 0;
    socklen_t len = sizeof(errnum);
    apr_status_t rv = APR_SUCCESS;
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0) {
        return errno;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (SC_FAULT("connect") || connect(fd, ai->ai_addr, ai->ai_addrlen) != 0) {
        rv = errno;
        if (rv == EINPROGRESS) {
            rv = sc_dial_wait(fd, POLLOUT, timeout_ms);
            if (rv == APR_SUCCESS) {
                getsockopt(fd, SOL_SOCKET, SO_ERROR, &errnum, &len);
                rv = errnum;
            }
        }
    }
    if (rv != APR_SUCCESS) {
        close(fd);
        return rv;
    }
    *out = fd;
    return APR_SUCCESS;
}

apr_status_t sc_dial(const char *address, int timeout_ms, int *fd, sc_error *err)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    struct addrinfo *list = NULL, *ai;
    char host[256], service[8];
    uint16_t port;
    apr_status_t rv = ENOENT;
    int rc;

    *fd = -1;
    if (!sc_address_split(address, host, sizeof(host), &port)) {
        return sc_error_set(err, SC_EFAILED, "\"%s\" is no HOST:PORT", address);
    }
    snprintf(service, sizeof(service), "%u", port);
    rc = getaddrinfo(host, service, &hints, &list);
    if (rc != 0) {
        return sc_error_set(err, SC_EFAILED, "can not resolve %s: %s", host, gai_strerror(rc));
    }
    for (ai = list; ai != NULL && rv != APR_SUCCESS; ai = ai->ai_next) {
        rv = connect_one(ai, timeout_ms, fd);
    }
    freeaddrinfo(list);
    return rv == APR_SUCCESS ? rv : sc_error_errno(err, rv, "can not connect to %s", address);
}

bool sc_dial_accepts(const char *address, int timeout_ms)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    struct addrinfo ai = { .ai_family = AF_UNIX, .ai_addr = (struct sockaddr *)&un,
                           .ai_addrlen = sizeof(un) };
    apr_status_t rv;
    int fd = -1;

    if (strncmp(address, "unix:", 5) != 0) {
        rv = sc_dial(address, timeout_ms, &fd, NULL);
    }
    else if (strlen(address + 5) >= sizeof(un.sun_path)) {
        return false;
    }
    else {
        memcpy(un.sun_path, address + 5, strlen(address + 5) + 1);
        rv = connect_one(&ai, timeout_ms, &fd);
    }
    if (fd >= 0) {
        close(fd);
    }
    return rv == APR_SUCCESS || rv == EAGAIN; /* a Unix listener whose backlog is full is there */
}
