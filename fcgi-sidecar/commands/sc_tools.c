#include "fcgi-sidecar/commands/sc_tools.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-sidecar/authority/sc_authority.h"
#include "fcgi-sidecar/base/sc_crypto.h"
#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/base/sc_log.h"
#include "fcgi-sidecar/commands/sc_progress.h"
#include "fcgi-sidecar/database/sc_db.h"
#include "fcgi-sidecar/database/sc_db_file.h"
#include "fcgi-sidecar/node/sc_state.h"

/* --- snapshot ------------------------------------------------------------------------------ */

static void show(void *context, uint64_t done, uint64_t total)
{
    sc_progress_bytes(context, "copying", done, total);
}

/* One file under two names, or one name, whether the file exists or not. */
static bool same_file(const char *a, const char *b)
{
    struct stat sa, sb;

    return strcmp(a, b) == 0
           || (stat(a, &sa) == 0 && stat(b, &sb) == 0 && sa.st_dev == sb.st_dev
               && sa.st_ino == sb.st_ino);
}

/* The live database, or what SQLite keeps beside it: a file in its place would
 * take the writes away from whoever has the old one open. */
static bool is_live(const char *path, const char *database)
{
    static const char *const suffixes[] = { "", "-wal", "-shm", "-journal" };
    char name[PATH_MAX];

    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        int n = snprintf(name, sizeof(name), "%s%s", database, suffixes[i]);
        if (n > 0 && (size_t)n < sizeof(name) && same_file(path, name)) {
            return true;
        }
    }
    return false;
}

/* A log or a journal of an earlier file: SQLite would put it into the copy. */
static apr_status_t check_alone(const char *file, sc_error *err)
{
    static const char *const suffixes[] = { "-wal", "-journal" };
    char path[PATH_MAX + 16];

    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        snprintf(path, sizeof(path), "%s%s", file, suffixes[i]);
        if (access(path, F_OK) == 0) {
            return sc_error_set(err, SC_EUSAGE, "%s is there, of an earlier %s that is open or was not "
                                "closed: name another file, or remove both", path, file);
        }
    }
    return APR_SUCCESS;
}

/* The file of another than the primary lies behind it, and that of a standby may
 * hold half a transaction. */
static apr_status_t check_current(const sc_options *o, sc_error *err)
{
    sc_state state = { .id = SC_STATE_EMPTY };
    sc_error why = { 0, "" };

    if (sc_state_load(&state, o->state_dir, o->uid, &why) != APR_SUCCESS) {
        sc_warn("SC0511", "nobody knows whether %s is the primary's: %s", o->database, why.text);
        return APR_SUCCESS;
    }
    if (sc_state_writable(state.id) || state.id == SC_STATE_EMPTY) {
        return APR_SUCCESS;
    }
    return sc_error_set(err, SC_EREFUSED, "this instance is %s: %s is behind the database of the "
                        "primary %s (%s); take the snapshot there, or, if that one is gone for ever, "
                        "after fcgi-sidecar promote here", sc_state_name(state.id), o->database,
                        state.id == SC_STATE_FENCED ? state.successor.uid : state.primary.uid,
                        state.id == SC_STATE_FENCED ? state.successor.control
                                                    : state.primary.control);
}

