/*
 * sc_pages.h -- rolling digest of a database image.
 *
 * The digest is the XOR of a 64-bit hash of each page that was put in, with its
 * number; replacing a page costs one hash, whatever the size of the database.
 * It finds transfer and programming errors; forgery is what the MACs of the
 * stream are for.  Not thread-safe.
 */
#ifndef SC_PAGES_H
#define SC_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi-sidecar/base/sc_error.h"

typedef struct {
    uint64_t *hashes;  /* by page number - 1; 0: never put in */
    uint32_t count;    /* pages of the image */
    uint32_t capacity;
    uint64_t digest;
} sc_pages;

/* Puts page `number` (from 1) in; ENOMEM. */
apr_status_t sc_pages_put(sc_pages *p, uint32_t number, const uint8_t *page, size_t page_size);

/* Sets the size of the image; pages beyond it go out of the digest. */
apr_status_t sc_pages_resize(sc_pages *p, uint32_t count);

/* Does a whole database file have the digest that was rolled?  Page 1 counts without the
 * fence; SQLite's lock page, at 1 GiB, may be in it or not: a base has it, a log never.
 * SC_ECORRUPT for a file that is no row of pages. */
apr_status_t sc_pages_match_file(int fd, uint64_t digest, bool *same);

void sc_pages_free(sc_pages *p);

#endif /* SC_PAGES_H */
