/*
 * demo_balance.h -- which address a request goes to.
 *
 * A background thread keeps each backend's addresses (demo_resolve.h) and
 * their health (demo_health.h) in shared memory; a request only reads them.  Any
 * thread.
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

#include "mod_demo/backend/demo_cluster.h"
#include "mod_demo/shm/demo_metrics.h"
#include "mod_demo/shm/demo_sizes.h"

/* How many addresses the cluster has at the moment (backups too): more than
 * one makes an attempt elsewhere possible. */
unsigned demo_cluster_size(const demo_cluster *cluster);

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
 * other that was not found down: the address that the attempt before failed at.
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

/* The attempt is over; target->slot becomes -1, a second call does nothing. */
void demo_balance_done(demo_target *target, enum demo_outcome outcome);

#endif /* DEMO_BALANCE_H */
