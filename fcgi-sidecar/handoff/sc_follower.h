/*
 * sc_follower.h -- who follows a primary, and how far each of them is.
 *
 * A stream (sc_ship.c) has one and keeps it in the node's list while it lasts;
 * the members are read and written with the node's lock held.  What the rest of
 * the house asks of the list is in sc_ship.h.
 */
#ifndef SC_FOLLOWER_H
#define SC_FOLLOWER_H

#include "fcgi-sidecar/node/sc_node.h"

typedef struct sc_follower {
    struct sc_follower *next;
    sc_member member;
    sc_control_request *request;
    bool standby;
    bool copying;         /* its base is being sent, or checked */
    sc_wal_index sent;    /* the index up to which all was sent */
    sc_position position;
    uint64_t digest;
    uint64_t lag_bytes;
} sc_follower;

/* Puts one into the list, whose member and request are set; older streams of the
 * same instance end.  SC_EREFUSED: not primary; SC_EAGAIN: not now, or too many.
 * These three take the lock. */
apr_status_t sc_follower_add(sc_node *n, sc_follower *follower, sc_error *err);
void sc_follower_drop(sc_node *n, sc_follower *follower); /* also when it is not in it */
void sc_follower_copies(sc_node *n, sc_follower *follower, bool copying);

/* Lock held: is a base being sent to anybody, or checked?  May this node have followers? */
bool sc_follower_any_copies(const sc_node *n);
bool sc_follower_may(const sc_node *n);

#endif /* SC_FOLLOWER_H */
