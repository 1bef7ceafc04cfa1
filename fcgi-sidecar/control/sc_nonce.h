/*
 * sc_nonce.h -- remembers the nonces of the last minutes, so that a recorded
 * request is not executed twice.
 *
 * A fixed table: when it is full of nonces that are still within the window,
 * the request is refused rather than an entry forgotten.  Only authenticated
 * requests get in.  Thread-safe.
 */
#ifndef SC_NONCE_H
#define SC_NONCE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define SC_NONCE_SLOTS 8192

typedef struct {
    pthread_mutex_t lock;
    int64_t window_ms;
    struct { uint64_t high, low; int64_t until_ms; } slots[SC_NONCE_SLOTS];
} sc_nonce_cache;

void sc_nonce_init(sc_nonce_cache *cache, int64_t window_ms);

/* True, and remembered, when this nonce (32 hex digits) was not seen within
 * the window that ends at now_ms (monotonic). */
bool sc_nonce_take(sc_nonce_cache *cache, const char *nonce, int64_t now_ms);

#endif /* SC_NONCE_H */
