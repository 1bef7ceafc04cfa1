#include "fcgi-sidecar/commands/sc_hook.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/base/sc_log.h"
#include "fcgi-sidecar/commands/sc_progress.h"
#include "fcgi-sidecar/commands/sc_serve.h"
#include "fcgi-sidecar/control/sc_peer.h"
#include "fcgi-sidecar/node/sc_state.h"
#include "fcgi-sidecar/observe/sc_status.h"

#define RETRY_MS        100
#define ANSWER_MS       15000 /* serve sends a sign of life twice a second */
#define PROMOTE_MS      300000 /* it may have to read the whole database first */
#define KUBERNETES_LOG  "/dev/termination-log"

/* --- reaching serve ---------------------------------------------------------------------- */

struct hook {
    const sc_options *options;
    sc_secret secret;
    sc_state state;
    char address[SC_ADDRESS_MAX + 1];
};

/* The port that serve wrote down, for --control-listen with port 0. */
static uint16_t written_port(const sc_options *o)
{
    char path[PATH_MAX];
    char *text = NULL;
    size_t len = 0;
    uint64_t port = 0;

    if ((size_t)snprintf(path, sizeof(path), "%s/%s", o->state_dir, SC_SERVE_FILE) < sizeof(path)
        && sc_file_read(path, &text, &len, NULL) == APR_SUCCESS) {
        json_t *json = json_loadb(text, len, 0, NULL);

        sc_json_uint(json, "control_port", &port);
        json_decref(json);
        free(text);
    }
    return (uint16_t)port;
}

static apr_status_t own_address(struct hook *h, sc_error *err)
{
    char host[256];
    uint16_t port;

    if (!sc_address_split(h->options->control_listen, host, sizeof(host), &port)) {
        return sc_error_set(err, SC_EUSAGE, "--control-listen: \"%s\" is no HOST:PORT",
                            h->options->control_listen);
    }
    if (port == 0) {
        port = written_port(h->options);
    }
    if (strcmp(host, "0.0.0.0") == 0 || strcmp(host, "*") == 0) {
        snprintf(host, sizeof(host), "127.0.0.1");
    }
    else if (strcmp(host, "::") == 0) {
        snprintf(host, sizeof(host), "::1");
    }
    sc_address_join(h->address, sizeof(h->address), host, port);
    return port != 0 ? APR_SUCCESS : sc_error_errno(err, ECONNREFUSED, "serve does not run");
}

/* Reads state file and address again: serve may just be starting. */
static apr_status_t find_serve(struct hook *h, sc_error *err)
{
    char path[PATH_MAX];
    apr_status_t rv;

    /* Before it is loaded: without a file a load makes an identity up. */
    snprintf(path, sizeof(path), "%s/state.json", h->options->state_dir);
    if (access(path, F_OK) != 0) {
        return sc_error_set(err, ECONNREFUSED, "serve does not run on --state-dir %s",
                            h->options->state_dir);
    }
    rv = sc_state_load(&h->state, h->options->state_dir, h->options->uid, err);
    return rv == APR_SUCCESS ? own_address(h, err) : rv;
}

static void fill_call(const struct hook *h, sc_peer_call *call, const char *path)
{
    memset(call, 0, sizeof(*call));
    call->address = h->address;
    call->path = path;
    call->secret = &h->secret;
    call->lineage = h->state.lineage;
    call->epoch = h->state.epoch;
    call->uid = h->state.uid;
    call->to = h->state.uid;
    call->timeout_ms = ANSWER_MS;
}

static bool worth_retrying(apr_status_t rv)
{
    return rv == ECONNREFUSED || rv == ECONNRESET || rv == ETIMEDOUT || rv == EPIPE;
}

static void nap(void)
{
    struct timespec ts = { 0, RETRY_MS * 1000000L };

    nanosleep(&ts, NULL);
}

/* --- work with progress --------------------------------------------------------------------- */

static apr_status_t take_done(const uint8_t *payload, size_t len, sc_error *err)
{
    json_t *json = json_loadb((const char *)payload, len, 0, NULL);
    char text[SC_ERROR_LEN] = "", state[32] = "?";
    uint64_t code = 1, epoch = 0;
    apr_status_t rv;

    sc_json_uint(json, "code", &code);
    sc_json_uint(json, "epoch", &epoch);
    sc_json_string(json, "text", text, sizeof(text));
    sc_json_string(json, "state", state, sizeof(state));
    json_decref(json);
    rv = sc_error_from_exit_code((int)code);
    if (rv != APR_SUCCESS) {
        return sc_error_set(err, rv, "%s", text);
    }
    sc_info("SC0501", "done: %s, epoch %llu", state, (unsigned long long)epoch);
    return APR_SUCCESS;
}

