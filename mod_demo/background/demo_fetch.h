/*
 * demo_fetch.h -- one small GET over FastCGI, without blocking.
 *
 * For the background: ping and status pages.  The caller polls the descriptor
 * and calls step; memory is bounded and part of the record; nothing is
 * allocated.  One fetch belongs to one thread.
 *
 *      demo_fetch_start() → poll(fd, demo_fetch_events()) → demo_fetch_step() … → demo_fetch_close()
 */
#ifndef DEMO_FETCH_H
#define DEMO_FETCH_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "lib/fcgiw_stream.h"

#define DEMO_FETCH_PARAMS_MAX  2048
#define DEMO_FETCH_TEXT_MAX    160

enum demo_fetch_state {
    DEMO_FETCH_IDLE,
    DEMO_FETCH_CONNECT, /* wants POLLOUT */
    DEMO_FETCH_SEND,    /* wants POLLOUT */
    DEMO_FETCH_READ,    /* wants POLLIN */
    DEMO_FETCH_DONE,    /* status, body */
    DEMO_FETCH_FAILED   /* phase, text */
};

typedef struct {
    const struct sockaddr *addr; /* TCP or Unix */
    socklen_t   addr_len;
    const char *uri;         /* SCRIPT_NAME; starts with a slash, without the query */
    const char *query;       /* QUERY_STRING; "" for none */
    const char *script_file; /* SCRIPT_FILENAME */
} demo_fetch_request;

typedef struct {
    int      fd;       /* -1 while idle */
    enum demo_fetch_state state;
    int64_t  started;  /* microseconds, CLOCK_MONOTONIC */
    int64_t  deadline; /* of the whole fetch */
    /* result */
    int         status;   /* DONE: HTTP status, 200 when none was stated */
    const char *phase;    /* FAILED: "connect", "send", "read", "response" */
    int         timed_out;/* FAILED: the deadline passed */
    int         busy;     /* FAILED: the other side says that it is, by OVERLOADED or a full
                           * listen queue */
    char        text[DEMO_FETCH_TEXT_MAX]; /* FAILED: the cause, without the phase */
    const char *body;     /* DONE: in buf, NUL-terminated */
    size_t      body_len;
    /* private */
    uint8_t  out[DEMO_FETCH_PARAMS_MAX];
    size_t   out_len, out_pos;
    fcgiw_stream stream;
    char    *buf;         /* the caller's */
    size_t   cap, len;    /* bytes of the response, header included */
} demo_fetch;

/* buf of cap bytes (at least 2) takes the response, header included; it is
 * borrowed until the next start.  The record needs no other set-up. */
void demo_fetch_init(demo_fetch *f, char *buf, size_t cap);

/* Opens the connection; afterwards the state is CONNECT, SEND or FAILED.  The
 * request is needed during the call only. */
void demo_fetch_start(demo_fetch *f, const demo_fetch_request *request, int64_t now,
                      int64_t deadline);

/* For poll(): POLLIN, POLLOUT, or 0 when there is nothing to wait for. */
short demo_fetch_events(const demo_fetch *f);

/* Does what can be done without waiting; the new state. */
enum demo_fetch_state demo_fetch_step(demo_fetch *f, int64_t now);

/* Closes the connection; the result stays readable.  Safe when idle. */
void demo_fetch_close(demo_fetch *f);

#endif /* DEMO_FETCH_H */
