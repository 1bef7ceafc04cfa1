#include "fcgi-sidecar/database/sc_db.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "fcgi-sidecar/base/sc_fault.h"
#include "fcgi-sidecar/base/sc_file.h"

#define BUSY_MS     5000
#define INDEX_BYTES 32768 /* first page of the wal-index */
#define COPY_PAGES  4096  /* a step of the backup */

struct sc_db {
    char path[PATH_MAX];
    sqlite3 *writer;       /* holds the write lock in a cut-over */
    sqlite3 *checkpointer; /* a connection in a transaction can not checkpoint */
    bool locked;
    uint8_t log_head[SC_WAL_HEADER_LEN]; /* what it was before it was made void */
    bool log_void;
    int fd, wal_fd, index_fd;
    void *index;
    size_t page_size;
};

struct sc_reader {
    sqlite3 *connection[2];
    int current; /* whose transaction was begun last */
};

/* --- helpers --------------------------------------------------------------------- */

static apr_status_t db_error(sc_error *err, sqlite3 *c, int rc, const char *what, const char *path)
{
    apr_status_t rv = (rc & 0xff) == SQLITE_BUSY ? EBUSY
                    : (rc & 0xff) == SQLITE_CORRUPT || (rc & 0xff) == SQLITE_NOTADB ? SC_ECORRUPT
                    : (rc & 0xff) == SQLITE_FULL ? ENOSPC : SC_EFAILED;

    return sc_error_set(err, rv, "%s %s: %s", what, path,
                        c != NULL ? sqlite3_errmsg(c) : sqlite3_errstr(rc));
}

static apr_status_t exec(sqlite3 *c, const char *sql, const char *path, sc_error *err)
{
    int rc = SC_FAULT("sqlite-exec") ? SQLITE_BUSY : sqlite3_exec(c, sql, NULL, NULL, NULL);

    return rc == SQLITE_OK ? APR_SUCCESS : db_error(err, c, rc, sql, path);
}

static apr_status_t connect_db(sqlite3 **c, const char *path, int flags, sc_error *err)
{
    int rc = sqlite3_open_v2(path, c, flags | SQLITE_OPEN_NOMUTEX, NULL);

    if (rc != SQLITE_OK) {
        apr_status_t rv = db_error(err, *c, rc, "can not open", path);

        sqlite3_close(*c);
        *c = NULL;
        return rv;
    }
    sqlite3_busy_timeout(*c, BUSY_MS);
    return APR_SUCCESS;
}

/* Runs a query and keeps the first column of its first row. */
static apr_status_t query_text(sqlite3 *c, const char *sql, char *out, size_t size,
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
        rv = db_error(err, c, rc, sql, path);
    }
    sqlite3_finalize(stmt);
    return rv;
}

static apr_status_t make_wal(sqlite3 *c, const char *path, sc_error *err)
{
    char mode[16] = "";
    apr_status_t rv = query_text(c, "PRAGMA journal_mode=WAL", mode, sizeof(mode), path, err);

    if (rv == APR_SUCCESS && strcmp(mode, "wal") != 0) {
        rv = sc_error_set(err, SC_EFAILED, "%s stays in journal mode %s; WAL is needed", path, mode);
    }
    return rv;
}

static apr_status_t quick_check(sqlite3 *c, const char *path, sc_error *err)
{
    char result[256] = "";
    apr_status_t rv = query_text(c, "PRAGMA quick_check(1)", result, sizeof(result), path, err);

    if (rv == APR_SUCCESS && strcmp(result, "ok") != 0) {
        rv = sc_error_set(err, SC_ECORRUPT, "%s fails its check: %s", path, result);
    }
    return rv;
}

const char *sc_db_library_version(void)
{
    return sqlite3_libversion();
}

/* --- the live database ------------------------------------------------------------ */

static apr_status_t open_beside(const char *path, const char *suffix, int flags, int *fd,
                                sc_error *err)
{
    char name[PATH_MAX + 8];

    snprintf(name, sizeof(name), "%s%s", path, suffix);
    *fd = open(name, flags | O_CLOEXEC);
    return *fd >= 0 ? APR_SUCCESS : sc_error_errno(err, errno, "can not open %s", name);
}

