#include "fcgi-sidecar/relay/sc_buffer.h"

#include <stdlib.h>
#include <string.h>

#define SMALLEST 4096

uint8_t *sc_buffer_reserve(sc_buffer *b, size_t n)
{
    size_t len = sc_buffer_len(b);
    size_t cap = b->cap > 0 ? b->cap : SMALLEST;
    uint8_t *grown;

    if (n <= b->cap - b->end) {
        return b->data + b->end;
    }
    if (n > SIZE_MAX / 4 || len > SIZE_MAX / 4) {
        return NULL;
    }
    while (cap < len + n) {
        cap *= 2;
    }
    if (cap > b->cap) {
        grown = malloc(cap);
        if (grown == NULL) {
            return NULL;
        }
        if (len > 0) {
            memcpy(grown, b->data + b->start, len);
        }
        free(b->data);
        b->data = grown;
        b->cap = cap;
    }
    else {
        memmove(b->data, b->data + b->start, len);
    }
    b->start = 0;
    b->end = len;
    return b->data + b->end;
}

void sc_buffer_commit(sc_buffer *b, size_t n)
{
    b->end += n;
}

bool sc_buffer_add(sc_buffer *b, const void *bytes, size_t n)
{
    uint8_t *room;

    if (n == 0) {
        return true;
    }
    room = sc_buffer_reserve(b, n);
    if (room == NULL) {
        return false;
    }
    memcpy(room, bytes, n);
    sc_buffer_commit(b, n);
    return true;
}

void sc_buffer_consume(sc_buffer *b, size_t n)
{
    b->start += n;
    if (b->start == b->end) {
        b->start = b->end = 0;
    }
}

void sc_buffer_release(sc_buffer *b)
{
    free(b->data);
    memset(b, 0, sizeof(*b));
}
