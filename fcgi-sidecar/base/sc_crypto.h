/*
 * sc_crypto.h -- the shared secret and what is made of it (OpenSSL).
 *
 * SHA-256, HMAC-SHA256, AES-256-GMAC, random ids.  The secret stays in this file's struct;
 * it is never logged or sent.  All functions may be called from any thread.
 */
#ifndef SC_CRYPTO_H
#define SC_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fcgi-sidecar/base/sc_error.h"

#define SC_SECRET_MIN 16   /* bytes, white space at the end not counted */
#define SC_SECRET_MAX 4096
#define SC_MAC_LEN    32   /* bytes */
#define SC_TAG_LEN    16   /* bytes */
#define SC_HEX_LEN    64   /* hex digits of a digest or MAC */
#define SC_NONCE_LEN  32   /* hex digits */

typedef struct {
    unsigned char key[SC_MAC_LEN]; /* SHA-256 of the file's content */
} sc_secret;

/* A MAC that grows with its input: mac = HMAC(key, part, part, …). */
typedef struct sc_mac sc_mac;

/* Reads the file.  Refused: readable, writable or executable by "others",
 * shorter than SC_SECRET_MIN, longer than SC_SECRET_MAX. */
apr_status_t sc_secret_load(sc_secret *secret, const char *path, sc_error *err);

/* Key of one conversation, so that a MAC of one fits no other:
 * HMAC(secret, label, 0, nonce). */
void sc_secret_derive(sc_secret *derived, const sc_secret *secret, const char *label,
                      const char *nonce);

/* NULL when out of memory; free is safe on NULL.  sc_mac_end writes the MAC and makes
 * the object ready for the next message under the same key. */
sc_mac *sc_mac_new(const sc_secret *secret);
void sc_mac_add(sc_mac *mac, const void *data, size_t len);
void sc_mac_end(sc_mac *mac, unsigned char out[SC_MAC_LEN]);
void sc_mac_free(sc_mac *mac);

/* A tag that costs a fifth of an HMAC: AES-256-GMAC (NIST SP 800-38D), for much
 * data under a key of its own.  Whoever makes tags must never use a number twice
 * under one key, for that would give the key away.  begin, add …, end. */
typedef struct sc_tag sc_tag;

/* NULL when out of memory; free is safe on NULL. */
sc_tag *sc_tag_new(const sc_secret *key);
void sc_tag_begin(sc_tag *tag, uint64_t number);
void sc_tag_add(sc_tag *tag, const void *data, size_t len); /* len up to INT_MAX */
void sc_tag_end(sc_tag *tag, unsigned char out[SC_TAG_LEN]);
void sc_tag_free(sc_tag *tag);

/* MAC of one text, in hex. */
void sc_mac_hex(const sc_secret *secret, const char *text, size_t len, char out[SC_HEX_LEN + 1]);

void sc_sha256_hex(const void *data, size_t len, char out[SC_HEX_LEN + 1]);

/* Constant time; both must be of that length. */
bool sc_equal_constant_time(const void *a, const void *b, size_t len);

/* Up to 32 bytes; aborts when the system has no randomness. */
void sc_random(unsigned char *out, size_t bytes);

/* bytes * 2 random hex digits and a NUL; aborts when the system has no randomness. */
void sc_random_hex(char *out, size_t bytes);

#endif /* SC_CRYPTO_H */
