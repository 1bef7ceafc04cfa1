/*
 * demo_spool.h -- a body that waits: first in memory, then in a temporary file.
 *
 *      0            memory_len                      memory_len + file_len
 *      | in memory  | in the file (unlinked at once) |
 *
 * Bytes are appended at the end and read from any place.  The file has no name
 * by the time a byte is in it, so that nothing remains after a crash.  A spool
 * belongs to one request; everything ends with its pool.
 */
#ifndef DEMO_SPOOL_H
#define DEMO_SPOOL_H

#include <errno.h>
#include <stdbool.h>

#include "apr_file_io.h"
#include "apr_pools.h"
#include "httpd.h"

#include "mod_demo/config/demo_config.h"
#include "mod_demo/shm/demo_metrics.h"

typedef struct {
    apr_pool_t *pool;
    const demo_spool_conf *conf;
    enum demo_direction direction; /* for the counters */
    char *memory;                  /* of pool, grows up to conf->memory */
    apr_size_t memory_len, memory_cap;
    apr_file_t *file;              /* NULL until it is needed */
    apr_off_t file_len;
} demo_spool;

#define DEMO_SPOOL_EXCEEDED EFBIG

void demo_spool_init(demo_spool *spool, const demo_spool_conf *conf,
                     enum demo_direction direction, apr_pool_t *pool);

/* The length is known beforehand: memory is taken once. */
void demo_spool_expect(demo_spool *spool, apr_off_t len);

/* Appends.  DEMO_SPOOL_EXCEEDED: more than conf->max would be in the file; any
 * other error is the file's (demo_spool_is_full() tells a full disk).  After an
 * error the spool holds an unknown part of data and is of no use for appending. */
apr_status_t demo_spool_write(demo_spool *spool, const char *data, apr_size_t len);

/* As demo_spool_write(), but straight to the file, never into memory. */
apr_status_t demo_spool_write_file(demo_spool *spool, const char *data, apr_size_t len);

/* Does this error say that the disk, or the quota of httpd's user, is full? */
bool demo_spool_is_full(apr_status_t rv);

/* Chooses the folder of temporary files, once a child: TMPDIR if httpd's user may
 * write there, else what APR finds. */
void demo_spool_child_init(apr_pool_t *pchild, server_rec *s);

/* That folder; for messages. */
const char *demo_spool_folder(void);

apr_off_t demo_spool_len(const demo_spool *spool);

/* Reads exactly len bytes at offset; they must be there.  APR_EOF: the file is
 * shorter than it was. */
apr_status_t demo_spool_read(const demo_spool *spool, apr_off_t offset, char *out,
                             apr_size_t len);

#endif /* DEMO_SPOOL_H */
