/*
 * sc_file.h -- files that are whole or absent.
 *
 * Every write of a small file goes temporary file -> fsync -> rename -> fsync
 * of the folder.  All functions may be called from any thread; two writers of
 * the same path must be kept apart by the caller.
 */
#ifndef SC_FILE_H
#define SC_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "fcgi-sidecar/base/sc_error.h"

/* Largest small file that is read back whole (state, authority, secret). */
#define SC_FILE_SMALL_MAX (64u * 1024u)

/* What a file is to hold. */
typedef struct {
    const char *path;
    const char *temp;       /* in the same folder, of this process alone; NULL: PATH.tmp */
    const void *data;
    size_t len;
    mode_t mode;            /* of a new file */
    bool name_later;        /* whoever replaces it calls sc_file_sync_folder() afterwards */
} sc_file_content;

/* Replaces a file durably.  With name_later the name is not synced: after a crash
 * the file is the one of before or the new one, either of them whole. */
apr_status_t sc_file_put(const sc_file_content *c, sc_error *err);

/* sc_file_put() of the usual kind. */
apr_status_t sc_file_replace(const char *path, const void *data, size_t len, mode_t mode,
                             sc_error *err);

/* Writes and syncs ahead of time what sc_file_put() is expected to be asked
 * for: if it then is, rename and folder are all that is left to do.  Nothing
 * else changes, and a failure costs only the time that was to be won.  One a
 * temporary file; it stays until it is used, replaced or dropped. */
void sc_file_put_ahead(const sc_file_content *c);
void sc_file_drop_ahead(const char *temp); /* does nothing when there is none */

/* Reads a file of at most SC_FILE_SMALL_MAX bytes.  *data is malloc'ed,
 * NUL-terminated and the caller's to free; ENOENT when there is none. */
apr_status_t sc_file_read(const char *path, char **data, size_t *len, sc_error *err);

/* Renames and makes the new name durable (both in one folder). */
apr_status_t sc_file_rename(const char *from, const char *to, sc_error *err);

/* fsync of the folder that holds path. */
apr_status_t sc_file_sync_folder(const char *path, sc_error *err);

/* mkdir -p of path itself, mode 0700 for what is made; fails when it is no folder. */
apr_status_t sc_file_make_folder(const char *path, sc_error *err);

/* Writes or reads all of len at offset, over short transfers and EINTR.  A read
 * that meets the end of the file is EIO. */
apr_status_t sc_file_pwrite(int fd, const void *data, size_t len, off_t offset);
apr_status_t sc_file_pread(int fd, void *data, size_t len, off_t offset);

/* Where path leads when it is a symbolic link, to a file that need not exist; else
 * path itself.  ELOOP past 40 links, ENAMETOOLONG when out is too short. */
apr_status_t sc_file_follow_links(const char *path, char *out, size_t size, sc_error *err);

/* Closes a descriptor; -1 is none. */
void sc_file_close(int fd);

/* Monotonic milliseconds and microseconds; wall clock milliseconds since 1970. */
int64_t sc_now_ms(void);
int64_t sc_now_us(void);
int64_t sc_wall_ms(void);

#endif /* SC_FILE_H */
