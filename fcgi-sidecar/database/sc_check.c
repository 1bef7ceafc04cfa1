#include "fcgi-sidecar/database/sc_check.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "fcgi-sidecar/base/sc_fault.h"
#include "fcgi-sidecar/base/sc_nice.h"
#include "fcgi-sidecar/database/sc_sqlite.h"

struct sc_check {
    char path[PATH_MAX];
    sqlite3 *connection;
    pthread_t thread;
    atomic_bool stop, ended;
    apr_status_t rv;
    sc_error err;
};

static void *check_thread(void *context)
{
    sc_check *c = context;

    sc_nice_self();
    c->rv = SC_FAULT("check") ? sc_error_errno(&c->err, errno, "can not check %s", c->path)
                              : sc_sqlite_check(c->connection, c->path, &c->err);
    c->ended = true;
    return NULL;
}

static void drop(sc_check *c)
{
    if (c != NULL) {
        sqlite3_close(c->connection);
        free(c);
    }
}

apr_status_t sc_check_start(sc_check **check, const char *path, sc_error *err)
{
    sc_check *c = calloc(1, sizeof(*c));
    int keep = 1, rc;
    apr_status_t rv;

    *check = NULL;
    if (c == NULL) {
        return sc_error_errno(err, ENOMEM, "%s", path);
    }
    snprintf(c->path, sizeof(c->path), "%s", path);
    rv = sc_sqlite_open(&c->connection, path, SQLITE_OPEN_READWRITE, err);
    if (rv == APR_SUCCESS) {
        sqlite3_file_control(c->connection, "main", SQLITE_FCNTL_PERSIST_WAL, &keep);
        rv = sc_sqlite_begin_read(c->connection, path, err);
    }
    if (rv == APR_SUCCESS) {
        rc = pthread_create(&c->thread, NULL, check_thread, c);
        rv = rc == 0 ? rv : sc_error_errno(err, rc, "thread");
    }
    if (rv != APR_SUCCESS) {
        drop(c);
        return rv;
    }
    *check = c;
    return APR_SUCCESS;
}

bool sc_check_ended(const sc_check *check)
{
    return check->ended;
}

apr_status_t sc_check_end(sc_check **check, bool stop, sc_error *err)
{
    sc_check *c = *check;
    apr_status_t rv;

    *check = NULL;
    if (c == NULL) {
        return APR_SUCCESS;
    }
    /* An interrupt that comes before the statement has begun is lost. */
    while (stop && !c->ended) {
        sqlite3_interrupt(c->connection);
        sqlite3_sleep(1);
    }
    pthread_join(c->thread, NULL);
    rv = c->rv;
    if (rv != APR_SUCCESS && err != NULL) {
        *err = c->err;
    }
    drop(c);
    return rv;
}
