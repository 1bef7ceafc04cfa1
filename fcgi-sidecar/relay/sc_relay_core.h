/*
 * sc_relay_core.h -- what the files of the relay share; not for others.
 *
 *   sc_relay.c         life, thread
 *   sc_relay_config.c  defaults and ranges
 *   sc_relay_calls.c   what other threads ask for
 *   sc_relay_stats.c   numbers, log
 *   sc_listen.c        listeners
 *   sc_dispatch.c      modes, the queue, which request gets which connection
 *   sc_client.c        connections of clients, and what they are sent
 *   sc_client_input.c  what they send
 *   sc_request.c       a request in the form it is sent on
 *   sc_target.c        php-fpm, or the other instance
 *   sc_upstream.c      connections to it
 *   sc_exchange.c      a request and its answer on such a connection
 *
 * Everything belongs to the relay's thread, but for the members of sc_relay
 * that say otherwise.
 */
#ifndef SC_RELAY_CORE_H
#define SC_RELAY_CORE_H

#include <pthread.h>
#include <stdatomic.h>

#include "fcgi-sidecar/relay/sc_address.h"
#include "fcgi-sidecar/relay/sc_buffer.h"
#include "fcgi-sidecar/relay/sc_list.h"
#include "fcgi-sidecar/relay/sc_loop.h"
#include "fcgi-sidecar/relay/sc_relay.h"
#include "fcgi-sidecar/relay/sc_request.h"
#include "lib/fcgiw_stream.h"

#define SC_SCRATCH     65536 /* bytes read at once, a buffer shared by all connections */
#define READS_AT_ONCE  8     /* of one connection, then it is the others' turn */
#define SC_LISTEN_MAX  8
#define SC_ERROR_TEXT  256

typedef struct sc_client sc_client;
typedef struct sc_upstream sc_upstream;
typedef struct sc_target sc_target;

/* --- counters ---------------------------------------------------------------- */

/* Index of each number in sc_relay.count; written by the relay's thread alone,
 * read by any, relaxed. */
enum sc_count {
    SC_N_ACCEPTED, SC_N_REQUESTS, SC_N_COMPLETED, SC_N_FORWARDED, SC_N_TAKEN_BACK, SC_N_HELD,
    SC_N_OVERLOADED_QUEUE, SC_N_OVERLOADED_TIMEOUT, SC_N_REFUSED_HOP, SC_N_REFUSED_EPOCH,
    SC_N_REFUSED_MULTIPLEX, SC_N_CLIENT_ABORTS, SC_N_CLIENT_ERRORS, SC_N_UPSTREAM_CONNECTS,
    SC_N_UPSTREAM_CONNECT_ERRORS, SC_N_UPSTREAM_STALE, SC_N_UPSTREAM_ERRORS,
    SC_N_BYTES_IN, SC_N_BYTES_OUT, SC_N_QUEUE_WAIT,
    /* gauges from here */
    SC_G_MODE, SC_G_EPOCH, SC_G_LAME_DUCK, SC_G_UPSTREAM_UP, SC_G_CLIENTS, SC_G_CLIENTS_BUSY,
    SC_G_QUEUED, SC_G_IN_FLIGHT, SC_G_OLDEST_START, SC_G_OLDEST_QUEUED, SC_G_CONNECTIONS,
    SC_G_READY, SC_G_OFFERED, SC_G_AFTER_END,
    SC_COUNTS
};

/* --- upstream ------------------------------------------------------------------ */

/* A place requests can be sent to: php-fpm, or the other instance's relay. */
struct sc_target {
    sc_relay  *relay;
    sc_address address;
    bool       is_forward;
    bool       proves;      /* a Unix socket tells whether the peer has read, see sc_upstream.h */
    bool       late_reader; /* its workers were seen to leave the end of STDIN unread, see sc_upstream.h */
    bool       up;          /* the last attempt to connect succeeded */
    bool       tried;       /* there was an attempt */
    unsigned   max;         /* connections */
    unsigned   count;       /* connections there are, the lists below */
    unsigned   offered_count, ready_count, busy_count, after_end_count;
    sc_link    offered;     /* connecting, or BEGIN_REQUEST not read yet; oldest first */
    sc_link    ready;       /* waiting for a request; last used first */
    sc_link    busy;        /* oldest request first */
    apr_time_t retry_at;    /* monotonic; no attempt to connect before it */
    apr_interval_time_t backoff;
    apr_time_t pause_until; /* monotonic; it refused a request lately, none is sent before */
};

