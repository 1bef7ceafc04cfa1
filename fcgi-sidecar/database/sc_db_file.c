#include "fcgi-sidecar/database/sc_db_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-sidecar/base/sc_fault.h"
#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/database/sc_db_fence.h"
#include "fcgi-sidecar/database/sc_sqlite.h"

#define COPY_PAGES 4096 /* a step of the backup */

static apr_status_t run_backup(sqlite3 *from, sqlite3 *to, const char *path,
                               sc_db_progress progress, void *context, sc_error *err)
{
    sqlite3_backup *backup = sqlite3_backup_init(to, "main", from, "main");
    int rc, tries = 0;

    if (backup == NULL) {
        return sc_sqlite_error(err, to, sqlite3_errcode(to), "can not copy", path);
    }
    do {
        rc = sqlite3_backup_step(backup, COPY_PAGES);
        if (progress != NULL) {
            uint64_t total = (uint64_t)sqlite3_backup_pagecount(backup) * 4096;

            progress(context, total - (uint64_t)sqlite3_backup_remaining(backup) * 4096, total);
        }
        if (rc == SQLITE_BUSY || rc == SQLITE_LOCKED) {
            sqlite3_sleep(20);
            tries++;
        }
    } while (rc == SQLITE_OK || ((rc == SQLITE_BUSY || rc == SQLITE_LOCKED) && tries < 500));
    sqlite3_backup_finish(backup);
    return rc == SQLITE_DONE ? APR_SUCCESS : sc_sqlite_error(err, to, rc, "can not copy", path);
}

static apr_status_t sync_file(const char *path, sc_error *err)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    apr_status_t rv = APR_SUCCESS;

    if (fd < 0 || SC_FAULT("fsync-copy") || fsync(fd) != 0) {
        rv = sc_error_errno(err, errno, "can not sync %s", path);
    }
    sc_file_close(fd);
    return rv;
}

static void remove_database(const char *path)
{
    char name[PATH_MAX + 16];
    static const char *const suffixes[] = { "", "-wal", "-shm", "-journal" };
    size_t i;

    for (i = 0; i < 4; i++) {
        snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
        unlink(name);
    }
}

/* A copy that has all its bytes: no fence, WAL without a log, checked, synced. */
static apr_status_t finish_copy(const char *to, sc_error *err)
{
    sqlite3 *target = NULL;
    int fd = open(to, O_RDWR | O_CLOEXEC);
    struct stat st;
    apr_status_t rv = APR_SUCCESS;

    if (fd < 0 || fstat(fd, &st) != 0) {
        rv = sc_error_errno(err, errno, "can not open %s", to);
    }
    else if (st.st_size > SC_DB_FENCE_OFFSET) {
        bool fenced = false;

        rv = sc_db_fence_get(fd, &fenced);
        rv = rv == APR_SUCCESS && fenced ? sc_db_fence_set(fd, false, err) : rv;
    }
    sc_file_close(fd);
    if (rv == APR_SUCCESS) {
        rv = sc_sqlite_open(&target, to, SQLITE_OPEN_READWRITE, err);
    }
    if (rv == APR_SUCCESS) {
        rv = sc_sqlite_make_wal(target, to, err);
    }
    if (rv == APR_SUCCESS) {
        rv = sc_sqlite_check(target, to, err);
    }
    if (sqlite3_close(target) != SQLITE_OK && rv == APR_SUCCESS) {
        rv = sc_error_set(err, SC_EFAILED, "%s is still in use", to);
    }
    return rv == APR_SUCCESS ? sync_file(to, err) : rv;
}

static apr_status_t create_new(const char *path, sc_error *err)
{
    int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);

    if (fd < 0) {
        return sc_error_errno(err, errno, "can not create %s", path);
    }
    close(fd);
    return APR_SUCCESS;
}

apr_status_t sc_db_copy(const char *from, const char *to, sc_db_progress progress,
                        void *context, sc_error *err)
{
    sqlite3 *source = NULL, *target = NULL;
    apr_status_t rv = create_new(to, err);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = sc_sqlite_open(&source, from, SQLITE_OPEN_READONLY, err);
    if (rv == APR_SUCCESS) {
        /* One transaction: a writer can not make the backup start again. */
        rv = sc_sqlite_begin_read(source, from, err);
    }
    if (rv == APR_SUCCESS) {
        rv = sc_sqlite_open(&target, to, SQLITE_OPEN_READWRITE, err);
    }
    if (rv == APR_SUCCESS) {
        rv = run_backup(source, target, to, progress, context, err);
    }
    sqlite3_close(source);
    sqlite3_close(target);
    if (rv == APR_SUCCESS) {
        rv = finish_copy(to, err);
    }
    if (rv != APR_SUCCESS) {
        remove_database(to);
    }
    return rv;
}

