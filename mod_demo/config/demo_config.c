#include "mod_demo/config/demo_config.h"

#include <stdlib.h>
#include <string.h>

#include "apr_strings.h"
#include "http_core.h"
#include "http_log.h"

#include "mod_demo/backend/demo_backend.h"

APLOG_USE_MODULE(demo);

demo_server_conf *demo_server_conf_get(const server_rec *s)
{
    return ap_get_module_config(s->module_config, &demo_module);
}

demo_dir_conf *demo_dir_conf_get(const request_rec *r)
{
    return ap_get_module_config(r->per_dir_config, &demo_module);
}

/* --- when all of it is read -------------------------------------------------------- */

/* Gives BACKEND_URL, which may hold several URLs, to a server. */
static const char *backend_from_env(demo_server_conf *c, apr_pool_t *pconf, apr_pool_t *ptemp)
{
    char *state, *rest = apr_pstrdup(ptemp, getenv(DEMO_BACKEND_ENV));

    if (c->cluster == NULL) {
        c->cluster = demo_cluster_create(pconf);
    }
    for (char *url = apr_strtok(rest, " \t\r\n", &state); url != NULL;
         url = apr_strtok(NULL, " \t\r\n", &state)) {
        const char *wrong = demo_cluster_add(c->cluster, url, 0, pconf);
        if (wrong != NULL) {
            return wrong;
        }
    }
    c->has_primary = 1;
    return NULL;
}

/* The first server that has the cluster of v, which is one of them. */
static server_rec *first_of_cluster(server_rec *s, const server_rec *v)
{
    while (s->next != NULL
           && demo_server_conf_get(s)->cluster != demo_server_conf_get(v)->cluster) {
        s = s->next;
    }
    return s;
}

int demo_config_finish(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    const char *env = getenv(DEMO_BACKEND_ENV);
    int any = 0;

    if (env != NULL && env[strspn(env, " \t\r\n")] == '\0') {
        env = NULL;
    }
    for (server_rec *v = s; v != NULL; v = v->next) {
        demo_server_conf *c = demo_server_conf_get(v);
        if (!c->has_primary && env != NULL) {
            const char *wrong = backend_from_env(c, pconf, ptemp);
            if (wrong != NULL) {
                ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_CRIT, 0, NULL,
                             "DM1001: " DEMO_BACKEND_ENV " (which counts where the configuration "
                             "has no DemoBackend): %s", wrong);
                return HTTP_INTERNAL_SERVER_ERROR;
            }
        }
        if (c->has_primary) {
            any = 1;
            if (first_of_cluster(s, v) == v) {
                demo_cluster_health(c->cluster, &c->health);
            }
        }
        else {
            c->cluster = NULL;
        }
    }
    if (!any) {
        ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_CRIT, 0, NULL,
                     "DM1002: no backend is configured: say where php-fpm is with DemoBackend "
                     "fcgi://host[:9000] or unix:/path in the configuration, or in the "
                     "environment variable " DEMO_BACKEND_ENV);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return OK;
}

/* --- before the children start ------------------------------------------------------- */

static int health_equal(const demo_health_conf *a, const demo_health_conf *b)
{
    return strcmp(a->uri, b->uri) == 0 && strcmp(a->expect, b->expect) == 0
           && a->interval == b->interval && a->timeout == b->timeout && a->fall == b->fall
           && a->rise == b->rise;
}

/* The first of v's backends that is checked otherwise than v says; or NULL. */
static const demo_backend *checked_otherwise(const demo_server_conf *c)
{
    const demo_cluster *cluster = c->cluster;

    for (unsigned i = 0; i < cluster->n_backends + cluster->n_backups; i++) {
        const demo_backend *b = cluster->backends[i];
        if (b->health != NULL && !health_equal(b->health, &c->health)) {
            return b;
        }
    }
    return NULL;
}

/* Warns of health checks that another server has decided.  Which are published. */
static void health_review(server_rec *s)
{
    for (server_rec *v = s; v != NULL; v = v->next) {
        const demo_server_conf *c = demo_server_conf_get(v);
        const demo_backend *b = c->cluster != NULL && c->health_set != 0 ? checked_otherwise(c) : NULL;
        if (b != NULL) {
            ap_log_error(APLOG_MARK, APLOG_WARNING, 0, v, "DM1006: %s:%u: DemoHealthCheck has no "
                         "effect on %s: another server uses the same backend, and it is checked "
                         "once, as the first of them says", v->defn_name ? v->defn_name : "(server)",
                         v->defn_line_number, b->endpoint->url);
        }
    }
}

/* The document root as php-fpm sees it, for its ping and status pages. */
static const char *script_root(server_rec *s)
{
    const demo_dir_conf *dir = ap_get_module_config(s->lookup_defaults, &demo_module);
    const core_server_config *core = ap_get_core_module_config(s->module_config);

    if (dir != NULL && dir->document_root != NULL) {
        return dir->document_root;
    }
    return core->ap_document_root != NULL ? core->ap_document_root : "";
}

void demo_config_publish(server_rec *s)
{
    for (server_rec *v = s; v != NULL; v = v->next) {
        demo_cluster *c = demo_server_conf_get(v)->cluster;
        if (c != NULL && first_of_cluster(s, v) == v) {
            demo_cluster_publish(c, v, script_root(v));
        }
    }
    for (server_rec *v = s; v != NULL; v = v->next) {
        const demo_server_conf *c = demo_server_conf_get(v);
        if (c->cluster != NULL && c->status != NULL) {
            demo_cluster_publish_status(c->cluster, c->status, v, script_root(v));
        }
    }
    demo_cluster_published();
    health_review(s);
}