static apr_status_t open_connections(sc_db *db, sc_error *err)
{
    int keep = 1;
    char size[16];
    apr_status_t rv = connect_db(&db->writer, db->path, SQLITE_OPEN_READWRITE, err);

    if (rv == APR_SUCCESS) {
        sqlite3_file_control(db->writer, "main", SQLITE_FCNTL_PERSIST_WAL, &keep);
        rv = make_wal(db->writer, db->path, err);
    }
    if (rv == APR_SUCCESS) {
        rv = connect_db(&db->checkpointer, db->path, SQLITE_OPEN_READWRITE, err);
    }
    if (rv == APR_SUCCESS) {
        sqlite3_file_control(db->checkpointer, "main", SQLITE_FCNTL_PERSIST_WAL, &keep);
        /* The first read makes SQLite open log and wal-index. */
        rv = exec(db->checkpointer, "SELECT 1 FROM sqlite_schema LIMIT 1", db->path, err);
    }
    if (rv == APR_SUCCESS) {
        rv = exec(db->writer, "SELECT 1 FROM sqlite_schema LIMIT 1", db->path, err);
    }
    if (rv == APR_SUCCESS) {
        rv = query_text(db->writer, "PRAGMA page_size", size, sizeof(size), db->path, err);
        db->page_size = rv == APR_SUCCESS ? (size_t)strtoul(size, NULL, 10) : 0;
    }
    return rv;
}

static apr_status_t map_index(sc_db *db, sc_error *err)
{
    apr_status_t rv = open_beside(db->path, "-shm", O_RDONLY, &db->index_fd, err);
    struct stat st;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (fstat(db->index_fd, &st) != 0 || st.st_size < INDEX_BYTES) {
        return sc_error_set(err, SC_EFAILED, "the wal-index of %s is too short", db->path);
    }
    db->index = mmap(NULL, INDEX_BYTES, PROT_READ, MAP_SHARED, db->index_fd, 0);
    if (db->index == MAP_FAILED) {
        db->index = NULL;
        return sc_error_errno(err, errno, "can not map the wal-index of %s", db->path);
    }
    return APR_SUCCESS;
}

/* Frames behind a void header would be lost with the wal-index. */
static apr_status_t begin_void_log_anew(sc_db *db, sc_error *err)
{
    int rc = SQLITE_OK;

    if (sc_db_log_is_void(db->path)) {
        rc = sqlite3_wal_checkpoint_v2(db->checkpointer, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL,
                                       NULL);
    }
    return rc == SQLITE_OK ? APR_SUCCESS
        : db_error(err, db->checkpointer, rc, "can not begin the log anew of", db->path);
}

apr_status_t sc_db_open(sc_db **out, const char *path, sc_error *err)
{
    sc_db *db = calloc(1, sizeof(*db));
    apr_status_t rv;

    *out = NULL;
    if (db == NULL) {
        return sc_error_errno(err, ENOMEM, "%s", path);
    }
    db->fd = db->wal_fd = db->index_fd = -1;
    snprintf(db->path, sizeof(db->path), "%s", path);
    rv = open_beside(path, "", O_RDWR, &db->fd, err);
    if (rv == APR_SUCCESS) {
        rv = open_connections(db, err);
    }
    if (rv == APR_SUCCESS) {
        rv = begin_void_log_anew(db, err);
    }
    if (rv == APR_SUCCESS) {
        rv = open_beside(path, "-wal", O_RDWR, &db->wal_fd, err);
    }
    if (rv == APR_SUCCESS) {
        rv = map_index(db, err);
    }
    if (rv != APR_SUCCESS) {
        sc_db_close(db);
        return rv;
    }
    *out = db;
    return APR_SUCCESS;
}

