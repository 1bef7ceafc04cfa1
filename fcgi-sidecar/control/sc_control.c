#include "fcgi-sidecar/control/sc_control.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "fcgi-sidecar/base/sc_bind.h"
#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/base/sc_log.h"
#include "fcgi-sidecar/control/sc_inbound.h"
#include "fcgi-sidecar/control/sc_nonce.h"

#define REFUSED_LINES   5     /* lines about refused requests in each */
#define REFUSED_SPAN_MS 10000

/* A thread, and the request it works on. */
struct worker {
    sc_control *control;
    pthread_t thread;
    sc_inbound in;
    int reading;     /* its connection, while the request comes in; else -1; of the control's lock */
};

struct sc_control {
    sc_control_config config;
    int fd;
    uint16_t port;
    atomic_bool stopping;
    _Atomic uint64_t refused;
    pthread_mutex_t lock;      /* of the workers' reading */
    pthread_mutex_t told_lock; /* of the next three */
    int64_t told_from;         /* monotonic; when the span began; 0: none has */
    unsigned told;             /* lines in this span */
    unsigned long long untold; /* refusals without a line since the last one */
    sc_nonce_cache nonces;
    unsigned n_workers;
    struct worker workers[SC_CONTROL_WORKERS];
};

struct sc_control_request {
    sc_control *control;
    sc_inbound *in;
    sc_message message;
    json_t *body;
    bool answered;
    sc_frame_writer writer; /* of a stream */
};

/* Longest wait for the peer to send or to take bytes. */
static void limit_io(int fd, int seconds)
{
    struct timeval tv = { seconds, 0 };
    unsigned ms = (unsigned)seconds * 1000;

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
}

/* --- answers ---------------------------------------------------------------- */

/* What fails here, fails again when the answer is flushed. */
static void send_header(sc_control_request *r, unsigned status, const char *type,
                        const char *body, size_t len)
{
    char mac[SC_HEX_LEN + 1], header[256];
    int n;

    sc_answer_mac(r->control->config.secret, r->message.nonce, status, body, len, mac);
    n = snprintf(header, sizeof(header),
                 "Status: %u\r\nContent-Type: %s\r\n" SC_HEADER_MAC ": %s\r\n\r\n", status, type,
                 mac);
    (void)sc_inbound_write(r->in, header, (size_t)n);
    r->answered = true;
}

static void answer_status(sc_control_request *r, unsigned status, json_t *json)
{
    char *text = json != NULL ? sc_json_text(json) : strdup("{}");

    if (text != NULL && !r->answered) {
        size_t len = strlen(text);

        send_header(r, status, "application/json", text, len);
        (void)sc_inbound_write(r->in, text, len);
    }
    free(text);
    json_decref(json);
}

void sc_control_answer(sc_control_request *r, json_t *json)
{
    answer_status(r, 200, json);
}

void sc_control_fail(sc_control_request *r, const sc_error *err)
{
    int code = sc_error_exit_code(err->rv);
    unsigned status = err->rv == SC_EAUTH ? 401 : err->rv == SC_ENONE ? 404
                    : code == 2 ? 400 : code == 3 ? 409 : code == 75 ? 503 : 500;

    answer_status(r, status, json_pack("{s:i, s:s}", "code", code, "text", err->text));
}

void sc_control_reply(sc_control_request *r, apr_status_t rv, const sc_error *err, json_t *json)
{
    if (rv == APR_SUCCESS) {
        sc_control_answer(r, json);
    }
    else {
        json_decref(json);
        sc_control_fail(r, err);
    }
}

void sc_control_finish(sc_control_request *r)
{
    (void)sc_inbound_end(r->in);
}

void sc_control_abort(sc_control_request *r)
{
    shutdown(r->in->fd, SHUT_RDWR);
}

static apr_status_t write_out(void *context, const void *data, size_t len)
{
    sc_control_request *r = context;

    return sc_inbound_write(r->in, data, len);
}

