/*
 * demo_conn.h -- a connection to a backend, with the buffers that go with it.
 *
 * The socket blocks; whoever must not wait says MSG_DONTWAIT.  So a read that
 * has to wait costs one system call instead of three.  Records come from a free
 * list of the child and go back there, buffers and all: a request allocates
 * nothing for its connection.
 */
#ifndef DEMO_CONN_H
#define DEMO_CONN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "apr_errno.h"
#include "apr_time.h"

#include "mod_demo/backend/demo_balance.h"

#define DEMO_READ_SIZE 65536 /* of the read buffer; more than one FastCGI record */
#define DEMO_READ_SLICE_US 50000 /* a blocking read returns after this, to look at the client */

typedef struct demo_conn {
    struct demo_conn *next; /* in the free list, among the idle ones or those in use */
    struct demo_conn **link; /* among those in use: what points here */
    int fd;                 /* -1: closed */
    int slot;               /* of the address in shared memory */
    unsigned use;           /* tells an address that took over the slot */
    bool tcp;
    bool keep;              /* FCGI_KEEP_CONN is sent: the backend keeps it */
    bool counted;           /* has a right in demo_conns_acquire(): may be kept here; under the
                             * pool's lock, another thread may take the right over */
    bool reused;            /* carries a further request; under the pool's lock, but for its user */
    bool asked;             /* the pool had none for the request it was opened for */
    bool brief;             /* answers come within microseconds: worth a look before sleeping */
    _Atomic apr_time_t taken; /* when the present request got it, demo_now(); others look how long ago */
    apr_interval_time_t busy; /* of all its requests */
    apr_time_t idle_until;  /* when it is closed if nobody needs it */
    uint8_t in[DEMO_READ_SIZE];
} demo_conn;

/* Opens a connection to target within timeout (0: the system's).  APR_SUCCESS
 * and *conn, or the error of the system: APR_TIMEUP, ECONNREFUSED, EAGAIN
 * (listen queue of a Unix socket full), EMFILE… */
apr_status_t demo_conn_open(demo_conn **conn, const demo_target *target,
                            apr_interval_time_t timeout);

/* Closes and gives the record back; NULL is allowed. */
void demo_conn_close(demo_conn *conn);

/* Has the idle connection neither been closed nor got bytes nobody asked for? */
bool demo_conn_usable(const demo_conn *conn);

#endif /* DEMO_CONN_H */
