#include <stdio.h>
#include <string.h>

#include "fcgi-sidecar/relay/sc_relay_core.h"

#define LONGEST (10 * 365 * 86400 * APR_USEC_PER_SEC)

void sc_relay_config_init(sc_relay_config *config)
{
    static const char *const listen_default[] = { "0.0.0.0:9000" };

    memset(config, 0, sizeof(*config));
    config->listen = listen_default;
    config->listen_count = 1;
    config->upstream = "unix:/run/php/php-fpm.sock";
    config->workers = 20;
    config->forward_connections = 128;
    config->max_clients = 4096;
    config->queue_max = 1024;
    config->queue_timeout = 10 * APR_USEC_PER_SEC;
    config->hold_max = 4096;
    config->hold_timeout = 30 * APR_USEC_PER_SEC;
    config->client_idle_timeout = 300 * APR_USEC_PER_SEC;
    config->client_receive_timeout = 60 * APR_USEC_PER_SEC;
    config->client_send_timeout = 60 * APR_USEC_PER_SEC;
    config->upstream_connect_timeout = 5 * APR_USEC_PER_SEC;
    config->upstream_idle_timeout = 2 * APR_USEC_PER_SEC;
    config->request_wait = APR_USEC_PER_SEC;
    config->params_max = 256 * 1024;
    config->request_buffer = 64 * 1024;
    config->response_buffer = 256 * 1024;
    config->mode = SC_RELAY_LOCAL;
}

static apr_status_t check_numbers(const sc_relay_config *c, char *error, size_t error_size)
{
    const struct { const char *name; size_t value, low, high; } ranges[] = {
        { "listen addresses", c->listen_count, 1, SC_LISTEN_MAX },
        { "workers", c->workers, 1, 4096 },
        { "forward-connections", c->forward_connections, 1, 65536 },
        { "max-clients", c->max_clients, 1, 1000000 },
        { "queue-max", c->queue_max, 1, 1000000 },
        { "hold-max", c->hold_max, 1, 1000000 },
        { "params-max", c->params_max, 4096, 1u << 26 },
        { "request-buffer", c->request_buffer, 4096, 1u << 30 },
        { "response-buffer", c->response_buffer, 4096, 1u << 30 }
    };
    size_t i;

    for (i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        if (ranges[i].value < ranges[i].low || ranges[i].value > ranges[i].high) {
            snprintf(error, error_size, "%s must be within %zu and %zu, not %zu", ranges[i].name,
                     ranges[i].low, ranges[i].high, ranges[i].value);
            return APR_EINVAL;
        }
    }
    return APR_SUCCESS;
}

static apr_status_t check_times(const sc_relay_config *c, char *error, size_t error_size)
{
    const struct { const char *name; apr_interval_time_t value; } times[] = {
        { "queue-timeout", c->queue_timeout }, { "hold-timeout", c->hold_timeout },
        { "request-wait", c->request_wait }, { "client-idle-timeout", c->client_idle_timeout },
        { "client-receive-timeout", c->client_receive_timeout },
        { "client-send-timeout", c->client_send_timeout },
        { "upstream-connect-timeout", c->upstream_connect_timeout },
        { "upstream-idle-timeout", c->upstream_idle_timeout }
    };
    size_t i;

    for (i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        if (times[i].value < APR_TIME_C(1000) || times[i].value > LONGEST) {
            snprintf(error, error_size, "%s must be within 1 ms and 10 years", times[i].name);
            return APR_EINVAL;
        }
    }
    return APR_SUCCESS;
}

apr_status_t sc_relay_config_check(const sc_relay_config *c, char *error, size_t error_size)
{
    apr_status_t rv = check_numbers(c, error, error_size);

    if (rv == APR_SUCCESS) {
        rv = check_times(c, error, error_size);
    }
    if (rv == APR_SUCCESS && c->mode == SC_RELAY_FORWARD) {
        snprintf(error, error_size, "mode: it can not start in forward mode, there is no address yet");
        rv = APR_EINVAL;
    }
    return rv;
}
