/*
 * demo_endpoint.h -- where a backend is: "fcgi://host[:port]" or "unix:/path".
 *
 * What an administrator wrote in DemoBackend, DemoBackupBackend, DemoStatus or
 * BACKEND_URL, taken apart and checked.  Names are not resolved here.
 */
#ifndef DEMO_ENDPOINT_H
#define DEMO_ENDPOINT_H

#include "apr_pools.h"

#define DEMO_PORT_DEFAULT 9000 /* php-fpm's own default */

enum demo_endpoint_kind { DEMO_ENDPOINT_TCP, DEMO_ENDPOINT_UNIX };

typedef struct {
    const char *url;  /* canonical, without path: "fcgi://php-fpm:9000", "unix:/run/php.sock"; for logs and labels */
    enum demo_endpoint_kind kind;
    const char *host; /* TCP: name or address literal, without brackets */
    apr_port_t  port; /* TCP: 1..65535 */
    const char *sock; /* Unix: absolute path, shorter than sun_path */
    const char *path; /* what follows the authority ("/status"), or NULL */
} demo_endpoint;

/* What the path of a URL may be. */
enum demo_endpoint_path {
    DEMO_PATH_NONE,   /* fcgi://host[:port] alone; a lone "/" is accepted and dropped */
    DEMO_PATH_OPTIONAL /* fcgi://host[:port][/path]; never for unix: */
};

/* Parses url into *out, allocated from p.  NULL, or a message that says what
 * is wrong with this URL (from p, without the name of the directive). */
const char *demo_endpoint_parse(const demo_endpoint **out, const char *url,
                                enum demo_endpoint_path path, apr_pool_t *p);

#endif /* DEMO_ENDPOINT_H */
