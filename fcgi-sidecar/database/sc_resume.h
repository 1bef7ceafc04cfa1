/*
 * sc_resume.h -- the follower's leftovers: what is on its disk of a base whose
 * copy broke off (incoming.sqlite), and of the image it had before.
 *
 * Where both have a block the unfinished copy's counts.  Belongs to one thread.
 */
#ifndef SC_RESUME_H
#define SC_RESUME_H

#include "fcgi-sidecar/database/sc_have.h"

typedef struct {
    int partial_fd, old_fd; /* -1: none */
    uint64_t partial, old;  /* bytes of them */
    size_t block;           /* in which they are described */
} sc_resume;

/* Opens what there is; database NULL: only the unfinished copy counts.
 * False: there is nothing to go on with. */
bool sc_resume_open(sc_resume *r, const char *incoming, const char *database);

/* Describes it for the primary (a new reference), see sc_have.h; read: sc_resume_read() or what
 * calls it. */
apr_status_t sc_resume_describe(const sc_resume *r, const sc_secret *secret, sc_have_read_fn read,
                                void *context, json_t **json);

/* sc_have_read_fn. */
apr_status_t sc_resume_read(void *resume, uint64_t offset, uint8_t *out, size_t len);

/* Does that piece, which is within a block, lie in the unfinished copy already? */
bool sc_resume_in_place(const sc_resume *r, uint64_t offset);

void sc_resume_close(sc_resume *r); /* again: nothing */

#endif /* SC_RESUME_H */