apr_status_t sc_tools_snapshot(const sc_options *o, sc_error *err)
{
    sc_progress progress = { 0 };
    char temp[PATH_MAX];
    apr_status_t rv;

    if ((size_t)snprintf(temp, sizeof(temp), "%s.part", o->file) >= sizeof(temp)) {
        return sc_error_errno(err, ENAMETOOLONG, "%s", o->file);
    }
    if (access(o->database, F_OK) != 0) {
        return sc_error_errno(err, errno, "can not open %s (--database)", o->database);
    }
    if (is_live(o->file, o->database) || is_live(temp, o->database)) {
        return sc_error_set(err, SC_EUSAGE, "%s belongs to the live database (--database %s); name "
                            "another file", o->file, o->database);
    }
    rv = check_alone(o->file, err);
    if (rv == APR_SUCCESS) {
        rv = check_current(o, err);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    unlink(temp);
    rv = sc_db_copy(o->database, temp, show, &progress, err);
    sc_progress_end(&progress);
    if (rv == APR_SUCCESS) {
        rv = sc_file_rename(temp, o->file, err);
        if (rv != APR_SUCCESS) {
            unlink(temp);
        }
    }
    if (rv == APR_SUCCESS) {
        sc_info("SC0510", "%s holds a checked copy of %s", o->file, o->database);
    }
    return rv;
}

/* --- check ----------------------------------------------------------------------------------- */

static bool told(const char *name, apr_status_t rv, const char *text)
{
    printf("[%c]%s %s%s%s\n", rv == APR_SUCCESS ? '+' : '-', name,
           rv == APR_SUCCESS ? "ok" : "failed", text[0] != '\0' ? ": " : "", text);
    return rv == APR_SUCCESS;
}

static bool check_secret(const sc_options *o)
{
    sc_secret secret;
    sc_error err = { 0, "" };
    apr_status_t rv = sc_secret_load(&secret, o->secret_file, &err);

    return told("secret", rv, rv == APR_SUCCESS ? o->secret_file : err.text);
}

static bool check_state(const sc_options *o, sc_state *state)
{
    sc_error err = { 0, "" };
    char text[160];
    apr_status_t rv = sc_state_load(state, o->state_dir, o->uid, &err);

    snprintf(text, sizeof(text), "%s, epoch %llu", sc_state_name(state->id),
             (unsigned long long)state->epoch);
    return told("state", rv, rv == APR_SUCCESS ? text : err.text);
}

/* A primary has to be the one that the authority names. */
static bool check_authority(const sc_options *o, const sc_state *state)
{
    sc_authority authority;
    sc_authority_record r;
    sc_error err = { 0, "" };
    char text[SC_UID_MAX + 160];
    apr_status_t rv = sc_authority_open(&authority, o, &err);

    if (rv == APR_SUCCESS) {
        rv = sc_authority_read(&authority, &r, &err);
    }
    if (rv == SC_ENONE && state->epoch == 0) {
        return told("authority", APR_SUCCESS, "no primary yet");
    }
    if (rv != APR_SUCCESS) {
        return told("authority", rv, err.text);
    }
    snprintf(text, sizeof(text), "%s is primary at epoch %llu", r.primary.uid,
             (unsigned long long)r.epoch);
    if (state->id == SC_STATE_PRIMARY
        && (r.epoch != state->epoch || strcmp(r.primary.uid, state->uid) != 0
            || strcmp(r.lineage, state->lineage) != 0)) {
        rv = SC_EREFUSED;
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s, and not this one, which is PRIMARY at %llu",
                 strcmp(r.lineage, state->lineage) != 0 ? " of another lineage" : "",
                 (unsigned long long)state->epoch);
    }
    return told("authority", rv, text);
}

static bool check_database(const sc_options *o, const sc_state *state)
{
    sc_error err = { 0, "" };
    struct stat st;
    char text[64];
    apr_status_t rv;

    if (stat(o->database, &st) != 0) {
        bool none = state->id == SC_STATE_EMPTY || state->id == SC_STATE_SYNCING;

        sc_error_errno(&err, errno, "%s", o->database);
        return told("database", none ? APR_SUCCESS : ENOENT, none ? "none yet" : err.text);
    }
    rv = state->id == SC_STATE_STANDBY ? APR_SUCCESS : sc_db_check_live(o->database, &err);
    snprintf(text, sizeof(text), "%lld bytes, SQLite %s", (long long)st.st_size,
             sc_db_library_version());
    return told("database", rv, rv == APR_SUCCESS ? text : err.text);
}

apr_status_t sc_tools_check(const sc_options *o, sc_error *err)
{
    sc_state state = { .id = SC_STATE_EMPTY };
    bool ok = check_secret(o);

    ok = check_state(o, &state) && ok;
    ok = check_authority(o, &state) && ok;
    ok = check_database(o, &state) && ok;
    return ok ? APR_SUCCESS : sc_error_set(err, SC_EFAILED, "see the lines with [-]");
}
