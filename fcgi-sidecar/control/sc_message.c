#include "fcgi-sidecar/control/sc_message.h"

#include <stdio.h>
#include <string.h>

void sc_message_mac(const sc_secret *secret, const sc_message *m, const void *body, size_t len,
                    char out[SC_HEX_LEN + 1])
{
    char sum[SC_HEX_LEN + 1];
    char text[512];
    int n;

    sc_sha256_hex(body, len, sum);
    /* No member can hold a newline: each is checked or made by us. */
    n = snprintf(text, sizeof(text), "sidecar-request-%s\n%s\n%s\n%llu\n%s\n%s\n%s\n%lld\n%s",
                 SC_PROTOCOL, m->path, m->lineage, (unsigned long long)m->epoch, m->uid, m->to,
                 m->nonce, (long long)m->time_ms, sum);
    sc_mac_hex(secret, text, (size_t)n, out);
}

void sc_answer_mac(const sc_secret *secret, const char *nonce, unsigned status,
                   const void *body, size_t len, char out[SC_HEX_LEN + 1])
{
    char sum[SC_HEX_LEN + 1];
    char text[256];
    int n;

    sc_sha256_hex(body, len, sum);
    n = snprintf(text, sizeof(text), "sidecar-answer-%s\n%s\n%u\n%s", SC_PROTOCOL, nonce, status,
                 sum);
    sc_mac_hex(secret, text, (size_t)n, out);
}

bool sc_nonce_valid(const char *nonce)
{
    return strlen(nonce) == SC_NONCE_LEN && strspn(nonce, "0123456789abcdef") == SC_NONCE_LEN;
}
