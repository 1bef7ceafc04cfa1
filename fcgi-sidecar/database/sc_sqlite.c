#include "fcgi-sidecar/database/sc_sqlite.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fcgi-sidecar/base/sc_fault.h"

apr_status_t sc_sqlite_error(sc_error *err, sqlite3 *c, int rc, const char *what, const char *path)
{
    apr_status_t rv = (rc & 0xff) == SQLITE_BUSY ? EBUSY
                    : (rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB ? SC_ECORRUPT
                    : (rc & 0xff) == SQLITE_FULL ? ENOSPC : SC_EFAILED;

    return sc_error_set(err, rv, "%s %s: %s", what, path,
                        c != NULL ? sqlite3_errmsg(c) : sqlite3_errstr(rc));
}

apr_status_t sc_sqlite_exec(sqlite3 *c, const char *sql, const char *path, sc_error *err)
{
    int rc = SC_FAULT("sqlite-exec") ? SQLITE_BUSY : sqlite3_exec(c, sql, NULL, NULL, NULL);

    return rc == SQLITE_OK ? APR_SUCCESS : sc_sqlite_error(err, c, rc, sql, path);
}

apr_status_t sc_sqlite_open(sqlite3 **c, const char *path, int flags, sc_error *err)
{
    int rc = sqlite3_open_v2(path, c, flags | SQLITE_OPEN_NOMUTEX, NULL);

    if (rc != SQLITE_OK) {
        apr_status_t rv = sc_sqlite_error(err, *c, rc, "can not open", path);

        sqlite3_close(*c);
        *c = NULL;
        return rv;
    }
    sqlite3_busy_timeout(*c, SC_SQLITE_BUSY_MS);
    return APR_SUCCESS;
}

apr_status_t sc_sqlite_text(sqlite3 *c, const char *sql, char *out, size_t size,
                            const char *path, sc_error *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(c, sql, -1, &stmt, NULL);
    apr_status_t rv = APR_SUCCESS;

    if (rc == SQLITE_OK) {
        rc = sqlite3_step(stmt);
    }
    if (rc == SQLITE_ROW) {
        snprintf(out, size, "%s", (const char *)sqlite3_column_text(stmt, 0));
    }
    else {
        rv = sc_sqlite_error(err, c, rc, sql, path);
    }
    sqlite3_finalize(stmt);
    return rv;
}

apr_status_t sc_sqlite_make_wal(sqlite3 *c, const char *path, sc_error *err)
{
    char mode[16] = "";
    apr_status_t rv = sc_sqlite_text(c, "PRAGMA journal_mode=WAL", mode, sizeof(mode), path, err);

    if (rv == APR_SUCCESS && strcmp(mode, "wal") != 0) {
        rv = sc_error_set(err, SC_EFAILED, "%s stays in journal mode %s; WAL is needed", path,
                          mode);
    }
    return rv;
}

apr_status_t sc_sqlite_check(sqlite3 *c, const char *path, sc_error *err)
{
    char result[256] = "";
    apr_status_t rv = sc_sqlite_text(c, "PRAGMA quick_check(1)", result, sizeof(result), path, err);

    if (rv == APR_SUCCESS && strcmp(result, "ok") != 0) {
        rv = sc_error_set(err, SC_ECORRUPT, "%s fails its check: %s", path, result);
    }
    return rv;
}

apr_status_t sc_sqlite_begin_read(sqlite3 *c, const char *path, sc_error *err)
{
    apr_status_t rv = sc_sqlite_exec(c, "BEGIN", path, err);

    if (rv == APR_SUCCESS) {
        rv = sc_sqlite_exec(c, "SELECT 1 FROM sqlite_schema LIMIT 1", path, err);
        if (rv != APR_SUCCESS) {
            sqlite3_exec(c, "ROLLBACK", NULL, NULL, NULL);
        }
    }
    return rv;
}
