/*
 * sc_record.h -- the small values that are kept in files and sent in messages,
 * and their JSON forms (jansson; every json_t * returned is a new reference).
 */
#ifndef SC_RECORD_H
#define SC_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include <jansson.h>

#include "fcgi-sidecar/base/sc_error.h"

#define SC_LINEAGE_LEN 32  /* hex digits */
#define SC_UID_MAX     63
#define SC_ADDRESS_MAX 271 /* HOST:PORT */

/* An instance and where it is reached. */
typedef struct {
    char uid[SC_UID_MAX + 1];         /* "" : nobody */
    char control[SC_ADDRESS_MAX + 1]; /* HOST:PORT of its control port */
    char relay[SC_ADDRESS_MAX + 1];   /* HOST:PORT of its relay */
} sc_member;

/* A place in a write-ahead log: after `frame` frames of the generation named
 * by the salts; checksum is the log's running one after that frame. */
typedef struct {
    uint32_t salt[2];
    uint32_t frame;
    uint32_t checksum[2];
} sc_position;

bool sc_position_equal(const sc_position *a, const sc_position *b);

json_t *sc_member_to_json(const sc_member *m);
json_t *sc_position_to_json(const sc_position *p);
json_t *sc_digest_to_json(uint64_t digest); /* 16 hex digits */

/* false when a member is missing, of another type or too long; *m is then undefined. */
bool sc_member_from_json(sc_member *m, const json_t *json);
bool sc_position_from_json(sc_position *p, const json_t *json);
bool sc_digest_from_json(uint64_t *digest, const json_t *json);

/* Copies the string `name` of object; false when absent, no string, or too long. */
bool sc_json_string(const json_t *object, const char *name, char *out, size_t size);
bool sc_json_uint(const json_t *object, const char *name, uint64_t *out);

/* Letters, digits, '-', '.' and '_', 1..SC_UID_MAX of them. */
bool sc_uid_valid(const char *uid);

/* The text that is hashed and stored: sorted keys, no spaces.  malloc'ed, NULL
 * when out of memory. */
char *sc_json_text(const json_t *json);

#endif /* SC_RECORD_H */
