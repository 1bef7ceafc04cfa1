/*
 * demo_backend.h -- the backends of this configuration and their addresses; for
 * those that choose, look after or show them.
 *
 * The list is made in post_config and read-only afterwards; what changes lies in
 * shared memory (demo_segment.h).
 */
#ifndef DEMO_BACKEND_H
#define DEMO_BACKEND_H

#include "mod_demo/backend/demo_cluster.h"
#include "mod_demo/backend/demo_endpoint.h"
#include "mod_demo/shm/demo_segment.h"

typedef struct {
    const demo_endpoint    *endpoint;
    const demo_health_conf *health;      /* NULL: not checked, a status page's address only */
    server_rec             *server;      /* that uses it first; for logs */
    const char             *script_root; /* document root as php-fpm sees it */
    uint32_t                index;       /* in demo_seg->backends */
    uint32_t                use;         /* of that place when it became ours */
} demo_backend;

extern demo_backend demo_backends[DEMO_BACKENDS_MAX];
extern unsigned     demo_backend_count;

/* The status page that a DemoStatus names. */
typedef struct {
    const demo_backend *backend;
    const char         *path;
} demo_status_place;

struct demo_cluster {
    apr_pool_t             *pool;     /* what it lives in */
    apr_array_header_t     *urls[2];  /* const demo_endpoint *; of backends, of backups */
    const demo_health_conf *health;
    /* after demo_cluster_publish() */
    unsigned                n_backends, n_backups;
    const demo_backend    **backends; /* n_backends, then n_backups */
    apr_array_header_t     *status;   /* demo_status_place; empty: the backends' own pages */
};

/* Whether the place in shared memory is still this backend's. */
int demo_backend_current(const demo_backend *b);

/* The slots of its addresses at the moment; at most DEMO_PER_BACKEND_MAX. */
unsigned demo_backend_slots(const demo_backend *b, uint16_t slots[DEMO_PER_BACKEND_MAX]);

/* Whether the last health check of b's address in this slot says nothing any
 * more: the next ones are long overdue, the thread that checks hangs or is gone.
 * b is checked. */
int demo_backend_unchecked(const demo_backend *b, int slot, int64_t now);

/* Whether its last health check found it in that state, and still says something. */
int demo_backend_found(const demo_backend *b, int slot, enum demo_health_state state, int64_t now);

/* Aligned for each of its kinds; unused bytes are 0. */
typedef union {
    struct sockaddr    sa;
    struct sockaddr_un un; /* the largest */
    uint64_t           words[DEMO_WORDS(sizeof(struct sockaddr_un))];
} demo_sockaddr;

/* One address, as a copy. */
typedef struct {
    int           slot;
    uint32_t      use;
    socklen_t     len;
    demo_sockaddr addr;
} demo_address;

/* 1, or 0 when the slot is not (or no longer) b's. */
int demo_backend_address(const demo_backend *b, int slot, demo_address *out);

/* "10.0.0.7:9000", "[::1]:9000" or "/run/php.sock". */
void demo_address_text(const struct sockaddr *sa, char *text, size_t size);

/* Makes addrs the addresses of b: known ones keep their slots and counters, the
 * others are retired.  n at most DEMO_PER_BACKEND_MAX.  Takes demo_seg->table.
 * Does nothing when the latest configuration does not name b.
 * Returns how many were left out because every slot is taken. */
unsigned demo_backend_set(const demo_backend *b, const demo_sockaddr *addrs,
                          const socklen_t *lens, unsigned n);

#endif /* DEMO_BACKEND_H */
