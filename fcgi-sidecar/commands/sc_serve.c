#include "config.h"
#include "fcgi-sidecar/commands/sc_serve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <limits.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "fcgi-sidecar/base/sc_dial.h"
#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/base/sc_log.h"
#include "fcgi-sidecar/base/sc_memory.h"
#include "fcgi-sidecar/database/sc_owner.h"
#include "fcgi-sidecar/handoff/sc_handoff.h"
#include "fcgi-sidecar/handoff/sc_keep.h"
#include "fcgi-sidecar/handoff/sc_operator.h"
#include "fcgi-sidecar/handoff/sc_promote.h"
#include "fcgi-sidecar/handoff/sc_ship.h"
#include "fcgi-sidecar/handoff/sc_start.h"
#include "fcgi-sidecar/handoff/sc_tidy.h"
#include "fcgi-sidecar/node/sc_node.h"
#include "fcgi-sidecar/observe/sc_http.h"
#include "fcgi-sidecar/observe/sc_status.h"

#define TICK_MS         100
#define PROBE_MS        200
#define STREAMS_END_MS  1000 /* then those are cut off whose follower takes nothing */
#define RELAY_HOLD_TIME apr_time_from_sec(60) /* least backstop; the protocol's limit is --hold-timeout */

struct serve {
    sc_node node;
    sc_http *http;
    int lock_fd;
};

/* --- routes ----------------------------------------------------------------------------- */

static void handle_who(void *context, sc_control_request *request)
{
    sc_node *n = context;
    sc_state s;

    sc_node_state(n, &s);
    sc_control_answer(request,
        json_pack("{s:s, s:s, s:I, s:o, s:b}", "state", sc_state_name(s.id),
                  "lineage", s.lineage, "epoch", (json_int_t)s.epoch,
                  "self", sc_member_to_json(&n->self),
                  "upstream", sc_dial_accepts(n->options->upstream, PROBE_MS) ? 1 : 0));
}

/* Only the hooks of this instance may give it orders. */
static bool is_local(const sc_node *n, sc_control_request *request)
{
    sc_error err;

    if (strcmp(sc_control_message(request)->uid, n->self.uid) == 0) {
        return true;
    }
    sc_error_set(&err, SC_EREFUSED, "only hooks of this instance may ask for that");
    sc_control_fail(request, &err);
    return false;
}

#define PEER_ROUTE(name, function)                                      \
    static void name(void *context, sc_control_request *request)        \
    {                                                                   \
        function(context, request);                                     \
    }
#define LOCAL_ROUTE(name, function)                                     \
    static void name(void *context, sc_control_request *request)        \
    {                                                                   \
        if (is_local(context, request)) {                               \
            function(context, request);                                 \
        }                                                               \
    }

static void answer_status(sc_node *n, sc_control_request *request)
{
    sc_control_answer(request, sc_status_node(n));
}

PEER_ROUTE(handle_follow, sc_ship_follow)
PEER_ROUTE(handle_ready, sc_ship_ready)
PEER_ROUTE(handle_prepare, sc_promote_prepare)
PEER_ROUTE(handle_grant, sc_promote_grant)
LOCAL_ROUTE(handle_start, sc_start_hook)
LOCAL_ROUTE(handle_stop, sc_handoff_hook)
LOCAL_ROUTE(handle_promote, sc_operator_promote)
LOCAL_ROUTE(handle_status, answer_status)

static const sc_control_route routes[] = {
    { "/v1/who", handle_who },
    { "/v1/follow", handle_follow },
    { "/v1/ready", handle_ready },
    { "/v1/prepare", handle_prepare },
    { "/v1/grant", handle_grant },
    { "/v1/local/start", handle_start },
    { "/v1/local/stop", handle_stop },
    { "/v1/local/promote", handle_promote },
    { "/v1/local/status", handle_status },
    { NULL, NULL }
};

/* --- addresses ----------------------------------------------------------------------------- */

static bool is_wildcard(const char *host)
{
    return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0 || strcmp(host, "*") == 0;
}

/* The first address that is not the loopback's; false when there is none. */
static bool interface_address(char *out, size_t size)
{
    struct ifaddrs *list = NULL, *i;
    bool found = false;

    if (getifaddrs(&list) != 0) {
        return false;
    }
    for (i = list; i != NULL && !found; i = i->ifa_next) {
        if (i->ifa_addr != NULL && i->ifa_addr->sa_family == AF_INET
            && (i->ifa_flags & IFF_LOOPBACK) == 0 && (i->ifa_flags & IFF_UP) != 0) {
            struct sockaddr_in in;

            memcpy(&in, i->ifa_addr, sizeof(in));
            found = inet_ntop(AF_INET, &in.sin_addr, out, (socklen_t)size) != NULL;
        }
    }
    freeifaddrs(list);
    return found;
}

