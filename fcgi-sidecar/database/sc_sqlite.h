/*
 * sc_sqlite.h -- what the files of this room share of SQLite's API; not for
 * other rooms, which see sc_db.h and sc_db_file.h.
 *
 * `path` is for the text of an error.
 */
#ifndef SC_SQLITE_H
#define SC_SQLITE_H

#include <sqlite3.h>

#include "fcgi-sidecar/base/sc_error.h"

#define SC_SQLITE_BUSY_MS 5000 /* a connection waits that long for a lock */

/* EBUSY, SC_ECORRUPT, ENOSPC or SC_EFAILED, with SQLite's sentence behind "what
 * path:".  c: NULL or the connection that failed. */
apr_status_t sc_sqlite_error(sc_error *err, sqlite3 *c, int rc, const char *what, const char *path);

/* A connection of one thread, to be closed with sqlite3_close(); NULL when it failed. */
apr_status_t sc_sqlite_open(sqlite3 **c, const char *path, int flags, sc_error *err);

apr_status_t sc_sqlite_exec(sqlite3 *c, const char *sql, const char *path, sc_error *err);

/* Runs a query and keeps the first column of its first row. */
apr_status_t sc_sqlite_text(sqlite3 *c, const char *sql, char *out, size_t size, const char *path,
                            sc_error *err);

/* Journal mode WAL, or SC_EFAILED. */
apr_status_t sc_sqlite_make_wal(sqlite3 *c, const char *path, sc_error *err);

/* quick_check; SC_ECORRUPT with what it found. */
apr_status_t sc_sqlite_check(sqlite3 *c, const char *path, sc_error *err);

/* A read transaction that has its picture: one that was only begun has none. */
apr_status_t sc_sqlite_begin_read(sqlite3 *c, const char *path, sc_error *err);

#endif /* SC_SQLITE_H */
