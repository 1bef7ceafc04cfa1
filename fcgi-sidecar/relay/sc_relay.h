/*
 * sc_relay.h -- the FastCGI relay between web servers and php-fpm.
 *
 *   clients (any number)          relay                     php-fpm
 *   web server --\        +----------------------+      /-- worker
 *   web server ---- TCP --| queue  ->  kept conns|-- unix --- worker
 *   other relay -/        +----------------------+      \-- worker
 *
 * One thread, one epoll loop.  At most config.workers connections are kept to
 * the upstream; every client's requests share them in order of arrival.  A
 * request occupies a worker only when its parameters are here whole and its
 * body is here whole or fills config.request_buffer.
 *
 * A request is executed at most once: it is bound to an upstream connection
 * only after a worker has read the BEGIN_REQUEST that was sent ahead on it
 * (Unix sockets, see sc_upstream.h), and what followed that record is never
 * sent a second time.
 *
 * Threads: all functions below may be called from any thread but the relay's
 * own (that is, not from the callbacks of sc_relay_config), except where it
 * says otherwise.  create, start, stop and destroy belong to one thread.
 *
 * Units: times in microseconds (apr_interval_time_t), sizes in bytes.
 */
#ifndef SC_RELAY_H
#define SC_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <apr_errno.h>
#include <apr_time.h>

typedef struct sc_relay sc_relay;

/* Crossings between instances that a request survives; each needs a greater epoch. */
#define SC_RELAY_HOP_MAX 4

/* What the relay does with a request that is ready to run. */
typedef enum {
    SC_RELAY_HELD,    /* it waits (at most hold_timeout); those in flight go on */
    SC_RELAY_LOCAL,   /* it goes to the upstream (php-fpm) */
    SC_RELAY_FORWARD  /* it goes to the relay of another instance */
} sc_relay_mode;

/* Parameters a forwarded request carries; PHP never sees them. */
#define SC_RELAY_PARAM_HOP   "SIDECAR_HOP"   /* decimal, 1 after the first hop */
#define SC_RELAY_PARAM_EPOCH "SIDECAR_EPOCH" /* decimal, the epoch of the forwarder's knowledge */

typedef enum { SC_RELAY_LOG_ERROR, SC_RELAY_LOG_WARNING, SC_RELAY_LOG_INFO } sc_relay_log_level;

/* Something that a waiting thread may want to look at; see on_event. */
typedef enum {
    SC_RELAY_EVENT_MODE,     /* the mode changed */
    SC_RELAY_EVENT_DRAINED,  /* held, and nothing is in flight any more */
    SC_RELAY_EVENT_UPSTREAM_UP,   /* the upstream answered after it was down, or for the first time */
    SC_RELAY_EVENT_UPSTREAM_DOWN  /* the upstream refuses connections */
} sc_relay_event;

/* Set by sc_relay_config_init() to the defaults given here.  Strings are
 * borrowed until sc_relay_create() returns. */
