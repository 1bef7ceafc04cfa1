#include "fcgi-sidecar/control/sc_peer.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fcgi-sidecar/base/sc_dial.h"
#include "fcgi-sidecar/base/sc_fault.h"
#include "fcgi-sidecar/base/sc_file.h"
#include "lib/cgih.h"
#include "lib/fcgiw_stream.h"

#define REQUEST_ID   1
#define INPUT_SIZE   (256u * 1024u)
#define HEADER_MAX   4096u
#define STRAIGHT_MIN  4096u /* from here on bytes are received where they are wanted, */
#define STRAIGHT_HEAD 64u   /* all but those that come with the header of their record */
#define REQUEST_MAX  (SC_BODY_MAX + 16384u)

struct sc_peer {
    int fd;
    int timeout_ms;
    char address[SC_ADDRESS_MAX + 1];
    char nonce[SC_NONCE_LEN + 1];
    unsigned status;
    bool stream;                     /* the answer is a stream of messages */
    char mac[SC_HEX_LEN + 1];
    fcgiw_stream demux;
    bool ended;                      /* END_REQUEST was seen */
    size_t in_from, in_to;           /* unread part of input */
    const uint8_t *slice;            /* unread part of the last STDOUT slice (in input) */
    size_t slice_len;
    sc_frame_reader frames;
    uint8_t input[INPUT_SIZE];
};

/* --- request bytes ------------------------------------------------------------------ */

static apr_status_t send_all(sc_peer *p, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = SC_FAULT("send") ? -1 : send(p->fd, data, len, MSG_NOSIGNAL);
        apr_status_t rv;

        if (n > 0) {
            data += n;
            len -= (size_t)n;
            continue;
        }
        if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return errno;
        }
        rv = sc_dial_wait(p->fd, POLLOUT, p->timeout_ms);
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    return APR_SUCCESS;
}

/* --- request -------------------------------------------------------------------- */

static void add_param(fcgiw_params *params, const char *name, const char *value)
{
    fcgiw_pair pair = { (const uint8_t *)name, strlen(name), (const uint8_t *)value,
                        strlen(value) };

    /* The buffer holds the longest request: each value has a limit of its own. */
    (void)fcgiw_params_add(params, &pair);
}

/* Builds BEGIN, PARAMS and STDIN in out (REQUEST_MAX bytes). */
static size_t build_request(uint8_t *out, const sc_message *m, const char *mac,
                            const char *body, size_t len)
{
    fcgiw_begin begin = { FCGIW_RESPONDER, 0 };
    fcgiw_params params;
    fcgiw_header head = { FCGIW_STDIN, REQUEST_ID, 0, 0 };
    char number[32];
    size_t n = FCGIW_HEADER_LEN + FCGIW_BODY_LEN;

    fcgiw_begin_encode(out, REQUEST_ID, &begin);
    fcgiw_params_init(&params, out + n, REQUEST_MAX - n, REQUEST_ID);
    add_param(&params, "REQUEST_METHOD", "POST");
    add_param(&params, "SCRIPT_NAME", m->path);
    add_param(&params, "CONTENT_TYPE", "application/json");
    snprintf(number, sizeof(number), "%zu", len);
    add_param(&params, "CONTENT_LENGTH", number);
    add_param(&params, SC_PARAM_PROTOCOL, SC_PROTOCOL);
    add_param(&params, SC_PARAM_LINEAGE, m->lineage);
    snprintf(number, sizeof(number), "%llu", (unsigned long long)m->epoch);
    add_param(&params, SC_PARAM_EPOCH, number);
    add_param(&params, SC_PARAM_UID, m->uid);
    add_param(&params, SC_PARAM_TO, m->to);
    add_param(&params, SC_PARAM_NONCE, m->nonce);
    snprintf(number, sizeof(number), "%lld", (long long)m->time_ms);
    add_param(&params, SC_PARAM_TIME, number);
    add_param(&params, SC_PARAM_MAC, mac);
    (void)fcgiw_params_end(&params);
    n += params.len;
    while (len > 0) {
        size_t piece = len < FCGIW_CONTENT_MAX ? len : FCGIW_CONTENT_MAX;

        head.content_length = (uint16_t)piece;
        fcgiw_header_encode(out + n, &head);
        memcpy(out + n + FCGIW_HEADER_LEN, body, piece);
        n += FCGIW_HEADER_LEN + piece;
        body += piece;
        len -= piece;
    }
    head.content_length = 0;
    fcgiw_header_encode(out + n, &head);
    return n + FCGIW_HEADER_LEN;
}

