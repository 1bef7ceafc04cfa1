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

/* Starts this child's thread; a failure is logged, requests do not need it. */
void demo_leader_start(server_rec *s);

/* Ends it and waits for it, at most a second.  Safe when none was started. */
void demo_leader_stop(void);

#endif /* DEMO_LEADER_H */
