#include "fcgi-sidecar/control/sc_frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-sidecar/base/sc_bytes.h"

static sc_mac *stream_mac(const sc_secret *secret, const char *nonce)
{
    sc_secret key;

    sc_secret_derive(&key, secret, "sidecar-stream-1", nonce);
    return sc_mac_new(&key);
}

apr_status_t sc_frame_writer_init(sc_frame_writer *w, const sc_secret *secret, const char *nonce,
                                  sc_frame_write_fn write, void *context)
{
    memset(w, 0, sizeof(*w));
    w->write = write;
    w->context = context;
    w->mac = stream_mac(secret, nonce);
    return w->mac != NULL ? APR_SUCCESS : ENOMEM;
}

apr_status_t sc_frame_reader_init(sc_frame_reader *r, const sc_secret *secret, const char *nonce,
                                  sc_frame_read_fn read, void *context)
{
    memset(r, 0, sizeof(*r));
    r->read = read;
    r->context = context;
    r->mac = stream_mac(secret, nonce);
    return r->mac != NULL ? APR_SUCCESS : ENOMEM;
}

apr_status_t sc_frame_write(sc_frame_writer *w, enum sc_frame_type type,
                            const sc_frame_part *parts, size_t n)
{
    uint8_t head[SC_FRAME_HEAD_LEN];
    unsigned char mac[SC_MAC_LEN];
    size_t len = 0, i;
    apr_status_t rv;

    for (i = 0; i < n; i++) {
        if (parts[i].len > SC_FRAME_PAYLOAD_MAX - len) {
            return EINVAL;
        }
        len += parts[i].len;
    }
    sc_put_u32(head, type);
    sc_put_u32(head + 4, (uint32_t)len);
    sc_put_u64(head + 8, w->sequence++);
    sc_mac_add(w->mac, head, sizeof(head));
    rv = w->write(w->context, head, sizeof(head));
    for (i = 0; i < n && rv == APR_SUCCESS; i++) {
        sc_mac_add(w->mac, parts[i].data, parts[i].len);
        rv = w->write(w->context, parts[i].data, parts[i].len);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    sc_mac_end(w->mac, mac);
    return w->write(w->context, mac, sizeof(mac));
}

apr_status_t sc_frame_read(sc_frame_reader *r, enum sc_frame_type *type,
                           const uint8_t **payload, size_t *len)
{
    uint8_t head[SC_FRAME_HEAD_LEN];
    unsigned char want[SC_MAC_LEN];
    apr_status_t rv = r->read(r->context, head, sizeof(head));
    size_t n;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    n = sc_get_u32(head + 4);
    if (n > SC_FRAME_PAYLOAD_MAX) {
        return SC_ECORRUPT;
    }
    if (n + SC_MAC_LEN > r->capacity) {
        uint8_t *bigger = realloc(r->payload, n + SC_MAC_LEN);

        if (bigger == NULL) {
            return ENOMEM;
        }
        r->payload = bigger;
        r->capacity = n + SC_MAC_LEN;
    }
    rv = r->read(r->context, r->payload, n + SC_MAC_LEN);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    sc_mac_add(r->mac, head, sizeof(head));
    sc_mac_add(r->mac, r->payload, n);
    sc_mac_end(r->mac, want);
    if (!sc_equal_constant_time(want, r->payload + n, SC_MAC_LEN)
        || sc_get_u64(head + 8) != r->sequence++) {
        return SC_EAUTH;
    }
    *type = (enum sc_frame_type)sc_get_u32(head);
    *payload = r->payload;
    *len = n;
    return APR_SUCCESS;
}

void sc_frame_writer_free(sc_frame_writer *w)
{
    sc_mac_free(w->mac);
    w->mac = NULL;
}

void sc_frame_reader_free(sc_frame_reader *r)
{
    sc_mac_free(r->mac);
    free(r->payload);
    r->mac = NULL;
    r->payload = NULL;
    r->capacity = 0;
}
