/*
 * demo_directives.h -- what the administrator configured.
 *
 * Two records: one a (virtual) server for what concerns the backends, one a
 * directory for what concerns a request.  Both are read-only once httpd serves.
 * All of it lives in the configuration's pool.  Time is apr_interval_time_t
 * (microseconds), sizes are bytes.  docs/directives.md is the user's side.
 */
#ifndef DEMO_DIRECTIVES_H
#define DEMO_DIRECTIVES_H

#include "httpd.h"
#include "http_config.h"
#include "ap_expr.h"
#include "apr_tables.h"

#include "demo_endpoint.h"

extern module AP_MODULE_DECLARE_DATA demo_module;

#define DEMO_HANDLER_FCGI    "demo-fcgi"
#define DEMO_HANDLER_HEALTH  "demo-health"
#define DEMO_HANDLER_METRICS "demo-metrics"
#define DEMO_BACKEND_ENV     "BACKEND_URL" /* used where no DemoBackend is given */

/* DemoTimeout; 0: no limit. */
typedef struct {
    apr_interval_time_t connect; /* 2 s; a new connection to the backend */
    apr_interval_time_t send;    /* 60 s; between two writes that make progress */
    apr_interval_time_t read;    /* 60 s; between two reads that bring something */
    apr_interval_time_t total;   /* 0; from the first attempt to END_REQUEST */
    apr_interval_time_t queue;   /* 10 s; for a backend that refuses or is saturated */
} demo_timeouts;

/* DemoPool. */
typedef struct {
    int max;                  /* kept connections to a backend over all children; 0: off */
    apr_interval_time_t idle; /* an idle one is closed after this */
} demo_pool_conf;

/* DemoHealthCheck. */
typedef struct {
    const char *uri;              /* "/ping" */
    const char *expect;           /* "pong"; the body must begin with it */
    apr_interval_time_t interval; /* 2 s */
    apr_interval_time_t timeout;  /* 1 s, for one check as a whole */
    int fall;                     /* 2 failures in a row: down */
    int rise;                     /* 1 success: up again */
} demo_health_conf;

typedef struct {
    /* const demo_endpoint *; after demo_config_finish() never NULL, but empty
     * where a server has no backend of its own and none to inherit. */
    apr_array_header_t *backends;
    apr_array_header_t *backups;       /* const demo_endpoint *; may be NULL */
    const demo_endpoint *status;       /* DemoStatus; NULL: the backend's own, "/status" */
    const char *status_path;           /* never NULL after demo_config_finish() */
    demo_pool_conf pool;
    demo_health_conf health;
    int queue_max;                     /* DemoQueue */
    unsigned set;                      /* private: which members were given here */
} demo_server_conf;

/* One DemoParam. */
typedef struct {
    const char *name;
    const ap_expr_info_t *value;
} demo_param;

typedef struct {
    demo_timeouts timeout;
    int request_buffering;       /* bool */
    int response_buffering;      /* bool */
    apr_off_t spool_memory;      /* 64 KiB; beyond it a body goes to a file */
    apr_off_t spool_max;         /* 1 GiB; the most of it */
    int attempts;                /* DemoRetry; >= 1 */
    apr_size_t header_max;       /* DemoLimit headers=; the answer's header, as a whole */
    apr_size_t params_max;       /* DemoLimit params=; all parameters, encoded */
    const char *document_root;   /* no trailing slash; NULL: httpd's own */
    const char *front;           /* "/index.php"; NULL: off */
    apr_array_header_t *params;  /* demo_param; NULL: none */
    unsigned set;                /* private: which members were given here */
} demo_dir_conf;

extern const command_rec demo_directives[];

void *demo_server_conf_create(apr_pool_t *p, server_rec *s);
void *demo_server_conf_merge(apr_pool_t *p, void *base, void *add);
void *demo_dir_conf_create(apr_pool_t *p, char *dir);
void *demo_dir_conf_merge(apr_pool_t *p, void *base, void *add);

/* Hook check_config: reads BACKEND_URL for servers without DemoBackend and
 * fills in defaults.  OK, or HTTP_INTERNAL_SERVER_ERROR after a message on the
 * console that names DemoBackend and BACKEND_URL. */
int demo_config_finish(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp,
                       server_rec *s);

demo_server_conf *demo_server_conf_get(const server_rec *s);
demo_dir_conf *demo_dir_conf_get(const request_rec *r);

#endif /* DEMO_DIRECTIVES_H */
