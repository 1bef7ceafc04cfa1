/*
 * relay_bed.h -- a relay between scripted peers: the test is its clients and
 * its upstream.  Every wait has a limit (WAIT_MS), every unexpected byte fails
 * the test that reads it.
 */
#ifndef RELAY_BED_H
#define RELAY_BED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi-sidecar/relay/sc_relay.h"
#include "lib/fcgiw.h"

#define WAIT_MS 5000

typedef struct {
    sc_relay        *relay;
    sc_relay_config  config;   /* change it between bed_init() and bed_start() */
    char             dir[64];
    char             upstream[96]; /* "unix:DIR/up" */
    char             listen[96];   /* "unix:DIR/in" */
    const char      *listens[2];
    int              up;           /* listening socket of the scripted upstream, -1: none */
} bed;

typedef struct {
    fcgiw_header h;
    uint8_t      content[FCGIW_CONTENT_MAX + 1]; /* with a NUL behind it */
} bed_record;

void bed_init(bed *b);
/* Listens as the upstream (again). */
void bed_upstream_open(bed *b);
void bed_upstream_close(bed *b);
void bed_start(bed *b);
void bed_stop(bed *b);

/* Of a test: *state is a bed with an upstream that listens, not started. */
int bed_setup(void **state);
int bed_teardown(void **state);

/* A connection to the relay. */
int bed_dial(const bed *b);
/* The same over TCP, where the relay listens there, too. */
int bed_dial_tcp(const bed *b);
/* The next connection of the relay to the upstream; bed_no_accept(): none for ms. */
int bed_accept(const bed *b);
void bed_no_accept(const bed *b, int ms);

void bed_send(int fd, const void *bytes, size_t len);
void bed_send_bytewise(int fd, const void *bytes, size_t len);
/* Nothing arrives for ms. */
void bed_silence(int fd, int ms);
/* The peer closes (cleanly or not) without another byte. */
void bed_closed(int fd);

/* One record, whatever it is. */
void bed_read(int fd, bed_record *r);
/* One record of that type and id; text != NULL: with that content. */
void bed_expect(int fd, unsigned type, unsigned id, const char *text);
void bed_expect_end(int fd, unsigned id, unsigned protocol_status);

/* Records, appended to out; the length they have there is returned. */
size_t put_record(uint8_t *out, unsigned type, unsigned id, const void *content, size_t len, unsigned padding);
size_t put_begin(uint8_t *out, unsigned id, unsigned role, unsigned flags);
size_t put_end(uint8_t *out, unsigned id, unsigned protocol_status);
/* BEGIN, PARAMS with REQUEST_METHOD and X, their end. */
size_t put_head(uint8_t *out, unsigned id, const char *method, const char *x, bool keep);
/* That, and an empty body. */
size_t put_get(uint8_t *out, unsigned id, const char *x, bool keep);

/* A client that sent put_get()'s request. */
int bed_get(const bed *b, unsigned id, const char *x, bool keep);
/* Upstream: reads BEGIN_REQUEST (a worker that is ready). */
void bed_take_begin(int fd);
/* Upstream: the next connection, and its BEGIN_REQUEST. */
int bed_worker(const bed *b);
/* Upstream: reads PARAMS with X=x, their end, and an empty body. */
void bed_take_get(int fd, const char *x);
/* Upstream: text and END_REQUEST. */
void bed_answer(int fd, const char *text);

/* Value of the pair in content, NUL-terminated in a static buffer, or NULL. */
const char *bed_param(const bed_record *r, const char *name);

/* Waits until the condition on `s` (fresh statistics) holds. */
#define bed_until(b, condition)                                              \
    do {                                                                     \
        sc_relay_stats s;                                                    \
        int waited_ = 0;                                                     \
        for (sc_relay_stats_get((b)->relay, &s); !(condition);               \
             sc_relay_stats_get((b)->relay, &s)) {                           \
            if (waited_++ > WAIT_MS) {                                       \
                fail_msg("waited in vain for: %s", #condition);              \
            }                                                                \
            bed_sleep(1);                                                    \
        }                                                                    \
    } while (0)
void bed_sleep(int ms);

#endif /* RELAY_BED_H */
