/*
 * sc_options.h -- command line and environment.
 *
 * Every --kebab-case option of sc_options.def is also the variable
 * SIDECAR_KEBAB_CASE; the option wins.  An empty variable counts as unset.
 * The help texts are made of the same table.
 */
#ifndef SC_OPTIONS_H
#define SC_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <apr_time.h>

#include "fcgi-sidecar/base/sc_error.h"

/* Sub-commands, one bit each. */
enum {
    SC_CMD_SERVE      = 1 << 0,
    SC_CMD_POST_START = 1 << 1,
    SC_CMD_PRE_STOP   = 1 << 2,
    SC_CMD_STATUS     = 1 << 3,
    SC_CMD_SNAPSHOT   = 1 << 4,
    SC_CMD_RESTORE    = 1 << 5,
    SC_CMD_BACKUP     = 1 << 6,
    SC_CMD_CHECK      = 1 << 7,
    SC_CMD_WORKER     = 1 << 8,
    SC_CMD_VERSION    = 1 << 9,
    SC_CMD_PROMOTE    = 1 << 10,
    SC_CMD_NODE = SC_CMD_SERVE | SC_CMD_POST_START | SC_CMD_PRE_STOP | SC_CMD_STATUS
                | SC_CMD_SNAPSHOT | SC_CMD_CHECK | SC_CMD_PROMOTE
};

enum sc_option_kind {
    SC_OPTION_PATH,       /* const char *, not empty */
    SC_OPTION_TEXT,       /* const char *, not empty */
    SC_OPTION_ADDRESS,    /* const char *, HOST:PORT or unix:/path */
    SC_OPTION_UPSTREAM,   /* the same, the port not 0 */
    SC_OPTION_HOSTPORT,   /* const char *, HOST:PORT */
    SC_OPTION_HOST,       /* const char *, a name or an address, without port */
    SC_OPTION_PEER,       /* const char *, HOST or HOST:PORT */
    SC_OPTION_DURATION,   /* apr_interval_time_t (µs), "500ms", "10s", "5m", "1h" */
    SC_OPTION_TIMEOUT,    /* the same, above 0 */
    SC_OPTION_NUMBER,     /* unsigned, 1..1000000 */
    SC_OPTION_SIZE,       /* size_t, bytes, "4096", "64K", "1M"; 4K..1G */
    SC_OPTION_CHOICE_LOG, /* const char *, text or json */
    SC_OPTION_FLAG,       /* bool */
    SC_OPTION_UNBUILT     /* const char *; setting it is an error */
};

typedef struct {
    unsigned command;     /* one SC_CMD_ bit, 0: help or version was printed */
    const char *file;     /* the FILE of snapshot */
    /* All strings are borrowed from argv, the environment or the table. */
    const char *database, *seed_database, *state_dir, *listen, *upstream, *control_listen;
    const char *http_listen, *secret_file, *advertise, *peer, *authority, *backup_url;
    const char *termination_log, *uid, *owner, *log_format, *kubernetes_api, *kubernetes_account;
    unsigned workers, queue_max, forward_connections, max_clients;
    size_t params_max, request_buffer, response_buffer;
    apr_interval_time_t queue_timeout, client_idle_timeout, lame_duck, young_age, young_wait;
    apr_interval_time_t hold_timeout, handoff_timeout, sync_timeout, start_timeout, peer_timeout;
    apr_interval_time_t request_wait, client_receive_timeout, client_send_timeout;
    apr_interval_time_t upstream_connect_timeout, upstream_idle_timeout;
    bool json;
    bool force;
} sc_options;

/* Fills o from defaults, environment and command line.  SC_EUSAGE with a text
 * that names the option and why.  --help and version print to out, set command
 * to 0 and succeed. */
apr_status_t sc_options_parse(sc_options *o, int argc, char *const *argv, FILE *out,
                              sc_error *err);

/* "serve", "post-start" …; "fcgi-sidecar" for 0. */
const char *sc_options_command_name(unsigned command);

/* Cuts "HOST:PORT" or "[V6]:PORT" (an empty host is "0.0.0.0"); false when it
 * is neither. */
bool sc_address_split(const char *address, char *host, size_t host_size, uint16_t *port);

/* The reverse: an IPv6 host gets its brackets.  Cut when too long. */
void sc_address_join(char *out, size_t size, const char *host, uint16_t port);

/* Longest time, so that a few of them together are milliseconds of an int. */
#define SC_DURATION_MAX (100 * 3600 * APR_USEC_PER_SEC)

/* "500ms", "10s", "5m", "1h", up to SC_DURATION_MAX; 0 is allowed ("0s"). */
bool sc_duration_parse(const char *text, apr_interval_time_t *value);

#endif /* SC_OPTIONS_H */
