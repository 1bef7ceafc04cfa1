#include "fcgi-sidecar/observe/sc_http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <microhttpd.h>

#include "fcgi-sidecar/base/sc_bind.h"
#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/observe/sc_metrics_page.h"
#include "fcgi-sidecar/observe/sc_status.h"
#include "lib/prom.h"

#define CONNECTION_LIMIT   64
#define CONNECTION_TIMEOUT 15u /* seconds */

struct sc_http {
    sc_node *node;
    struct MHD_Daemon *daemon;
    uint16_t port;
};

/* --- a growing text ------------------------------------------------------------------- */

struct text {
    char *data;
    size_t len, room;
    bool failed;
};

static int text_add(void *context, const char *data, size_t len)
{
    struct text *t = context;

    if (t->data == NULL || t->room - t->len < len + 1) {
        size_t room = (t->room + len) * 2 + 1024;
        char *bigger = realloc(t->data, room);

        if (bigger == NULL) {
            t->failed = true;
            return -1;
        }
        t->data = bigger;
        t->room = room;
    }
    memcpy(t->data + t->len, data, len);
    t->len += len;
    t->data[t->len] = '\0';
    return 0;
}

static void text_puts(struct text *t, const char *s)
{
    (void)text_add(t, s, strlen(s));
}

static enum MHD_Result reply(struct MHD_Connection *c, unsigned status, const char *type,
                             struct text *t)
{
    struct MHD_Response *r;
    enum MHD_Result ok;

    if (t->failed || t->data == NULL) {
        free(t->data);
        return MHD_NO;
    }
    r = MHD_create_response_from_buffer(t->len, t->data, MHD_RESPMEM_MUST_FREE);
    if (r == NULL) {
        free(t->data);
        return MHD_NO;
    }
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(r, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED) {
        MHD_add_response_header(r, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    }
    ok = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return ok;
}

static enum MHD_Result reply_text(struct MHD_Connection *c, unsigned status, const char *line)
{
    struct text t = { 0 };

    text_puts(&t, line);
    return reply(c, status, "text/plain; charset=utf-8", &t);
}

/* --- health --------------------------------------------------------------------------- */

struct check {
    const char *name;
    char why[SC_STATUS_WHY_LEN];
    bool ok, out; /* out: excluded by the query */
};

static size_t run_checks(sc_node *n, bool readiness, struct check checks[2])
{
    checks[0] = (struct check){ .name = "serve", .why = "the event loops run", .ok = true };
    if (!readiness) {
        return 1;
    }
    checks[1] = (struct check){ .name = "database", .why = "" };
    checks[1].ok = sc_status_ready(n, checks[1].why);
    return 2;
}

/* What ?exclude= names, any number of times. */
struct exclusion {
    struct check *checks;
    size_t count;
    struct text unknown; /* a line for each name that no check has */
};

static enum MHD_Result exclude_one(void *context, enum MHD_ValueKind kind, const char *key,
                                   const char *value)
{
    struct exclusion *e = context;
    size_t i;

    (void)kind;
    if (strcmp(key, "exclude") != 0 || value == NULL) {
        return MHD_YES;
    }
    for (i = 0; i < e->count && strcmp(value, e->checks[i].name) != 0; i++) {
    }
    if (i < e->count) {
        e->checks[i].out = true;
    }
    else {
        text_puts(&e->unknown, "warn: no such check to exclude: ");
        text_puts(&e->unknown, value);
        text_puts(&e->unknown, "\n");
    }
    return MHD_YES;
}

static void write_verbose(struct text *t, const struct check *c, size_t count)
{
    size_t i;

    for (i = 0; i < count; i++) {
        text_puts(t, c[i].out || c[i].ok ? "[+]" : "[-]");
        text_puts(t, c[i].name);
        text_puts(t, c[i].out ? " excluded" : c[i].ok ? " ok: " : " failed: ");
        text_puts(t, c[i].out ? "" : c[i].why);
        text_puts(t, "\n");
    }
}

static void write_health_json(struct text *t, const struct check *c, size_t count, bool pass)
{
    json_t *checks = json_object();
    json_t *json;
    char *body;
    size_t i;

    for (i = 0; i < count; i++) {
        json_object_set_new(checks, c[i].name,
                            json_pack("[{s:s, s:s}]", "status", c[i].ok ? "pass" : "fail",
                                      "output", c[i].why));
    }
    json = json_pack("{s:s, s:o}", "status", pass ? "pass" : "fail", "checks", checks);
    body = sc_json_text(json);
    text_puts(t, body != NULL ? body : "{}");
    free(body);
    json_decref(json);
}

static enum MHD_Result health(struct MHD_Connection *c, sc_node *n, bool readiness)
{
    const char *accept = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Accept");
    const char *verbose = NULL;
    bool wants_verbose = MHD_lookup_connection_value_n(c, MHD_GET_ARGUMENT_KIND, "verbose", 7,
                                                       &verbose, NULL) == MHD_YES;
    struct check checks[2];
    size_t count = run_checks(n, readiness, checks), i;
    struct exclusion excluded = { .checks = checks, .count = count };
    struct text t = { 0 };
    bool pass = true;