static apr_status_t send_request(sc_peer *p, const sc_peer_call *call, const json_t *body,
                                 sc_error *err)
{
    sc_message m = { .epoch = call->epoch, .time_ms = sc_wall_ms() };
    char mac[SC_HEX_LEN + 1];
    char *text = body != NULL ? sc_json_text(body) : strdup("{}");
    uint8_t *out = malloc(REQUEST_MAX);
    apr_status_t rv;

    if (text == NULL || out == NULL || strlen(text) > SC_BODY_MAX) {
        rv = sc_error_errno(err, ENOMEM, "request to %s", call->address);
        goto leave;
    }
    snprintf(m.path, sizeof(m.path), "%s", call->path);
    snprintf(m.lineage, sizeof(m.lineage), "%s", call->lineage);
    snprintf(m.uid, sizeof(m.uid), "%s", call->uid);
    snprintf(m.to, sizeof(m.to), "%s", call->to);
    snprintf(m.nonce, sizeof(m.nonce), "%s", p->nonce);
    sc_message_mac(call->secret, &m, text, strlen(text), mac);
    rv = send_all(p, out, build_request(out, &m, mac, text, strlen(text)));
    if (rv != APR_SUCCESS) {
        sc_error_errno(err, rv, "can not send to %s", call->address);
    }
leave:
    free(text);
    free(out);
    return rv;
}

/* --- answer --------------------------------------------------------------------- */