apr_status_t sc_control_flush(sc_control_request *r)
{
    return sc_inbound_flush(r->in);
}

apr_status_t sc_control_stream(sc_control_request *r, sc_frame_writer **writer)
{
    apr_status_t rv = sc_frame_writer_init(&r->writer, r->control->config.secret,
                                           r->message.nonce, write_out, r);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    limit_io(r->in->fd, SC_CONTROL_STREAM_TIMEOUT_S);
    send_header(r, 200, "application/x-sidecar-stream", "", 0);
    *writer = &r->writer;
    return sc_inbound_flush(r->in);
}

apr_status_t sc_control_send_json(sc_control_request *r, enum sc_frame_type type, json_t *json)
{
    char *text = json != NULL ? sc_json_text(json) : NULL;
    apr_status_t rv = ENOMEM;

    if (text != NULL) {
        sc_frame_part part = { text, strlen(text) };

        rv = sc_frame_write(&r->writer, type, &part, 1);
    }
    free(text);
    json_decref(json);
    return rv == APR_SUCCESS ? sc_control_flush(r) : rv;
}

const sc_message *sc_control_message(const sc_control_request *r)
{
    return &r->message;
}

const json_t *sc_control_body(const sc_control_request *r)
{
    return r->body;
}

/* --- requests ------------------------------------------------------------------ */

static bool take_number(const sc_inbound *in, const char *name, int64_t *out)
{
    char text[24];
    char *end;

    if (!sc_inbound_param(in, name, text, sizeof(text)) || text[0] < '0' || text[0] > '9') {
        return false;
    }
    errno = 0;
    *out = strtoll(text, &end, 10);
    return errno == 0 && *end == '\0';
}

static bool take_message(sc_message *m, const sc_inbound *in, char mac[SC_HEX_LEN + 1])
{
    char protocol[8];
    int64_t epoch;
    bool ok = sc_inbound_param(in, SC_PARAM_NONCE, m->nonce, sizeof(m->nonce))
        && sc_nonce_valid(m->nonce)
        && sc_inbound_param(in, SC_PARAM_PROTOCOL, protocol, sizeof(protocol))
        && strcmp(protocol, SC_PROTOCOL) == 0
        && sc_inbound_param(in, "SCRIPT_NAME", m->path, sizeof(m->path))
        && sc_inbound_param(in, SC_PARAM_LINEAGE, m->lineage, sizeof(m->lineage))
        && take_number(in, SC_PARAM_EPOCH, &epoch)
        && sc_inbound_param(in, SC_PARAM_UID, m->uid, sizeof(m->uid)) && sc_uid_valid(m->uid)
        && sc_inbound_param(in, SC_PARAM_TO, m->to, sizeof(m->to))
        && take_number(in, SC_PARAM_TIME, &m->time_ms)
        && sc_inbound_param(in, SC_PARAM_MAC, mac, SC_HEX_LEN + 1) && strlen(mac) == SC_HEX_LEN;

    if (ok) {
        m->epoch = (uint64_t)epoch;
    }
    else if (!sc_nonce_valid(m->nonce)) {
        memset(m->nonce, '0', SC_NONCE_LEN); /* so that a refusal can be sent */
        m->nonce[SC_NONCE_LEN] = '\0';
    }
    return ok;
}

/* The body is what CONTENT_LENGTH says? */
static bool length_fits(const sc_inbound *in, size_t len)
{
    int64_t stated;

    return take_number(in, "CONTENT_LENGTH", &stated) && (uint64_t)stated == len;
}

