/*
 * sc_http.h -- /metrics, /livez, /readyz, /healthz and /status for probes,
 * Prometheus and people (libmicrohttpd).
 *
 * GET and HEAD; 405 for other methods, 404 for other paths.  The health paths
 * take ?verbose (a line a check) and ?exclude=NAME; Accept:
 * application/health+json gives JSON.  Liveness does not look at php-fpm.
 */
#ifndef SC_HTTP_H
#define SC_HTTP_H

#include "fcgi-sidecar/node/sc_node.h"

typedef struct sc_http sc_http;

apr_status_t sc_http_start(sc_http **http, sc_node *n, sc_error *err);
uint16_t     sc_http_port(const sc_http *http);
void         sc_http_stop(sc_http *http); /* safe on NULL */

#endif /* SC_HTTP_H */
