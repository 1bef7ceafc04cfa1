#include "lib/fcgiw.h"

#include <string.h>

/*
 * Record header, §3.3:
 *
 *      0       1     2    3     4    5      6         7
 *   +-------+------+---------+-----------+---------+----------+
 *   |version| type |requestId|contentLen |padLength| reserved |
 *   +-------+------+---------+-----------+---------+----------+
 */

static void put_u16(uint8_t *out, uint16_t v)
{
    out[0] = (uint8_t)(v >> 8);
    out[1] = (uint8_t)v;
}

static uint16_t get_u16(const uint8_t *in)
{
    return (uint16_t)((unsigned)in[0] << 8 | in[1]);
}

static uint32_t get_u32(const uint8_t *in)
{
    return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
}

void fcgiw_header_encode(uint8_t out[FCGIW_HEADER_LEN], const fcgiw_header *h)
{
    out[0] = FCGIW_VERSION;
    out[1] = h->type;
    put_u16(out + 2, h->request_id);
    put_u16(out + 4, h->content_length);
    out[6] = h->padding_length;
    out[7] = 0;
}

fcgiw_result fcgiw_header_decode(fcgiw_header *h, const uint8_t *in, size_t len)
{
    if (len > 0 && in[0] != FCGIW_VERSION) {
        return FCGIW_EVERSION;
    }
    if (len < FCGIW_HEADER_LEN) {
        return 0;
    }
    h->type = in[1];
    h->request_id = get_u16(in + 2);
    h->content_length = get_u16(in + 4);
    h->padding_length = in[6];
    return FCGIW_HEADER_LEN;
}

/* Header of a record whose content is one 8-byte body. */
static void body_record(uint8_t *out, uint8_t type, uint16_t request_id)
{
    fcgiw_header h = { type, request_id, FCGIW_BODY_LEN, 0 };

    fcgiw_header_encode(out, &h);
    memset(out + FCGIW_HEADER_LEN, 0, FCGIW_BODY_LEN);
}

void fcgiw_begin_encode(uint8_t out[FCGIW_HEADER_LEN + FCGIW_BODY_LEN],
                        uint16_t request_id, const fcgiw_begin *b)
{
    body_record(out, FCGIW_BEGIN_REQUEST, request_id);
    put_u16(out + FCGIW_HEADER_LEN, b->role);
    out[FCGIW_HEADER_LEN + 2] = b->flags;
}

void fcgiw_end_encode(uint8_t out[FCGIW_HEADER_LEN + FCGIW_BODY_LEN],
                      uint16_t request_id, const fcgiw_end *e)
{
    body_record(out, FCGIW_END_REQUEST, request_id);
    put_u16(out + FCGIW_HEADER_LEN, (uint16_t)(e->app_status >> 16));
    put_u16(out + FCGIW_HEADER_LEN + 2, (uint16_t)e->app_status);
    out[FCGIW_HEADER_LEN + 4] = e->protocol_status;
}

void fcgiw_begin_decode(fcgiw_begin *b, const uint8_t body[FCGIW_BODY_LEN])
{
    b->role = get_u16(body);
    b->flags = body[2];
}

void fcgiw_end_decode(fcgiw_end *e, const uint8_t body[FCGIW_BODY_LEN])
{
    e->app_status = get_u32(body);
    e->protocol_status = body[4];
}

/* --- name-value pairs ---------------------------------------------------- */

/* A length below 128 takes one byte, any other four with the top bit set. */
static size_t len_size(size_t len)
{
    return len < 128 ? 1 : 4;
}

static uint8_t *len_encode(uint8_t *out, size_t len)
{
    if (len < 128) {
        *out = (uint8_t)len;
        return out + 1;
    }
    put_u16(out, (uint16_t)(len >> 16 | 0x8000u));
    put_u16(out + 2, (uint16_t)len);
    return out + 4;
}

/* Bytes of the length field at in, or 0 when it is not there whole. */
static size_t len_decode(size_t *value, const uint8_t *in, size_t len)
{
    if (len == 0) {
        return 0;
    }
    if (in[0] < 128) {
        *value = in[0];
        return 1;
    }
    if (len < 4) {
        return 0;
    }
    *value = get_u32(in) & FCGIW_PAIR_LEN_MAX;
    return 4;
}

fcgiw_result fcgiw_pair_size(size_t name_len, size_t value_len)
{
    size_t room = (size_t)PTRDIFF_MAX;
    size_t head;

    if (name_len > FCGIW_PAIR_LEN_MAX || value_len > FCGIW_PAIR_LEN_MAX) {
        return FCGIW_ETOOBIG;
    }
    /* With 32-bit sizes two lengths of 31 bits overflow ptrdiff_t. */
    head = len_size(name_len) + len_size(value_len);
    room -= head;
    if (name_len > room || value_len > room - name_len) {
        return FCGIW_ETOOBIG;
    }
    return (fcgiw_result)(head + name_len + value_len);
}

