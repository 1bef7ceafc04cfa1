#include "fcgi-sidecar/handoff/sc_operator.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-sidecar/base/sc_fault.h"
#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/base/sc_log.h"
#include "fcgi-sidecar/database/sc_db_file.h"
#include "fcgi-sidecar/database/sc_pages.h"
#include "fcgi-sidecar/handoff/sc_grant.h"
#include "fcgi-sidecar/handoff/sc_takeover.h"

#define LAST_COPY "let it follow the primary again; only if no other copy is left, fcgi-sidecar promote " \
                  "--force takes it as it is"

/* By the operator's word. */
static apr_status_t swap_by_force(sc_node *n, const sc_authority_record *old,
                                  const sc_authority_record *new_record, sc_error *err)
{
    apr_status_t rv = sc_takeover_swap(n, old, new_record, err);

    return rv == SC_ENONE ? sc_takeover_create(n, new_record, err) : rv;
}

/* Is there nobody at its address, or somebody else by now?  One that answers with an
 * error, such as that the clocks differ, is there; one with another key is no instance of
 * ours. */
static apr_status_t is_silent(sc_node *n, const sc_state *state, const sc_member *m,
                              const char *what, sc_error *err)
{
    sc_peer_call call;
    sc_member self = { .uid = "" };
    json_t *who = NULL;
    char name[32] = "?";
    sc_error why = { 0, "" };
    apr_status_t rv;

    sc_node_call(n, &call, state, m->control, "/v1/who", "");
    rv = sc_peer_request(&call, NULL, &who, &why);
    sc_json_string(who, "state", name, sizeof(name));
    (void)sc_member_from_json(&self, json_object_get(who, "self"));
    json_decref(who);
    if (rv != APR_SUCCESS) {
        return rv < APR_OS_START_USERERR || rv == SC_EAUTH ? APR_SUCCESS
            : sc_error_set(err, SC_EREFUSED, "%s %s may be alive: %s; end it first", what, m->control,
                           why.text);
    }
    if (self.uid[0] != '\0' && strcmp(self.uid, m->uid) != 0) {
        return APR_SUCCESS;
    }
    return sc_error_set(err, SC_EREFUSED, "%s %s answers (%s): %s", what, m->control, name,
                        state->id == SC_STATE_FENCED ? "it will take the GRANT" : "use its pre-stop");
}

/* A FENCED instance whose successor is gone: the swap takes the next epoch
 * before a GRANT that is still on its way can. */
static apr_status_t take_back(sc_node *n, const sc_state *state, sc_error *err)
{
    sc_authority_record old, mine;
    apr_status_t rv = is_silent(n, state, &state->successor, "the successor", err);

    if (rv == APR_SUCCESS) {
        rv = sc_authority_read(&n->authority, &old, err);
    }
    if (rv == SC_ENONE) { /* as it was before it was lost, for all that is known here */
        memset(&old, 0, sizeof(old));
        memcpy(old.lineage, state->lineage, sizeof(old.lineage));
        old.epoch = state->epoch;
        memcpy(old.primary.uid, state->uid, sizeof(old.primary.uid));
        rv = APR_SUCCESS;
    }
    if (rv == APR_SUCCESS && (strcmp(old.lineage, state->lineage) != 0
                              || strcmp(old.primary.uid, state->uid) != 0)) {
        rv = sc_error_set(err, SC_EREFUSED, "the authority names %s at epoch %llu: the successor "
                          "has the database", old.primary.uid, (unsigned long long)old.epoch);
    }
    if (rv == APR_SUCCESS && old.epoch == state->epoch) {
        mine = old;
        mine.epoch++;
        mine.primary = n->self;
        rv = swap_by_force(n, &old, &mine, err);
    }
    SC_STEP("taken-back");
    if (rv == APR_SUCCESS) {
        sc_warn("SC0424", "the operator declared the successor %s gone; taking the database back",
                state->successor.uid);
        rv = sc_grant_take_back(n, err);
    }
    return rv;
}

/* A process that died may have left half a transaction: is what lies here just
 * what was noted when it was last whole? */