enum sc_upstream_state {
    SC_UPSTREAM_CONNECTING,
    SC_UPSTREAM_OFFERED, /* no worker is known to wait for the next request yet */
    SC_UPSTREAM_READY,
    SC_UPSTREAM_BUSY,
    SC_UPSTREAM_CLOSED
};

struct sc_upstream {
    sc_io        io;
    sc_target   *target;
    sc_client   *client;      /* BUSY: whose request; else NULL */
    sc_link      link;        /* in the target's list of the state */
    sc_timer     timer;       /* connecting, idle */
    fcgiw_stream in;
    enum sc_upstream_state state;
    apr_time_t   since;       /* when the state began, monotonic */
    bool         readable;    /* not read to EAGAIN yet */
    bool         writable;
    bool         hung_up;     /* the peer has closed its side */
    bool         used;        /* had a complete answer before */
    bool         begun;       /* BEGIN_REQUEST was sent ahead */
    bool         measured;    /* the last request's body was as long as its CONTENT_LENGTH said */
    bool         abandoned;   /* OFFERED: shut down, waiting for the end of the script */
    bool         half_closed; /* abandoned: the end of STDIN was not sent, so it is read until the peer closes */
    bool         answering;   /* a byte of the answer has come */
    bool         write_broken; /* BUSY: the peer reads no more; an answer may still come */
    uint8_t      prefix_len;  /* BUSY: BEGIN_REQUEST (and hop) still to be sent before the request */
    uint8_t      prefix[120]; /* holds BEGIN_REQUEST and a PARAMS record with hop and epoch, whatever they are */
};

/* --- client -------------------------------------------------------------------- */

enum sc_client_state {
    SC_CLIENT_IDLE,      /* between requests */
    SC_CLIENT_RECEIVING, /* a request comes in and is not ready to run */
    SC_CLIENT_QUEUED,    /* ready, waits for its turn */
    SC_CLIENT_RUNNING,   /* bound to an upstream connection */
    SC_CLIENT_DRAINING,  /* answered, the rest of its request is read over */
    SC_CLIENT_LINGERING, /* our side is shut, reading until the client closes */
    SC_CLIENT_CLOSED
};

struct sc_client {
    sc_io        io;
    sc_relay    *relay;
    sc_link      link;        /* relay->clients */
    sc_link      queue_link;  /* relay->queue, when QUEUED */
    sc_timer     timer;       /* idle, receive, lingering */
    sc_timer     send_timer;  /* an answer that is not taken */
    sc_timer     queue_timer;
    sc_upstream *upstream;    /* RUNNING */
    fcgiw_stream in;
    sc_request   request;
    sc_buffer    out;         /* answer that the socket has not taken */
    sc_buffer    values;      /* content of a GET_VALUES record that is not whole */
    sc_buffer    aside;       /* replies that wait for the end of a record in out */
    enum sc_client_state state;
    apr_time_t   queued_at;   /* monotonic */
    uint16_t     refused_id;  /* last multiplexed request that was refused; 0: none */
    bool         readable;
    bool         writable;
    bool         in_read;     /* client_read() is on the stack */
    bool         mid_record;  /* out ends in the middle of a record */
    bool         close_after; /* when out is empty */
};

/* --- relay ---------------------------------------------------------------------- */

typedef struct {
    sc_io      io;
    sc_relay  *relay;
    sc_address address;
    bool       bound;   /* a socket file at that path is ours to remove */
} sc_listener;

struct sc_relay {
    sc_relay_config config; /* strings are not valid after create */
    sc_loop     loop;
    sc_listener listeners[SC_LISTEN_MAX];
    size_t      listener_count;
    sc_timer    accept_timer;   /* until accept is tried again */

    sc_link     clients;
    unsigned    client_count, busy_count;
    sc_link     queue;          /* clients, in order of arrival */
    unsigned    queue_len;
    bool        dispatch_due;
    apr_time_t  dispatch_at;    /* due then; 0: not by time */
    apr_time_t  look_again_at;  /* when offered connections are looked at next */
    unsigned    few;            /* most in flight of those that began at few_from or later; 0: no bound */
    apr_time_t  few_from;
    bool        few_full;       /* so many were in flight at the last look */
    apr_time_t  few_began;      /* the last of them */
    apr_time_t  rest_until;     /* no further one before */

    sc_relay_mode mode;
    uint64_t    epoch;
    bool        lame_duck;
    sc_target   local;
    sc_target   forward;

