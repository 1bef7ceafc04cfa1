/*
 * Runs the relay alone, driven line by line from its standard input; for tests
 * and measurements.
 *
 *   relay_run [NAME=VALUE…]
 *
 * Names are members of sc_relay_config: listen (may be given again), upstream,
 * workers, max_clients, queue_max, queue_timeout_ms, hold_timeout_ms, …  It
 * prints "port N" when it listens.  Commands, each answered with one line:
 *
 *   hold YOUNG_MS LIMIT_MS | drained LIMIT_MS | local EPOCH | forward ADDRESS EPOCH
 *   lame | quiet LIMIT_MS | stats | quit
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <apr_general.h>

#include "fcgi-sidecar/relay/sc_relay.h"

static void log_line(void *context, sc_relay_log_level level, const char *id, const char *message)
{
    static const char *const names[] = { "error", "warning", "info" };

    fprintf(stderr, "[%s] %s: %s\n", names[level], id, message);
}

static const char *listen_to[8];

static int set_option(sc_relay_config *c, const char *name, const char *value)
{
    const struct { const char *name; unsigned *to; } numbers[] = {
        { "workers", &c->workers }, { "forward_connections", &c->forward_connections },
        { "max_clients", &c->max_clients }, { "queue_max", &c->queue_max }, { "hold_max", &c->hold_max }
    };
    const struct { const char *name; size_t *to; } sizes[] = {
        { "params_max", &c->params_max }, { "request_buffer", &c->request_buffer },
        { "response_buffer", &c->response_buffer }
    };
    const struct { const char *name; apr_interval_time_t *to; } times[] = {
        { "queue_timeout_ms", &c->queue_timeout }, { "hold_timeout_ms", &c->hold_timeout },
        { "client_idle_timeout_ms", &c->client_idle_timeout },
        { "client_receive_timeout_ms", &c->client_receive_timeout },
        { "client_send_timeout_ms", &c->client_send_timeout },
        { "upstream_connect_timeout_ms", &c->upstream_connect_timeout },
        { "upstream_idle_timeout_ms", &c->upstream_idle_timeout }, { "request_wait_ms", &c->request_wait }
    };
    size_t i;

    if (strcmp(name, "listen") == 0 && c->listen_count < 8) {
        listen_to[c->listen_count++] = value;
        return 1;
    }
    if (strcmp(name, "upstream") == 0) {
        c->upstream = value;
        return 1;
    }
    if (strcmp(name, "mode") == 0) {
        c->mode = strcmp(value, "held") == 0 ? SC_RELAY_HELD : SC_RELAY_LOCAL;
        return 1;
    }
    if (strcmp(name, "epoch") == 0) {
        c->epoch = strtoull(value, NULL, 10);
        return 1;
    }
    for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (strcmp(name, numbers[i].name) == 0) {
            *numbers[i].to = (unsigned)strtoul(value, NULL, 10);
            return 1;
        }
    }
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        if (strcmp(name, sizes[i].name) == 0) {
            *sizes[i].to = (size_t)strtoull(value, NULL, 10);
            return 1;
        }
    }
    for (i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        if (strcmp(name, times[i].name) == 0) {
            *times[i].to = (apr_interval_time_t)(strtod(value, NULL) * 1000);
            return 1;
        }
    }
    return 0;
}

static void print_stats(const sc_relay *relay)
{
    sc_relay_stats s;

    sc_relay_stats_get(relay, &s);
    printf("mode=%s epoch=%" PRIu64 " lame_duck=%d upstream_up=%d clients=%u clients_idle=%u queued=%u "
           "in_flight=%u oldest_in_flight=%" PRId64 " oldest_queued=%" PRId64 " upstream_connections=%u "
           "upstream_idle=%u upstream_unread=%u after_end=%u ",
           sc_relay_mode_name(s.mode), s.epoch, s.lame_duck, s.upstream_up, s.clients, s.clients_idle, s.queued,
           s.in_flight, (int64_t)s.oldest_in_flight, (int64_t)s.oldest_queued, s.upstream_connections,
           s.upstream_idle, s.upstream_unread, s.after_end);
    printf("accepted=%" PRIu64 " requests=%" PRIu64 " completed=%" PRIu64 " forwarded=%" PRIu64 " taken_back=%" PRIu64 " held=%" PRIu64
           " overloaded_queue=%" PRIu64 " overloaded_timeout=%" PRIu64 " refused_hop=%" PRIu64
           " refused_epoch=%" PRIu64 " refused_multiplex=%" PRIu64 " client_aborts=%" PRIu64
           " client_errors=%" PRIu64 " upstream_connects=%" PRIu64 " upstream_connect_errors=%" PRIu64
           " upstream_stale=%" PRIu64 " upstream_errors=%" PRIu64 " bytes_in=%" PRIu64 " bytes_out=%" PRIu64
           " queue_wait_us=%" PRIu64 "\n",
           s.accepted, s.requests, s.completed, s.forwarded, s.taken_back, s.held, s.overloaded_queue, s.overloaded_timeout,
           s.refused_hop, s.refused_epoch, s.refused_multiplex, s.client_aborts, s.client_errors,
           s.upstream_connects, s.upstream_connect_errors, s.upstream_stale, s.upstream_errors, s.bytes_in,
           s.bytes_out, s.queue_wait_us);
}

static apr_interval_time_t ms(const char *text)
{
    return (apr_interval_time_t)(strtod(text, NULL) * 1000);
}

/* False: quit. */
static int command(sc_relay *relay, char *line)
{
    const char *word[3] = { "", "", "" };
    char *state = NULL, *w;
    size_t n = 0;
    apr_status_t rv = APR_EINVAL;

    for (w = strtok_r(line, " \n", &state); w != NULL && n < 3; w = strtok_r(NULL, " \n", &state)) {
        word[n++] = w;
    }
    if (strcmp(word[0], "quit") == 0) {
        return 0;
    }
    if (strcmp(word[0], "stats") == 0) {
        print_stats(relay);
        return 1;
    }
    if (strcmp(word[0], "hold") == 0) {
        rv = sc_relay_hold(relay, ms(word[1]), ms(word[2]));
    }
    else if (strcmp(word[0], "drained") == 0) {
        rv = sc_relay_wait_drained(relay, ms(word[1]));
    }
    else if (strcmp(word[0], "local") == 0) {
        rv = sc_relay_release_local(relay, strtoull(word[1], NULL, 10));
    }
    else if (strcmp(word[0], "forward") == 0) {
        rv = sc_relay_forward_to(relay, word[1], strtoull(word[2], NULL, 10));
    }
    else if (strcmp(word[0], "lame") == 0) {
        rv = sc_relay_lame_duck(relay);
    }
    else if (strcmp(word[0], "quiet") == 0) {
        rv = sc_relay_wait_quiet(relay, ms(word[1]));
    }
    printf("%s\n", rv == APR_SUCCESS ? "ok" : APR_STATUS_IS_TIMEUP(rv) ? "timeup" : "error");
    return 1;
}

