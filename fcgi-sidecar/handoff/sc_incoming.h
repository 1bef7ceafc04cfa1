/*
 * sc_incoming.h -- the file that a standby's image comes into.
 *
 * The base, from its first page to its last, goes into incoming.sqlite in
 * --state-dir: pages that the primary sends, and pages that lay here before,
 * where it says that they are the same (sc_resume.h): past the page cache, where
 * the file system can (sc_direct.h), else with the disk working meanwhile.
 * Pages of the log are put into the same file afterwards.  Page 1 bears the
 * fence in the file, not in the digest.  Belongs to one thread.
 */
#ifndef SC_INCOMING_H
#define SC_INCOMING_H

#include <limits.h>

#include "fcgi-sidecar/database/sc_pages.h"
#include "fcgi-sidecar/database/sc_resume.h"
#include "fcgi-sidecar/node/sc_node.h"

typedef struct {
    sc_node *node;
    char path[PATH_MAX];  /* of the file, while the base comes */
    int fd;               /* -1 before sc_incoming_open(); owned */
    int direct;           /* its way past the page cache while the base comes, or -1 */
    size_t page_size;     /* set before it */
    uint64_t bytes;       /* of the base, as announced; set before it */
    uint64_t got;         /* of them, in place */
    uint64_t kept;        /* of these, from what was here */
    bool complete;        /* the whole base */
    sc_resume left;       /* what was here before */
    sc_pages pages;       /* digest of all that is in the file */
} sc_incoming;

/* Name of the file; false when it is too long. */
bool sc_incoming_path(const sc_node *n, char *path, size_t size);

apr_status_t sc_incoming_init(sc_incoming *im, sc_node *n, sc_error *err);

/* Describes what is here for the primary, in n->have; once, until it changes, for
 * it takes a reading of all of it.  A failure means a whole copy, not none. */
apr_status_t sc_incoming_look_around(void *incoming);

/* Opens the file and takes the room for the base.  What an unfinished copy left
 * stays when the primary sends differences only (resume). */
apr_status_t sc_incoming_open(sc_incoming *im, bool resume, sc_error *err);

/* Payloads of SC_FRAME_PAGES, SC_FRAME_SAME and the end.  SC_ECORRUPT: malformed,
 * or not the next; else why it can not be written. */
apr_status_t sc_incoming_take_pages(sc_incoming *im, const uint8_t *payload, size_t len,
                                    sc_error *err);
apr_status_t sc_incoming_take_same(sc_incoming *im, const uint8_t *payload, size_t len,
                                   sc_error *err);
apr_status_t sc_incoming_end(sc_incoming *im, sc_error *err);

/* A page of the log, from 1; the size of the image after a commit.  errno. */
apr_status_t sc_incoming_put(sc_incoming *im, uint32_t number, const uint8_t *page);
apr_status_t sc_incoming_resize(sc_incoming *im, uint32_t pages);

void sc_incoming_close(sc_incoming *im); /* again: nothing */

#endif /* SC_INCOMING_H */
