/*
 * sc_db_file.h -- database files beside the live one: copies and checks.
 *
 * A database that this process may have open as sc_db is only for sc_db_copy(),
 * sc_db_check_live() and sc_db_adopt(), which open it through SQLite (see sc_db.h on locks).
 * Any thread.
 */
#ifndef SC_DB_FILE_H
#define SC_DB_FILE_H

#include <stdint.h>

#include "fcgi-sidecar/base/sc_error.h"

typedef void (*sc_db_progress)(void *context, uint64_t done, uint64_t total); /* bytes */

/* A consistent copy of a database that may be in use (backup API) to `to`,
 * which must not exist; the copy is in WAL mode without a log, fsynced and
 * checked.  A failed copy is removed. */
apr_status_t sc_db_copy(const char *from, const char *to, sc_db_progress progress,
                        void *context, sc_error *err);

/* The same of a database that nobody writes and that may lie in a folder which
 * can not be written (an image's seed): its bytes, with what lies in its log. */
apr_status_t sc_db_stage(const char *from, const char *to, sc_error *err);

/* quick_check of a file that nobody has open (no lock is taken, no log is
 * looked at).  SC_ECORRUPT with what it found. */
apr_status_t sc_db_check_file(const char *path, sc_error *err);

/* quick_check of the live database, log included.  Writes nothing. */
apr_status_t sc_db_check_live(const char *path, sc_error *err);

/* The same of a database that was found and is to be served: what a killed writer
 * left is rolled back (a hot -journal) or taken over (a log), as by any program that
 * opens it.  EROFS when it can not be written. */
apr_status_t sc_db_adopt(const char *path, sc_error *err);

#endif /* SC_DB_FILE_H */