fcgiw_result fcgiw_pair_encode(uint8_t *out, size_t cap, const fcgiw_pair *pair)
{
    fcgiw_result size = fcgiw_pair_size(pair->name_len, pair->value_len);

    if (size < 0) {
        return size;
    }
    if ((size_t)size > cap) {
        return FCGIW_ENOSPACE;
    }
    out = len_encode(out, pair->name_len);
    out = len_encode(out, pair->value_len);
    if (pair->name_len > 0) {
        memcpy(out, pair->name, pair->name_len);
    }
    if (pair->value_len > 0) {
        memcpy(out + pair->name_len, pair->value, pair->value_len);
    }
    return size;
}

fcgiw_result fcgiw_pair_decode(fcgiw_pair *pair, const uint8_t *in, size_t len)
{
    size_t name_len, value_len, n, head;
    fcgiw_result size;

    n = len_decode(&name_len, in, len);
    if (n == 0) {
        return 0;
    }
    head = n;
    n = len_decode(&value_len, in + head, len - head);
    if (n == 0) {
        return 0;
    }
    head += n;
    size = fcgiw_pair_size(name_len, value_len);
    if (size < 0) {
        return size;
    }
    /* Not size: a peer may spend four bytes on a length below 128. */
    if (name_len > len - head || value_len > len - head - name_len) {
        return 0;
    }
    pair->name = in + head;
    pair->name_len = name_len;
    pair->value = in + head + name_len;
    pair->value_len = value_len;
    return (fcgiw_result)(head + name_len + value_len);
}

/* --- PARAMS stream --------------------------------------------------------- */

void fcgiw_params_init(fcgiw_params *p, uint8_t *buf, size_t cap, uint16_t request_id)
{
    p->buf = buf;
    p->cap = cap;
    p->len = 0;
    p->open = 0;
    p->request_id = request_id;
}

static size_t open_content(const fcgiw_params *p)
{
    return p->len == p->open ? 0 : p->len - p->open - FCGIW_HEADER_LEN;
}

static void write_params_header(const fcgiw_params *p, size_t at, size_t content)
{
    fcgiw_header h = { FCGIW_PARAMS, p->request_id, (uint16_t)content, 0 };

    fcgiw_header_encode(p->buf + at, &h);
}

fcgiw_result fcgiw_params_add(fcgiw_params *p, const fcgiw_pair *pair)
{
    fcgiw_result size = fcgiw_pair_size(pair->name_len, pair->value_len);
    size_t content = open_content(p);
    size_t before = p->len;
    size_t at = p->open;

    if (size < 0 || size > FCGIW_CONTENT_MAX) {
        return FCGIW_ETOOBIG;
    }
    if (content == 0 || content + (size_t)size > FCGIW_CONTENT_MAX) {
        at = p->len;
        content = 0;
        if (p->cap - p->len < FCGIW_HEADER_LEN) {
            return FCGIW_ENOSPACE;
        }
    }
    size_t start = at + FCGIW_HEADER_LEN + content;
    if (fcgiw_pair_encode(p->buf + start, p->cap - start, pair) < 0) {
        return FCGIW_ENOSPACE;
    }
    p->open = at;
    p->len = start + (size_t)size;
    write_params_header(p, at, content + (size_t)size);
    return (fcgiw_result)(p->len - before);
}

fcgiw_result fcgiw_params_end(fcgiw_params *p)
{
    if (p->cap - p->len < FCGIW_HEADER_LEN) {
        return FCGIW_ENOSPACE;
    }
    write_params_header(p, p->len, 0);
    p->len += FCGIW_HEADER_LEN;
    p->open = p->len;
    return FCGIW_HEADER_LEN;
}

/* --- names ----------------------------------------------------------------- */

const char *fcgiw_type_name(unsigned type)
{
    static const char *const names[] = {
        "type 0", "BEGIN_REQUEST", "ABORT_REQUEST", "END_REQUEST", "PARAMS", "STDIN",
        "STDOUT", "STDERR", "DATA", "GET_VALUES", "GET_VALUES_RESULT", "UNKNOWN_TYPE"
    };

    return type <= FCGIW_TYPE_MAX ? names[type] : "unknown type";
}

const char *fcgiw_protocol_status_name(unsigned status)
{
    switch (status) {
    case FCGIW_REQUEST_COMPLETE: return "REQUEST_COMPLETE";
    case FCGIW_CANT_MPX_CONN:    return "CANT_MPX_CONN";
    case FCGIW_OVERLOADED:       return "OVERLOADED";
    case FCGIW_UNKNOWN_ROLE:     return "UNKNOWN_ROLE";
    default:                     return "unknown protocol status";
    }
}

const char *fcgiw_error_name(fcgiw_result error)
{
    switch (error) {
    case FCGIW_EVERSION: return "unsupported FastCGI version";
    case FCGIW_EID:      return "record of another request id";
    case FCGIW_ETYPE:    return "record type that this side may not send";
    case FCGIW_EBODY:    return "record body too short";
    case FCGIW_EPAIR:    return "name-value pair reaches past its content";
    case FCGIW_ETOOBIG:  return "name-value pair too big for a record";
    case FCGIW_ENOSPACE: return "no space in the buffer";
    case FCGIW_EORDER:   return "record out of order";
    default:             return error < 0 ? "unknown error" : "no error";
    }
}
