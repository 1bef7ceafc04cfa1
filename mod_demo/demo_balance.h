/*
 * demo_balance.h -- which address a request goes to.
 *
 * At configuration time a cluster collects the URLs of DemoBackend and
 * DemoBackupBackend.  Equal URLs are one backend however often they are named.
 * A background thread keeps each backend's addresses (demo_resolve.h) and
 * their health (demo_health.h) in shared memory; a request only reads them.
 *
 * Choice: two usable addresses at random, the one with fewer requests
 * outstanding over all children.  An address that failed is held back for 1 s,
 * doubled with each further failure up to 30 s; when nothing else is usable
 * the backup backends are, and when they are not either, every address is
 * tried again: a sole backend is never taken out.
 */
#ifndef DEMO_BALANCE_H
#define DEMO_BALANCE_H

#include <sys/socket.h>
#include <sys/un.h>

#include "httpd.h"

#include "mod_demo/demo_health.h"

#define DEMO_BACKENDS_MAX    32  /* different URLs in one httpd */
#define DEMO_ADDRESSES_MAX   256 /* addresses of all of them together */
#define DEMO_TARGET_NAME_MAX 128

typedef struct demo_cluster demo_cluster;

/* Forgets what an earlier configuration named.  Call in pre_config. */
void demo_balance_reset(apr_pool_t *pconf);

/* A new, empty cluster that lives in pconf. */
demo_cluster *demo_cluster_create(apr_pool_t *pconf);

/* Adds a URL: fcgi://host[:port] (port 9000), fcgi://[::1]:9000, or unix:/path.
 * NULL, or what is wrong with it in a text of pconf.  Only the form is checked,
 * no name is resolved. */
const char *demo_cluster_add(demo_cluster *cluster, const char *url, int backup,
                             apr_pool_t *pconf);

/* A new cluster of the backends of one and the backups of another. */
demo_cluster *demo_cluster_with_backups(const demo_cluster *backends, const demo_cluster *backups,
                                        apr_pool_t *pconf);

/* What its backends' health checks do; the default of demo_health_defaults()
 * without.  conf is borrowed and lives as long as pconf.  The first cluster that
 * names a backend decides. */
void demo_cluster_health(demo_cluster *cluster, const demo_health_conf *conf);

/* Puts the backends into shared memory; numeric addresses and Unix sockets are
 * known from here on.  Call in post_config, after demo_shm_open().  APR_ENOSPC
 * (logged) when there are more than DEMO_BACKENDS_MAX.  A cluster that no
 * server uses is left out. */
apr_status_t demo_balance_publish(server_rec *s);

/* How many addresses the cluster has at the moment (backups too): more than
 * one makes an attempt elsewhere possible. */
unsigned demo_cluster_size(const demo_cluster *cluster);

/* --- at run time, any thread ------------------------------------------------- */

/* A chosen address; plain data, the caller's. */
typedef struct {
    int         slot;                 /* of the address in shared memory, or -1: none is held */
    unsigned    use;                  /* with slot it names the address; a slot is given to
                                       * another address only while nothing is outstanding or
                                       * connected there */
    int         backend;              /* private */
    socklen_t   addr_len;
    union {
        struct sockaddr         sa;
        struct sockaddr_un      un;
        struct sockaddr_storage ss;
    } addr;
    char        name[DEMO_TARGET_NAME_MAX]; /* for logs: "fcgi://php-fpm:9000 (10.0.0.7:9000)" */
} demo_target;

/* Chooses an address and counts a request outstanding there, until
 * demo_balance_done().  avoid_slot (or -1) is taken only when there is no
 * other: the address that the attempt before failed at.
 *
 * APR_SUCCESS; APR_EAGAIN: no backend's name was resolved yet, or the name has
 * no address at the moment.  Does not wait and does not allocate. */
apr_status_t demo_balance_pick(const demo_cluster *cluster, int avoid_slot, demo_target *target);

/* As demo_balance_pick(), but waits until a name is resolved, at most wait
 * microseconds; then APR_TIMEUP. */
apr_status_t demo_balance_pick_wait(const demo_cluster *cluster, int avoid_slot,
                                    apr_interval_time_t wait, demo_target *target);

/* Why a cluster has no address, for the log: "fcgi://php-fpm:9000: Name or
 * service not known".  Writes at most size bytes to text and returns it. */
const char *demo_cluster_trouble(const demo_cluster *cluster, char *text, size_t size);

enum demo_outcome {
    DEMO_OUTCOME_OK,       /* the backend answered, whatever the status: clears its failures */
    DEMO_OUTCOME_FAILED,   /* refused, reset, timed out or malformed: held back with backoff */
    DEMO_OUTCOME_BUSY,     /* OVERLOADED, or a full listen queue (EAGAIN): held back shortly */
    DEMO_OUTCOME_ABORTED,  /* the client's fault, or ours: says nothing about the backend */
    DEMO_OUTCOME_COUNT
};

/* The attempt is over; target->slot becomes -1, a second call does nothing. */
void demo_balance_done(demo_target *target, enum demo_outcome outcome);

/* --- numbers over all children, given back when a child dies -------------------- */

/* Connections open to the address of target's slot.  demo_conns_acquire counts
 * one in unless that makes more than max (0: no bound); 1 when counted. */
int  demo_conns_acquire(int slot, unsigned max);
void demo_conns_release(int slot);
unsigned demo_conns_count(int slot);

/* A child that holds less than its share could not have another; when that was
 * last, or 0.  Who holds more than his share gives up one then. */
void demo_conns_want(int slot);
apr_time_t demo_conns_wanted(int slot);

/* Of these, the ones that are idle: a gauge of demo_pool_connections. */
void demo_conns_idle(int slot, int delta);

/* Requests that wait (DemoQueue): 1 and counted in, or 0: the queue is full. */
int  demo_queue_enter(unsigned max);
void demo_queue_leave(void);

/* Requests in work: demo_requests_in_flight. */
void demo_in_flight(int delta);

#endif /* DEMO_BALANCE_H */
