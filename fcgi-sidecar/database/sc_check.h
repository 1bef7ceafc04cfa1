/*
 * sc_check.h -- quick_check of the live database beside other work.
 *
 * On a thread of its own, which gives way to others, in one read transaction
 * (SQLite's, log included), so that a database that is copied meanwhile costs
 * nobody the time of its check.  Belongs to one caller.
 */
#ifndef SC_CHECK_H
#define SC_CHECK_H

#include <stdbool.h>

#include "fcgi-sidecar/base/sc_error.h"

typedef struct sc_check sc_check;

/* Begins to check the database at path, which this process may have open.  Its
 * transaction has begun when this returns. */
apr_status_t sc_check_start(sc_check **check, const char *path, sc_error *err);

/* Has it ended? */
bool sc_check_ended(const sc_check *check);

/* Waits for the end, frees it and tells the result: SC_ECORRUPT with what was
 * found.  `stop`: it ends at once, without one.  *check is NULL afterwards, and
 * may be before. */
apr_status_t sc_check_end(sc_check **check, bool stop, sc_error *err);

#endif /* SC_CHECK_H */
