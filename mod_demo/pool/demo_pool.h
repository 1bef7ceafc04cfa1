/*
 * demo_pool.h -- kept connections.
 *
 * A kept connection pins a PHP worker: php-fpm reads from it and serves nobody
 * else meanwhile.  So there are few of them (DemoPool max=, counted over all
 * children), an idle one is closed soon (idle=) and checked before it is used
 * again.  Beyond the bound a request waits shortly for a kept connection where
 * these come back all the time, takes over the right of one whose request is long
 * (demo_place.h), and else uses a connection of its own.  Who waited for 2 ms
 * is served before whoever comes; and when a connection is closed while requests
 * wait, the first of them opens another in its stead.  After a
 * slice of PHP's time (demo_bound_slice) a connection is closed, however busy:
 * nobody starves in php-fpm's listen queue behind kept connections, not even on
 * a pool of one worker.
 *
 * One pool a child; any thread.
 */
#ifndef DEMO_POOL_H
#define DEMO_POOL_H

#include "mod_demo/pool/demo_place.h"

/* DemoPool. */
#define DEMO_POOL_AUTO (-1)
typedef struct {
    int max;                  /* kept connections to an address over all children; 0: off;
                               * DEMO_POOL_AUTO: demo_bound.h */
    apr_interval_time_t idle; /* an idle one is closed after this */
} demo_pool_conf;

/* Starts the thread that closes idle connections; it and all of them end with
 * pchild.  Call in child_init. */
void demo_pool_child_init(apr_pool_t *pchild, server_rec *s);

/* A kept connection to target that was just found alive, waiting for one where
 * that is faster than to open another.  NULL: open one; *admitted: it may be
 * kept after its request, and is counted in already: call demo_pool_admitted()
 * with it, or demo_pool_unadmit() when it could not be opened. */
demo_conn *demo_pool_take(const demo_target *target, const demo_pool_conf *conf, bool *admitted);
void demo_pool_admitted(demo_conn *conn);
void demo_pool_unadmit(const demo_target *target);

/* Takes back a connection whose answer ended cleanly (END_REQUEST read whole,
 * nothing behind it).  It is kept, handed to a request that waits, or closed. */
void demo_pool_give(demo_conn *conn, const demo_pool_conf *conf);

/* Do requests take up to ten milliseconds there, which is PHP's computing for the most
 * part, and none of them microseconds (there threads let others run by themselves,
 * demo_conn.brief)? */
bool demo_pool_is_prompt(const demo_target *target);

/* Closes a connection, kept or not; NULL is allowed. */
void demo_pool_drop(demo_conn *conn);

#endif /* DEMO_POOL_H */