    (void)MHD_get_connection_values(c, MHD_GET_ARGUMENT_KIND, exclude_one, &excluded);
    for (i = 0; i < count; i++) {
        pass = pass && (checks[i].ok || checks[i].out);
    }
    if (prom_accepts(accept, "application/health+json")) {
        free(excluded.unknown.data);
        write_health_json(&t, checks, count, pass);
        return reply(c, pass ? 200 : 503, "application/health+json", &t);
    }
    if (wants_verbose || !pass) {
        write_verbose(&t, checks, count);
    }
    if (excluded.unknown.data != NULL) {
        text_add(&t, excluded.unknown.data, excluded.unknown.len);
    }
    free(excluded.unknown.data);
    text_puts(&t, pass ? "ok\n" : "failed\n");
    return reply(c, pass ? 200 : 503, "text/plain; charset=utf-8", &t);
}

/* --- the rest -------------------------------------------------------------------------- */

static enum MHD_Result metrics(struct MHD_Connection *c, sc_node *n)
{
    enum prom_format format =
        prom_negotiate(MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Accept"));
    struct text t = { 0 };

    if (sc_metrics_write(n, format, text_add, &t) != 0) {
        free(t.data);
        return MHD_NO;
    }
    return reply(c, 200, prom_content_type(format), &t);
}

static enum MHD_Result status(struct MHD_Connection *c, sc_node *n)
{
    json_t *json = sc_status_node(n);
    char *body = json_dumps(json, JSON_INDENT(2));
    struct text t = { 0 };

    text_puts(&t, body != NULL ? body : "{}");
    text_puts(&t, "\n");
    free(body);
    json_decref(json);
    return reply(c, 200, "application/json", &t);
}

static enum MHD_Result handle(void *context, struct MHD_Connection *c, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **seen)
{
    sc_node *n = ((sc_http *)context)->node;

    if (*seen == NULL) {
        *seen = n; /* the header is there; answer when the request is complete */
        return MHD_YES;
    }
    if (*upload_size != 0) {
        *upload_size = 0;
        return MHD_YES;
    }
    if (strcmp(url, "/metrics") != 0 && strcmp(url, "/livez") != 0 && strcmp(url, "/readyz") != 0
        && strcmp(url, "/healthz") != 0 && strcmp(url, "/status") != 0) {
        return reply_text(c, 404, "/metrics /livez /readyz /healthz /status\n");
    }
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        return reply_text(c, 405, "GET or HEAD\n");
    }
    if (strcmp(url, "/metrics") == 0) {
        return metrics(c, n);
    }
    if (strcmp(url, "/status") == 0) {
        return status(c, n);
    }
    return health(c, n, strcmp(url, "/livez") != 0);
}

apr_status_t sc_http_start(sc_http **http, sc_node *n, sc_error *err)
{
    sc_http *h = calloc(1, sizeof(*h));
    int fd = -1;
    apr_status_t rv;

    *http = NULL;
    if (h == NULL) {
        return sc_error_errno(err, ENOMEM, "--http-listen");
    }
    h->node = n;
    rv = sc_bind_tcp(n->options->http_listen, "--http-listen", &fd, &h->port, err);
    if (rv == APR_SUCCESS) {
        h->daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, handle, h,
                                     MHD_OPTION_LISTEN_SOCKET, fd,
                                     MHD_OPTION_CONNECTION_LIMIT, CONNECTION_LIMIT,
                                     MHD_OPTION_CONNECTION_TIMEOUT, CONNECTION_TIMEOUT,
                                     MHD_OPTION_END);
        if (h->daemon == NULL) {
            close(fd);
            rv = sc_error_set(err, SC_EFAILED, "--http-listen: libmicrohttpd can not start");
        }
    }
    if (rv != APR_SUCCESS) {
        free(h);
        return rv;
    }
    *http = h;
    return APR_SUCCESS;
}

uint16_t sc_http_port(const sc_http *http)
{
    return http->port;
}

void sc_http_stop(sc_http *http)
{
    if (http != NULL) {
        MHD_stop_daemon(http->daemon);
        free(http);
    }
}