static void close_fd(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

void sc_db_close(sc_db *db)
{
    if (db == NULL) {
        return;
    }
    sc_db_unlock(db);
    sqlite3_close(db->checkpointer);
    sqlite3_close(db->writer);
    if (db->index != NULL) {
        munmap(db->index, INDEX_BYTES);
    }
    close_fd(db->index_fd);
    close_fd(db->wal_fd);
    close_fd(db->fd);
    free(db);
}

size_t sc_db_page_size(const sc_db *db)
{
    return db->page_size;
}

int sc_db_fd(const sc_db *db)
{
    return db->fd;
}

void sc_db_wal(const sc_db *db, sc_wal *wal)
{
    sc_wal_init(wal, db->wal_fd, db->index, db->page_size);
}

apr_status_t sc_db_lock(sc_db *db, int wait_ms, sc_error *err)
{
    apr_status_t rv;

    if (db->locked) {
        return APR_SUCCESS;
    }
    sqlite3_busy_timeout(db->writer, wait_ms);
    rv = exec(db->writer, "BEGIN IMMEDIATE", db->path, err);
    sqlite3_busy_timeout(db->writer, BUSY_MS);
    db->locked = rv == APR_SUCCESS;
    return rv;
}

void sc_db_unlock(sc_db *db)
{
    if (db->locked) {
        sqlite3_exec(db->writer, "ROLLBACK", NULL, NULL, NULL);
        db->locked = false;
    }
}

apr_status_t sc_db_checkpoint(sc_db *db, bool *whole, sc_error *err)
{
    int log = 0, done = 0;
    int rc = sqlite3_wal_checkpoint_v2(db->checkpointer, "main", SQLITE_CHECKPOINT_PASSIVE, &log,
                                       &done);

    *whole = rc == SQLITE_OK && log == done;
    if (rc != SQLITE_OK && rc != SQLITE_BUSY) {
        return db_error(err, db->checkpointer, rc, "checkpoint of", db->path);
    }
    return APR_SUCCESS;
}

/* --- read transactions ---------------------------------------------------------- */

static apr_status_t begin_read(sqlite3 *c, const char *path, sc_error *err)
{
    apr_status_t rv = exec(c, "BEGIN", path, err);

    if (rv == APR_SUCCESS) {
        rv = exec(c, "SELECT 1 FROM sqlite_schema LIMIT 1", path, err);
        if (rv != APR_SUCCESS) {
            sqlite3_exec(c, "ROLLBACK", NULL, NULL, NULL);
        }
    }
    return rv;
}

apr_status_t sc_reader_open(sc_reader **out, const sc_db *db, sc_error *err)
{
    sc_reader *r = calloc(1, sizeof(*r));
    apr_status_t rv = r != NULL ? APR_SUCCESS : sc_error_errno(err, ENOMEM, "%s", db->path);
    int keep = 1, i;

    *out = NULL;
    for (i = 0; i < 2 && rv == APR_SUCCESS; i++) {
        rv = connect_db(&r->connection[i], db->path, SQLITE_OPEN_READWRITE, err);
        if (rv == APR_SUCCESS) {
            sqlite3_file_control(r->connection[i], "main", SQLITE_FCNTL_PERSIST_WAL, &keep);
        }
    }
    if (rv == APR_SUCCESS) {
        rv = begin_read(r->connection[0], db->path, err);
    }
    if (rv != APR_SUCCESS) {
        sc_reader_close(r);
        return rv;
    }
    *out = r;
    return APR_SUCCESS;
}

apr_status_t sc_reader_advance(sc_reader *r, sc_error *err)
{
    apr_status_t rv = begin_read(r->connection[1 - r->current], "the live database", err);

    if (rv == APR_SUCCESS) {
        r->current = 1 - r->current;
    }
    return rv;
}

void sc_reader_settle(sc_reader *r)
{
    sqlite3_exec(r->connection[1 - r->current], "ROLLBACK", NULL, NULL, NULL);
}

void sc_reader_close(sc_reader *r)
{
    if (r != NULL) {
        sqlite3_close(r->connection[0]);
        sqlite3_close(r->connection[1]);
        free(r);
    }
}

/* --- files -------------------------------------------------------------------------- */

static apr_status_t run_backup(sqlite3 *from, sqlite3 *to, const char *path,
                               sc_db_progress progress, void *context, sc_error *err)
{
    sqlite3_backup *backup = sqlite3_backup_init(to, "main", from, "main");
    int rc, tries = 0;

    if (backup == NULL) {
        return db_error(err, to, sqlite3_errcode(to), "can not copy", path);
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
    return rc == SQLITE_DONE ? APR_SUCCESS : db_error(err, to, rc, "can not copy", path);
}

static apr_status_t sync_file(const char *path, sc_error *err)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    apr_status_t rv = APR_SUCCESS;

    if (fd < 0 || SC_FAULT("fsync-copy") || fsync(fd) != 0) {
        rv = sc_error_errno(err, errno, "can not sync %s", path);
    }
    close_fd(fd);
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
    close_fd(fd);
    if (rv == APR_SUCCESS) {
        rv = connect_db(&target, to, SQLITE_OPEN_READWRITE, err);
    }
    if (rv == APR_SUCCESS) {
        rv = make_wal(target, to, err);
    }
    if (rv == APR_SUCCESS) {
        rv = quick_check(target, to, err);
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
    rv = connect_db(&source, from, SQLITE_OPEN_READONLY, err);
    if (rv == APR_SUCCESS) {
        /* One transaction: a writer can not make the backup start again. */
        rv = begin_read(source, from, err);
    }
    if (rv == APR_SUCCESS) {
        rv = connect_db(&target, to, SQLITE_OPEN_READWRITE, err);
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
    close_fd(in);
    close_fd(out);
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
        rv = connect_db(&c, uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, err);
    }
    if (rv == APR_SUCCESS) {
        sqlite3_exec(c, "PRAGMA mmap_size=1099511627776", NULL, NULL, NULL);
        rv = quick_check(c, path, err);
    }
    sqlite3_close(c);
    sqlite3_free(uri);
    return rv;
}

apr_status_t sc_db_check_live(const char *path, sc_error *err)
{
    sqlite3 *c = NULL;
    apr_status_t rv = connect_db(&c, path, SQLITE_OPEN_READONLY, err);

    if (rv == APR_SUCCESS) {
        rv = quick_check(c, path, err);
    }
    sqlite3_close(c);
    return rv;
}

/* --- the log beside a fenced database --------------------------------------------------- */

static const uint8_t void_head[SC_WAL_HEADER_LEN];

static apr_status_t write_log_head(sc_db *db, const uint8_t *head, const char *what, sc_error *err)
{
    apr_status_t rv = sc_file_pwrite(db->wal_fd, head, SC_WAL_HEADER_LEN, 0);

    if (rv == APR_SUCCESS && (SC_FAULT("fsync-log") || fdatasync(db->wal_fd) != 0)) {
        rv = errno;
    }
    return rv == APR_SUCCESS ? rv
        : sc_error_errno(err, rv, "can not %s the log of %s", what, db->path);
}

apr_status_t sc_db_log_void(sc_db *db, sc_error *err)
{
    struct stat st;
    apr_status_t rv;

    if (db->log_void || (fstat(db->wal_fd, &st) == 0 && st.st_size < SC_WAL_HEADER_LEN)) {
        return APR_SUCCESS;
    }
    rv = sc_file_pread(db->wal_fd, db->log_head, sizeof(db->log_head), 0);
    if (rv != APR_SUCCESS) {
        return sc_error_errno(err, rv, "can not read the log of %s", db->path);
    }
    db->log_void = true;
    return write_log_head(db, void_head, "void", err);
}

apr_status_t sc_db_log_restore(sc_db *db, sc_error *err)
{
    apr_status_t rv = db->log_void ? write_log_head(db, db->log_head, "restore", err)
                                   : APR_SUCCESS;

    db->log_void = db->log_void && rv != APR_SUCCESS;
    return rv;
}

/* SQLite has no lock on the log: a descriptor of it may be closed. */
bool sc_db_log_is_void(const char *path)
{
    uint8_t head[SC_WAL_HEADER_LEN];
    int fd = -1;
    bool is = open_beside(path, "-wal", O_RDONLY, &fd, NULL) == APR_SUCCESS
        && pread(fd, head, sizeof(head), 0) == (ssize_t)sizeof(head)
        && memcmp(head, void_head, sizeof(head)) == 0;

    close_fd(fd);
    return is;
}

/* --- fence ------------------------------------------------------------------------------ */

apr_status_t sc_db_fence_get(int fd, bool *fenced)
{
    uint8_t version;
    apr_status_t rv = sc_file_pread(fd, &version, 1, SC_DB_FENCE_OFFSET);

    *fenced = rv == APR_SUCCESS && version > SC_DB_WAL_VALUE;
    return rv;
}

apr_status_t sc_db_fence_set(int fd, bool fenced, sc_error *err)
{
    uint8_t version = fenced ? SC_DB_FENCE_VALUE : SC_DB_WAL_VALUE;
    bool now;
    apr_status_t rv = sc_db_fence_get(fd, &now);

    if (rv == APR_SUCCESS && now == fenced) {
        return APR_SUCCESS;
    }
    if (rv == APR_SUCCESS) {
        rv = sc_file_pwrite(fd, &version, 1, SC_DB_FENCE_OFFSET);
    }
    /* Off needs no sync: after a crash a PRIMARY takes it off again. */
    if (rv == APR_SUCCESS && fenced && (SC_FAULT("fsync-fence") || fdatasync(fd) != 0)) {
        rv = errno;
    }
    return rv == APR_SUCCESS ? rv : sc_error_errno(err, rv, "can not %s the database",
                                                   fenced ? "fence" : "unfence");
}
