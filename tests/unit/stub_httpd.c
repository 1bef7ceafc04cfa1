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
#include "http_core.h"
#include "http_log.h"

#include "mod_demo/demo_directives.h"

module demo_module = { STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, NULL, 0 };

static demo_server_conf   server_conf;
static core_server_config core_conf = { .ap_document_root = "/srv/www" };
static void              *configs[2] = { &core_conf, NULL }; /* as AP_CORE_MODULE_INDEX has it */
static void              *dir_configs[2] = { NULL, NULL };
static process_rec        process;
static server_rec         server = {
    .module_config = (ap_conf_vector_t *)configs, .lookup_defaults = (ap_conf_vector_t *)dir_configs
};

server_rec *stub_server(apr_pool_t *p, demo_cluster *cluster)
{
    process.pool = p;
    server.process = &process;
    demo_module.module_index = 1;
    server_conf.cluster = cluster;
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

demo_server_conf *demo_server_conf_get(const server_rec *s)
{
    (void)s;
    return &server_conf;
}

void ap_log_error_(const char *file, int line, int module_index, int level, apr_status_t status,
                   const server_rec *s, const char *fmt, ...)
{
    (void)file, (void)line, (void)module_index, (void)level, (void)status, (void)s, (void)fmt;
}

void demo_health_defaults(demo_health_conf *conf)
{
    *conf = (demo_health_conf){ "/ping", "pong", 2000000, 1000000, 2, 1 };
}
