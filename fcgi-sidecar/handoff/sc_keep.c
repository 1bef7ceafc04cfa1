#include "fcgi-sidecar/handoff/sc_keep.h"

#include <string.h>
#include <unistd.h>

#include <apr_time.h>

#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/base/sc_log.h"
#include "fcgi-sidecar/handoff/sc_confirm.h"

#define LOOK_MS 5000
#define TICK_MS 100 /* the end of the process is noticed this fast */

/* Both looked at after the record was read: a successor is named only when this
 * instance is not PRIMARY any more, so who still is was declared gone. */
static bool is_replaced(const sc_authority_record *r, const sc_state *before, const sc_state *now)
{
    return now->id == SC_STATE_PRIMARY && now->epoch == before->epoch
        && sc_authority_record_after(r, now->lineage, now->epoch) && strcmp(r->primary.uid, now->uid) != 0;
}

/* Brought back from a backup, say.  `before` was read before the record: its swap is
 * older than that. */
static bool is_behind(const sc_authority_record *r, const sc_state *before, const sc_state *now)
{
    return now->epoch == before->epoch && sc_authority_record_before(r, now->lineage, now->epoch);
}

/* *told: what was told last of a record that is gone and can not be written. */
static void look(sc_node *n, sc_error *told)
{
    sc_authority_record r;
    sc_error err = { 0, "" };
    sc_state before, now;
    apr_status_t rv;

    sc_node_state(n, &before);
    if (before.id != SC_STATE_PRIMARY) {
        return;
    }
    rv = sc_authority_read(&n->authority, &r, NULL);
    sc_node_state(n, &now);
    if (now.id == SC_STATE_PRIMARY
        && (rv == SC_ENONE || (rv == APR_SUCCESS && is_behind(&r, &before, &now)))) {
        if (sc_confirm_primary(n, &err) != APR_SUCCESS) { /* again, at the next look */
            sc_confirm_doubt(&err, told);
        }
    }
    else if (rv == APR_SUCCESS && is_replaced(&r, &before, &now)) {
        sc_fail("SC0442", "the authority names %s as primary at epoch %llu, and this instance still served "
                "at %llu: ending; what was written here since is only in %s", r.primary.uid,
                (unsigned long long)r.epoch, (unsigned long long)now.epoch, n->options->database);
        _exit(1);
    }
}

static void *keep_thread(void *context)
{
    sc_node *n = context;
    int64_t next_ms = sc_now_ms() + LOOK_MS;
    sc_error told = { 0, "" };

    /* Not on n->changed, which is told of each commit. */
    while (!n->stopping) {
        apr_sleep(apr_time_from_msec(TICK_MS));
        if (sc_now_ms() >= next_ms && !n->stopping) {
            look(n, &told);
            next_ms = sc_now_ms() + LOOK_MS;
        }
    }
    return NULL;
}

apr_status_t sc_keep_start(sc_node *n, sc_error *err)
{
    int rc = pthread_create(&n->keep_thread, NULL, keep_thread, n);

    n->keep_launched = rc == 0;
    return rc == 0 ? APR_SUCCESS : sc_error_errno(err, rc, "thread");
}

void sc_keep_join(sc_node *n)
{
    if (n->keep_launched) {
        pthread_join(n->keep_thread, NULL);
        n->keep_launched = false;
    }
}
