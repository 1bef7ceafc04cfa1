#include "fcgi-sidecar/control/sc_nonce.h"

#include <stdlib.h>
#include <string.h>

#define PROBES 64 /* slots looked at for one nonce */

void sc_nonce_init(sc_nonce_cache *cache, int64_t window_ms)
{
    memset(cache, 0, sizeof(*cache));
    pthread_mutex_init(&cache->lock, NULL);
    cache->window_ms = window_ms;
}

bool sc_nonce_take(sc_nonce_cache *cache, const char *nonce, int64_t now_ms)
{
    char half[17];
    uint64_t high, low;
    size_t i, at, free_slot = SC_NONCE_SLOTS;
    bool seen = false;

    memcpy(half, nonce, 16);
    half[16] = '\0';
    high = strtoull(half, NULL, 16);
    low = strtoull(nonce + 16, NULL, 16);
    pthread_mutex_lock(&cache->lock);
    for (i = 0; i < PROBES && !seen; i++) {
        at = (size_t)((low + i) % SC_NONCE_SLOTS);
        if (cache->slots[at].until_ms <= now_ms) {
            free_slot = free_slot == SC_NONCE_SLOTS ? at : free_slot;
        }
        else {
            seen = cache->slots[at].high == high && cache->slots[at].low == low;
        }
    }
    if (!seen && free_slot != SC_NONCE_SLOTS) {
        cache->slots[free_slot].high = high;
        cache->slots[free_slot].low = low;
        cache->slots[free_slot].until_ms = now_ms + cache->window_ms;
    }
    pthread_mutex_unlock(&cache->lock);
    return !seen && free_slot != SC_NONCE_SLOTS;
}
