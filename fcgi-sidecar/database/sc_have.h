/*
 * sc_have.h -- what an instance has of a database, block by block, so that a
 * base is not sent again to one that has most of it.
 *
 * The follower describes what lies on its disk, the primary compares each block
 * with its own as it reads it, and sends those that differ.  A block counts as
 * equal by 128 bits of HMAC-SHA256 over its place and content, under a key of
 * this description alone.  So nothing has to be believed of what happened
 * before: not that a write was durable, nor that a log is still there.
 *
 * In JSON: {"salt": hex, "block": bytes, "bytes": bytes, "sums": hex}.
 * Byte 18 (the fence) counts as that of a database without fence.
 */
#ifndef SC_HAVE_H
#define SC_HAVE_H

#include <stdint.h>

#include "fcgi-sidecar/base/sc_crypto.h"
#include "fcgi-sidecar/base/sc_record.h"

#define SC_HAVE_SUM_LEN    16
#define SC_HAVE_BLOCK_MIN  (64u * 1024u)   /* a multiple of every page size */
#define SC_HAVE_BLOCK_MAX  (1024u * 1024u) /* divides SC_SHIP_CHUNK */
#define SC_HAVE_BLOCKS_MAX 16384u          /* what lies beyond is not described, and is sent */

typedef struct {
    sc_mac *mac;
    size_t block;   /* bytes, a power of two */
    uint64_t bytes; /* described */
    uint32_t count; /* blocks; the last may be short */
    uint8_t *sums;  /* SC_HAVE_SUM_LEN each, owned */
} sc_have;

/* Gives len bytes at offset of what is described. */
typedef apr_status_t (*sc_have_read_fn)(void *context, uint64_t offset, uint8_t *out, size_t len);

/* Size of the blocks in which that many bytes are described. */
size_t sc_have_block_size(uint64_t bytes);

/* Reads `bytes` bytes and describes them; *json is a new reference.  ENOMEM, or
 * what read said. */
apr_status_t sc_have_describe(const sc_secret *secret, uint64_t bytes, sc_have_read_fn read,
                              void *context, json_t **json);

/* Takes a description; false (and nothing to free) when there is none or it is
 * malformed. */
bool sc_have_take(sc_have *h, const sc_secret *secret, const json_t *json);

/* Is the block at offset (a multiple of the block's size) the same there?  len
 * is the block's size, or less at the end of the database. */
bool sc_have_same(const sc_have *h, uint64_t offset, const uint8_t *data, size_t len);

void sc_have_free(sc_have *h); /* safe on a zeroed struct */

#endif /* SC_HAVE_H */