/* Bytes of one file; a `from` that does not exist is nothing to copy. */
static apr_status_t copy_bytes(const char *from, const char *to, sc_error *err)
{
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = -1;
    off_t at = 0;
    ssize_t n = 0;
    char buffer[65536];
    apr_status_t rv = APR_SUCCESS;

    if (in < 0) {
        return errno == ENOENT ? APR_SUCCESS : sc_error_errno(err, errno, "can not open %s", from);
    }
    out = open(to, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
    if (out < 0) {
        rv = sc_error_errno(err, errno, "can not create %s", to);
    }
    while (rv == APR_SUCCESS && (n = read(in, buffer, sizeof(buffer))) > 0) {
        rv = sc_file_pwrite(out, buffer, (size_t)n, at);
        at += n;
    }
    if (rv != APR_SUCCESS || n < 0) {
        rv = sc_error_errno(err, n < 0 ? errno : rv, "can not copy %s to %s", from, to);
    }
    sc_file_close(in);
    sc_file_close(out);
    return rv;
}

apr_status_t sc_db_stage(const char *from, const char *to, sc_error *err)
{
    static const char *const suffixes[] = { "", "-wal", "-journal" };
    apr_status_t rv = APR_SUCCESS;
    size_t i;

    for (i = 0; i < 3 && rv == APR_SUCCESS; i++) {
        char source[PATH_MAX + 16], target[PATH_MAX + 16];

        snprintf(source, sizeof(source), "%s%s", from, suffixes[i]);
        snprintf(target, sizeof(target), "%s%s", to, suffixes[i]);
        rv = copy_bytes(source, target, err);
    }
    if (rv == APR_SUCCESS) {
        rv = finish_copy(to, err);
    }
    if (rv != APR_SUCCESS) {
        remove_database(to);
    }
    return rv;
}

apr_status_t sc_db_check_file(const char *path, sc_error *err)
{
    sqlite3 *c = NULL;
    char *uri = sqlite3_mprintf("file:%s?mode=ro&immutable=1", path);
    apr_status_t rv = uri != NULL ? APR_SUCCESS : sc_error_errno(err, ENOMEM, "%s", path);

    if (rv == APR_SUCCESS && strpbrk(path, "?#%") != NULL) {
        rv = sc_error_set(err, SC_EUSAGE, "%s: the path may not hold '?', '#' or '%%'", path);
    }
    if (rv == APR_SUCCESS) {
        rv = sc_sqlite_open(&c, uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, err);
    }
    if (rv == APR_SUCCESS) {
        sqlite3_exec(c, "PRAGMA mmap_size=1099511627776", NULL, NULL, NULL);
        rv = sc_sqlite_check(c, path, err);
    }
    sqlite3_close(c);
    sqlite3_free(uri);
    return rv;
}

apr_status_t sc_db_check_live(const char *path, sc_error *err)
{
    sqlite3 *c = NULL;
    apr_status_t rv = sc_sqlite_open(&c, path, SQLITE_OPEN_READONLY, err);

    if (rv == APR_SUCCESS) {
        rv = sc_sqlite_check(c, path, err);
    }
    sqlite3_close(c);
    return rv;
}

apr_status_t sc_db_adopt(const char *path, sc_error *err)
{
    sqlite3 *c = NULL;
    apr_status_t rv = sc_sqlite_open(&c, path, SQLITE_OPEN_READWRITE, err);

    /* SQLite opens what it may not write for reading alone.  Asked before anything is
     * read: the fence of an earlier life, which is lifted later, would count as well. */
    if (rv == APR_SUCCESS && sqlite3_db_readonly(c, "main") != 0) {
        rv = sc_error_set(err, EROFS, "%s can not be written: does it belong to another user, "
                          "is its file system read-only?", path);
    }
    if (rv == APR_SUCCESS) {
        rv = sc_sqlite_check(c, path, err);
    }
    sqlite3_close(c);
    return rv;
}