/* At least one byte; *got of them. */
static apr_status_t receive_some(sc_peer *p, uint8_t *out, size_t len, size_t *got)
{
    for (;;) {
        ssize_t n = SC_FAULT("recv") ? -1 : recv(p->fd, out, len, 0);
        apr_status_t rv;

        if (n > 0) {
            *got = (size_t)n;
            return APR_SUCCESS;
        }
        if (n == 0) {
            return ECONNRESET;
        }
        if (errno != EAGAIN && errno != EINTR) {
            return errno;
        }
        rv = sc_dial_wait(p->fd, POLLIN, p->timeout_ms);
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
}

static apr_status_t receive(sc_peer *p, size_t len)
{
    p->in_from = p->in_to = 0;
    return receive_some(p, p->input, len, &p->in_to);
}

/* Makes p->slice the next bytes of STDOUT, receiving no more than at_once; APR_EOF after END_REQUEST. */
static apr_status_t next_slice(sc_peer *p, size_t at_once)
{
    fcgiw_event ev;
    fcgiw_result n;
    apr_status_t rv;

    while (!p->ended) {
        if (p->in_from == p->in_to) {
            rv = receive(p, at_once);
            if (rv != APR_SUCCESS) {
                return rv;
            }
        }
        n = fcgiw_stream_feed(&p->demux, p->input + p->in_from, p->in_to - p->in_from, &ev);
        if (n < 0) {
            return SC_ECORRUPT;
        }
        p->in_from += (size_t)n;
        if (ev.kind == FCGIW_EV_END) {
            p->ended = true;
        }
        if (ev.kind == FCGIW_EV_DATA && ev.header.type == FCGIW_STDOUT) {
            p->slice = ev.data;
            p->slice_len = ev.len;
            return APR_SUCCESS;
        }
    }
    return APR_EOF;
}

/* Content of a record whose header was read, received into `out`; *got 0 when
 * that is not where the next bytes belong. */
static apr_status_t receive_straight(sc_peer *p, uint8_t *out, size_t len, size_t *got)
{
    size_t left = fcgiw_stream_content(&p->demux, FCGIW_STDOUT);
    fcgiw_event ev;
    apr_status_t rv;

    *got = 0;
    if (p->slice_len > 0 || p->in_from < p->in_to || left < STRAIGHT_MIN || len < STRAIGHT_MIN) {
        return APR_SUCCESS;
    }
    rv = receive_some(p, out, len < left ? len : left, got);
    if (rv == APR_SUCCESS
        && fcgiw_stream_feed(&p->demux, out, *got, &ev) != (fcgiw_result)*got) {
        return SC_ECORRUPT;
    }
    return rv;
}

/* Much is copied once: of each record only what comes with its header passes
 * through p->input. */
static apr_status_t read_exactly(void *context, void *data, size_t len)
{
    sc_peer *p = context;
    uint8_t *out = data;

    while (len > 0) {
        size_t n;
        apr_status_t rv = receive_straight(p, out, len, &n);

        if (rv != APR_SUCCESS) {
            return rv;
        }
        if (n > 0) {
            out += n;
            len -= n;
            continue;
        }
        if (p->slice_len == 0) {
            rv = next_slice(p, len < STRAIGHT_MIN ? sizeof(p->input) : STRAIGHT_HEAD);

            if (rv != APR_SUCCESS) {
                return rv == APR_EOF ? ECONNRESET : rv;
            }
        }
        n = len < p->slice_len ? len : p->slice_len;
        memcpy(out, p->slice, n);
        p->slice += n;
        p->slice_len -= n;
        out += n;
        len -= n;
    }
    return APR_SUCCESS;
}

static void take_header_field(sc_peer *p, const cgih_field *f)
{
    int status;

    if (cgih_field_is(f, "Status")) {
        status = cgih_status(f, NULL, NULL);
        p->status = status > 0 ? (unsigned)status : 0;
    }
    else if (cgih_field_is(f, SC_HEADER_MAC) && f->value_len == SC_HEX_LEN) {
        memcpy(p->mac, f->value, SC_HEX_LEN);
    }
    else if (cgih_field_is(f, "Content-Type")) {
        p->stream = f->value_len > 20 && memcmp(f->value, "application/x-sidecar", 21) == 0;
    }
}

static apr_status_t read_header(sc_peer *p)
{
    char header[HEADER_MAX];
    size_t len = 0, pos = 0;
    cgih_scan scan;
    cgih_field field;
    int rc;

    cgih_scan_init(&scan);
    for (;;) {
        size_t n, take;
        apr_status_t rv = next_slice(p, sizeof(p->input));

        if (rv != APR_SUCCESS) {
            return rv == APR_EOF ? ECONNRESET : rv;
        }
        n = cgih_scan_feed(&scan, (const char *)p->slice, p->slice_len);
        take = n > 0 ? n : p->slice_len;
        if (take > sizeof(header) - len) {
            return SC_ECORRUPT;
        }
        memcpy(header + len, p->slice, take);
        len += take;
        p->slice += take;
        p->slice_len -= take;
        if (n > 0) {
            break;
        }
    }
    while ((rc = cgih_next(header, len, &pos, &field)) > 0) {
        take_header_field(p, &field);
    }
    return rc == 0 && p->status != 0 ? APR_SUCCESS : SC_ECORRUPT;
}

static bool answer_authentic(const sc_peer *p, const sc_secret *secret, const char *body,
                             size_t len)
{
    char want[SC_HEX_LEN + 1];

    sc_answer_mac(secret, p->nonce, p->status, body, len, want);
    return sc_equal_constant_time(want, p->mac, SC_HEX_LEN);
}

/* Reads a JSON body whole, checks its MAC, and turns an error into one. */
static apr_status_t read_json(sc_peer *p, const sc_peer_call *call, json_t **answer,
                              sc_error *err)
{
    char *body = malloc(SC_BODY_MAX);
    json_t *json = NULL;
    size_t len = 0;
    uint64_t code = 0;
    char text[SC_ERROR_LEN] = "";
    apr_status_t rv;

    if (body == NULL) {
        return sc_error_errno(err, ENOMEM, "answer of %s", call->address);
    }
    do {
        if (p->slice_len > SC_BODY_MAX - len) {
            rv = SC_ECORRUPT;
            break;
        }
        memcpy(body + len, p->slice, p->slice_len);
        len += p->slice_len;
        p->slice_len = 0;
        rv = next_slice(p, sizeof(p->input));
    } while (rv == APR_SUCCESS);
    if (rv != APR_EOF) {
        sc_error_errno(err, rv, "answer of %s", call->address);
        goto leave;
    }
    if (!answer_authentic(p, call->secret, body, len)
        || (json = json_loadb(body, len, 0, NULL)) == NULL) {
        rv = sc_error_set(err, SC_EAUTH, "the answer of %s is not signed with our --secret-file",
                          call->address);
        goto leave;
    }
    sc_json_uint(json, "code", &code);
    sc_json_string(json, "text", text, sizeof(text));
    rv = sc_error_from_exit_code((int)code);
    if (rv != APR_SUCCESS) {
        sc_error_set(err, rv, "%s: %s", call->address, text);
    }
    else if (answer != NULL) {
        *answer = json_incref(json);
    }
leave:
    json_decref(json);
    free(body);
    return rv;
}

static apr_status_t peer_start(sc_peer **out, const sc_peer_call *call, const json_t *body,
                               sc_error *err)
{
    sc_peer *p = calloc(1, sizeof(*p));
    apr_status_t rv;

    if (p == NULL) {
        return sc_error_errno(err, ENOMEM, "connection to %s", call->address);
    }
    p->fd = -1;
    p->timeout_ms = call->timeout_ms;
    snprintf(p->address, sizeof(p->address), "%s", call->address);
    sc_random_hex(p->nonce, SC_NONCE_LEN / 2);
    fcgiw_stream_init(&p->demux, FCGIW_FROM_RESPONDER, REQUEST_ID);
    rv = sc_dial(call->address, call->timeout_ms, &p->fd, err);
    if (rv == APR_SUCCESS) {
        rv = send_request(p, call, body, err);
    }
    if (rv == APR_SUCCESS) {
        rv = read_header(p);
        if (rv != APR_SUCCESS) {
            sc_error_errno(err, rv, "no answer of %s", call->address);
        }
    }
    if (rv != APR_SUCCESS) {
        sc_peer_close(p);
        return rv;
    }
    *out = p;
    return APR_SUCCESS;
}

apr_status_t sc_peer_request(const sc_peer_call *call, const json_t *body, json_t **answer,
                             sc_error *err)
{
    sc_peer *p = NULL;
    apr_status_t rv;

    if (answer != NULL) {
        *answer = NULL;
    }
    rv = peer_start(&p, call, body, err);
    if (p != NULL) {
        rv = read_json(p, call, answer, err);
    }
    sc_peer_close(p);
    return rv;
}

apr_status_t sc_peer_open(sc_peer **peer, const sc_peer_call *call, const json_t *body,
                          sc_error *err)
{
    sc_peer *p = NULL;
    apr_status_t rv = peer_start(&p, call, body, err);

    *peer = NULL;
    if (p == NULL) {
        return rv;
    }
    if (!p->stream) {
        rv = read_json(p, call, NULL, err);
        if (rv == APR_SUCCESS) {
            rv = sc_error_set(err, SC_EFAILED, "%s answered without a stream", call->address);
        }
        goto leave;
    }
    if (!answer_authentic(p, call->secret, "", 0)) {
        rv = sc_error_set(err, SC_EAUTH, "the answer of %s is not signed with our --secret-file",
                          call->address);
        goto leave;
    }
    rv = sc_frame_reader_init(&p->frames, call->secret, p->nonce, read_exactly, p);
    if (rv == APR_SUCCESS) {
        *peer = p;
        p = NULL;
    }
leave:
    sc_peer_close(p);
    return rv;
}

apr_status_t sc_peer_next(sc_peer *p, enum sc_frame_type *type, const uint8_t **payload,
                          size_t *len, sc_error *err)
{
    apr_status_t rv = sc_frame_read(&p->frames, type, payload, len);

    if (rv == SC_EAUTH) {
        return sc_error_set(err, rv, "a message of %s has a wrong MAC", p->address);
    }
    if (rv == SC_ECORRUPT) {
        return sc_error_set(err, rv, "a message of %s is malformed", p->address);
    }
    return rv == APR_SUCCESS ? rv : sc_error_errno(err, rv, "the stream of %s broke", p->address);
}

void sc_peer_swap(sc_peer *p, uint8_t **buffer, size_t *capacity)
{
    sc_frame_swap(&p->frames, buffer, capacity);
}

void sc_peer_abort(sc_peer *p)
{
    shutdown(p->fd, SHUT_RDWR);
}

void sc_peer_close(sc_peer *p)
{
    if (p != NULL) {
        if (p->fd >= 0) {
            close(p->fd);
        }
        sc_frame_reader_free(&p->frames);
        free(p);
    }
}
