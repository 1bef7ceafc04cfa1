/*
 * demo_fpmqueue.h -- how many connections wait in a Unix socket's listen queue.
 *
 * php-fpm's status page says 0 for a Unix socket, always: it asks with TCP_INFO.
 * The kernel tells it through netlink (sock_diag(7), unix_diag): no privilege is
 * needed, but the socket has to be of the same network namespace, as it is for
 * the containers of one pod.
 */
#ifndef DEMO_FPMQUEUE_H
#define DEMO_FPMQUEUE_H

#include <stdint.h>

typedef struct {
    uint32_t waiting; /* connections not yet accepted */
    uint32_t max;     /* the backlog of listen(2) */
} demo_fpmqueue;

/* 0, or an errno: ENOENT when no socket listens at path, EPROTONOSUPPORT where
 * the kernel has no unix_diag.  Does not block.  Any thread. */
int demo_fpmqueue_read(const char *path, demo_fpmqueue *queue);

#endif /* DEMO_FPMQUEUE_H */
