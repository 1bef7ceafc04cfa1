/*
 * stub_httpd.c -- as much of httpd as the module's shared-memory parts call.
 *
 * What would be retained over a restart is, over a second demo_shm_open() of the
 * same test program; the log goes nowhere.
 */
#include "stub_httpd.h"

#include <stdlib.h>
#include <string.h>

#include "ap_mpm.h"
#include "http_log.h"

#include "mod_demo/config/demo_config.h"

module demo_module = { STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, NULL, 0 };

static process_rec process;
static server_rec  server;

server_rec *stub_server(apr_pool_t *p)
{
    process.pool = p;
    server.process = &process;
    return &server;
}

void *ap_retained_data_create(const char *key, apr_size_t size)
{
    (void)key;
    return stub_retained = apr_pcalloc(process.pool, size);
}

void *stub_retained;

void *ap_retained_data_get(const char *key)
{
    (void)key;
    return stub_retained;
}

apr_status_t ap_mpm_query(int query_code, int *result)
{
    *result = query_code == AP_MPMQ_HARD_LIMIT_DAEMONS ? 4 : 0;
    return APR_SUCCESS;
}

/* The server has no backends to show. */
demo_server_conf *demo_server_conf_get(const server_rec *s)
{
    static demo_server_conf conf;

    (void)s;
    return &conf;
}

void ap_log_error_(const char *file, int line, int module_index, int level, apr_status_t status,
                   const server_rec *s, const char *fmt, ...)
{
    (void)file, (void)line, (void)module_index, (void)level, (void)status, (void)s, (void)fmt;
}
