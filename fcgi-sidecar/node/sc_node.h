/*
 * sc_node.h -- one running instance: what the parts of `serve` share.
 *
 * The parts and who calls whom (one direction):
 *
 *     sc_serve  ->  sc_start -> sc_first, sc_sync       becoming primary or standby
 *               ->  sc_handoff -> sc_cutover -> sc_ship   giving it away
 *               ->  sc_promote                          taking it over
 *               ->  sc_keep                             looking after the authority's record
 *      sc_start, sc_handoff, sc_keep -> sc_confirm        asking whether it names this one
 *                        all -> sc_node -> sc_state, sc_db, sc_relay, sc_authority
 *
 * `lock` guards every member below it; `changed` is broadcast when one of them
 * changes (its clock is CLOCK_MONOTONIC).  Nothing that waits for a peer is
 * done under the lock.  Saving the state (two fsyncs) is.
 */
#ifndef SC_NODE_H
#define SC_NODE_H

#include <pthread.h>
#include <stdatomic.h>

#include "fcgi-sidecar/authority/sc_authority.h"
#include "fcgi-sidecar/base/sc_crypto.h"
#include "fcgi-sidecar/base/sc_options.h"
#include "fcgi-sidecar/control/sc_control.h"
#include "fcgi-sidecar/control/sc_peer.h"
#include "fcgi-sidecar/database/sc_db.h"
#include "fcgi-sidecar/node/sc_metrics.h"
#include "fcgi-sidecar/node/sc_state.h"
#include "fcgi-sidecar/relay/sc_relay.h"

struct sc_follower; /* sc_ship.c */

/* How far a long piece of work is; a hook shows it. */
typedef struct {
    bool running;
    apr_status_t rv;          /* of the last run, when not running */
    char phase[64];           /* "copying the base", … */
    uint64_t done, total;     /* bytes; total 0: not known */
    int64_t started_ms, moved_ms; /* monotonic; moved: the last progress */
    char text[SC_ERROR_LEN];  /* result or reason */
} sc_work;

typedef struct sc_node {
    const sc_options *options;
    sc_secret secret;
    sc_authority authority;
    sc_member self;
    sc_relay *relay;
    sc_control *control;
    sc_metrics metrics;       /* atomic counters of its own */

    pthread_mutex_t image_sync; /* sc_durable_sync(); no other lock is taken under it */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    atomic_bool stopping;
    bool leaving; /* pre-stop has come: its pod goes, and a standby promises nothing any more */
    sc_state state;
    sc_db *db;                /* open from PRIMARY to FORWARDING; NULL else */
    struct sc_follower *followers;
    bool tidying;             /* sc_tidy_log() has the write lock or is about to */
    bool cutting_over;        /* db's connections are the cut-over's, in whatever state: no tidying */
    uint32_t log_frames;      /* in the log at the last look of sc_tidy_log(), which alone uses it */
    atomic_bool sealing;      /* a cut-over waits until no reader keeps the log: no base now */
    pthread_t start_thread, handoff_thread, keep_thread;
    bool start_launched, handoff_launched, keep_launched;
    atomic_bool start_ended, start_final;
    sc_work start;            /* post-start's work */
    sc_work handoff;          /* pre-stop's work */
    char advice[SC_ERROR_LEN]; /* the one thing left, which only the operator can decide; "": none */

    /* Standby's image; sc_sync.c. */
    int image_fd;             /* the database file while SYNCING or STANDBY, else -1 */
    sc_position image_position;
    uint64_t image_digest;
    bool image_known;         /* --database is of this lineage: it may be replaced */
    bool image_dirty;         /* written since the last sync */
    bool image_torn;          /* its last frames are half a transaction, or half of them are in it */
    bool image_unsure;        /* left by a process that died: not known to be whole, nor to be synced,
                               * promise or not */
    bool image_frozen;        /* promoted: the stream may not write any more */
    int taking_over;          /* calls that may be between promise and PRIMARY */
    uint64_t promises;        /* made so far by this process */
    int64_t caught_up_ms;     /* monotonic; last time nothing was missing */
    uint64_t lag_bytes;       /* told by the primary */
    json_t *have;             /* description of what lies here (sc_have.h), until it changes */
    int late_fd;              /* -1, or a descriptor of the database that was still open when it was
                               * opened for good: closing it would drop SQLite's locks */
    atomic_bool copy_whole;   /* what lies here failed its check, or a sync: it can not be promised,
                               * and the next base is a whole one */
    sc_peer *stream;          /* to the primary, to be aborted */
    bool following;           /* STANDBY, and that stream has brought it level */
} sc_node;

