/*
 * demo_endpoint.h -- where a backend is: "fcgi://host[:port]" or "unix:/path".
 *
 * What an administrator wrote in DemoBackend, DemoBackupBackend, DemoStatus or
 * BACKEND_URL, taken apart and checked.  Names are not resolved here.
 */
#ifndef DEMO_ENDPOINT_H
#define DEMO_ENDPOINT_H

#include "apr_pools.h"

#define DEMO_PORT_DEFAULT 9000 /* php-fpm's own */
#define DEMO_HOST_MAX     253  /* characters of a host name */
#define DEMO_STATUS_PATH  "/status" /* of php-fpm's status page, where a URL names none */
#define DEMO_PATH_MAX     191  /* characters of the path of a page */

enum demo_endpoint_kind { DEMO_ENDPOINT_TCP, DEMO_ENDPOINT_UNIX };

typedef struct {
    const char *url;  /* canonical, without path: "fcgi://php-fpm:9000", "unix:/run/php.sock" */
    enum demo_endpoint_kind kind;
    const char *host; /* TCP: name or address, without brackets */
    unsigned    port; /* TCP: 1..65535 */
    const char *sock; /* Unix: absolute path, shorter than sun_path */
    const char *path; /* what follows host and port ("/status"), or NULL */
} demo_endpoint;

/* Whether a path may follow.  A lone "/" may always, and is dropped. */
enum demo_endpoint_path { DEMO_PATH_NONE, DEMO_PATH_ALLOWED };

/* Parses url into *out, allocated from p.  NULL, or a text from p that says what
 * is wrong with the URL and what it takes. */
const char *demo_endpoint_parse(const demo_endpoint **out, const char *url,
                                enum demo_endpoint_path path, apr_pool_t *p);

#endif /* DEMO_ENDPOINT_H */