    sc_timer_class after_client_idle, after_client_receive, after_client_send, after_linger,
        after_queue, after_hold, after_request_wait, after_connect, after_upstream_idle, after_accept;

    uint8_t    *scratch;        /* SC_SCRATCH bytes */

    unsigned    processors;     /* of this machine */
    bool        gives_way;      /* the relay's thread: it does not interrupt php-fpm */
    bool        policy_fixed;   /* it can not, or somebody chose its policy */

    pthread_t   thread;
    bool        started;        /* the owner's thread: there is a thread to join */
    bool        stopping;
    pthread_mutex_t lock;       /* of serving, calls, and each call's done */
    bool        serving;        /* the loop takes calls; guarded by lock */
    pthread_cond_t  answered;
    sc_link     calls;          /* of other threads, guarded by lock */
    sc_link     waits;          /* those that wait for a moment; the relay's thread */

    _Atomic uint64_t count[SC_COUNTS];
};

/* sc_relay_calls.c */

/* Takes new calls and looks whether the moment of those that wait has come;
 * returns when to look again (monotonic), 0: no time is set.  Once an iteration. */
apr_time_t sc_calls_handle(sc_relay *relay);
/* The loop has ended: nobody waits for it any more, or will. */
void sc_calls_refuse(sc_relay *relay);
/* Nothing that came through us runs in PHP any more. */
bool sc_relay_drained(const sc_relay *relay);

/* sc_relay_stats.c */
void sc_count_add(sc_relay *relay, enum sc_count which, uint64_t n);
void sc_relay_log(sc_relay *relay, sc_relay_log_level level, const char *id, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void sc_relay_tell(sc_relay *relay, sc_relay_event event);
unsigned sc_relay_in_flight(const sc_relay *relay);
/* Brings the gauges up to date; once an iteration. */
void sc_relay_publish(sc_relay *relay);

/* sc_listen.c */
apr_status_t sc_listen_open(sc_relay *relay, const char *text, char *error, size_t error_size);
void sc_listen_close(sc_relay *relay);
/* accept_timer fired. */
void sc_listen_resume(sc_timer *timer);

/* sc_dispatch.c */

/* The client's request is ready to run: queued, or refused. */
void sc_dispatch_enqueue(sc_client *c);
/* It met a connection that had gone: first in the queue again. */
void sc_dispatch_requeue(sc_client *c);
/* Takes the client out of the queue, if it is there. */
void sc_dispatch_remove(sc_client *c);
/* Something changed that may let a queued request run. */
void sc_dispatch_wake(sc_relay *relay);
/* Gives requests to connections; once an iteration. */
void sc_dispatch_run(sc_relay *relay);
/* A request's wait starts anew with the bound of the mode. */
void sc_dispatch_mode_changed(sc_relay *relay);
/* The client's queue_timer fired. */
void sc_dispatch_timeout(sc_client *c);
/* How many in flight began since sc_relay_ease() set its bound; at most that bound. */
unsigned sc_dispatch_new(const sc_relay *relay);

/* sc_client.c */
void sc_client_accept(sc_relay *relay, int fd);
void sc_client_close(sc_client *c);
/* END_REQUEST of the relay's own, for the request at hand. */
void sc_client_refuse(sc_client *c, enum fcgiw_protocol_status status);
/* The request got a connection. */
void sc_client_running(sc_client *c, sc_upstream *u);
/* The connection failed before anything of the request was sent: queue again. */
void sc_client_requeue(sc_client *c);
/* Whole or partial records of the answer, with id SC_REQUEST_ID.  False: the
 * client is gone (and u with it). */
enum { SC_DELIVER_BOUNDARY = 1 /* they end with a record */, SC_DELIVER_LAST = 2 /* END_REQUEST is in */ };
bool sc_client_deliver(sc_client *c, const uint8_t *records, size_t len, unsigned flags);
/* One record, for a client whose id is not SC_REQUEST_ID. */
bool sc_client_deliver_record(sc_client *c, uint8_t type, const uint8_t *content, size_t len,
                              unsigned flags);
/* The record with END_REQUEST was delivered. */
void sc_client_answered(sc_client *c);
/* The upstream broke: the answer can not be completed. */
void sc_client_failed(sc_client *c);
/* Request bytes were sent on: there may be room for more. */
void sc_client_has_room(sc_client *c);
/* False: the answer waits for the client, do not read more of it. */
bool sc_client_takes(const sc_client *c);

#endif /* SC_RELAY_CORE_H */
