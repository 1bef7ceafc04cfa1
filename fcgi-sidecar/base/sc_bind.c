#include "fcgi-sidecar/base/sc_bind.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fcgi-sidecar/base/sc_options.h"

#define BACKLOG 128

static apr_status_t bound_port(int fd, uint16_t *port)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } name = { .v6 = { 0 } };
    socklen_t len = sizeof(name);

    if (getsockname(fd, &name.any, &len) != 0) {
        return errno;
    }
    *port = ntohs(name.any.sa_family == AF_INET6 ? name.v6.sin6_port : name.v4.sin_port);
    return APR_SUCCESS;
}

apr_status_t sc_bind_tcp(const char *address, const char *option, int *fd, uint16_t *port,
                           sc_error *err)
{
    struct addrinfo hints = { .ai_flags = AI_PASSIVE, .ai_family = AF_UNSPEC,
                              .ai_socktype = SOCK_STREAM };
    struct addrinfo *ai = NULL;
    char host[256], service[8];
    int one = 1, rc;
    apr_status_t rv = APR_SUCCESS;

    *fd = -1;
    if (!sc_address_split(address, host, sizeof(host), port)) {
        return sc_error_set(err, SC_EUSAGE, "%s: \"%s\" is no HOST:PORT", option, address);
    }
    snprintf(service, sizeof(service), "%u", *port);
    rc = getaddrinfo(host, service, &hints, &ai);
    if (rc != 0) {
        return sc_error_set(err, SC_EFAILED, "%s: can not resolve %s: %s", option, host,
                            gai_strerror(rc));
    }
    *fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*fd < 0 || setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0
        || bind(*fd, ai->ai_addr, ai->ai_addrlen) != 0 || listen(*fd, BACKLOG) != 0) {
        rv = errno;
    }
    freeaddrinfo(ai);
    if (rv == APR_SUCCESS) {
        rv = bound_port(*fd, port);
    }
    if (rv != APR_SUCCESS) {
        if (*fd >= 0) {
            close(*fd);
            *fd = -1;
        }
        return sc_error_errno(err, rv, "%s: can not listen on %s", option, address);
    }
    return APR_SUCCESS;
}
