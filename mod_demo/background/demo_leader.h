/*
 * demo_leader.h -- the background thread: health checks and name resolution,
 * once a server.
 *
 * Each child has one; one of them leads: it holds a robust process-shared mutex
 * (demo_segment.leader), which the kernel gives up when its child dies.  The
 * others look for it once a second.  A leader of an older configuration (its
 * child only ends its last requests after a graceful restart) steps down within
 * 100 ms and never leads again.
 *
 *      FOLLOW --got the mutex--> LEAD --newer configuration--> end
 */
#ifndef DEMO_LEADER_H
#define DEMO_LEADER_H

#include "httpd.h"

/* Starts this child's thread; call in child_init, after demo_shm_child_init().  A
 * failure is logged, requests do not need it.  Ends with pchild, which waits for
 * it at most a second. */
void demo_leader_child_init(apr_pool_t *pchild, server_rec *s);

#endif /* DEMO_LEADER_H */