static apr_status_t authenticate(sc_control *c, const sc_message *m, const char *mac,
                                 const char *body, size_t len, sc_error *err)
{
    char want[SC_HEX_LEN + 1];
    int64_t skew = m->time_ms - sc_wall_ms();

    sc_message_mac(c->config.secret, m, body, len, want);
    if (!sc_equal_constant_time(want, mac, SC_HEX_LEN)) {
        return sc_error_set(err, SC_EAUTH, "the request is not signed with our --secret-file");
    }
    if (skew > SC_TIME_WINDOW_MS || skew < -SC_TIME_WINDOW_MS) {
        return sc_error_set(err, SC_EAUTH, "the clocks differ by %lld s, %d s are allowed",
                            (long long)(skew / 1000), SC_TIME_WINDOW_MS / 1000);
    }
    if (!sc_nonce_take(&c->nonces, m->nonce, sc_now_ms())) {
        return sc_error_set(err, SC_EAUTH, "the request was seen before");
    }
    if (m->to[0] != '\0' && strcmp(m->to, c->config.uid) != 0) {
        return sc_error_set(err, SC_EREFUSED, "this is the instance %s, not %s", c->config.uid,
                            m->to);
    }
    return APR_SUCCESS;
}

static const sc_control_route *find_route(const sc_control *c, const char *path)
{
    const sc_control_route *route;

    for (route = c->config.routes; route->path != NULL; route++) {
        if (strcmp(route->path, path) == 0) {
            return route;
        }
    }
    return NULL;
}

/* Whoever reaches the port can have requests refused: REFUSED_LINES of them are
 * told in each REFUSED_SPAN_MS, the others counted. */
static void note_refused(sc_control *c, const char *why)
{
    int64_t now = sc_now_ms();
    unsigned long long untold = 0;
    char more[64] = "";
    bool tell;

    atomic_fetch_add(&c->refused, 1);
    pthread_mutex_lock(&c->told_lock);
    if (c->told_from == 0 || now - c->told_from >= REFUSED_SPAN_MS) {
        c->told_from = now;
        c->told = 0;
    }
    tell = c->told < REFUSED_LINES;
    if (tell) {
        c->told++;
        untold = c->untold;
        c->untold = 0;
    }
    else {
        c->untold++;
    }
    pthread_mutex_unlock(&c->told_lock);
    if (untold > 0) {
        snprintf(more, sizeof(more), " (%llu before that were not told)", untold);
    }
    if (tell) {
        sc_warn("SC0601", "control port: request refused: %s%s", why, more);
    }
}

static void refuse(sc_control_request *r, sc_error *err)
{
    if (err->rv == SC_EAUTH) {
        note_refused(r->control, err->text);
    }
    sc_control_fail(r, err);
}

static void handle(sc_control *c, sc_inbound *in)
{
    sc_control_request r = { .control = c, .in = in };
    const sc_control_route *route;
    char mac[SC_HEX_LEN + 1] = "";
    sc_error err = { 0, "" };
    size_t len = 0;
    const char *body = sc_inbound_body(in, &len);

    if (!take_message(&r.message, in, mac) || !length_fits(in, len)) {
        sc_error_set(&err, SC_EAUTH, "malformed or unsigned request");
        refuse(&r, &err);
        goto leave;
    }
    if (authenticate(c, &r.message, mac, body, len, &err) != APR_SUCCESS) {
        refuse(&r, &err);
        goto leave;
    }
    route = find_route(c, r.message.path);
    r.body = json_loadb(body, len, JSON_REJECT_DUPLICATES, NULL);
    if (route == NULL || !json_is_object(r.body)) {
        sc_error_set(&err, route == NULL ? SC_ENONE : SC_EUSAGE, "%s: %s", r.message.path,
                     route == NULL ? "not known to this version" : "the body is no JSON object");
        refuse(&r, &err);
        goto leave;
    }
    route->handle(c->config.context, &r);
leave:
    (void)sc_inbound_end(in);
    sc_frame_writer_free(&r.writer);
    json_decref(r.body);
}

