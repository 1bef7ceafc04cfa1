#include "fcgi-sidecar/handoff/sc_first.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-sidecar/base/sc_fault.h"
#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/base/sc_log.h"
#include "fcgi-sidecar/database/sc_db_file.h"
#include "fcgi-sidecar/database/sc_owner.h"
#include "fcgi-sidecar/handoff/sc_install.h"
#include "fcgi-sidecar/node/sc_work.h"

static apr_status_t seed_path(const sc_node *n, char out[PATH_MAX], sc_error *err)
{
    return (size_t)snprintf(out, PATH_MAX, "%s/seed.sqlite", n->options->state_dir) < PATH_MAX
        ? APR_SUCCESS : sc_error_errno(err, ENAMETOOLONG, "--state-dir");
}

static bool database_present(const sc_node *n)
{
    struct stat st;

    return stat(n->options->database, &st) == 0 && st.st_size > 0;
}

/* Makes the first database beside its place, checked and synced; nothing when
 * one is there already, which is then adopted. */
static apr_status_t stage_seed(sc_node *n, const char *staged, sc_error *err)
{
    const sc_options *o = n->options;
    struct stat st;
    apr_status_t rv;
    int fd;

    unlink(staged);
    if (database_present(n)) {
        return sc_db_adopt(o->database, err);
    }
    if (stat(o->seed_database, &st) != 0) {
        return sc_error_errno(err, errno, "first deployment, but there is no seed database %s "
                              "(--seed-database)", o->seed_database);
    }
    rv = sc_db_stage(o->seed_database, staged, err);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    fd = open(staged, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return sc_error_errno(err, errno, "can not open %s", staged);
    }
    rv = sc_owner_apply(fd, o->database, o->owner, (st.st_mode & 0777) | 0600, err);
    close(fd);
    return rv;
}

static apr_status_t install_seed(sc_node *n, const char *staged, const sc_authority_record *mine,
                                 sc_error *err)
{
    apr_status_t rv = APR_SUCCESS;

    SC_STEP("install-seed");
    if (access(staged, F_OK) == 0) {
        /* There is no database, but its log or journal may have been left: SQLite would put
         * that into the new one. */
        rv = sc_install_set_aside(n->options->database, err);
        if (rv == APR_SUCCESS) {
            rv = sc_file_rename(staged, n->options->database, err);
        }
        if (rv == APR_SUCCESS) {
            sc_info("SC0405", "first deployment: %s is %s", n->options->database,
                    n->options->seed_database);
        }
    }
    else {
        sc_warn("SC0406", "first deployment: adopting the database that is there, %s",
                n->options->database);
    }
    if (rv == APR_SUCCESS) {
        pthread_mutex_lock(&n->lock);
        snprintf(n->state.lineage, sizeof(n->state.lineage), "%s", mine->lineage);
        n->state.epoch = mine->epoch;
        n->state.primary = n->self;
        rv = sc_state_move(&n->state, SC_STATE_PRIMARY, "first deployment", err);
        pthread_cond_broadcast(&n->changed);
        pthread_mutex_unlock(&n->lock);
    }
    return rv == APR_SUCCESS ? sc_node_activate(n, err) : rv;
}

bool sc_first_claimed(const sc_state *s)
{
    return s->id == SC_STATE_EMPTY && s->epoch == 0 && s->lineage[0] != '\0';
}

static apr_status_t save_claim(sc_node *n, const char *lineage, sc_error *err)
{
    apr_status_t rv;

    pthread_mutex_lock(&n->lock);
    snprintf(n->state.lineage, sizeof(n->state.lineage), "%s", lineage);
    rv = sc_state_save(&n->state, err);
    pthread_mutex_unlock(&n->lock);
    return rv;
}

apr_status_t sc_first_give_way(sc_node *n, sc_error *err)
{
    return save_claim(n, "", err);
}

/* Saves the claim, or finds the one that a life before saved, and swaps. */
static apr_status_t claim_lineage(sc_node *n, const sc_state *state, sc_authority_record *mine,
                                  sc_error *err)
{
    apr_status_t rv;

    if (sc_first_claimed(state)) {
        memcpy(mine->lineage, state->lineage, sizeof(mine->lineage));
    }
    else {
        sc_random_hex(mine->lineage, SC_LINEAGE_LEN / 2);
    }
    rv = save_claim(n, mine->lineage, err);
    SC_STEP("claimed");
    return rv == APR_SUCCESS ? sc_authority_swap(&n->authority, NULL, mine, err) : rv;
}

apr_status_t sc_first_deploy(sc_node *n, const sc_authority_record *granted, sc_error *err)
{
    sc_authority_record mine = { .lineage = "", .epoch = 1, .primary = n->self };
    char staged[PATH_MAX];
    sc_state state;
    apr_status_t rv = seed_path(n, staged, err);

    sc_node_state(n, &state);
    if (granted == NULL && state.lineage[0] != '\0' && !sc_first_claimed(&state)) {
        return sc_error_set(err, SC_EREFUSED, "the authority has no record, but this instance knows "
                            "the lineage %s: restore the authority's record", state.lineage);
    }
    if (granted != NULL && strcmp(granted->lineage, state.lineage) != 0) {
        n->start_final = true;
        return sc_error_set(err, SC_EREFUSED, "the authority names this instance, %s, as primary of "
                            "the lineage %s, but this volume never had it: restore the volume, or "
                            "promote a standby; only if the data is to be given up, remove the "
                            "authority's record", state.uid, granted->lineage);
    }
    SC_STEP("first-deployment");
    if (rv == APR_SUCCESS) {
        sc_work_phase(n, &n->start, "installing the seed database", 0);
        rv = stage_seed(n, staged, err);
        n->start_final = rv != APR_SUCCESS; /* the same seed fails again */
    }
    if (rv == APR_SUCCESS && granted == NULL) {
        rv = claim_lineage(n, &state, &mine, err);
    }
    if (rv == APR_SUCCESS) {
        rv = install_seed(n, staged, granted != NULL ? granted : &mine, err);
    }
    if (rv != APR_SUCCESS) {
        unlink(staged);
    }
    return rv;
}
