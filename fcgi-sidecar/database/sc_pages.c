#include "fcgi-sidecar/database/sc_pages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/database/sc_db_fence.h"

#define PRIME_A 0x9e3779b97f4a7c15ull
#define PRIME_B 0xc2b2ae3d27d4eb4full

#define LOCK_PAGE_AT ((off_t)0x40000000) /* SQLite's file format, 1.4 */

static uint64_t mix(uint64_t x)
{
    x ^= x >> 32;
    x *= PRIME_B;
    x ^= x >> 29;
    x *= PRIME_A;
    return x ^ x >> 32;
}

/* Four lanes, so that the multiplications overlap. */
static uint64_t hash_page(uint32_t number, const uint8_t *page, size_t len)
{
    uint64_t lane[4] = { number, PRIME_A, PRIME_B, PRIME_A ^ PRIME_B };
    size_t i, k;

    for (i = 0; i + 32 <= len; i += 32) {
        for (k = 0; k < 4; k++) {
            uint64_t word;

            memcpy(&word, page + i + 8 * k, sizeof(word));
            lane[k] = (lane[k] ^ word) * PRIME_A;
            lane[k] = lane[k] << 31 | lane[k] >> 33;
        }
    }
    for (k = 1; k < 4; k++) {
        lane[0] = mix(lane[0] + k) ^ mix(lane[k] + PRIME_B * k);
    }
    lane[0] = mix(lane[0] ^ len);
    return lane[0] != 0 ? lane[0] : 1;
}

static apr_status_t reserve(sc_pages *p, uint32_t count)
{
    uint64_t want = p->capacity < 1024 ? 1024 : p->capacity;
    uint64_t *bigger;

    if (count <= p->capacity) {
        return APR_SUCCESS;
    }
    while (want < count) {
        want *= 2;
    }
    if (want > SIZE_MAX / sizeof(*p->hashes) || want > UINT32_MAX) {
        return ENOMEM;
    }
    bigger = realloc(p->hashes, (size_t)want * sizeof(*p->hashes));
    if (bigger == NULL) {
        return ENOMEM;
    }
    memset(bigger + p->capacity, 0, (size_t)(want - p->capacity) * sizeof(*p->hashes));
    p->hashes = bigger;
    p->capacity = (uint32_t)want;
    return APR_SUCCESS;
}

apr_status_t sc_pages_put(sc_pages *p, uint32_t number, const uint8_t *page, size_t page_size)
{
    apr_status_t rv = reserve(p, number);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    p->digest ^= p->hashes[number - 1];
    p->hashes[number - 1] = hash_page(number, page, page_size);
    p->digest ^= p->hashes[number - 1];
    if (number > p->count) {
        p->count = number;
    }
    return APR_SUCCESS;
}

apr_status_t sc_pages_resize(sc_pages *p, uint32_t count)
{
    apr_status_t rv = reserve(p, count);
    uint32_t i;

    if (rv != APR_SUCCESS) {
        return rv;
    }
    for (i = count; i < p->count; i++) {
        p->digest ^= p->hashes[i];
        p->hashes[i] = 0;
    }
    p->count = count;
    return APR_SUCCESS;
}

/* SQLite's file format, 1.3.2: big-endian at byte 16, 1 means 65536. */
static size_t page_size_of(const uint8_t head[SC_DB_FENCE_OFFSET])
{
    size_t size = (size_t)head[16] << 8 | head[17];

    return size == 1 ? 65536 : size >= 512 && (size & (size - 1)) == 0 ? size : 0;
}

apr_status_t sc_pages_match_file(int fd, uint64_t digest, bool *same)
{
    uint8_t head[SC_DB_FENCE_OFFSET], *page = NULL;
    struct stat st;
    size_t size = 0;
    uint32_t number, count;
    uint64_t all = 0, lock_page = 0;
    apr_status_t rv = sc_file_pread(fd, head, sizeof(head), 0);

    *same = false;
    if (rv == APR_SUCCESS && fstat(fd, &st) != 0) {
        rv = errno;
    }
    if (rv == APR_SUCCESS) {
        size = page_size_of(head);
        rv = size == 0 || st.st_size % (off_t)size != 0
            || (uint64_t)st.st_size / size > UINT32_MAX - 1 ? SC_ECORRUPT : APR_SUCCESS;
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    count = (uint32_t)((uint64_t)st.st_size / size);
    page = malloc(size);
    rv = page != NULL ? APR_SUCCESS : ENOMEM;
    for (number = 1; number <= count && rv == APR_SUCCESS; number++) {
        rv = sc_file_pread(fd, page, size, (off_t)(number - 1) * (off_t)size);
        if (rv == APR_SUCCESS && number == 1) {
            page[SC_DB_FENCE_OFFSET] = SC_DB_WAL_VALUE;
        }
        if (rv == APR_SUCCESS) {
            uint64_t hash = hash_page(number, page, size);

            all ^= hash;
            lock_page = (off_t)(number - 1) * (off_t)size == LOCK_PAGE_AT ? hash : lock_page;
        }
    }
    free(page);
    *same = rv == APR_SUCCESS && (all == digest || (all ^ lock_page) == digest);
    return rv;
}

void sc_pages_free(sc_pages *p)
{
    free(p->hashes);
    memset(p, 0, sizeof(*p));
}