/* Whom sc_control_stop() finds here it does not wait for. */
static void set_reading(struct worker *w, int fd)
{
    pthread_mutex_lock(&w->control->lock);
    w->reading = fd;
    if (fd >= 0 && atomic_load(&w->control->stopping)) {
        shutdown(fd, SHUT_RD);
    }
    pthread_mutex_unlock(&w->control->lock);
}

/* One connection, one request. */
static void converse(struct worker *w, int fd)
{
    apr_status_t rv;

    set_reading(w, fd);
    rv = sc_inbound_read(&w->in, fd, SC_BODY_MAX);
    set_reading(w, -1);
    if (rv == APR_SUCCESS) {
        handle(w->control, &w->in);
    }
    else if (rv == SC_ECORRUPT && !atomic_load(&w->control->stopping)) {
        note_refused(w->control, "malformed FastCGI");
    }
    sc_inbound_free(&w->in);
    close(fd);
}

static void *work(void *context)
{
    struct worker *w = context;
    sc_control *c = w->control;

    while (!atomic_load(&c->stopping)) {
        int fd = accept4(c->fd, NULL, NULL, SOCK_CLOEXEC);

        if (fd >= 0) {
            converse(w, fd);
        }
        else if (errno != EAGAIN && errno != EINTR && !atomic_load(&c->stopping)) {
            usleep(10000); /* out of descriptors: others give theirs back */
        }
    }
    return NULL;
}

/* --- life ------------------------------------------------------------------------ */

static void limit_waits(int fd)
{
    int one = 1;

    limit_io(fd, SC_CONTROL_IO_TIMEOUT_S);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

apr_status_t sc_control_create(sc_control **control, const sc_control_config *config,
                               sc_error *err)
{
    sc_control *c = calloc(1, sizeof(*c));
    apr_status_t rv;

    *control = NULL;
    if (c == NULL) {
        return sc_error_errno(err, ENOMEM, "control port");
    }
    c->config = *config;
    pthread_mutex_init(&c->lock, NULL);
    pthread_mutex_init(&c->told_lock, NULL);
    sc_nonce_init(&c->nonces, 2 * SC_TIME_WINDOW_MS);
    rv = sc_bind_tcp(config->listen, "--control-listen", &c->fd, &c->port, err);
    if (rv != APR_SUCCESS) {
        free(c);
        return rv;
    }
    limit_waits(c->fd);
    *control = c;
    return APR_SUCCESS;
}

apr_status_t sc_control_start(sc_control *c, sc_error *err)
{
    for (c->n_workers = 0; c->n_workers < SC_CONTROL_WORKERS; c->n_workers++) {
        struct worker *w = &c->workers[c->n_workers];
        int rc;

        w->control = c;
        w->reading = -1;
        rc = pthread_create(&w->thread, NULL, work, w);

        if (rc != 0) {
            return sc_error_errno(err, rc, "control port: thread");
        }
    }
    return APR_SUCCESS;
}

void sc_control_stop(sc_control *c)
{
    unsigned i;

    if (atomic_exchange(&c->stopping, true)) {
        return;
    }
    shutdown(c->fd, SHUT_RDWR); /* wakes those who wait in accept() */
    pthread_mutex_lock(&c->lock);
    for (i = 0; i < c->n_workers; i++) {
        if (c->workers[i].reading >= 0) {
            shutdown(c->workers[i].reading, SHUT_RD);
        }
    }
    pthread_mutex_unlock(&c->lock);
    for (i = 0; i < c->n_workers; i++) {
        pthread_join(c->workers[i].thread, NULL);
    }
    close(c->fd);
}

void sc_control_destroy(sc_control *c)
{
    if (c != NULL) {
        sc_control_stop(c);
        pthread_mutex_destroy(&c->lock);
        pthread_mutex_destroy(&c->told_lock);
        free(c);
    }
}

uint16_t sc_control_port(const sc_control *c)
{
    return c->port;
}

uint64_t sc_control_refused(const sc_control *c)
{
    return atomic_load(&c->refused);
}