static apr_status_t image_whole(const sc_node *n, const sc_state *state, sc_error *err)
{
    int fd = open(n->options->database, O_RDONLY | O_CLOEXEC);
    uint64_t digest = 0;
    apr_status_t rv = fd >= 0 ? sc_pages_digest_file(fd, &digest) : errno;

    sc_file_close(fd);
    if (rv != APR_SUCCESS) {
        return sc_error_errno(err, rv, "can not read %s", n->options->database);
    }
    return digest == state->digest ? APR_SUCCESS
        : sc_error_set(err, SC_EREFUSED, "the process died while it followed, and %s may end in half a "
                       "transaction: " LAST_COPY, n->options->database);
}

/* May this image become the database without the primary's consent? */
static apr_status_t image_usable(sc_node *n, const sc_state *state, bool force, sc_error *err)
{
    bool torn, unsure;
    apr_status_t rv;

    pthread_mutex_lock(&n->lock);
    torn = n->image_torn;
    unsure = n->image_unsure;
    pthread_mutex_unlock(&n->lock);
    if (state->id != SC_STATE_STANDBY) {
        return sc_error_set(err, SC_EREFUSED, "this instance is %s; only a STANDBY can take over",
                            sc_state_name(state->id));
    }
    rv = torn ? sc_error_set(err, SC_EREFUSED, "the stream broke within a transaction, and %s ends in half "
                             "of it: " LAST_COPY, n->options->database)
       : unsure ? image_whole(n, state, err) : APR_SUCCESS;
    if (rv == SC_EREFUSED && force) {
        sc_warn("SC0423", "taking a copy that may end in half a transaction, as --force says; checking "
                "what can be checked");
        return sc_db_check_file(n->options->database, err);
    }
    return rv;
}

bool sc_operator_advise(sc_node *n, const char *why)
{
    sc_error unusable = { 0, "" };
    sc_state state;
    const char *force = "", *because = "";
    apr_status_t rv;

    sc_node_state(n, &state);
    if (state.id != SC_STATE_STANDBY) {
        return false;
    }
    rv = image_usable(n, &state, false, &unusable);
    if (rv == SC_EREFUSED) {
        force = " --force";
        because = ", because its copy may end in half a transaction: it was killed while it followed, or the "
                  "stream broke within one";
    }
    else if (rv != APR_SUCCESS) {
        because = unusable.text; /* the disk */
    }
    sc_node_advise(n, "SC0428", "if the primary %s (%s) is gone for ever: fcgi-sidecar promote%s, on this "
                   "instance%s; now nobody serves: %s", state.primary.uid, state.primary.control, force,
                   because, why);
    return true;
}

void sc_operator_promote(sc_node *n, sc_control_request *request)
{
    sc_authority_record old, new_record;
    sc_error err = { 0, "" };
    sc_state state;
    apr_status_t rv;
    bool taking = false;

    sc_node_state(n, &state);
    if (state.id == SC_STATE_PRIMARY) {
        sc_control_answer(request, NULL);
        return;
    }
    if (state.id == SC_STATE_FENCED) {
        rv = take_back(n, &state, &err);
        sc_control_reply(request, rv, &err, NULL);
        return;
    }
    rv = image_usable(n, &state, json_is_true(json_object_get(sc_control_body(request), "force")),
                      &err);
    if (rv == APR_SUCCESS) {
        rv = is_silent(n, &state, &state.primary, "the primary", &err);
    }
    if (rv == APR_SUCCESS) {
        sc_takeover_pair(n, &state, &old, &new_record);
        pthread_mutex_lock(&n->lock);
        n->taking_over++;
        pthread_mutex_unlock(&n->lock);
        sc_takeover_release_image(n);
        rv = swap_by_force(n, &old, &new_record, &err);
        taking = true;
    }
    if (rv == APR_SUCCESS) {
        sc_warn("SC0422", "the operator declared %s gone; what it committed and did not send is "
                "lost", state.primary.uid);
        rv = sc_takeover_become_primary(n, new_record.epoch, "operator", &err);
    }
    if (taking) {
        sc_takeover_end(n);
    }
    sc_control_reply(request, rv, &err, NULL);
    if (rv == APR_SUCCESS) {
        sc_takeover_attend(n);
    }
}
