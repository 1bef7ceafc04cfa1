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

/* By the operator's word, which also counts where the record is lost, or was brought back from
 * an earlier epoch. */
static apr_status_t swap_by_force(sc_node *n, const sc_authority_record *old,
                                  const sc_authority_record *new_record, sc_error *err)
{
    sc_authority_record now;
    apr_status_t rv = sc_takeover_swap(n, old, new_record, err);

    if (rv == SC_ECHANGED && sc_authority_read(&n->authority, &now, NULL) == APR_SUCCESS
        && sc_authority_record_before(&now, old->lineage, old->epoch)) {
        rv = sc_takeover_swap(n, &now, new_record, err);
    }
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

/* Is what the authority says no reason against it?  A successor that it names may have
 * acknowledged writes that are nowhere else: only the operator knows that these are gone. */
static apr_status_t may_take_back(const sc_state *state, const sc_authority_record *now, bool force,
                                  sc_error *err)
{
    bool ours = strcmp(now->primary.uid, state->uid) == 0;
    bool successors = strcmp(now->primary.uid, state->successor.uid) == 0;

    if (strcmp(now->lineage, state->lineage) != 0 || (!ours && !successors)) {
        return sc_error_set(err, SC_EREFUSED, "the authority names %s at epoch %llu, which is to be asked",
                            now->primary.uid, (unsigned long long)now->epoch);
    }
    return ours || force ? APR_SUCCESS
        : sc_error_set(err, SC_EREFUSED, "the authority names %s at epoch %llu: the successor has the "
                       "database; only if it is lost for ever, with what it may have written since, "
                       "fcgi-sidecar promote --force takes this one", now->primary.uid,
                       (unsigned long long)now->epoch);
}

/* A FENCED instance whose successor is gone: the swap takes the next epoch
 * before a GRANT that is still on its way can. */
static apr_status_t take_back(sc_node *n, const sc_state *state, bool force, sc_error *err)
{
    sc_authority_record old = { .epoch = 0 }, mine;
    apr_status_t rv = is_silent(n, state, &state->successor, "the successor", err);

    if (rv == APR_SUCCESS) {
        rv = sc_authority_read(&n->authority, &old, err);
    }
    if (rv == SC_ENONE) { /* as it was before it was lost, for all that is known here */
        memcpy(old.lineage, state->lineage, sizeof(old.lineage));
        old.epoch = state->epoch;
        memcpy(old.primary.uid, state->uid, sizeof(old.primary.uid));
        rv = APR_SUCCESS;
    }
    if (rv == APR_SUCCESS) {
        rv = may_take_back(state, &old, force, err);
    }
    mine = old;
    if (rv == APR_SUCCESS && (old.epoch <= state->epoch || strcmp(old.primary.uid, state->uid) != 0)) {
        mine.epoch = (old.epoch > state->epoch ? old.epoch : state->epoch) + 1;
        mine.primary = n->self;
        rv = swap_by_force(n, &old, &mine, err);
    }
    SC_STEP("taken-back");
    if (rv == APR_SUCCESS) {
        sc_warn("SC0424", "the operator declared the successor %s gone; taking the database back",
                state->successor.uid);
        rv = sc_grant_take_back(n, mine.epoch, err);
    }
    return rv;
}

/* A process that died may have left half a transaction: is what lies here just
 * what was noted when it was last whole? */
static apr_status_t image_whole(sc_node *n, const sc_state *state, sc_error *err)
{
    int fd = open(n->options->database, O_RDONLY | O_CLOEXEC);
    bool same = false;
    apr_status_t rv = fd >= 0 ? sc_pages_match_file(fd, state->digest, &same) : errno;

    if (fd >= 0) {
        sc_node_close_file(n, fd); /* reading all of it takes as long as a GRANT needs to come */
    }
    if (rv != APR_SUCCESS) {
        return sc_error_errno(err, rv, "can not read %s", n->options->database);
    }
    return same ? APR_SUCCESS
        : sc_error_set(err, SC_EREFUSED, "the process died while it followed, and %s may end in half a "
                       "transaction: " LAST_COPY, n->options->database);
}

/* A digest is noted of a copy that was whole, and that one lies there until the next is. */
static bool has_former_copy(const sc_state *state)
{
    return state->id == SC_STATE_SYNCING && state->digest != 0;
}

/* May this image become the database without the primary's consent? */
static apr_status_t image_usable(sc_node *n, const sc_state *state, bool force, sc_error *err)
{
    bool torn, unsure, former = has_former_copy(state);
    apr_status_t rv;

    pthread_mutex_lock(&n->lock);
    torn = n->image_torn;
    unsure = n->image_unsure;
    pthread_mutex_unlock(&n->lock);
    if (state->id != SC_STATE_STANDBY && !former) {
        return sc_error_set(err, SC_EREFUSED, "this instance is %s; only a STANDBY, or one that has an "
                            "earlier copy, can take over", sc_state_name(state->id));
    }
    rv = former ? sc_error_set(err, SC_EREFUSED, "%s lacks what was written since this instance stopped "
                               "following: " LAST_COPY, n->options->database)
       : torn ? sc_error_set(err, SC_EREFUSED, "the stream broke within a transaction, and %s ends in half "
                             "of it: " LAST_COPY, n->options->database)
       : n->copy_whole ? sc_error_set(err, SC_EREFUSED, "a sync or a check of %s failed: " LAST_COPY,
                                      n->options->database)
       : unsure ? image_whole(n, state, err) : APR_SUCCESS;
    if (rv == SC_EREFUSED && force) {
        sc_warn("SC0423", "taking a copy that may lack a transaction or end in half of one, as --force says; "
                "checking what can be checked");
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
    if (state.id != SC_STATE_STANDBY && !has_former_copy(&state)) {
        return false;
    }
    rv = image_usable(n, &state, false, &unusable);
    if (rv == SC_EREFUSED && state.id == SC_STATE_SYNCING) {
        force = " --force";
        because = ", whose copy lacks what was written since it stopped following";
    }
    else if (rv == SC_EREFUSED) {
        force = " --force";
        because = ", because its copy may end in half a transaction: it was killed while it followed, the "
                  "stream broke within one, or its disk failed";
    }
    else if (rv != APR_SUCCESS) {
        because = unusable.text; /* the disk */
    }
    sc_node_advise(n, "SC0428", "if the primary %s (%s) is gone for ever: fcgi-sidecar promote%s, on this "
                   "instance%s; now nobody serves: %s", state.primary.uid, state.primary.control, force,
                   because, why);
    return true;
}

/* The look at the image takes time: is it still what was looked at?  If so, no stream
 * begins a base until sc_takeover_end(). */
static apr_status_t begin_taking(sc_node *n, const sc_state *seen, sc_error *err)
{
    apr_status_t rv = APR_SUCCESS;

    pthread_mutex_lock(&n->lock);
    if (n->state.id != seen->id || n->state.epoch != seen->epoch
        || strcmp(n->state.primary.uid, seen->primary.uid) != 0) {
        rv = sc_error_set(err, SC_EAGAIN, "this instance has gone on meanwhile: it is %s at epoch %llu; "
                          "look again", sc_state_name(n->state.id), (unsigned long long)n->state.epoch);
    }
    else {
        n->taking_over++;
    }
    pthread_mutex_unlock(&n->lock);
    return rv;
}

/* The stream has ended, or is ending.  The copy of before that lies beside an unfinished one
 * becomes the image; the unfinished one may have become it at the last moment. */
static apr_status_t settle_image(sc_node *n, bool force, sc_error *err)
{
    apr_status_t rv = APR_SUCCESS;

    sc_takeover_release_image(n);
    pthread_mutex_lock(&n->lock);
    if (n->state.id == SC_STATE_SYNCING && n->stream != NULL) {
        rv = sc_error_set(err, SC_EAGAIN, "the stream from the primary has not ended yet");
    }
    else if (n->state.id == SC_STATE_SYNCING) {
        n->image_unsure = true;
        rv = sc_state_move(&n->state, SC_STATE_STANDBY, "the operator takes the copy of before", err);
    }
    else if (n->image_torn && !force) {
        rv = sc_error_set(err, SC_EAGAIN, "the stream broke within a transaction meanwhile; look again");
    }
    pthread_mutex_unlock(&n->lock);
    return rv;
}

/* From STANDBY, or from SYNCING with a copy of before. */
static apr_status_t take_over(sc_node *n, const sc_state *state, bool force, sc_error *err)
{
    sc_authority_record old, new_record;
    apr_status_t rv = begin_taking(n, state, err);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    sc_takeover_pair(n, state, &old, &new_record);
    rv = settle_image(n, force, err);
    if (rv == APR_SUCCESS) {
        rv = swap_by_force(n, &old, &new_record, err);
    }
    if (rv == APR_SUCCESS) {
        sc_warn("SC0422", "the operator declared %s gone; what it committed and did not send is "
                "lost", state->primary.uid);
        rv = sc_takeover_become_primary(n, new_record.epoch, "operator", err);
    }
    sc_takeover_end(n);
    return rv;
}

void sc_operator_promote(sc_node *n, sc_control_request *request)
{
    bool force = json_is_true(json_object_get(sc_control_body(request), "force"));
    sc_error err = { 0, "" };
    sc_state state;
    apr_status_t rv;

    sc_node_state(n, &state);
    if (state.id == SC_STATE_PRIMARY) {
        sc_control_answer(request, NULL);
        return;
    }
    if (state.id == SC_STATE_FENCED) {
        rv = take_back(n, &state, force, &err);
        sc_control_reply(request, rv, &err, NULL);
        return;
    }
    rv = image_usable(n, &state, force, &err);
    if (rv == APR_SUCCESS) {
        rv = is_silent(n, &state, &state.primary, "the primary", &err);
    }
    if (rv == APR_SUCCESS) {
        rv = take_over(n, &state, force, &err);
    }
    sc_control_reply(request, rv, &err, NULL);
    if (rv == APR_SUCCESS) {
        sc_takeover_attend(n);
    }
}
