/*
 * sc_frame.h -- authenticated messages of a long answer on the control port.
 *
 *   0        4        8               16
 *   +--------+--------+----------------+-- ... --+-----------+
 *   |  type  | length |    sequence    | payload | tag (16)  |
 *   +--------+--------+----------------+-- ... --+-----------+
 *
 * Numbers are big-endian.  Before the first message stand 16 random bytes, the
 * salt.  The tag covers all of its message, under a key derived from the secret,
 * the nonce of the request and the salt; it is AES-256-GMAC, and the sequence
 * number its nonce, so no message can be changed, left out, repeated or moved.
 * The salt is the writer's own: a request that somebody sends again, after a
 * restart that forgot it, is answered under another key.
 *
 * Writer and reader each belong to one thread.
 */
#ifndef SC_FRAME_H
#define SC_FRAME_H

#include <stdint.h>

#include "fcgi-sidecar/base/sc_crypto.h"

#define SC_FRAME_HEAD_LEN    16
#define SC_FRAME_SALT_LEN    16
#define SC_FRAME_PAYLOAD_MAX (2u * 1024u * 1024u)

enum sc_frame_type {
    SC_FRAME_HELLO     = 1, /* JSON: what follows */
    SC_FRAME_PAGES     = 2, /* u32 number of the first page (from 1), pages */
    SC_FRAME_BASE_END  = 3, /* empty: every page of the base was sent */
    SC_FRAME_LOG       = 4, /* committed log frames, see sc_ship.h */
    SC_FRAME_HEARTBEAT = 5, /* JSON: the primary's position; at least one a second */
    SC_FRAME_PROGRESS  = 6, /* JSON: how far a hook's work is */
    SC_FRAME_SAME      = 8, /* u32 number of the first page, u32 how many: the follower has them */
    SC_FRAME_DONE      = 7  /* JSON: {"code": exit code, "text": reason, …}; the last one */
};

/* Moves len bytes; APR_SUCCESS or why not. */
typedef apr_status_t (*sc_frame_write_fn)(void *context, const void *data, size_t len);
typedef apr_status_t (*sc_frame_read_fn)(void *context, void *data, size_t len);

typedef struct {
    sc_tag *tag;
    uint8_t salt[SC_FRAME_SALT_LEN];
    uint64_t sequence;
    sc_frame_write_fn write;
    void *context;
} sc_frame_writer;

typedef struct {
    sc_secret secret;
    char nonce[SC_NONCE_LEN + 1];
    sc_tag *tag;       /* NULL before the salt came */
    uint64_t sequence;
    sc_frame_read_fn read;
    void *context;
    uint8_t *buffer;   /* of the last message's payload, owned; see sc_frame_read() */
    size_t capacity;
} sc_frame_reader;

/* A piece of a payload, so that nothing has to be put together first. */
typedef struct {
    const void *data;
    size_t len;
} sc_frame_part;

/* ENOMEM or success; a nonce has SC_NONCE_LEN digits. */
apr_status_t sc_frame_writer_init(sc_frame_writer *w, const sc_secret *secret, const char *nonce,
                                  sc_frame_write_fn write, void *context);
apr_status_t sc_frame_reader_init(sc_frame_reader *r, const sc_secret *secret, const char *nonce,
                                  sc_frame_read_fn read, void *context);

/* EINVAL when the parts exceed SC_FRAME_PAYLOAD_MAX, else what the sink said. */
apr_status_t sc_frame_write(sc_frame_writer *w, enum sc_frame_type type,
                            const sc_frame_part *parts, size_t n);

/* *payload is valid until the next call; what follows its first four bytes (the
 * pages of SC_FRAME_PAGES) lies at a whole block of sc_direct.h.  SC_EAUTH: tag or
 * sequence is wrong; SC_ECORRUPT: length too big; else what the source said. */
apr_status_t sc_frame_read(sc_frame_reader *r, enum sc_frame_type *type,
                           const uint8_t **payload, size_t *len);

/* Gives the buffer of the last message away, and takes another, which the caller
 * had from here or is NULL, in its place. */
void sc_frame_swap(sc_frame_reader *r, uint8_t **buffer, size_t *capacity);

/* Safe on a zeroed struct. */
void sc_frame_writer_free(sc_frame_writer *w);
void sc_frame_reader_free(sc_frame_reader *r);

#endif /* SC_FRAME_H */
