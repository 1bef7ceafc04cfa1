/*
 * http_mix_try.h -- one request of http_mix: sent, and its answer looked at.
 *
 * A client is one connection at a time and belongs to one thread.
 */
#ifndef HTTP_MIX_TRY_H
#define HTTP_MIX_TRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MIX_BODY_MAX 262144 /* of a POST */

enum mix_body { NO_BODY, PLAIN, CHUNKED };

typedef struct {
    const char *name, *method, *path; /* path: its parameters follow */
    enum mix_body body;
    bool fresh;                       /* on a connection of its own */
    unsigned low, high;               /* bytes of the answer, or of the body */
    bool demo;                        /* answered by mod_demo */
} mix_kind;

typedef struct {
    unsigned random;
    int fd;                      /* -1: none */
    unsigned before, chain;      /* answers on this connection, and the most of them */
    size_t have, at;             /* of in[] */
    char in[65536];
} mix_client;

typedef struct {
    const mix_kind *k;
    uint64_t id;
    unsigned size;
    const char *phase;           /* connect, send, head, body, status, check */
    int error;                   /* errno; 0: closed, or see phase */
    size_t came;                 /* bytes of the answer */
    int status;
    int64_t length;              /* Content-Length, or -1 */
    bool chunked, close;
    uint64_t body;               /* bytes of the body */
    uint32_t sum;
    unsigned connects;           /* over all tries of the request */
} mix_try;

/* Where the server is; before any thread begins. */
void mix_init(uint16_t port);

/* A number from low to high. */
unsigned mix_any(mix_client *c, unsigned low, unsigned high);

/* Sends t and reads the answer.  False: phase and error say why there is no right one. */
bool mix_attempt(mix_client *c, mix_try *t);

void mix_hang_up(mix_client *c);

#endif /* HTTP_MIX_TRY_H */
