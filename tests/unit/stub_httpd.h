/* stub_httpd.h -- see stub_httpd.c. */
#ifndef STUB_HTTPD_H
#define STUB_HTTPD_H

#include "httpd.h"

/* The one server; its process pool is p. */
server_rec *stub_server(apr_pool_t *p);

/* What httpd keeps over restarts; NULL it to begin anew. */
extern void *stub_retained;

#endif /* STUB_HTTPD_H */