apr_status_t sc_node_init(sc_node *n, const sc_options *o, sc_error *err);

/* Waits for `changed` at most ms; the lock is held. */
void sc_node_wait(sc_node *n, int ms);

/* Closes a descriptor that was opened to read --database; lock not held.  It stays open where
 * SQLite may have that file open by now: any close of the file would drop this process's locks. */
void sc_node_close_file(sc_node *n, int fd);

/* A call to the control port at address, filled with what this instance knows;
 * lock not held.  The strings live as long as *state, a copy made by the caller. */
void sc_node_call(sc_node *n, sc_peer_call *call, const sc_state *state, const char *address,
                  const char *path, const char *to);

/* A copy of the state; lock not held. */
void sc_node_state(sc_node *n, sc_state *out);

/* sc_state_move() under the lock, with the broadcast; lock not held. */
apr_status_t sc_node_move(sc_node *n, sc_state_id to, const char *why, sc_error *err);

/* A standby's promise is void: saved; it stands if that fails.  Lock held. */
apr_status_t sc_node_withdraw(sc_node *n, sc_error *err);

/* True when the database is open, as it is from PRIMARY to FORWARDING unless opening failed. */
bool sc_node_is_open(sc_node *n);

/* Opens the database of a PRIMARY (fence removed) and lets the relay serve it;
 * does nothing when that was done.  Lock not held. */
apr_status_t sc_node_activate(sc_node *n, sc_error *err);

/* The first half of it: requests are served.  What serves the next standby,
 * this process's own connections, is opened by sc_node_attend(), which nobody
 * has to wait for; it does nothing when there is nothing to do, and is to be
 * called again until it succeeds (now and then by serve).  Where the first half had
 * failed, it makes up for it.  Lock not held. */
apr_status_t sc_node_serve(sc_node *n, sc_error *err);
apr_status_t sc_node_attend(sc_node *n, sc_error *err);

/* What only the operator can decide: a warning with that id in the log, and the
 * same words for status and health until sc_node_advise_end() or the next advice.
 * Cut to SC_ERROR_LEN: the command comes first.  Does nothing while it holds already.
 * Lock not held. */
void sc_node_advise(sc_node *n, const char *id, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void sc_node_advise_end(sc_node *n);

/* The advice that holds now: a standby that follows and a primary need none.  Lock
 * held; borrowed, valid while it is. */
const char *sc_node_advice(const sc_node *n);

/* Lets the relay forward to a member at that epoch; lock not held. */
apr_status_t sc_node_forward(sc_node *n, const sc_member *to, uint64_t epoch, sc_error *err);

/* Work: begin is false when it runs already; lock not held. */
bool sc_work_begin(sc_node *n, sc_work *w, const char *phase);
void sc_work_phase(sc_node *n, sc_work *w, const char *phase, uint64_t total);
void sc_work_done(sc_node *n, sc_work *w, uint64_t done);
void sc_work_moved(sc_node *n, sc_work *w); /* it goes on, whatever the number of bytes */
bool sc_work_running(sc_node *n, const sc_work *w);
/* It runs, and nothing has moved for that long. */
bool sc_work_stuck(sc_node *n, const sc_work *w, int64_t ms);
void sc_work_end(sc_node *n, sc_work *w, apr_status_t rv, const char *text);

#endif /* SC_NODE_H */