static void advertised_host(const sc_options *o, char *out, size_t size)
{
    const char *pod = getenv("POD_IP");
    uint16_t port;

    if (o->advertise != NULL) {
        snprintf(out, size, "%s", o->advertise);
    }
    else if (pod != NULL && pod[0] != '\0') {
        snprintf(out, size, "%s", pod);
    }
    else if (!sc_address_split(o->listen, out, size, &port) || is_wildcard(out)) {
        if (!interface_address(out, size)) {
            snprintf(out, size, "127.0.0.1");
        }
    }
}

static void set_self(sc_node *n)
{
    char host[256];

    advertised_host(n->options, host, sizeof(host));
    snprintf(n->self.uid, sizeof(n->self.uid), "%s", n->state.uid);
    sc_address_join(n->self.control, sizeof(n->self.control), host, sc_control_port(n->control));
    if (strncmp(n->options->listen, "unix:", 5) == 0) {
        snprintf(n->self.relay, sizeof(n->self.relay), "%s", n->options->listen);
    }
    else {
        sc_address_join(n->self.relay, sizeof(n->self.relay), host, sc_relay_port(n->relay));
    }
}

/* Tells the hooks of this instance where it listens (port 0 is any). */
static apr_status_t write_serve_file(const struct serve *s, sc_error *err)
{
    const sc_node *n = &s->node;
    char path[PATH_MAX];
    json_t *json = json_pack("{s:i, s:s, s:i, s:i, s:i, s:o}", "pid", (int)getpid(),
                             "uid", n->self.uid, "control_port", (int)sc_control_port(n->control),
                             "relay_port", (int)sc_relay_port(n->relay),
                             "http_port", (int)sc_http_port(s->http),
                             "self", sc_member_to_json(&n->self));
    char *text = json != NULL ? sc_json_text(json) : NULL;
    apr_status_t rv = ENOMEM;

    snprintf(path, sizeof(path), "%s/%s", n->options->state_dir, SC_SERVE_FILE);
    if (text != NULL) {
        rv = sc_file_replace(path, text, strlen(text), 0600, err);
    }
    free(text);
    json_decref(json);
    return rv;
}

/* --- parts ------------------------------------------------------------------------------------ */

/* Two processes on one state directory would be two owners of one database. */
static apr_status_t lock_state_dir(struct serve *s, sc_error *err)
{
    char path[PATH_MAX];

    if ((size_t)snprintf(path, sizeof(path), "%s/serve.lock", s->node.options->state_dir)
        >= sizeof(path)) {
        return sc_error_errno(err, ENAMETOOLONG, "--state-dir");
    }
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd < 0) {
        return sc_error_errno(err, errno, "can not open %s", path);
    }
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK
            ? sc_error_set(err, SC_EFAILED, "another serve runs on --state-dir %s",
                           s->node.options->state_dir)
            : sc_error_errno(err, errno, "can not lock %s", path);
    }
    return APR_SUCCESS;
}

static void relay_log(void *context, sc_relay_log_level level, const char *id, const char *message)
{
    sc_log(level == SC_RELAY_LOG_ERROR ? SC_LOG_ERROR
           : level == SC_RELAY_LOG_WARNING ? SC_LOG_WARNING : SC_LOG_INFO, id, "%s", message);
}

void sc_serve_relay_config(sc_relay_config *c, const sc_options *o)
{
    sc_relay_config_init(c);
    c->listen = &o->listen;
    c->listen_count = 1;
    c->upstream = o->upstream;
    c->workers = o->workers;
    c->queue_max = o->queue_max;
    c->queue_timeout = o->queue_timeout;
    c->forward_connections = o->forward_connections;
    c->max_clients = o->max_clients;
    c->params_max = o->params_max;
    c->request_buffer = o->request_buffer;
    c->response_buffer = o->response_buffer;
    c->request_wait = o->request_wait;
    c->client_idle_timeout = o->client_idle_timeout;
    c->client_receive_timeout = o->client_receive_timeout;
    c->client_send_timeout = o->client_send_timeout;
    c->upstream_connect_timeout = o->upstream_connect_timeout;
    c->upstream_idle_timeout = o->upstream_idle_timeout;
    /* Half of it for requests in flight, and then up to all of it for the successor's answer. */
    c->hold_timeout = 2 * o->hold_timeout > RELAY_HOLD_TIME ? 2 * o->hold_timeout : RELAY_HOLD_TIME;
    c->mode = SC_RELAY_HELD;
    c->log = relay_log;
}

static apr_status_t create_relay(sc_node *n, sc_error *err)
{
    sc_relay_config c;
    char why[256] = "";
    apr_status_t rv;

    sc_serve_relay_config(&c, n->options);
    rv = sc_relay_create(&n->relay, &c, why, sizeof(why));
    return rv == APR_SUCCESS ? rv : sc_error_set(err, rv, "%s", why);
}

