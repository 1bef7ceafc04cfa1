#include "fcgi-sidecar/handoff/sc_confirm.h"

#include <string.h>

#include "fcgi-sidecar/base/sc_log.h"

/* Has the record, read with rv, name this primary: one that was lost, or brought back from
 * an earlier time, is written again, and another address is put in.  No other instance can
 * have become primary at an epoch below this one's: it got its own by a swap. */
static apr_status_t confirm_record(sc_node *n, apr_status_t rv, const sc_authority_record *r,
                                   sc_error *err)
{
    sc_authority_record mine = { .primary = n->self };
    sc_state state;
    bool behind;

    sc_node_state(n, &state);
    memcpy(mine.lineage, state.lineage, sizeof(mine.lineage));
    mine.epoch = state.epoch;
    behind = rv == APR_SUCCESS && sc_authority_record_before(r, mine.lineage, mine.epoch);
    if (rv == SC_ENONE || behind) {
        rv = sc_authority_swap(&n->authority, behind ? r : NULL, &mine, err);
        if (rv == APR_SUCCESS) {
            sc_warn("SC0407", "the authority %s; its record was written again", behind
                    ? "was back at an earlier epoch" : "had lost its record");
        }
        return rv;
    }
    if (strcmp(r->lineage, mine.lineage) != 0) {
        return sc_error_set(err, SC_EREFUSED, "the authority names %s at epoch %llu of another "
                            "lineage, %s, not this one's, %s: " SC_AUTHORITY_FOREIGN,
                            r->primary.uid, (unsigned long long)r->epoch, r->lineage, mine.lineage);
    }
    if (!sc_authority_record_equal(r, &mine)) {
        return sc_error_set(err, SC_EREFUSED, "the state file says PRIMARY at epoch %llu, but the "
                            "authority names %s at epoch %llu: this database is out of date",
                            (unsigned long long)state.epoch, r->primary.uid,
                            (unsigned long long)r->epoch);
    }
    if (strcmp(r->primary.control, n->self.control) != 0
        || strcmp(r->primary.relay, n->self.relay) != 0) {
        return sc_authority_swap(&n->authority, r, &mine, err);
    }
    return APR_SUCCESS;
}

apr_status_t sc_confirm_primary(sc_node *n, sc_error *err)
{
    sc_authority_record r;
    apr_status_t rv = sc_authority_read(&n->authority, &r, err);

    return rv == APR_SUCCESS || rv == SC_ENONE ? confirm_record(n, rv, &r, err) : rv;
}

void sc_confirm_doubt(const sc_error *why, sc_error *last)
{
    if (strcmp(why->text, last->text) != 0) {
        sc_warn("SC0408", "going on as the primary of the state file: %s", why->text);
        *last = *why;
    }
}

/* The authority is asked, not obeyed blindly: when it can not be reached the
 * state on disk is the truth, for nobody else can have become primary without
 * this instance's consent. */
apr_status_t sc_confirm_start(sc_node *n, sc_error *err)
{
    sc_authority_record r;
    sc_error why = { 0, "" }, last = { 0, "" };
    apr_status_t rv = sc_authority_read(&n->authority, &r, &why);
    bool asked = rv == APR_SUCCESS || rv == SC_ENONE;

    if (asked) {
        rv = confirm_record(n, rv, &r, &why);
    }
    if (asked && (rv == SC_EREFUSED || rv == SC_ECHANGED)) {
        return sc_error_set(err, rv, "%s", why.text);
    }
    if (rv != APR_SUCCESS) {
        sc_confirm_doubt(&why, &last);
    }
    return APR_SUCCESS;
}
