/*
 * demo_client.h -- what the module knows of a client's connection.
 *
 * One record a connection, in its pool; the thread that works on the connection
 * owns it.  Streams of HTTP/2 have none: their connection is not theirs.
 */
#ifndef DEMO_CLIENT_H
#define DEMO_CLIENT_H

#include "mod_demo/exchange/demo_exchange.h"

typedef struct {
    demo_exchange *parked;  /* the request that waits for its body, see demo_park.h; or NULL */
    apr_time_t turn;        /* since when one thread goes on with this client, demo_now(); 0: not yet */
    apr_time_t left_at;     /* when a thread waited in vain for the next request; 0: it did not, or it need not count */
    bool sent;              /* the answer went out whole and at once, nothing of it is kept */
    bool brief;             /* and came from a backend that answers within microseconds */
} demo_client;

/* The record, or NULL: the connection has none. */
demo_client *demo_client_of(const conn_rec *c);

/* The record, which is made if there is none. */
demo_client *demo_client_get(conn_rec *c);

/* The socket of the client, or -1: a stream of HTTP/2 shares one with others. */
int demo_client_fd(conn_rec *c);

#endif /* DEMO_CLIENT_H */
