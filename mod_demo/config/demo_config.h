/*
 * demo_config.h -- what the administrator configured.
 *
 * Two records: one a (virtual) server for what concerns the backends, one a
 * directory for what concerns a request.  Both are read-only once httpd serves
 * and live in the configuration's pool.  Time is in microseconds, sizes are
 * bytes.  docs/directives.md is the user's side.
 */
#ifndef DEMO_CONFIG_H
#define DEMO_CONFIG_H

#include "httpd.h"
#include "http_config.h"
#include "ap_expr.h"
#include "apr_tables.h"

#include "mod_demo/backend/demo_cluster.h"
#include "mod_demo/backend/demo_endpoint.h"
#include "mod_demo/pool/demo_pool.h"

/* The one symbol that httpd looks for; all others are hidden. */
extern module AP_MODULE_DECLARE_DATA demo_module __attribute__((visibility("default")));

#define DEMO_HANDLER_FCGI    "demo-fcgi"
#define DEMO_HANDLER_HEALTH  "demo-health"
#define DEMO_HANDLER_METRICS "demo-metrics"
#define DEMO_BACKEND_ENV     "BACKEND_URL" /* used where no DemoBackend is given */

/* DemoTimeout; 0: no limit. */
typedef struct {
    apr_interval_time_t connect; /* 2 s; a new connection to the backend */
    apr_interval_time_t send;    /* 60 s; between two writes that make progress */
    apr_interval_time_t read;    /* 60 s; between two reads that bring something */
    apr_interval_time_t total;   /* 0; the request, its body included, to END_REQUEST */
    apr_interval_time_t queue;   /* 10 s; for a backend that refuses or is saturated */
} demo_timeouts;

typedef struct {
    demo_cluster *cluster;   /* NULL after demo_config_finish(): this server has no backend */
    int has_primary;         /* bool: DemoBackend was given, not only DemoBackupBackend */
    const demo_endpoint *status; /* DemoStatus; NULL: the backends' own */
    demo_pool_conf pool;
    demo_health_conf health;
    int queue_max;           /* DemoQueue */
    unsigned set;            /* private: which members were given here */
    unsigned pool_set, health_set;
} demo_server_conf;

/* One DemoParam. */
typedef struct {
    const char *name;
    const ap_expr_info_t *value;
} demo_param;

/* DemoSpool. */
typedef struct {
    apr_off_t memory; /* 64 KiB; beyond it a body goes to a file */
    apr_off_t max;    /* 1 GiB; the most of it there */
} demo_spool_conf;

/* DemoLimit. */
typedef struct {
    apr_off_t headers; /* 256 KiB; the whole header of an answer */
    apr_off_t params;  /* 4 MiB; all FastCGI parameters of a request, encoded */
} demo_limits;

typedef struct {
    demo_timeouts timeout;
    demo_spool_conf spool;
    demo_limits limit;
    int request_buffering;       /* bool */
    int response_buffering;      /* bool */
    int attempts;                /* DemoRetry; >= 1 */
    const char *document_root;   /* no trailing slash; NULL: httpd's own */
    const char *front;           /* "/index.php"; NULL: off */
    apr_array_header_t *params;  /* demo_param; NULL: none */
    unsigned set;                /* private: which members were given here */
    unsigned timeout_set, spool_set, limit_set;
} demo_dir_conf;

demo_server_conf *demo_server_conf_get(const server_rec *s);
demo_dir_conf *demo_dir_conf_get(const request_rec *r);

/* Hook check_config: reads BACKEND_URL for servers without DemoBackend and
 * hands the health-check settings to the clusters.  OK, or
 * HTTP_INTERNAL_SERVER_ERROR after a message that names DemoBackend and
 * BACKEND_URL. */
int demo_config_finish(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp,
                       server_rec *s);

/* Publishes the clusters and status pages of all servers (demo_cluster.h), and
 * warns of what is allowed and has no effect (DM1006).  Call in post_config,
 * after demo_shm_open(). */
void demo_config_publish(server_rec *s);

#endif /* DEMO_CONFIG_H */
