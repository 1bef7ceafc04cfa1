/*
 * sc_buffer.h -- a growing byte queue.
 *
 *      data            start           end             cap
 *      | taken already | content       | free          |
 *
 * Memory is allocated with the first byte and given back by
 * sc_buffer_release(), so that an idle connection holds none.  The bound on
 * the content is the caller's.  One thread at a time.
 */
#ifndef SC_BUFFER_H
#define SC_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint8_t *data;  /* owned; NULL: nothing allocated */
    size_t   start, end, cap;
} sc_buffer;

static inline size_t sc_buffer_len(const sc_buffer *b)
{
    return b->end - b->start;
}

static inline uint8_t *sc_buffer_head(const sc_buffer *b)
{
    return b->data + b->start;
}

/* Room for n bytes after the content, or NULL when memory has run out (the
 * content is unchanged).  Moves the content; pointers into it are void. */
uint8_t *sc_buffer_reserve(sc_buffer *b, size_t n);

/* n of the reserved bytes have become content. */
void sc_buffer_commit(sc_buffer *b, size_t n);

/* Appends a copy of n bytes; false: no memory, nothing was appended. */
bool sc_buffer_add(sc_buffer *b, const void *bytes, size_t n);

/* Takes n bytes (n <= length) from the front. */
void sc_buffer_consume(sc_buffer *b, size_t n);

/* Drops content and memory; the buffer may be used again. */
void sc_buffer_release(sc_buffer *b);

#endif /* SC_BUFFER_H */