typedef struct {
    const char *const *listen;     /* "host:port", ":port", "[v6]:port" or "unix:/path"; port 0: any */
    size_t listen_count;           /* 1..8; default: one, "0.0.0.0:9000" */
    const char *upstream;          /* "unix:/path" or "host:port"; "unix:/run/php/php-fpm.sock" */

    unsigned workers;              /* 20; most connections to the upstream, 1..4096.  More than
                                    * php-fpm has does no harm on a Unix socket. */
    unsigned forward_connections;  /* 128; most connections to the other instance */
    unsigned max_clients;          /* 4096; past it accept pauses */
    unsigned queue_max;            /* 1024; requests waiting for a worker; past it OVERLOADED */
    apr_interval_time_t queue_timeout;            /* 10 s; then OVERLOADED */
    unsigned hold_max;             /* 4096; like queue_max, while held */
    apr_interval_time_t hold_timeout;             /* 30 s; like queue_timeout, while held */
    apr_interval_time_t client_idle_timeout;      /* 300 s; between two requests */
    apr_interval_time_t client_receive_timeout;   /* 60 s; no byte of a request that has begun */
    apr_interval_time_t client_send_timeout;      /* 60 s; no byte of an answer taken */
    apr_interval_time_t upstream_connect_timeout; /* 5 s (TCP only) */
    apr_interval_time_t upstream_idle_timeout;    /* 2 s; then a kept connection frees its worker
                                                   * (php-fpm counts the time against its
                                                   * request_terminate_timeout) */

    apr_interval_time_t request_wait;             /* 1 s; a body that has not come by then, nor
                                                   * filled request_buffer, is streamed to PHP */

    size_t params_max;             /* 256 KiB; parameters of a request; past it 431 */
    size_t request_buffer;         /* 64 KiB; body of a request kept in memory before it flows */
    size_t response_buffer;        /* 256 KiB; answer kept for a slow client before PHP has to wait */

    sc_relay_mode mode;            /* SC_RELAY_LOCAL; mode at the start */
    uint64_t epoch;                /* 0; as in sc_relay_release_local() */

    /* Both run on the relay's thread, must not block and must not call the
     * relay.  message is one line without a newline, valid during the call;
     * id is a static string such as "SC0301".  NULL: nothing is told. */
    void (*log)(void *context, sc_relay_log_level level, const char *id, const char *message);
    void (*on_event)(void *context, sc_relay_event event);
    void *context;
} sc_relay_config;

/* A moment's picture.  Never blocks; the members are each exact, not all of
 * the very same instant. */
typedef struct {
    sc_relay_mode mode;
    uint64_t epoch;
    bool     lame_duck;
    bool     upstream_up;         /* the last attempt to connect succeeded */
    unsigned clients;             /* connections of clients */
    unsigned clients_idle;        /* of these: without a request */
    unsigned queued;              /* requests ready to run that wait, held ones included */
    unsigned in_flight;           /* requests bound to an upstream connection */
    apr_interval_time_t oldest_in_flight; /* age of the oldest of these; 0: none */
    apr_interval_time_t oldest_queued;    /* longest wait so far; 0: none */
    unsigned upstream_connections;
    unsigned upstream_idle;       /* of these: a worker waits for a request on it */
    unsigned upstream_unread;     /* of these: no worker has read its BEGIN_REQUEST yet: its script
                                   * still runs after END_REQUEST, or no worker is free to accept it */
    unsigned after_end;           /* of upstream_unread: had END_REQUEST, or lost its client, so a
                                   * script may still be running (fastcgi_finish_request) */
    /* Counters since the start. */
    uint64_t accepted;            /* client connections */
    uint64_t requests;            /* BEGIN_REQUESTs taken */
    uint64_t completed;           /* END_REQUESTs of the upstream passed on */
    uint64_t forwarded;           /* requests handed to the other instance */
    uint64_t taken_back;          /* of these: refused there without being run, queued here again */
    uint64_t held;                /* requests that met SC_RELAY_HELD */
    uint64_t overloaded_queue;    /* OVERLOADED: the queue was full */
    uint64_t overloaded_timeout;  /* OVERLOADED: the wait was too long */
    uint64_t refused_hop;         /* OVERLOADED: it would have been forwarded again without newer knowledge */
    uint64_t refused_epoch;       /* OVERLOADED: forwarded with an epoch that is ahead of ours */
    uint64_t refused_multiplex;   /* CANT_MPX_CONN */
    uint64_t client_aborts;       /* clients gone before their answer was complete */
    uint64_t client_errors;       /* malformed records, time-outs of clients */
    uint64_t upstream_connects;   /* connections opened */
    uint64_t upstream_connect_errors;
    uint64_t upstream_stale;      /* kept connections that had gone when they were to be used */
    uint64_t upstream_errors;     /* requests lost by a malformed or broken answer */
    uint64_t bytes_in, bytes_out; /* between clients and relay */
    uint64_t queue_wait_us;       /* sum of the waits of all requests that left the queue to run */
} sc_relay_stats;

void sc_relay_config_init(sc_relay_config *config);

