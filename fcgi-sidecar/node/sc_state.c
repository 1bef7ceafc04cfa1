#include "fcgi-sidecar/node/sc_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-sidecar/base/sc_crypto.h"
#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/base/sc_log.h"

static const struct { const char *name; bool writable; } states[] = {
#define SC_STATE(name, writable, meaning) { #name, writable },
#include "fcgi-sidecar/node/sc_states.def"
};

static const struct { sc_state_id from, to; } moves[] = {
#define SC_MOVE(from, to, when) { SC_STATE_##from, SC_STATE_##to },
#include "fcgi-sidecar/node/sc_states.def"
};

const char *sc_state_name(sc_state_id id)
{
    return id < SC_STATE_COUNT ? states[id].name : "UNKNOWN";
}

bool sc_state_writable(sc_state_id id)
{
    return id < SC_STATE_COUNT && states[id].writable;
}

bool sc_state_allows(sc_state_id from, sc_state_id to)
{
    size_t i;

    for (i = 0; i < sizeof(moves) / sizeof(moves[0]); i++) {
        if (moves[i].from == from && moves[i].to == to) {
            return true;
        }
    }
    return false;
}

/* --- the file ------------------------------------------------------------- */

static json_t *to_json(const sc_state *s)
{
    return json_pack("{s:i, s:s, s:s, s:I, s:s, s:o, s:o, s:b, s:o, s:o}",
                     "format", SC_STATE_FORMAT, "state", sc_state_name(s->id),
                     "lineage", s->lineage, "epoch", (json_int_t)s->epoch, "uid", s->uid,
                     "primary", sc_member_to_json(&s->primary),
                     "successor", sc_member_to_json(&s->successor),
                     "prepared", s->prepared ? 1 : 0,
                     "position", sc_position_to_json(&s->position),
                     "digest", sc_digest_to_json(s->digest));
}

/* Adds the member "checksum" over the text of all others. */
static bool seal(json_t *json)
{
    char *text = sc_json_text(json);
    char sum[SC_HEX_LEN + 1];

    if (text == NULL) {
        return false;
    }
    sc_sha256_hex(text, strlen(text), sum);
    free(text);
    return json_object_set_new(json, "checksum", json_string(sum)) == 0;
}

static bool seal_holds(json_t *json)
{
    char have[SC_HEX_LEN + 1], want[SC_HEX_LEN + 1];
    char *text;

    if (!sc_json_string(json, "checksum", have, sizeof(have))) {
        return false;
    }
    json_object_del(json, "checksum");
    text = sc_json_text(json);
    if (text == NULL) {
        return false;
    }
    sc_sha256_hex(text, strlen(text), want);
    free(text);
    return strcmp(have, want) == 0;
}

static bool id_from_name(const char *name, sc_state_id *id)
{
    unsigned i;

    for (i = 0; i < SC_STATE_COUNT; i++) {
        if (strcmp(name, states[i].name) == 0) {
            *id = (sc_state_id)i;
            return true;
        }
    }
    return false;
}

static bool from_json(sc_state *s, const json_t *json)
{
    char name[32];

    s->prepared = json_is_true(json_object_get(json, "prepared"));
    return sc_json_string(json, "state", name, sizeof(name)) && id_from_name(name, &s->id)
        && sc_json_string(json, "lineage", s->lineage, sizeof(s->lineage))
        && sc_json_uint(json, "epoch", &s->epoch)
        && sc_json_string(json, "uid", s->uid, sizeof(s->uid))
        && sc_member_from_json(&s->primary, json_object_get(json, "primary"))
        && sc_member_from_json(&s->successor, json_object_get(json, "successor"))
        && sc_position_from_json(&s->position, json_object_get(json, "position"))
        && sc_digest_from_json(&s->digest, json_object_get(json, "digest"));
}

static apr_status_t parse(sc_state *s, const char *text, size_t len, sc_error *err)
{
    json_error_t why;
    json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
    uint64_t format = 0;
    apr_status_t rv = APR_SUCCESS;

    if (json == NULL) {
        return sc_error_set(err, SC_ECORRUPT, "%s is damaged (%s); it decides whether this database "
                            "may be written: restore it, or remove --state-dir to start empty",
                            s->path, why.text);
    }
    if (sc_json_uint(json, "format", &format) && format > SC_STATE_FORMAT) {
        rv = sc_error_set(err, SC_EREFUSED, "%s has format %llu; this version knows %d: use the "
                          "newer fcgi-sidecar", s->path, (unsigned long long)format,
                          SC_STATE_FORMAT);
    }
    else if (format != SC_STATE_FORMAT || !seal_holds(json) || !from_json(s, json)) {
        rv = sc_error_set(err, SC_ECORRUPT, "%s is damaged (checksum or members); it decides whether "
                          "this database may be written: restore it, or remove --state-dir to "
                          "start empty", s->path);
    }
    json_decref(json);
    return rv;
}

