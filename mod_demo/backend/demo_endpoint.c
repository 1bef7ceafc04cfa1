#include "mod_demo/backend/demo_endpoint.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#include "apr_lib.h"
#include "apr_strings.h"

static const char *parse_unix(demo_endpoint *e, const char *path, apr_pool_t *p)
{
    size_t max = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;

    if (path[0] == '/' && path[1] == '/') {
        path += strspn(path, "/") - 1; /* unix:///path */
    }
    if (path[0] != '/' || path[1] == '\0') {
        return "unix: takes an absolute path";
    }
    if (strlen(path) > max) {
        return apr_psprintf(p, "the path of a Unix socket has at most %" APR_SIZE_T_FMT
                            " characters, this one %" APR_SIZE_T_FMT, max, strlen(path));
    }
    e->kind = DEMO_ENDPOINT_UNIX;
    e->sock = apr_pstrdup(p, path);
    e->url = apr_pstrcat(p, "unix:", e->sock, NULL);
    return NULL;
}

/* A name as resolvers take it, or a numeric address. */
static const char *check_host(const char *host, int bracketed, apr_pool_t *p)
{
    struct in6_addr any;

    if (bracketed) {
        return inet_pton(AF_INET6, host, &any) == 1 ? NULL
             : apr_psprintf(p, "\"[%s]\" is no IPv6 address", host);
    }
    if (*host == '\0') {
        return "the host is missing";
    }
    if (strlen(host) > DEMO_HOST_MAX) {
        return apr_psprintf(p, "a host has at most %d characters", DEMO_HOST_MAX);
    }
    for (const char *c = host; *c != '\0'; c++) {
        if (!apr_isalnum(*c) && strchr("-._", *c) == NULL) {
            return apr_psprintf(p, "\"%s\" is no host name%s", host,
                                strchr(host, ':') != NULL ? " (IPv6 addresses go in brackets)" : "");
        }
    }
    return NULL;
}

static const char *parse_port(demo_endpoint *e, const char *text, apr_pool_t *p)
{
    unsigned port = 0;

    e->port = DEMO_PORT_DEFAULT;
    if (*text == '\0') {
        return NULL;
    }
    size_t len = strlen(text + 1);
    if (*text != ':' || len == 0 || len > 5 || strspn(text + 1, "0123456789") != len) {
        return apr_psprintf(p, "\"%s\" is no port (1 to 65535)", text + (*text == ':'));
    }
    for (const char *c = text + 1; *c != '\0'; c++) {
        port = port * 10 + (unsigned)(*c - '0');
    }
    if (port < 1 || port > 65535) {
        return apr_psprintf(p, "port %u is not within 1 to 65535", port);
    }
    e->port = port;
    return NULL;
}

static const char *parse_tcp(demo_endpoint *e, const char *rest, apr_pool_t *p)
{
    size_t len = strcspn(rest, "/?#");
    char *authority = apr_pstrndup(p, rest, len);
    const char *port, *wrong;
    int bracketed = authority[0] == '[';
    char *end = bracketed ? strchr(authority, ']') : strrchr(authority, ':');

    if (rest[len + strcspn(rest + len, "?#")] != '\0') {
        return "a query or fragment makes no sense here";
    }
    if (rest[len] == '/' && rest[len + 1] != '\0') {
        e->path = apr_pstrdup(p, rest + len);
        if (strlen(e->path) > DEMO_PATH_MAX) {
            return apr_psprintf(p, "the path of a page has at most %d characters, this one %"
                                APR_SIZE_T_FMT, DEMO_PATH_MAX, strlen(e->path));
        }
    }
    if (bracketed && end == NULL) {
        return "the closing bracket of the IPv6 address is missing";
    }
    port = end == NULL ? "" : apr_pstrdup(p, end + (bracketed ? 1 : 0));
    if (end != NULL) {
        *end = '\0';
    }
    e->kind = DEMO_ENDPOINT_TCP;
    e->host = authority + bracketed;
    wrong = check_host(e->host, bracketed, p);
    if (wrong == NULL) {
        wrong = parse_port(e, port, p);
    }
    e->url = apr_psprintf(p, bracketed ? "fcgi://[%s]:%u" : "fcgi://%s:%u", e->host, e->port);
    return wrong;
}

const char *demo_endpoint_parse(const demo_endpoint **out, const char *url,
                                enum demo_endpoint_path path, apr_pool_t *p)
{
    demo_endpoint *e = apr_pcalloc(p, sizeof(*e));
    const char *wrong;

    if (strncasecmp(url, "fcgi://", 7) == 0) {
        wrong = parse_tcp(e, url + 7, p);
    }
    else if (strncasecmp(url, "unix:", 5) == 0) {
        wrong = parse_unix(e, url + 5, p);
    }
    else {
        wrong = "it starts neither with fcgi:// nor with unix:/";
    }
    if (wrong == NULL && e->path != NULL && path == DEMO_PATH_NONE) {
        wrong = "a path makes no sense here";
    }
    if (wrong != NULL) {
        return apr_psprintf(p, "\"%s\": %s; it takes fcgi://host[:9000]%s or unix:/path", url, wrong,
                            path == DEMO_PATH_ALLOWED ? "[/status]" : "");
    }
    *out = e;
    return NULL;
}
