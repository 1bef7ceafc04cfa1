#include "fcgi-sidecar/sc_probe.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fcgi-sidecar/sc_options.h"

static bool accepts(const struct sockaddr *name, socklen_t len, int ms)
{
    int fd = socket(name->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct pollfd p = { fd, POLLOUT, 0 };
    int errnum = 0;
    socklen_t size = sizeof(errnum);
    bool ok = false;

    if (fd < 0) {
        return false;
    }
    if (connect(fd, name, len) == 0 || errno == EAGAIN) {
        ok = true; /* EAGAIN: a Unix listener whose backlog is full is there */
    }
    else if (errno == EINPROGRESS && poll(&p, 1, ms) == 1) {
        ok = getsockopt(fd, SOL_SOCKET, SO_ERROR, &errnum, &size) == 0 && errnum == 0;
    }
    close(fd);
    return ok;
}

static bool accepts_unix(const char *path, int ms)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };

    if (strlen(path) >= sizeof(un.sun_path)) {
        return false;
    }
    memcpy(un.sun_path, path, strlen(path) + 1);
    return accepts((const struct sockaddr *)&un, sizeof(un), ms);
}

bool sc_probe_accepts(const char *address, int ms)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };
    struct addrinfo *list = NULL, *ai;
    char host[256], service[8];
    uint16_t port;
    bool ok = false;

    if (strncmp(address, "unix:", 5) == 0) {
        return accepts_unix(address + 5, ms);
    }
    if (!sc_address_split(address, host, sizeof(host), &port)) {
        return false;
    }
    snprintf(service, sizeof(service), "%u", port);
    if (getaddrinfo(host, service, &hints, &list) != 0) {
        return false;
    }
    for (ai = list; ai != NULL && !ok; ai = ai->ai_next) {
        ok = accepts(ai->ai_addr, ai->ai_addrlen, ms);
    }
    freeaddrinfo(list);
    return ok;
}