/* One conversation; *heard when serve said anything. */
static apr_status_t watch(struct hook *h, const char *path, bool *heard, sc_error *err)
{
    sc_progress progress = { 0 };
    sc_peer *peer = NULL;
    sc_peer_call call;
    apr_status_t rv;

    fill_call(h, &call, path);
    rv = sc_peer_open(&peer, &call, NULL, err);
    while (rv == APR_SUCCESS) {
        enum sc_frame_type type;
        const uint8_t *payload;
        size_t len;

        *heard = true;
        rv = sc_peer_next(peer, &type, &payload, &len, err);
        if (rv == APR_SUCCESS && type == SC_FRAME_PROGRESS) {
            sc_progress_show(&progress, payload, len);
        }
        else if (rv == APR_SUCCESS && type == SC_FRAME_DONE) {
            sc_progress_end(&progress);
            rv = take_done(payload, len, err);
            break;
        }
    }
    sc_progress_end(&progress);
    sc_peer_close(peer);
    return rv;
}

static apr_status_t run_work(const sc_options *o, const char *path, sc_error *err)
{
    struct hook h = { .options = o };
    int64_t end = sc_now_ms() + o->start_timeout / 1000;
    apr_status_t rv = sc_secret_load(&h.secret, o->secret_file, err);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    for (;;) {
        bool heard = false;

        rv = find_serve(&h, err);
        if (rv == APR_SUCCESS) {
            rv = watch(&h, path, &heard, err);
        }
        if (!worth_retrying(rv)) {
            return rv;
        }
        if (heard) { /* serve was there: a restart gets the whole time again */
            end = sc_now_ms() + o->start_timeout / 1000;
        }
        if (sc_now_ms() >= end) {
            return sc_error_set(err, SC_EFAILED, "serve does not answer: %s", err->text);
        }
        nap();
    }
}

/* Kubernetes makes its file; another one is made here. */
static void write_termination_log(const sc_options *o, const char *command, const char *reason)
{
    int flags = O_WRONLY | O_TRUNC | O_CLOEXEC
              | (strcmp(o->termination_log, KUBERNETES_LOG) == 0 ? 0 : O_CREAT);
    int fd = open(o->termination_log, flags, 0644);
    char line[SC_ERROR_LEN + 64];
    int n = snprintf(line, sizeof(line), "fcgi-sidecar %s: %s\n", command, reason);

    if (fd >= 0) {
        (void)sc_file_pwrite(fd, line, (size_t)n, 0);
        close(fd);
    }
}

apr_status_t sc_hook_post_start(const sc_options *o, sc_error *err)
{
    apr_status_t rv = run_work(o, "/v1/local/start", err);

    if (rv != APR_SUCCESS) {
        write_termination_log(o, "post-start", err->text);
    }
    return rv;
}

apr_status_t sc_hook_pre_stop(const sc_options *o, sc_error *err)
{
    apr_status_t rv = run_work(o, "/v1/local/stop", err);

    if (rv != APR_SUCCESS) {
        write_termination_log(o, "pre-stop", err->text);
    }
    return rv;
}

/* --- one question ------------------------------------------------------------------------------ */

apr_status_t sc_hook_promote(const sc_options *o, sc_error *err)
{
    struct hook h = { .options = o };
    json_t *body = json_pack("{s:b}", "force", o->force ? 1 : 0);
    sc_peer_call call;
    apr_status_t rv = sc_secret_load(&h.secret, o->secret_file, err);

    if (rv == APR_SUCCESS) {
        rv = find_serve(&h, err);
    }
    if (rv == APR_SUCCESS) {
        fill_call(&h, &call, "/v1/local/promote");
        call.timeout_ms = PROMOTE_MS;
        rv = sc_peer_request(&call, body, NULL, err);
    }
    json_decref(body);
    return rv;
}

apr_status_t sc_hook_status(const sc_options *o, sc_error *err)
{
    struct hook h = { .options = o };
    json_t *status = NULL;
    sc_peer_call call;
    sc_error why = { 0, "" };
    apr_status_t rv = sc_state_load(&h.state, o->state_dir, NULL, err);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (access(h.state.path, F_OK) != 0) {
        return sc_error_errno(err, ENOENT, "nothing is known: %s", h.state.path);
    }
    rv = sc_secret_load(&h.secret, o->secret_file, &why);
    if (rv == APR_SUCCESS) {
        rv = own_address(&h, &why);
    }
    if (rv == APR_SUCCESS) {
        fill_call(&h, &call, "/v1/local/status");
        call.timeout_ms = (int)(o->peer_timeout / 1000);
        rv = sc_peer_request(&call, NULL, &status, &why);
    }
    if (rv != APR_SUCCESS) {
        sc_warn("SC0502", "serve does not answer (%s); this is the state file", why.text);
        status = sc_status_file(&h.state);
    }
    if (o->json) {
        json_dumpf(status, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    else {
        sc_status_print(stdout, status);
    }
    json_decref(status);
    return fflush(stdout) == 0 ? APR_SUCCESS : sc_error_errno(err, errno, "stdout");
}
