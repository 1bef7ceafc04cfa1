#include "fcgi-sidecar/control/sc_frame.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-sidecar/base/sc_bytes.h"
#include "fcgi-sidecar/base/sc_direct.h"

#define LEAD (SC_DIRECT_BLOCK - 4) /* before the payload: its fifth byte begins a block */

static sc_tag *stream_tag(const sc_secret *secret, const char *nonce,
                          const uint8_t salt[SC_FRAME_SALT_LEN])
{
    char both[SC_NONCE_LEN + 2 * SC_FRAME_SALT_LEN + 1];
    sc_secret key;
    size_t i;

    memcpy(both, nonce, SC_NONCE_LEN);
    for (i = 0; i < SC_FRAME_SALT_LEN; i++) {
        snprintf(both + SC_NONCE_LEN + 2 * i, 3, "%02x", salt[i]);
    }
    sc_secret_derive(&key, secret, "sidecar-stream-2", both);
    return sc_tag_new(&key);
}

apr_status_t sc_frame_writer_init(sc_frame_writer *w, const sc_secret *secret, const char *nonce,
                                  sc_frame_write_fn write, void *context)
{
    memset(w, 0, sizeof(*w));
    w->write = write;
    w->context = context;
    sc_random(w->salt, sizeof(w->salt));
    w->tag = stream_tag(secret, nonce, w->salt);
    return w->tag != NULL ? APR_SUCCESS : ENOMEM;
}

apr_status_t sc_frame_reader_init(sc_frame_reader *r, const sc_secret *secret, const char *nonce,
                                  sc_frame_read_fn read, void *context)
{
    memset(r, 0, sizeof(*r));
    r->secret = *secret;
    memcpy(r->nonce, nonce, SC_NONCE_LEN);
    r->read = read;
    r->context = context;
    return APR_SUCCESS;
}

apr_status_t sc_frame_write(sc_frame_writer *w, enum sc_frame_type type,
                            const sc_frame_part *parts, size_t n)
{
    uint8_t head[SC_FRAME_HEAD_LEN];
    unsigned char tag[SC_TAG_LEN];
    size_t len = 0, i;
    apr_status_t rv = APR_SUCCESS;

    for (i = 0; i < n; i++) {
        if (parts[i].len > SC_FRAME_PAYLOAD_MAX - len) {
            return EINVAL;
        }
        len += parts[i].len;
    }
    if (w->sequence == 0) {
        rv = w->write(w->context, w->salt, sizeof(w->salt));
    }
    sc_tag_begin(w->tag, w->sequence);
    sc_put_u32(head, type);
    sc_put_u32(head + 4, (uint32_t)len);
    sc_put_u64(head + 8, w->sequence++);
    sc_tag_add(w->tag, head, sizeof(head));
    if (rv == APR_SUCCESS) {
        rv = w->write(w->context, head, sizeof(head));
    }
    for (i = 0; i < n && rv == APR_SUCCESS; i++) {
        sc_tag_add(w->tag, parts[i].data, parts[i].len);
        rv = w->write(w->context, parts[i].data, parts[i].len);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    sc_tag_end(w->tag, tag);
    return w->write(w->context, tag, sizeof(tag));
}

static apr_status_t read_salt(sc_frame_reader *r)
{
    uint8_t salt[SC_FRAME_SALT_LEN];
    apr_status_t rv = r->read(r->context, salt, sizeof(salt));

    if (rv == APR_SUCCESS) {
        r->tag = stream_tag(&r->secret, r->nonce, salt);
        rv = r->tag != NULL ? APR_SUCCESS : ENOMEM;
    }
    return rv;
}

/* Room for len bytes of a message; what the last one left is not needed. */
static apr_status_t make_room(sc_frame_reader *r, size_t len)
{
    if (LEAD + len > r->capacity) {
        free(r->buffer);
        r->capacity = 0;
        r->buffer = sc_direct_alloc(LEAD + len);
        if (r->buffer == NULL) {
            return ENOMEM;
        }
        r->capacity = LEAD + len;
    }
    return APR_SUCCESS;
}

apr_status_t sc_frame_read(sc_frame_reader *r, enum sc_frame_type *type,
                           const uint8_t **payload, size_t *len)
{
    uint8_t head[SC_FRAME_HEAD_LEN];
    unsigned char want[SC_TAG_LEN];
    apr_status_t rv = r->tag == NULL ? read_salt(r) : APR_SUCCESS;
    size_t n;

    if (rv == APR_SUCCESS) {
        rv = r->read(r->context, head, sizeof(head));
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    n = sc_get_u32(head + 4);
    if (n > SC_FRAME_PAYLOAD_MAX) {
        return SC_ECORRUPT;
    }
    rv = make_room(r, n + SC_TAG_LEN);
    if (rv == APR_SUCCESS) {
        rv = r->read(r->context, r->buffer + LEAD, n + SC_TAG_LEN);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    sc_tag_begin(r->tag, r->sequence);
    sc_tag_add(r->tag, head, sizeof(head));
    sc_tag_add(r->tag, r->buffer + LEAD, n);
    sc_tag_end(r->tag, want);
    if (!sc_equal_constant_time(want, r->buffer + LEAD + n, SC_TAG_LEN)
        || sc_get_u64(head + 8) != r->sequence++) {
        return SC_EAUTH;
    }
    *type = (enum sc_frame_type)sc_get_u32(head);
    *payload = r->buffer + LEAD;
    *len = n;
    return APR_SUCCESS;
}

void sc_frame_swap(sc_frame_reader *r, uint8_t **buffer, size_t *capacity)
{
    uint8_t *last = r->buffer;
    size_t room = r->capacity;

    r->buffer = *buffer;
    r->capacity = *capacity;
    *buffer = last;
    *capacity = room;
}

void sc_frame_writer_free(sc_frame_writer *w)
{
    sc_tag_free(w->tag);
    w->tag = NULL;
}

void sc_frame_reader_free(sc_frame_reader *r)
{
    sc_tag_free(r->tag);
    free(r->buffer);
    r->tag = NULL;
    r->buffer = NULL;
    r->capacity = 0;
}
