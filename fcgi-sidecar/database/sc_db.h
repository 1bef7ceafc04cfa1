/*
 * sc_db.h -- the live database.  Its copies: sc_db_file.h, its fence: sc_db_fence.h.
 *
 * POSIX locks belong to the process, and closing any descriptor of a file drops
 * all of them.  So an open sc_db keeps one descriptor of the database, of the
 * log and of the wal-index for its whole life, and closes them after SQLite's.
 *
 * Threads: sc_db_lock/unlock/checkpoint belong to one thread at a time (the
 * caller serialises); an sc_reader belongs to one thread.
 */
#ifndef SC_DB_H
#define SC_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "fcgi-sidecar/database/sc_wal.h"

typedef struct sc_db sc_db;
typedef struct sc_reader sc_reader;

/* Opens a database that PHP uses at the same time: makes it WAL if it is not
 * (that needs a moment without other users), and keeps its log from being
 * deleted when the last other connection closes. */
apr_status_t sc_db_open(sc_db **db, const char *path, sc_error *err);

/* Releases the write lock if it is held.  Safe on NULL. */
void sc_db_close(sc_db *db);

/* The kept descriptor, for reading pages; not to be closed. */
int sc_db_fd(const sc_db *db);

/* A reader of the log that starts before its first frame. */
void sc_db_wal(const sc_db *db, sc_wal *wal);

/* Takes SQLite's write lock: nobody commits until it is given back.  EBUSY
 * after wait_ms. */
apr_status_t sc_db_lock(sc_db *db, int wait_ms, sc_error *err);
void sc_db_unlock(sc_db *db); /* safe when not locked */

/* Copies log frames into the database as far as readers allow; waits for
 * nobody.  *whole: all of the log is in the database. */
apr_status_t sc_db_checkpoint(sc_db *db, bool *whole, sc_error *err);

/* The same under the write lock, for a database that is given away: when it becomes whole by
 * this, byte 18 is the fence (sc_db_fence.h) and durable with it, by one sync.  Whether it is,
 * sc_db_fence_get() says; on failure it may be written, and has to be taken off again. */
apr_status_t sc_db_checkpoint_fenced(sc_db *db, bool *whole, sc_error *err);

/* Makes the log's file longer when less than SC_DB_LOG_ROOM of it lies behind its
 * `used` bytes, under the write lock: while a log
 * may not be begun anew each commit would make the file grow, and its sync wait
 * for the file system's journal, which takes as long again.  SQLite reads nothing
 * of it, and overwrites it.  Does nothing when the lock is not to be had, or
 * the disk is full. */
#define SC_DB_LOG_ROOM (2u * 1024u * 1024u)
void sc_db_log_room(sc_db *db, uint64_t used);

/* --- read transactions that keep the log ------------------------------------ */

/* Begins the first transaction. */
apr_status_t sc_reader_open(sc_reader **reader, const sc_db *db, sc_error *err);

/* Begins a transaction at the present end of the log; the one before is kept
 * until sc_reader_settle().  So there is always one that keeps the log from
 * being overwritten behind the frames that were read. */
apr_status_t sc_reader_advance(sc_reader *reader, sc_error *err);
void sc_reader_settle(sc_reader *reader);

/* A transaction that began when all of the log was in the database has no mark in the
 * log: it keeps every checkpoint from writing, and each commit of PHP's that finds
 * 1,000 frames sorts all of them before it learns that (8 us a thousand, measured; with
 * a mark nothing).  Moves to one with a mark as soon as the log has a frame beyond; what
 * was read, and the log from its first frame, are as good afterwards.  True when it has
 * one; to be called again and again, costs a look at the wal-index. */
bool sc_reader_mark(sc_reader *reader, const sc_wal *wal);
void sc_reader_close(sc_reader *reader); /* safe on NULL */

/* --- the log beside a fenced database ------------------------------------------ */

/* Makes the log void (its header zeroed and synced): a SQLite that reads it
 * anew after all processes were killed finds no page 1 without the fence in it.
 * Who has the database open does not notice.  All of the log must be in the
 * database and the write lock held.  Restoring does nothing when that was not
 * done.  sc_db_open() begins a log that it finds void anew. */
apr_status_t sc_db_log_void(sc_db *db, sc_error *err);
apr_status_t sc_db_log_restore(sc_db *db, sc_error *err);
bool sc_db_log_is_void(const char *path);

const char *sc_db_library_version(void);

/* Can SQLite, here and in PHP, open a database of that name in a folder (NULL: the path is whole)?
 * SC_EUSAGE names the option when it is too long for that, its log's name included. */
apr_status_t sc_db_check_path(const char *option, const char *path, const char *name, sc_error *err);

#endif /* SC_DB_H */
