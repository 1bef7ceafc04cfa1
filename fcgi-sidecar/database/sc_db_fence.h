/*
 * sc_db_fence.h -- the mark in a database file that says: nobody writes here.
 */
#ifndef SC_DB_FENCE_H
#define SC_DB_FENCE_H

#include <stdbool.h>

#include "fcgi-sidecar/base/sc_error.h"

/* As it is written in a page 1 that goes through a copy: SC_DB_FENCE_OFFSET. */
#define SC_DB_FENCE_OFFSET 18
#define SC_DB_FENCE_VALUE  0x7f
#define SC_DB_WAL_VALUE    2

/* The durable fence: write version (byte 18) above what SQLite writes.  With
 * it every SQLite opens the file read-only.  Setting is synced before it
 * returns; taking it off is not. */
apr_status_t sc_db_fence_set(int fd, bool fenced, sc_error *err);
apr_status_t sc_db_fence_get(int fd, bool *fenced);

#endif /* SC_DB_FENCE_H */