int main(int argc, char **argv)
{
    sc_relay_config config;
    sc_relay *relay = NULL;
    char error[256], line[512];
    char *equals;
    int i, go_on = 1;

    sc_relay_config_init(&config);
    config.listen = listen_to;
    config.listen_count = 0;
    config.log = log_line;
    for (i = 1; i < argc; i++) {
        equals = strchr(argv[i], '=');
        if (equals != NULL) {
            *equals = '\0';
        }
        if (equals == NULL || !set_option(&config, argv[i], equals + 1)) {
            fprintf(stderr, "relay_run: %s is not NAME=VALUE of a known name\n", argv[i]);
            return 2;
        }
    }
    if (apr_initialize() != APR_SUCCESS) {
        return 1;
    }
    if (config.listen_count == 0) {
        listen_to[config.listen_count++] = "127.0.0.1:0";
    }
    if (sc_relay_create(&relay, &config, error, sizeof(error)) != APR_SUCCESS
        || sc_relay_start(relay) != APR_SUCCESS) {
        fprintf(stderr, "relay_run: %s\n", error);
        sc_relay_destroy(relay);
        apr_terminate();
        return 1;
    }
    printf("port %u\n", (unsigned)sc_relay_port(relay));
    fflush(stdout);
    while (go_on && fgets(line, sizeof(line), stdin) != NULL) {
        go_on = command(relay, line);
        fflush(stdout);
    }
    sc_relay_destroy(relay);
    apr_terminate();
    return 0;
}
