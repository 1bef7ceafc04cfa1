/*
 * demo_cluster.h -- the backends of a server, as the configuration names them.
 *
 * A cluster collects the URLs of DemoBackend and DemoBackupBackend while the
 * configuration is read and is published before the children start; afterwards
 * it is read-only.  Equal URLs are one backend however often they are named.
 * demo_balance.h chooses among its addresses.  Main thread only.
 */
#ifndef DEMO_CLUSTER_H
#define DEMO_CLUSTER_H

#include "httpd.h"

#include "mod_demo/backend/demo_endpoint.h"
#include "mod_demo/shm/demo_sizes.h"

typedef struct demo_cluster demo_cluster;

/* DemoHealthCheck. */
typedef struct {
    const char         *uri;      /* php-fpm's ping.path; starts with a slash */
    const char         *expect;   /* the body must begin with this; "" any body */
    apr_interval_time_t interval; /* between two checks of an address, > 0 */
    apr_interval_time_t timeout;  /* of one check, connect included, > 0 */
    int                 fall;     /* failures in a row that make it down, >= 1 */
    int                 rise;     /* successes in a row that make it up, >= 1 */
} demo_health_conf;

/* uri=/ping expect=pong interval=2s timeout=1s fall=2 rise=1 */
void demo_health_defaults(demo_health_conf *conf);

/* Forgets the backends of an earlier configuration.  Call in pre_config. */
void demo_cluster_reset(void);

/* A new, empty cluster that lives in pconf. */
demo_cluster *demo_cluster_create(apr_pool_t *pconf);

/* Counts e, of pconf, among the backends of all servers since the last
 * demo_cluster_reset().  NULL, or a text of pconf: it would be one more than
 * DEMO_BACKENDS_MAX. */
const char *demo_cluster_admit(const demo_endpoint *e, apr_pool_t *pconf);

/* Adds a URL: fcgi://host[:port] (port 9000), fcgi://[::1]:9000, or unix:/path,
 * and admits it.  NULL, or what is wrong with it in a text of pconf.  Only the
 * form and the number are checked, no name is resolved. */
const char *demo_cluster_add(demo_cluster *cluster, const char *url, int backup,
                             apr_pool_t *pconf);

/* A new cluster of the backends of one and the backups of another. */
demo_cluster *demo_cluster_with_backups(const demo_cluster *backends, const demo_cluster *backups,
                                        apr_pool_t *pconf);

/* What its backends' health checks do; demo_health_defaults() without.  conf is
 * borrowed and lives as long as the cluster.  The first cluster that names a
 * backend decides. */
void demo_cluster_health(demo_cluster *cluster, const demo_health_conf *conf);

/* Puts the backends into shared memory; numeric addresses and Unix sockets are
 * known from here on.  s is the server that uses the cluster first; script_root
 * its document root as php-fpm sees it, borrowed.  Call in post_config, after
 * demo_shm_open(), once. */
void demo_cluster_publish(demo_cluster *cluster, server_rec *s, const char *script_root);

/* As demo_cluster_publish(), for the DemoStatus of one of the servers that use
 * the cluster: each page is shown.  status was admitted.  Call it when all
 * clusters are published, so that an address that is also a backend's is checked
 * as such. */
void demo_cluster_publish_status(demo_cluster *cluster, const demo_endpoint *status,
                                 server_rec *s, const char *script_root);

/* Everything is published: what the configuration no longer names gives its
 * addresses' places back, as soon as nobody needs them. */
void demo_cluster_published(void);

#endif /* DEMO_CLUSTER_H */
