#include "fcgi-sidecar/authority/sc_authority.h"

#include <stdio.h>
#include <string.h>

#define RECORD_FORMAT 1

static const sc_authority_kind *const kinds[] = { &sc_authority_file, &sc_authority_lease };

/* NAMESPACE/NAME, as Kubernetes spells names (RFC 1123): they become part of a URL's path. */
static bool names_lease(const char *place)
{
    size_t len = strspn(place, "abcdefghijklmnopqrstuvwxyz0123456789-");
    const char *name = place + len + (place[len] == '/');

    return len > 0 && place[len] == '/' && name[0] != '\0'
        && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") == strlen(name);
}

apr_status_t sc_authority_open(sc_authority *a, const sc_options *o, sc_error *err)
{
    const char *url = o->authority;
    size_t i;

    a->kubernetes_api = o->kubernetes_api;
    a->kubernetes_account = o->kubernetes_account;
    if (url == NULL) {
        return sc_error_set(err, SC_EUSAGE, "--authority (SIDECAR_AUTHORITY) is needed: without it "
                            "nobody can tell a first deployment from a lost database; "
                            "lease://NAMESPACE/NAME or file:///path");
    }
    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        size_t n = strlen(kinds[i]->scheme);

        if (strncmp(url, kinds[i]->scheme, n) == 0) {
            const char *place = url + n;
            bool is_path = kinds[i] == &sc_authority_file;

            if (strlen(place) >= sizeof(a->place) || (is_path && place[0] != '/')
                || (!is_path && !names_lease(place))) {
                break;
            }
            a->kind = kinds[i];
            snprintf(a->place, sizeof(a->place), "%s", place);
            return APR_SUCCESS;
        }
    }
    return sc_error_set(err, SC_EUSAGE, "--authority: \"%s\" must be lease://NAMESPACE/NAME or "
                        "file:///path", url);
}

apr_status_t sc_authority_read(const sc_authority *a, sc_authority_record *r, sc_error *err)
{
    return a->kind->read(a, r, err);
}

apr_status_t sc_authority_swap(const sc_authority *a, const sc_authority_record *from,
                               const sc_authority_record *to, sc_error *err)
{
    return a->kind->swap(a, from, to, err);
}

void sc_authority_ahead(const sc_authority *a, const sc_authority_record *to)
{
    a->kind->ahead(a, to);
}

void sc_authority_drop_ahead(const sc_authority *a, const sc_authority_record *to)
{
    if (a->kind->drop_ahead != NULL) {
        a->kind->drop_ahead(a, to);
    }
}

bool sc_authority_record_before(const sc_authority_record *r, const char *lineage, uint64_t epoch)
{
    return strcmp(r->lineage, lineage) == 0 && r->epoch < epoch;
}

bool sc_authority_record_after(const sc_authority_record *r, const char *lineage, uint64_t epoch)
{
    return strcmp(r->lineage, lineage) == 0 && r->epoch > epoch;
}

bool sc_authority_record_equal(const sc_authority_record *a, const sc_authority_record *b)
{
    return strcmp(a->lineage, b->lineage) == 0 && a->epoch == b->epoch
        && strcmp(a->primary.uid, b->primary.uid) == 0;
}

apr_status_t sc_authority_expect(apr_status_t rv, const sc_authority_record *now,
                                 const sc_authority_record *from, sc_error *err)
{
    bool none = rv == SC_ENONE;

    if (rv != APR_SUCCESS && !none) {
        return rv;
    }
    if (from == NULL ? none : !none && sc_authority_record_equal(now, from)) {
        return APR_SUCCESS;
    }
    if (none) {
        return sc_error_set(err, SC_ECHANGED, "the authority has lost its record");
    }
    if (from != NULL && strcmp(now->lineage, from->lineage) != 0) {
        return sc_error_set(err, SC_ECHANGED, "the authority names %s at epoch %llu of another "
                            "lineage, %s, not of %s: " SC_AUTHORITY_FOREIGN, now->primary.uid,
                            (unsigned long long)now->epoch, now->lineage, from->lineage);
    }
    return sc_error_set(err, SC_ECHANGED, "the authority names %s at epoch %llu",
                        now->primary.uid, (unsigned long long)now->epoch);
}

char *sc_authority_record_text(const sc_authority_record *r)
{
    json_t *json = json_pack("{s:i, s:s, s:I, s:o}", "format", RECORD_FORMAT,
                             "lineage", r->lineage, "epoch", (json_int_t)r->epoch,
                             "primary", sc_member_to_json(&r->primary));
    char *text = json != NULL ? sc_json_text(json) : NULL;

    json_decref(json);
    return text;
}

bool sc_authority_record_parse(sc_authority_record *r, const char *text, size_t len)
{
    json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
    uint64_t format = 0;
    bool ok = sc_json_uint(json, "format", &format) && format == RECORD_FORMAT
        && sc_json_string(json, "lineage", r->lineage, sizeof(r->lineage))
        && strlen(r->lineage) == SC_LINEAGE_LEN
        && sc_json_uint(json, "epoch", &r->epoch) && r->epoch > 0
        && sc_member_from_json(&r->primary, json_object_get(json, "primary"))
        && sc_uid_valid(r->primary.uid);

    json_decref(json);
    return ok;
}
