/*
 * sc_outgoing.h -- the base on its way to a follower.
 *
 * The file is read from its first page to its last while PHP writes, under a
 * read transaction of the caller's (docs/handoff.md, "The base").  While the
 * relay serves requests each piece is followed by a pause.
 */
#ifndef SC_OUTGOING_H
#define SC_OUTGOING_H

#include "fcgi-sidecar/database/sc_have.h"
#include "fcgi-sidecar/database/sc_pages.h"
#include "fcgi-sidecar/node/sc_node.h"

#define SC_SHIP_CHUNK (1024u * 1024u) /* bytes of a piece, and of a batch of the log */

/* Belongs to one thread.  The caller sets all but `completed`. */
typedef struct {
    sc_node *node;
    sc_control_request *request;
    sc_frame_writer *out;
    size_t page_size;
    sc_reader *reader;   /* the read transaction; borrowed */
    const sc_wal *wal;   /* borrowed */
    sc_pages *pages;     /* digest of what was sent; borrowed */
    sc_have *have;       /* what the follower has of it; borrowed */
    uint8_t *buffer;     /* SC_SHIP_CHUNK bytes, borrowed */
    uint64_t completed;  /* requests of the relay, at the last piece */
} sc_outgoing;

/* Sends HELLO, PAGES and SAME, BASE_END.  ECANCELED when the node stops or hands
 * its database over; else why it can not be read or sent. */
apr_status_t sc_outgoing_send(void *outgoing);

#endif /* SC_OUTGOING_H */
