#include "fcgi-sidecar/database/sc_have.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-sidecar/base/sc_bytes.h"
#include "fcgi-sidecar/database/sc_db_fence.h"

#define SALT_LEN 32 /* hex digits */

static const char digits[] = "0123456789abcdef";

static sc_mac *new_mac(const sc_secret *secret, const char *salt)
{
    sc_secret key;

    sc_secret_derive(&key, secret, "sidecar-have-1", salt);
    return sc_mac_new(&key);
}

static void sum_block(sc_mac *mac, uint64_t offset, const uint8_t *data, size_t len,
                      uint8_t out[SC_HAVE_SUM_LEN])
{
    unsigned char full[SC_MAC_LEN];
    const uint8_t unfenced = SC_DB_WAL_VALUE;
    uint8_t place[8];

    sc_put_u64(place, offset);
    sc_mac_add(mac, place, sizeof(place));
    if (offset == 0 && len > SC_DB_FENCE_OFFSET) {
        sc_mac_add(mac, data, SC_DB_FENCE_OFFSET);
        sc_mac_add(mac, &unfenced, 1);
        data += SC_DB_FENCE_OFFSET + 1;
        len -= SC_DB_FENCE_OFFSET + 1;
    }
    sc_mac_add(mac, data, len);
    sc_mac_end(mac, full);
    memcpy(out, full, SC_HAVE_SUM_LEN);
}

size_t sc_have_block_size(uint64_t bytes)
{
    size_t block = SC_HAVE_BLOCK_MIN;

    while (block < SC_HAVE_BLOCK_MAX && bytes / block >= SC_HAVE_BLOCKS_MAX) {
        block *= 2;
    }
    return block;
}

static void put_hex(char *out, const uint8_t *sum)
{
    size_t i;

    for (i = 0; i < SC_HAVE_SUM_LEN; i++) {
        out[2 * i] = digits[sum[i] >> 4];
        out[2 * i + 1] = digits[sum[i] & 15];
    }
}

/* Sums of all blocks, in hex, to out. */
static apr_status_t sum_all(sc_mac *mac, uint64_t bytes, size_t block, sc_have_read_fn read,
                            void *context, uint8_t *buffer, char *out)
{
    uint64_t at;
    apr_status_t rv = APR_SUCCESS;

    for (at = 0; at < bytes && rv == APR_SUCCESS; at += block) {
        size_t len = bytes - at < block ? (size_t)(bytes - at) : block;
        uint8_t sum[SC_HAVE_SUM_LEN];

        rv = read(context, at, buffer, len);
        if (rv == APR_SUCCESS) {
            sum_block(mac, at, buffer, len, sum);
            put_hex(out, sum);
            out += 2 * SC_HAVE_SUM_LEN;
        }
    }
    *out = '\0';
    return rv;
}

apr_status_t sc_have_describe(const sc_secret *secret, uint64_t bytes, sc_have_read_fn read,
                              void *context, json_t **json)
{
    size_t block = sc_have_block_size(bytes);
    uint64_t most = (uint64_t)block * SC_HAVE_BLOCKS_MAX;
    char salt[SALT_LEN + 1];
    uint8_t *buffer = malloc(block);
    char *sums;
    sc_mac *mac;
    apr_status_t rv = ENOMEM;

    *json = NULL;
    bytes = bytes < most ? bytes : most;
    sc_random_hex(salt, SALT_LEN / 2);
    mac = new_mac(secret, salt);
    sums = malloc((size_t)((bytes + block - 1) / block) * 2 * SC_HAVE_SUM_LEN + 1);
    if (buffer != NULL && sums != NULL && mac != NULL) {
        rv = sum_all(mac, bytes, block, read, context, buffer, sums);
    }
    if (rv == APR_SUCCESS) {
        *json = json_pack("{s:s, s:I, s:I, s:s}", "salt", salt, "block", (json_int_t)block,
                          "bytes", (json_int_t)bytes, "sums", sums);
        rv = *json != NULL ? APR_SUCCESS : ENOMEM;
    }
    sc_mac_free(mac);
    free(sums);
    free(buffer);
    return rv;
}

static int value_of(char digit)
{
    const char *at = digit != '\0' ? strchr(digits, digit) : NULL;

    return at != NULL ? (int)(at - digits) : -1;
}

static bool read_sums(sc_have *h, const char *text)
{
    size_t len = (size_t)h->count * SC_HAVE_SUM_LEN, i;

    if (text == NULL || strlen(text) != 2 * len) {
        return false;
    }
    h->sums = malloc(len);
    for (i = 0; h->sums != NULL && i < len; i++) {
        int high = value_of(text[2 * i]), low = value_of(text[2 * i + 1]);

        if (high < 0 || low < 0) {
            return false;
        }
        h->sums[i] = (uint8_t)(high << 4 | low);
    }
    return h->sums != NULL;
}

bool sc_have_take(sc_have *h, const sc_secret *secret, const json_t *json)
{
    char salt[SALT_LEN + 1];
    uint64_t block = 0;
    bool ok;

    memset(h, 0, sizeof(*h));
    ok = sc_json_string(json, "salt", salt, sizeof(salt)) && strlen(salt) == SALT_LEN
        && sc_json_uint(json, "block", &block) && block >= SC_HAVE_BLOCK_MIN
        && block <= SC_HAVE_BLOCK_MAX && (block & (block - 1)) == 0
        && sc_json_uint(json, "bytes", &h->bytes) && h->bytes > 0
        && h->bytes <= block * SC_HAVE_BLOCKS_MAX;
    if (ok) {
        h->block = (size_t)block;
        h->count = (uint32_t)((h->bytes + block - 1) / block);
        ok = read_sums(h, json_string_value(json_object_get(json, "sums")))
            && (h->mac = new_mac(secret, salt)) != NULL;
    }
    if (!ok) {
        sc_have_free(h);
    }
    return ok;
}

bool sc_have_same(const sc_have *h, uint64_t offset, const uint8_t *data, size_t len)
{
    uint8_t sum[SC_HAVE_SUM_LEN];
    uint64_t number = offset / (h->block != 0 ? h->block : 1);

    if (number >= h->count) {
        return false;
    }
    sum_block(h->mac, offset, data, len, sum);
    return memcmp(sum, h->sums + number * SC_HAVE_SUM_LEN, SC_HAVE_SUM_LEN) == 0;
}

void sc_have_free(sc_have *h)
{
    sc_mac_free(h->mac);
    free(h->sums);
    memset(h, 0, sizeof(*h));
}
