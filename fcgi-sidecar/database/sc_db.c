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

#include "fcgi-sidecar/base/sc_fault.h"
#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/database/sc_db_fence.h"
#include "fcgi-sidecar/database/sc_sqlite.h"

#define OPEN_TRIES  10    /* 20 ms apart */
#define INDEX_BYTES 32768 /* first page of the wal-index */
#define LOG_STEP    (4u * 1024u * 1024u) /* by which the log's file is made longer */
#define LOG_LOCK_MS 50    /* longest wait for the lock that this takes */
#define LOOK_US     250   /* between two looks at the lock */

struct sc_db {
    char path[PATH_MAX];
    sqlite3 *writer;       /* holds the write lock in a cut-over */
    sqlite3 *checkpointer; /* a connection in a transaction can not checkpoint */
    bool locked;
    int64_t lock_until_ms; /* how long the writer looks for the lock */
    uint8_t log_head[SC_WAL_HEADER_LEN]; /* what it was before it was made void */
    bool log_void;
    int fd, wal_fd, index_fd;
    void *index;
    size_t page_size;
};

struct sc_reader {
    sqlite3 *connection[2];
    int current; /* whose transaction was begun last */
    bool marked; /* it has a mark in the log, surely */
};

const char *sc_db_library_version(void)
{
    return sqlite3_libversion();
}

apr_status_t sc_db_check_path(const char *option, const char *path, const char *name, sc_error *err)
{
    static const char suffix[] = "-journal"; /* the longest that SQLite appends */
    const sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    size_t most = vfs != NULL ? (size_t)vfs->mxPathname - (sizeof(suffix) - 1) : PATH_MAX;
    size_t beside = name != NULL ? strlen(name) + 1 : 0;

    return strlen(path) + beside <= most ? APR_SUCCESS
        : sc_error_set(err, SC_EUSAGE, "%s: of %zu bytes, but SQLite opens paths of at most %zu here",
                       option, strlen(path), most - beside);
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
    apr_status_t rv = sc_sqlite_open(&db->writer, db->path, SQLITE_OPEN_READWRITE, err);

    if (rv == APR_SUCCESS) {
        sqlite3_file_control(db->writer, "main", SQLITE_FCNTL_PERSIST_WAL, &keep);
        rv = sc_sqlite_make_wal(db->writer, db->path, err);
    }
    if (rv == APR_SUCCESS) {
        rv = sc_sqlite_open(&db->checkpointer, db->path, SQLITE_OPEN_READWRITE, err);
    }
    if (rv == APR_SUCCESS) {
        sqlite3_file_control(db->checkpointer, "main", SQLITE_FCNTL_PERSIST_WAL, &keep);
        /* The first read makes SQLite open log and wal-index. */
        rv = sc_sqlite_exec(db->checkpointer, "SELECT 1 FROM sqlite_schema LIMIT 1", db->path, err);
    }
    if (rv == APR_SUCCESS) {
        rv = sc_sqlite_exec(db->writer, "SELECT 1 FROM sqlite_schema LIMIT 1", db->path, err);
    }
    if (rv == APR_SUCCESS) {
        rv = sc_sqlite_text(db->writer, "PRAGMA page_size", size, sizeof(size), db->path, err);
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
        : sc_sqlite_error(err, db->checkpointer, rc, "can not begin the log anew of", db->path);
}

/* SQLite opens a database or a log for reading alone when it can not be opened for
 * writing at that moment, and stays with that: another user made the log and has not given
 * it away yet, or no descriptor was left.  Such a connection could never take the write
 * lock, or bring the log into the file. */
static apr_status_t check_writable(sqlite3 *connection, const char *path, sc_error *err)
{
    /* Of the database itself: there BEGIN IMMEDIATE begins to read, and is content. */
    bool readonly = sqlite3_db_readonly(connection, "main") != 0;
    int rc;

    sqlite3_busy_timeout(connection, 0);
    rc = sqlite3_exec(connection, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_exec(connection, "ROLLBACK", NULL, NULL, NULL);
    }
    sqlite3_busy_timeout(connection, SC_SQLITE_BUSY_MS);
    return !readonly && (rc & 0xff) != SQLITE_READONLY ? APR_SUCCESS
        : sc_error_set(err, EACCES, "%s or its log can not be written: does it belong to another "
                       "user?", path);
}

static apr_status_t open_once(sc_db **out, const char *path, sc_error *err)
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
        rv = check_writable(db->writer, path, err);
    }
    if (rv == APR_SUCCESS) {
        rv = check_writable(db->checkpointer, path, err);
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

apr_status_t sc_db_open(sc_db **db, const char *path, sc_error *err)
{
    apr_status_t rv = open_once(db, path, err);
    int tries;

    for (tries = 1; rv == EACCES && tries < OPEN_TRIES; tries++) {
        sqlite3_sleep(20);
        rv = open_once(db, path, err);
    }
    return rv;
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
    sc_file_close(db->index_fd);
    sc_file_close(db->wal_fd);
    sc_file_close(db->fd);
    free(db);
}

int sc_db_fd(const sc_db *db)
{
    return db->fd;
}

void sc_db_wal(const sc_db *db, sc_wal *wal)
{
    sc_wal_init(wal, db->wal_fd, db->index, db->page_size);
}

/* Looks more often than SQLite's own handler, which sleeps up to 100 ms: among writers at
 * full speed that one would hardly ever find the lock free. */
static int look_again(void *context, int looks)
{
    const sc_db *db = context;

    (void)looks;
    if (sc_now_ms() >= db->lock_until_ms) {
        return 0;
    }
    usleep(LOOK_US);
    return 1;
}

apr_status_t sc_db_lock(sc_db *db, int wait_ms, sc_error *err)
{
    apr_status_t rv;

    if (db->locked) {
        return APR_SUCCESS;
    }
    db->lock_until_ms = sc_now_ms() + wait_ms;
    sqlite3_busy_handler(db->writer, look_again, db);
    rv = sc_sqlite_exec(db->writer, "BEGIN IMMEDIATE", db->path, err);
    sqlite3_busy_timeout(db->writer, SC_SQLITE_BUSY_MS);
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
        return sc_sqlite_error(err, db->checkpointer, rc, "checkpoint of", db->path);
    }
    return APR_SUCCESS;
}