/* APR_EINVAL for a value that is out of range; error begins with its name, as in
 * "queue-max must be …". */
apr_status_t sc_relay_config_check(const sc_relay_config *config, char *error, size_t error_size);

/* Checks the configuration and binds the listeners (connections wait in the
 * kernel until start).  On failure *relay is NULL and error (at least 256
 * bytes) says what, where and why. */
apr_status_t sc_relay_create(sc_relay **relay, const sc_relay_config *config,
                             char *error, size_t error_size);

/* Runs the loop on a thread of its own. */
apr_status_t sc_relay_start(sc_relay *relay);

/* Ends the loop at once: connections are closed, requests in flight are lost
 * (see sc_relay_lame_duck() for the gentle way), and joins the thread. */
void sc_relay_stop(sc_relay *relay);

/* Stops if necessary; safe on NULL. */
void sc_relay_destroy(sc_relay *relay);

/* The port of the first TCP listener, 0 without one.  Any thread. */
unsigned short sc_relay_port(const sc_relay *relay);

/* --- control ----------------------------------------------------------------
 * Each returns APR_EINIT when the loop does not run, or ends meanwhile. */

/* Holds new requests as soon as every request in flight is younger than
 * `young` (0: at once, however old), waiting at most `limit` for that moment.
 * When it returns APR_SUCCESS no further request reaches PHP until a release
 * or forward; held ones wait up to hold_timeout.  APR_TIMEUP: the moment did
 * not come, nothing was held. */
apr_status_t sc_relay_hold(sc_relay *relay, apr_interval_time_t young, apr_interval_time_t limit);

/* Waits, at most `limit`, for a moment when every request in flight is younger
 * than `young`.  From then on lets at most `few` new ones be in flight at a time,
 * with a rest after each, until those of that moment have ended, at most `young`:
 * a hold which follows at once has few to wait for.  (Writers that wait for
 * SQLite's lock sleep for up to 100 ms between two looks at it: the rests are for
 * them to find it free, and so few do not meet.)
 * APR_TIMEUP: they have not.  A hold, release or forward lifts the bound. */
apr_status_t sc_relay_ease(sc_relay *relay, unsigned few, apr_interval_time_t young,
                           apr_interval_time_t limit);

/* Waits until nothing is in flight (and, on a Unix socket, no script that has
 * answered or lost its client is still running).  Only sensible while held or forwarding.
 * APR_TIMEUP after limit. */
apr_status_t sc_relay_wait_drained(sc_relay *relay, apr_interval_time_t limit);

/* Held and new requests go to the upstream.  `epoch` is this instance's: a
 * request forwarded to it with a greater one is refused. */
apr_status_t sc_relay_release_local(sc_relay *relay, uint64_t epoch);

/* Held and new requests go to the relay at address ("host:port" or
 * "unix:/path", resolved by the calling thread), marked with epoch and hop.
 * One that was itself forwarded here crosses again only with newer knowledge
 * (a greater epoch), else it is refused with OVERLOADED; the relay it came from
 * queues it again, for that one may serve by then.  May be called again with
 * another address or epoch.  APR_EINVAL or a resolver's status for an address
 * that does not parse or resolve: nothing has changed. */
apr_status_t sc_relay_forward_to(sc_relay *relay, const char *address, uint64_t epoch);

/* From now on each answer ends with its connection closed, whatever the
 * client asked for.  Listening, forwarding and serving go on, and idle
 * connections are left to their clients, so that none meets a closed one. */
apr_status_t sc_relay_lame_duck(sc_relay *relay);

/* Waits until no client connection is left, at most limit (APR_TIMEUP).
 * Meant for after sc_relay_lame_duck(). */
apr_status_t sc_relay_wait_quiet(sc_relay *relay, apr_interval_time_t limit);

/* Any thread, the relay's own included; never blocks. */
void sc_relay_stats_get(const sc_relay *relay, sc_relay_stats *stats);

/* "held", "local", "forward". */
const char *sc_relay_mode_name(sc_relay_mode mode);

#endif /* SC_RELAY_H */
