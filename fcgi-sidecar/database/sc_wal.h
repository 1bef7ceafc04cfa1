/*
 * sc_wal.h -- reads the write-ahead log of a live SQLite database.
 *
 * What is committed is taken from the wal-index (the -shm file), not guessed
 * from the log; each frame is checked against the running checksum.  The caller
 * holds a read transaction (sc_db.h) that keeps the frames from being
 * overwritten.  Source: "WAL-mode File Format", sqlite.org/walformat.html.
 *
 *   log:   | header 32 | frame header 24 | page | frame header 24 | page | …
 *   frame: | page no. | database size after a commit, else 0 | salt | salt | checksum × 2 |
 *
 * An sc_wal belongs to one thread.  It never takes or drops a lock.
 */
#ifndef SC_WAL_H
#define SC_WAL_H

#include <stddef.h>
#include <sys/types.h>

#include "fcgi-sidecar/base/sc_record.h"

#define SC_WAL_HEADER_LEN 32
#define SC_WAL_FRAME_LEN  24

/* The wal-index at one moment. */
typedef struct {
    uint32_t frames;      /* committed */
    uint32_t pages;       /* size of the database, 0: never written */
    uint32_t salt[2];
    uint32_t checksum[2]; /* after the last committed frame */
    uint32_t backfilled;  /* frames that are in the database file already */
} sc_wal_index;

typedef struct {
    int fd;                   /* the log; borrowed */
    const volatile uint8_t *index; /* the wal-index, mapped; borrowed */
    size_t page_size;
    bool big_endian;          /* how the checksum reads its words */
    sc_position position;     /* frames up to here were handed out */
} sc_wal;

/* Some frames in a row. */
typedef struct {
    uint32_t count;
    uint32_t commit_pages;    /* size of the database after the last of them, 0: inside a transaction */
    uint32_t *page_numbers;   /* owned by the caller, room for `room` of them */
    uint8_t *pages;           /* and for room pages */
    uint32_t room;
} sc_wal_batch;

/* fd and index stay the caller's. */
void sc_wal_init(sc_wal *w, int fd, const volatile uint8_t *index, size_t page_size);

/* A consistent picture of the index; EAGAIN when writers changed it all the
 * time, SC_ENONE when it is not initialised. */
apr_status_t sc_wal_look(const sc_wal *w, sc_wal_index *index);

/* True when everything up to index was handed out. */
bool sc_wal_at_end(const sc_wal *w, const sc_wal_index *index);

/* Reads on, at most to index and at most batch->room frames; ends a batch at a
 * commit that makes the database smaller than `pages`.  When the log was begun
 * anew it goes on at its start (the caller's read transactions make sure that
 * nothing was missed).  SC_ECORRUPT when checksum or salt do not fit. */
apr_status_t sc_wal_read(sc_wal *w, const sc_wal_index *index, uint32_t pages,
                         sc_wal_batch *batch, sc_error *err);

/* The log's checksum over len bytes (a multiple of 8). */
void sc_wal_checksum(bool big_endian, const uint8_t *data, size_t len, uint32_t sum[2]);

#endif /* SC_WAL_H */