static apr_status_t open_parts(struct serve *s, sc_error *err)
{
    sc_node *n = &s->node;
    sc_control_config c = { .listen = n->options->control_listen, .uid = n->state.uid,
                            .secret = &n->secret, .routes = routes, .context = n };
    apr_status_t rv = create_relay(n, err);

    if (rv == APR_SUCCESS) {
        rv = sc_control_create(&n->control, &c, err);
    }
    if (rv == APR_SUCCESS) {
        rv = sc_http_start(&s->http, n, err);
    }
    if (rv == APR_SUCCESS) {
        set_self(n);
        rv = sc_state_save(&n->state, err); /* a new uid is kept from now on */
    }
    if (rv == APR_SUCCESS) {
        rv = sc_relay_start(n->relay);
        if (rv != APR_SUCCESS) {
            sc_error_errno(err, rv, "the relay can not start");
        }
    }
    if (rv == APR_SUCCESS) {
        rv = sc_start_recover(n, err);
    }
    if (rv == APR_SUCCESS) {
        rv = sc_handoff_recover(n, err);
    }
    if (rv == APR_SUCCESS) {
        rv = sc_control_start(n->control, err);
    }
    if (rv == APR_SUCCESS) {
        rv = sc_keep_start(n, err);
    }
    return rv == APR_SUCCESS ? write_serve_file(s, err) : rv;
}

static void close_parts(struct serve *s)
{
    sc_node *n = &s->node;

    pthread_mutex_lock(&n->lock);
    n->stopping = true;
    pthread_cond_broadcast(&n->changed);
    pthread_mutex_unlock(&n->lock);
    sc_start_join(n);
    sc_handoff_join(n);
    sc_keep_join(n);
    sc_http_stop(s->http);
    if (!sc_ship_quiet(n, STREAMS_END_MS)) {
        sc_ship_drop_others(n, "");
    }
    sc_control_destroy(n->control);
    sc_relay_destroy(n->relay);
    sc_db_close(n->db);
    if (n->image_fd >= 0) {
        close(n->image_fd);
    }
    if (s->lock_fd >= 0) {
        close(s->lock_fd);
    }
}

/* --- the loop ------------------------------------------------------------------------------------ */

static void end_gently(sc_node *n, const sigset_t *signals)
{
    int64_t end = sc_now_ms() + n->options->lame_duck / 1000;
    struct timespec tick = { 0, 0 };

    sc_relay_lame_duck(n->relay);
    while (sc_now_ms() < end && sigtimedwait(signals, NULL, &tick) < 0) {
        if (sc_relay_wait_quiet(n->relay, apr_time_from_msec(TICK_MS)) == APR_SUCCESS) {
            break;
        }
    }
}

/* What the relay would refuse, or would fail only when a database comes, or at the first GRANT. */
static apr_status_t check_options(const sc_options *o, sc_error *err)
{
    sc_relay_config c;
    char why[256] = "";
    apr_status_t rv;

    sc_serve_relay_config(&c, o);
    if (sc_relay_config_check(&c, why, sizeof(why)) != APR_SUCCESS) {
        return sc_error_set(err, SC_EUSAGE, "--%s", why);
    }
    rv = sc_owner_check(o->owner, err);
    if (rv == APR_SUCCESS) {
        rv = sc_db_check_path("--database", o->database, NULL, err);
    }
    return rv == APR_SUCCESS ? sc_db_check_path("--state-dir", o->state_dir, "incoming.sqlite", err) : rv;
}

static void say_hello(struct serve *s)
{
    sc_state state;

    sc_node_state(&s->node, &state);
    sc_info("SC0100", "serving: %s is %s, epoch %llu; relay %s, control %s, http port %u", state.uid,
            sc_state_name(state.id), (unsigned long long)state.epoch, s->node.self.relay,
            s->node.self.control, sc_http_port(s->http));
}

apr_status_t sc_serve(const sc_options *o, sc_error *err)
{
    static struct serve s; /* too big for a stack; one per process */
    struct timespec tick = { 0, TICK_MS * 1000000L };
    int64_t tidy_at = 0;
    sigset_t signals;
    apr_status_t rv = check_options(o, err);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    s.lock_fd = -1;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP); /* its terminal is gone */
    sigaddset(&signals, SIGQUIT); /* the stop signal of php-fpm's image, which serve shares */
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before any thread */
    signal(SIGPIPE, SIG_IGN);
    rv = sc_node_init(&s.node, o, err);
    if (rv == APR_SUCCESS) {
        rv = lock_state_dir(&s, err);
    }
    if (rv == APR_SUCCESS) {
        rv = open_parts(&s, err);
    }
    if (rv == APR_SUCCESS) {
        say_hello(&s);
        while (sigtimedwait(&signals, NULL, &tick) < 0) {
            (void)sc_node_attend(&s.node, NULL); /* again, when it failed */
            tick.tv_nsec = sc_tidy_log(&s.node) * 1000000L;
            sc_memory_tidy(sc_now_ms(), &tidy_at);
        }
        sc_info("SC0101", "ending, after at most --lame-duck");
        sc_handoff_leave(&s.node);
        end_gently(&s.node, &signals);
    }
    close_parts(&s);
    return rv;
}
