#include "fcgi-sidecar/relay/sc_address.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static apr_status_t parse_unix(sc_address *a, const char *path, char *error, size_t error_size)
{
    struct sockaddr_un *sun = (struct sockaddr_un *)&a->sa;
    size_t len = strlen(path);

    if (path[0] != '/' || len >= sizeof(sun->sun_path)) {
        snprintf(error, error_size, "\"%.200s\": a Unix socket is unix:/path with at most %zu bytes of path",
                 a->text, sizeof(sun->sun_path) - 1);
        return APR_EINVAL;
    }
    sun->sun_family = AF_UNIX;
    memcpy(sun->sun_path, path, len + 1);
    a->len = sizeof(*sun);
    a->is_unix = true;
    return APR_SUCCESS;
}

/* Cuts host and port out of a copy of the text. */
static bool split(char *copy, char **host, char **port)
{
    char *colon = strrchr(copy, ':');
    size_t len;

    if (colon == NULL || colon[1] == '\0' || strspn(colon + 1, "0123456789") != strlen(colon + 1)
        || strlen(colon + 1) > 5) {
        return false;
    }
    *colon = '\0';
    *port = colon + 1;
    *host = copy;
    len = strlen(copy);
    if (copy[0] == '[') {
        if (len < 3 || copy[len - 1] != ']') {
            return false;
        }
        copy[len - 1] = '\0';
        *host = copy + 1;
        return true;
    }
    return strchr(copy, ':') == NULL;
}

apr_status_t sc_address_parse(sc_address *a, const char *text, bool passive,
                              char *error, size_t error_size)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_NUMERICSERV | (passive ? AI_PASSIVE : 0) };
    struct addrinfo *found = NULL;
    char copy[SC_ADDRESS_TEXT];
    char *host, *port;
    int rc;

    memset(a, 0, sizeof(*a));
    if (strlen(text) >= sizeof(a->text)) {
        snprintf(error, error_size, "an address of %zu bytes is too long", strlen(text));
        return APR_EINVAL;
    }
    memcpy(a->text, text, strlen(text) + 1);
    if (strncmp(text, "unix:", 5) == 0) {
        return parse_unix(a, text + 5, error, error_size);
    }
    memcpy(copy, text, strlen(text) + 1);
    if (!split(copy, &host, &port) || strtoul(port, NULL, 10) > 65535
        || (!passive && (*host == '\0' || strtoul(port, NULL, 10) == 0))) {
        snprintf(error, error_size, "\"%.200s\" is neither host:port nor unix:/path", text);
        return APR_EINVAL;
    }
    rc = getaddrinfo(*host != '\0' ? host : NULL, port, &hints, &found);
    if (rc != 0) {
        snprintf(error, error_size, "\"%.180s\" does not resolve: %s", text, gai_strerror(rc));
        return rc == EAI_SYSTEM ? errno : APR_EGENERAL;
    }
    memcpy(&a->sa, found->ai_addr, found->ai_addrlen);
    a->len = found->ai_addrlen;
    freeaddrinfo(found);
    return APR_SUCCESS;
}
