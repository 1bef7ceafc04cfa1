/*
 * sc_message.h -- what a request on the control port says about itself, and
 * how request and answer are authenticated.
 *
 * A request is a FastCGI responder request: POST, SCRIPT_NAME is the path, the
 * body is JSON (at most SC_BODY_MAX bytes), and the parameters below.  Its MAC
 * is HMAC-SHA256 over all of them and the body's SHA-256.  The receiver refuses
 * a time that is more than SC_TIME_WINDOW_MS away from its own and a nonce that
 * it has seen within that window.
 *
 * An answer is a CGI response: Status, Sidecar-Mac, and JSON or a stream of
 * messages (sc_frame.h).  Its MAC covers the nonce of the request.
 */
#ifndef SC_MESSAGE_H
#define SC_MESSAGE_H

#include "fcgi-sidecar/base/sc_crypto.h"
#include "fcgi-sidecar/base/sc_record.h"

#define SC_PROTOCOL       "1"
#define SC_BODY_MAX       (576u * 1024u) /* the sums of a resumed copy (sc_have.h), and room */
#define SC_PATH_LEN       32
#define SC_TIME_WINDOW_MS 120000

#define SC_PARAM_PROTOCOL "SIDECAR_PROTOCOL"
#define SC_PARAM_LINEAGE  "SIDECAR_LINEAGE"
#define SC_PARAM_EPOCH    "SIDECAR_EPOCH"
#define SC_PARAM_UID      "SIDECAR_UID"
#define SC_PARAM_TO       "SIDECAR_TO"
#define SC_PARAM_NONCE    "SIDECAR_NONCE"
#define SC_PARAM_TIME     "SIDECAR_TIME"
#define SC_PARAM_MAC      "SIDECAR_MAC"
#define SC_HEADER_MAC     "Sidecar-Mac"

typedef struct {
    char     path[SC_PATH_LEN];
    char     lineage[SC_LINEAGE_LEN + 1]; /* of the sender; "": none yet */
    uint64_t epoch;                       /* of the sender's knowledge */
    char     uid[SC_UID_MAX + 1];         /* the sender */
    char     to[SC_UID_MAX + 1];          /* the receiver meant; "": whoever answers there */
    char     nonce[SC_NONCE_LEN + 1];
    int64_t  time_ms;                     /* since 1970 */
} sc_message;

void sc_message_mac(const sc_secret *secret, const sc_message *m, const void *body, size_t len,
                    char out[SC_HEX_LEN + 1]);

void sc_answer_mac(const sc_secret *secret, const char *nonce, unsigned status,
                   const void *body, size_t len, char out[SC_HEX_LEN + 1]);

/* 32 lower-case hex digits. */
bool sc_nonce_valid(const char *nonce);

#endif /* SC_MESSAGE_H */
