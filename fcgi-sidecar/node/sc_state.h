/*
 * sc_state.h -- what an instance knows about itself, durably.
 *
 * The file state.json in --state-dir holds one record with a checksum of its
 * own; it is replaced whole (temporary file, fsync, rename, fsync of the
 * folder).  A record that fails its checksum or has a newer format is refused.
 * The caller keeps two threads from changing the same sc_state at once.
 */
#ifndef SC_STATE_H
#define SC_STATE_H

#include <limits.h>

#include "fcgi-sidecar/base/sc_record.h"

#define SC_STATE_FORMAT 1

typedef enum {
#define SC_STATE(name, writable, meaning) SC_STATE_##name,
#include "fcgi-sidecar/node/sc_states.def"
    SC_STATE_COUNT
} sc_state_id;

typedef struct {
    char        path[PATH_MAX];
    sc_state_id id;
    char        lineage[SC_LINEAGE_LEN + 1]; /* "": not known yet */
    uint64_t    epoch;        /* of this instance's knowledge; 0 before the first */
    char        uid[SC_UID_MAX + 1];
    sc_member   primary;      /* who is primary as far as is known (uid "": unknown) */
    sc_member   successor;    /* from the commit point on (uid "": none) */
    bool        prepared;     /* position and digest are those that were promised as durable
                               * (standby), or committed (fenced); else, of a standby, those at which
                               * its image was last noted as durable and whole */
    sc_position position;
    uint64_t    digest;
} sc_state;

/* Reads --state-dir; a missing file gives EMPTY with the given or a random uid,
 * not saved yet.  SC_ECORRUPT for a damaged file, SC_EREFUSED for a newer one
 * or one that belongs to another uid. */
apr_status_t sc_state_load(sc_state *s, const char *state_dir, const char *uid, sc_error *err);

/* Makes the present content durable. */
apr_status_t sc_state_save(const sc_state *s, sc_error *err);

/* Writes ahead of time what a later sc_state_move() to `to` is expected to save,
 * so that it has less to wait for; s is a copy with the other members as they
 * will be.  Best effort. */
void sc_state_ahead(sc_state *s, sc_state_id to);

/* Checks the move against the table, saves, and logs old -> new (SC0201).  On
 * failure the state is what it was, in memory and (or in doubt) on disk: a
 * caller whose save failed at the commit point must treat it as not committed
 * only after a further save of the old state succeeded. */
apr_status_t sc_state_move(sc_state *s, sc_state_id to, const char *why, sc_error *err);

/* The same but for the last sync: until sc_state_sync(), or the next save, a power loss may
 * bring the record of before back.  Only where that one means the same by what is durable
 * elsewhere. */
apr_status_t sc_state_move_first(sc_state *s, sc_state_id to, const char *why, sc_error *err);
apr_status_t sc_state_sync(const sc_state *s, sc_error *err);

/* What sc_states.def says: is the move in the table, may PHP write in the state. */
bool sc_state_allows(sc_state_id from, sc_state_id to);
bool sc_state_writable(sc_state_id id);

/* "PRIMARY"; "UNKNOWN" for what is no state.  Static. */
const char *sc_state_name(sc_state_id id);

#endif /* SC_STATE_H */
