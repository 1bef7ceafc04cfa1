#include "fcgi-sidecar/handoff/sc_tidy.h"

#include <string.h>

#include "fcgi-sidecar/base/sc_fault.h"
#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/handoff/sc_follower.h"

#define LONG_FRAMES 800 /* PHP's own checkpoints begin at 1000 */
#define KEPT_FRAMES 4000 /* longer than that somebody keeps it: no hurry */
#define NEAR_FRAMES 200 /* so many may be left to move into the database under the lock */
#define LOCK_MS     50  /* longest wait for the write lock */
#define HOLD_MS     10  /* and how long writers are held off at most */
#define LOOK_MS     1   /* between two looks at the streams */
#define IDLE_MS     100
#define BUSY_MS     10  /* at 4,000 commits a second the log grows by 100 frames in that time */

/* Lock held: has every stream begun a transaction that needs no frame of the log? */
static bool streams_are_through(const sc_node *n, const sc_wal_index *index)
{
    const sc_follower *f;

    for (f = n->followers; f != NULL; f = f->next) {
        if (memcmp(f->sent.salt, index->salt, sizeof(index->salt)) != 0
            || f->sent.frames != index->frames || f->sent.backfilled != index->frames) {
            return false;
        }
    }
    return true;
}

/* The write lock is held: moves all frames into the database, and waits until the
 * streams stand behind them.  A checkpoint goes as far as the streams have read, so
 * it may take two. */
static bool wait_for_streams(sc_node *n, const sc_wal *wal)
{
    int64_t end = sc_now_ms() + HOLD_MS;
    bool whole = false, through = false;
    sc_wal_index index;

    while (!through && sc_now_ms() < end) {
        if ((!whole && sc_db_checkpoint(n->db, &whole, NULL) != APR_SUCCESS)
            || sc_wal_look(wal, &index) != APR_SUCCESS) {
            return false;
        }
        pthread_mutex_lock(&n->lock);
        through = whole && streams_are_through(n, &index);
        if (!through) {
            pthread_cond_broadcast(&n->changed); /* streams look at once */
            sc_node_wait(n, LOOK_MS);
        }
        pthread_mutex_unlock(&n->lock);
    }
    return through;
}

/* Most of the log goes into the database while others write; the rest, under the
 * lock.  Not while somebody reads far behind its end: holding writers off would be
 * in vain.  Returns when to look again. */
static int shorten(sc_node *n, const sc_wal *wal)
{
    bool whole = false, through;
    sc_wal_index index = { 0 };

    if (sc_db_checkpoint(n->db, &whole, NULL) != APR_SUCCESS
        || sc_wal_look(wal, &index) != APR_SUCCESS
        || index.frames - index.backfilled > NEAR_FRAMES
        || sc_db_lock(n->db, LOCK_MS, NULL) != APR_SUCCESS) {
        return index.frames < KEPT_FRAMES ? BUSY_MS : IDLE_MS;
    }
    through = wait_for_streams(n, wal);
    sc_db_unlock(n->db);
    return through ? BUSY_MS : IDLE_MS;
}

static int tidy(sc_node *n, bool copies)
{
    sc_wal_index index;
    sc_wal wal;
    bool quiet;

    sc_db_wal(n->db, &wal);
    if (sc_wal_look(&wal, &index) != APR_SUCCESS) {
        return BUSY_MS;
    }
    if (copies) {
        sc_db_log_room(n->db, SC_WAL_HEADER_LEN
                       + (uint64_t)index.frames * (SC_WAL_FRAME_LEN + wal.page_size));
        return BUSY_MS;
    }
    quiet = index.frames == n->log_frames;
    n->log_frames = index.frames;
    if (quiet && (index.frames <= LONG_FRAMES || index.backfilled == index.frames)) {
        return IDLE_MS; /* the next commit begins it anew, or nobody writes */
    }
    return index.frames > LONG_FRAMES ? shorten(n, &wal) : BUSY_MS;
}

int sc_tidy_log(sc_node *n)
{
    int again = IDLE_MS;
    bool copies;

    pthread_mutex_lock(&n->lock);
    n->tidying = n->db != NULL && n->state.id == SC_STATE_PRIMARY && n->followers != NULL
        && !n->cutting_over;
    copies = sc_follower_any_copies(n);
    pthread_mutex_unlock(&n->lock);
    if (n->tidying) {
        SC_STEP("tidy");
        again = tidy(n, copies);
        pthread_mutex_lock(&n->lock);
        n->tidying = false;
        pthread_cond_broadcast(&n->changed);
        pthread_mutex_unlock(&n->lock);
    }
    return again;
}