apr_status_t sc_state_load(sc_state *s, const char *state_dir, const char *uid, sc_error *err)
{
    char *text = NULL;
    size_t len = 0;
    apr_status_t rv;

    memset(s, 0, sizeof(*s));
    if ((size_t)snprintf(s->path, sizeof(s->path), "%s/state.json", state_dir)
        >= sizeof(s->path)) {
        return sc_error_errno(err, ENAMETOOLONG, "--state-dir %s", state_dir);
    }
    if (uid != NULL && !sc_uid_valid(uid)) {
        return sc_error_set(err, SC_EUSAGE, "--uid: \"%s\" must be 1 to %d letters, digits, "
                            "'-', '.' or '_'", uid, SC_UID_MAX);
    }
    rv = sc_file_read(s->path, &text, &len, err);
    if (rv == ENOENT) {
        if (uid != NULL) {
            snprintf(s->uid, sizeof(s->uid), "%s", uid);
        }
        else {
            sc_random_hex(s->uid, 16);
        }
        return APR_SUCCESS;
    }
    if (rv == APR_SUCCESS) {
        rv = parse(s, text, len, err);
        free(text);
    }
    if (rv == APR_SUCCESS && uid != NULL && strcmp(uid, s->uid) != 0) {
        rv = sc_error_set(err, SC_EREFUSED, "%s belongs to the instance %s, not to %s (--uid)",
                          s->path, s->uid, uid);
    }
    return rv;
}

static char *text_of(const sc_state *s)
{
    json_t *json = to_json(s);
    char *text = json != NULL && seal(json) ? sc_json_text(json) : NULL;

    json_decref(json);
    return text;
}

static sc_file_content content_of(const sc_state *s, const char *text)
{
    return (sc_file_content){ .path = s->path, .data = text, .len = strlen(text), .mode = 0600 };
}

static apr_status_t save(const sc_state *s, bool name_later, sc_error *err)
{
    char *text = text_of(s);
    sc_file_content c;
    apr_status_t rv;

    if (text == NULL) {
        return sc_error_errno(err, ENOMEM, "can not write %s", s->path);
    }
    c = content_of(s, text);
    c.name_later = name_later;
    rv = sc_file_put(&c, err);
    free(text);
    return rv;
}

apr_status_t sc_state_save(const sc_state *s, sc_error *err)
{
    return save(s, false, err);
}

apr_status_t sc_state_sync(const sc_state *s, sc_error *err)
{
    return sc_file_sync_folder(s->path, err);
}

void sc_state_ahead(sc_state *s, sc_state_id to)
{
    char *text;

    s->id = to;
    text = text_of(s);
    if (text != NULL) {
        sc_file_content c = content_of(s, text);

        sc_file_put_ahead(&c);
    }
    free(text);
}

static apr_status_t move_and_save(sc_state *s, sc_state_id to, const char *why, bool sync_later,
                                  sc_error *err)
{
    sc_state_id from = s->id;
    apr_status_t rv;

    if (!sc_state_allows(from, to)) {
        return sc_error_set(err, SC_EREFUSED, "the move %s -> %s is not allowed (%s)",
                            sc_state_name(from), sc_state_name(to), why);
    }
    s->id = to;
    rv = save(s, sync_later, err);
    if (rv != APR_SUCCESS) {
        s->id = from;
        sc_fail("SC0202", "state %s -> %s could not be saved: %s", sc_state_name(from),
                sc_state_name(to), err != NULL ? err->text : "");
        return rv;
    }
    sc_info("SC0201", "state %s -> %s, epoch %llu: %s", sc_state_name(from), sc_state_name(to),
            (unsigned long long)s->epoch, why);
    return APR_SUCCESS;
}

apr_status_t sc_state_move(sc_state *s, sc_state_id to, const char *why, sc_error *err)
{
    return move_and_save(s, to, why, false, err);
}

apr_status_t sc_state_move_first(sc_state *s, sc_state_id to, const char *why, sc_error *err)
{
    return move_and_save(s, to, why, true, err);
}
