#include "fcgi-sidecar/base/sc_record.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool sc_position_equal(const sc_position *a, const sc_position *b)
{
    return a->salt[0] == b->salt[0] && a->salt[1] == b->salt[1] && a->frame == b->frame
        && a->checksum[0] == b->checksum[0] && a->checksum[1] == b->checksum[1];
}

json_t *sc_member_to_json(const sc_member *m)
{
    return json_pack("{s:s, s:s, s:s}", "uid", m->uid, "control", m->control, "relay", m->relay);
}

json_t *sc_position_to_json(const sc_position *p)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "salt1", (json_int_t)p->salt[0],
                     "salt2", (json_int_t)p->salt[1], "frame", (json_int_t)p->frame,
                     "checksum1", (json_int_t)p->checksum[0],
                     "checksum2", (json_int_t)p->checksum[1]);
}

json_t *sc_digest_to_json(uint64_t digest)
{
    char text[17];

    snprintf(text, sizeof(text), "%016llx", (unsigned long long)digest);
    return json_string(text);
}

bool sc_json_string(const json_t *object, const char *name, char *out, size_t size)
{
    const json_t *value = json_object_get(object, name);
    size_t len = json_string_length(value);

    if (!json_is_string(value) || len >= size || strlen(json_string_value(value)) != len) {
        return false;
    }
    memcpy(out, json_string_value(value), len + 1);
    return true;
}

bool sc_json_uint(const json_t *object, const char *name, uint64_t *out)
{
    const json_t *value = json_object_get(object, name);

    if (!json_is_integer(value) || json_integer_value(value) < 0) {
        return false;
    }
    *out = (uint64_t)json_integer_value(value);
    return true;
}

static bool json_u32(const json_t *object, const char *name, uint32_t *out)
{
    uint64_t value;

    if (!sc_json_uint(object, name, &value) || value > UINT32_MAX) {
        return false;
    }
    *out = (uint32_t)value;
    return true;
}

bool sc_member_from_json(sc_member *m, const json_t *json)
{
    return sc_json_string(json, "uid", m->uid, sizeof(m->uid))
        && sc_json_string(json, "control", m->control, sizeof(m->control))
        && sc_json_string(json, "relay", m->relay, sizeof(m->relay));
}

bool sc_position_from_json(sc_position *p, const json_t *json)
{
    return json_u32(json, "salt1", &p->salt[0]) && json_u32(json, "salt2", &p->salt[1])
        && json_u32(json, "frame", &p->frame) && json_u32(json, "checksum1", &p->checksum[0])
        && json_u32(json, "checksum2", &p->checksum[1]);
}

bool sc_digest_from_json(uint64_t *digest, const json_t *json)
{
    const char *text = json_string_value(json);
    char *end;

    if (text == NULL || strlen(text) != 16 || !isxdigit((unsigned char)text[0])) {
        return false;
    }
    *digest = strtoull(text, &end, 16);
    return *end == '\0';
}

bool sc_uid_valid(const char *uid)
{
    size_t n = strlen(uid);

    return n > 0 && n <= SC_UID_MAX
        && strspn(uid, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") == n;
}

char *sc_json_text(const json_t *json)
{
    return json_dumps(json, JSON_SORT_KEYS | JSON_COMPACT);
}