/* Methods of the checkpointer's file while it seals; first, so that they lead here. */
struct sealing {
    sqlite3_io_methods methods;
    const sqlite3_io_methods *real;
    int fd;
};

/* SQLite syncs the file when all pages are in it, page 1 among them, and goes on only when
 * that went well. */
static int sync_fenced(sqlite3_file *file, int flags)
{
    const struct sealing *s = (const struct sealing *)file->pMethods;
    uint8_t fence = SC_DB_FENCE_VALUE;

    if (sc_file_pwrite(s->fd, &fence, 1, SC_DB_FENCE_OFFSET) != APR_SUCCESS) {
        return SQLITE_IOERR_WRITE;
    }
    return SC_FAULT("fsync-fence") ? SQLITE_IOERR_FSYNC : s->real->xSync(file, flags);
}

apr_status_t sc_db_checkpoint_fenced(sc_db *db, bool *whole, sc_error *err)
{
    struct sealing s = { .fd = db->fd };
    sqlite3_file *file = NULL;
    apr_status_t rv;

    if (sqlite3_file_control(db->checkpointer, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK
        || file == NULL || file->pMethods == NULL) {
        return sc_db_checkpoint(db, whole, err);
    }
    s.real = file->pMethods;
    s.methods = *s.real;
    s.methods.xSync = sync_fenced;
    file->pMethods = &s.methods;
    rv = sc_db_checkpoint(db, whole, err);
    file->pMethods = s.real;
    return rv;
}

/* --- read transactions ---------------------------------------------------------- */

apr_status_t sc_reader_open(sc_reader **out, const sc_db *db, sc_error *err)
{
    sc_reader *r = calloc(1, sizeof(*r));
    apr_status_t rv = r != NULL ? APR_SUCCESS : sc_error_errno(err, ENOMEM, "%s", db->path);
    int keep = 1, i;

    *out = NULL;
    for (i = 0; i < 2 && rv == APR_SUCCESS; i++) {
        rv = sc_sqlite_open(&r->connection[i], db->path, SQLITE_OPEN_READWRITE, err);
        if (rv == APR_SUCCESS) {
            /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): without r rv is ENOMEM */
            sqlite3_file_control(r->connection[i], "main", SQLITE_FCNTL_PERSIST_WAL, &keep);
        }
    }
    if (rv == APR_SUCCESS) {
        rv = sc_sqlite_begin_read(r->connection[0], db->path, err);
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
    apr_status_t rv = sc_sqlite_begin_read(r->connection[1 - r->current], "the live database", err);

    if (rv == APR_SUCCESS) {
        r->current = 1 - r->current;
        r->marked = false;
    }
    return rv;
}

bool sc_reader_mark(sc_reader *r, const sc_wal *wal)
{
    sc_wal_index before, after;

    if (r->marked || sc_wal_look(wal, &before) != APR_SUCCESS
        || before.frames <= before.backfilled || sc_reader_advance(r, NULL) != APR_SUCCESS) {
        return r->marked;
    }
    /* A frame that was there before it began, and is not in the database after that. */
    r->marked = sc_wal_look(wal, &after) == APR_SUCCESS && after.backfilled < before.frames
        && memcmp(after.salt, before.salt, sizeof(before.salt)) == 0;
    sc_reader_settle(r);
    return r->marked;
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

/* --- the length of the log's file ------------------------------------------------------- */

/* Behind its end nobody writes but who has the write lock, nor cuts it. */
static void lengthen(const sc_db *db, off_t end)
{
    static const uint8_t zeros[64 * 1024];
    size_t done;

    for (done = 0; done < LOG_STEP; done += sizeof(zeros)) {
        if (sc_file_pwrite(db->wal_fd, zeros, sizeof(zeros), end + (off_t)done) != APR_SUCCESS) {
            (void)!ftruncate(db->wal_fd, end); /* the room is PHP's */
            return;
        }
    }
}

void sc_db_log_room(sc_db *db, uint64_t used)
{
    struct stat st;

    if (fstat(db->wal_fd, &st) != 0 || (uint64_t)st.st_size >= used + SC_DB_LOG_ROOM
        || sc_db_lock(db, LOG_LOCK_MS, NULL) != APR_SUCCESS) {
        return;
    }
    if (fstat(db->wal_fd, &st) == 0) {
        lengthen(db, st.st_size);
    }
    sc_db_unlock(db);
    /* Or the next commit would have to. */
    (void)sync_file_range(db->wal_fd, st.st_size, LOG_STEP, SYNC_FILE_RANGE_WRITE);
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

    sc_file_close(fd);
    return is;
}
