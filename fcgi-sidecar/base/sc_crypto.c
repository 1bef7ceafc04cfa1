#include "fcgi-sidecar/base/sc_crypto.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>

#include "fcgi-sidecar/base/sc_bytes.h"
#include "fcgi-sidecar/base/sc_file.h"

#define IV_LEN 12 /* that of GCM: four zero bytes and a number */

struct sc_mac {
    EVP_MAC *algorithm;
    EVP_MAC_CTX *context;
    sc_secret secret;
};

/* Without a working HMAC no message may be sent or believed. */
static void must(int ok)
{
    if (ok != 1) {
        fputs("fcgi-sidecar: OpenSSL failed\n", stderr);
        abort();
    }
}

static void hex(const unsigned char *in, size_t len, char *out)
{
    size_t i;

    for (i = 0; i < len; i++) {
        snprintf(out + 2 * i, 3, "%02x", in[i]);
    }
}

apr_status_t sc_secret_load(sc_secret *secret, const char *path, sc_error *err)
{
    struct stat st;
    apr_status_t rv;
    char *data = NULL;
    size_t len = 0;

    rv = sc_file_read(path, &data, &len, err);
    if (rv != APR_SUCCESS) {
        return sc_error_set(err, rv, "--secret-file: %s", err != NULL ? err->text : "");
    }
    if (stat(path, &st) != 0 || (st.st_mode & S_IRWXO) != 0) {
        rv = sc_error_set(err, SC_EFAILED, "--secret-file: %s is open to every user; chmod o= it",
                          path);
        goto leave;
    }
    while (len > 0 && isspace((unsigned char)data[len - 1])) {
        len--;
    }
    if (len < SC_SECRET_MIN || len > SC_SECRET_MAX) {
        rv = sc_error_set(err, SC_EFAILED, "--secret-file: %s holds %zu bytes; %d to %d are needed "
                          "(make one: openssl rand -hex 32)", path, len, SC_SECRET_MIN,
                          SC_SECRET_MAX);
        goto leave;
    }
    must(EVP_Digest(data, len, secret->key, NULL, EVP_sha256(), NULL));
leave:
    OPENSSL_cleanse(data, len);
    free(data);
    return rv;
}

sc_mac *sc_mac_new(const sc_secret *secret)
{
    char name[] = "SHA256";
    OSSL_PARAM params[2];
    sc_mac *mac = calloc(1, sizeof(*mac));

    if (mac == NULL) {
        return NULL;
    }
    mac->algorithm = EVP_MAC_fetch(NULL, "HMAC", NULL);
    mac->context = mac->algorithm != NULL ? EVP_MAC_CTX_new(mac->algorithm) : NULL;
    if (mac->context == NULL) {
        sc_mac_free(mac);
        return NULL;
    }
    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0);
    params[1] = OSSL_PARAM_construct_end();
    mac->secret = *secret;
    must(EVP_MAC_init(mac->context, mac->secret.key, sizeof(mac->secret.key), params));
    return mac;
}

void sc_mac_add(sc_mac *mac, const void *data, size_t len)
{
    must(EVP_MAC_update(mac->context, data, len));
}

void sc_mac_end(sc_mac *mac, unsigned char out[SC_MAC_LEN])
{
    size_t len = 0;

    must(EVP_MAC_final(mac->context, out, &len, SC_MAC_LEN));
    /* With the key: without one OpenSSL before 3.0.3 (Ubuntu 22.04) goes on with what was added. */
    must(EVP_MAC_init(mac->context, mac->secret.key, sizeof(mac->secret.key), NULL));
}

void sc_mac_free(sc_mac *mac)
{
    if (mac != NULL) {
        EVP_MAC_CTX_free(mac->context);
        EVP_MAC_free(mac->algorithm);
        OPENSSL_cleanse(&mac->secret, sizeof(mac->secret));
        free(mac);
    }
}

/* GMAC is GCM with nothing to encrypt: all data is additional. */
struct sc_tag {
    EVP_CIPHER_CTX *context;
};

sc_tag *sc_tag_new(const sc_secret *key)
{
    sc_tag *tag = calloc(1, sizeof(*tag));

    if (tag == NULL) {
        return NULL;
    }
    tag->context = EVP_CIPHER_CTX_new();
    if (tag->context == NULL) {
        free(tag);
        return NULL;
    }
    must(EVP_EncryptInit_ex(tag->context, EVP_aes_256_gcm(), NULL, key->key, NULL));
    return tag;
}

void sc_tag_begin(sc_tag *tag, uint64_t number)
{
    unsigned char iv[IV_LEN] = { 0 };

    sc_put_u64(iv + IV_LEN - 8, number);
    must(EVP_EncryptInit_ex(tag->context, NULL, NULL, NULL, iv));
}

void sc_tag_add(sc_tag *tag, const void *data, size_t len)
{
    int n;

    must(len <= INT_MAX && EVP_EncryptUpdate(tag->context, NULL, &n, data, (int)len) == 1);
}

void sc_tag_end(sc_tag *tag, unsigned char out[SC_TAG_LEN])
{
    unsigned char none[16];
    int n;

    must(EVP_EncryptFinal_ex(tag->context, none, &n));
    must(EVP_CIPHER_CTX_ctrl(tag->context, EVP_CTRL_AEAD_GET_TAG, SC_TAG_LEN, out));
}

void sc_tag_free(sc_tag *tag)
{
    if (tag != NULL) {
        EVP_CIPHER_CTX_free(tag->context);
        free(tag);
    }
}

static void mac_once(const sc_secret *secret, const void *data, size_t len,
                     unsigned char out[SC_MAC_LEN])
{
    sc_mac *mac = sc_mac_new(secret);

    must(mac != NULL);
    sc_mac_add(mac, data, len);
    sc_mac_end(mac, out);
    sc_mac_free(mac);
}

void sc_mac_hex(const sc_secret *secret, const char *text, size_t len, char out[SC_HEX_LEN + 1])
{
    unsigned char raw[SC_MAC_LEN];

    mac_once(secret, text, len, raw);
    hex(raw, sizeof(raw), out);
}

void sc_secret_derive(sc_secret *derived, const sc_secret *secret, const char *label,
                      const char *nonce)
{
    char text[256];
    int n = snprintf(text, sizeof(text), "%s\n%s", label, nonce);

    must(n > 0 && (size_t)n < sizeof(text));
    mac_once(secret, text, (size_t)n, derived->key);
}

void sc_sha256_hex(const void *data, size_t len, char out[SC_HEX_LEN + 1])
{
    unsigned char raw[SC_MAC_LEN];

    must(EVP_Digest(data, len, raw, NULL, EVP_sha256(), NULL));
    hex(raw, sizeof(raw), out);
}

bool sc_equal_constant_time(const void *a, const void *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}

void sc_random(unsigned char *out, size_t bytes)
{
    must(bytes <= 32 && RAND_bytes(out, (int)bytes) == 1);
}

void sc_random_hex(char *out, size_t bytes)
{
    unsigned char raw[32];

    sc_random(raw, bytes);
    hex(raw, bytes, out);
}
