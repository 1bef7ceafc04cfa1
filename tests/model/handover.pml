/*
 * handover.pml -- the hand-over of a database from pod to pod, for spin.
 *
 * README.md beside this file says what stands for what, and how to read a
 * counterexample.  Every d_step is one step that a crash can not divide: it
 * holds at most one durable write.  Whatever a pod does in two writes is two
 * steps here, and a crash may come between them.
 *
 * Size of a run, all finite:
 */
#ifndef PODS
#define PODS 2      /* 2..4 */
#endif
#ifndef WRITES
#define WRITES 2    /* 1..3 requests of clients, each a write */
#endif
#ifndef HANDOVERS
#define HANDOVERS 2 /* attempts of a pre-stop */
#endif
#ifndef FAULTS
#define FAULTS 2    /* of any kind: kill -9 or power loss of a sidecar, a stream that breaks while both
                     * ends live, a save that failed yet is on the disk, a pod deleted for good */
#endif
/* FIRST: all pods are new and race for the first deployment.  Without it pod 0 is
 * primary of a database already, at epoch 1. */
/* TAKE_BACK: a FENCED pod may swap the authority to itself at g+1 and be PRIMARY again. */
#ifndef WIPES
#define WIPES 0     /* the first primary's volume is lost, its pod comes back */
#endif

#define NOBODY PODS
#define BIT(x) (1 << (x))

/* --- the states; the moves between them are compared with sc_states.def ----------- */

mtype = { EMPTY, SYNCING, STANDBY, PRIMARY, DRAINING, FENCED, FORWARDING };

#define MOVE(i, from, to) \
    assert(st[i] == from); \
    st[i] = to; \
    printf("pod %d: %e -> %e\n", i, from, to)

/* The states in which PHP may write: compared with the same table. */
#define MAY_WRITE(i) (st[i] == PRIMARY || st[i] == DRAINING)

/* --- what survives a crash --------------------------------------------------------- */

byte ae, ap = NOBODY;  /* the authority's record: epoch (0: no record) and primary */

mtype st[PODS];        /* state.json: state, */
byte ep[PODS];         /*   epoch, */
byte pr[PODS];         /*   the primary that is followed, */
byte succ[PODS];       /*   the successor of the commit point, */
bool promised[PODS];   /*   the promise, */
byte promise[PODS];    /*   and the content promised (position and digest) */
bool claim[PODS];      /*   it asked to be the first */
bool db[PODS];         /* a database is in its place: */
byte content[PODS];    /*   the set of writes in it, */
bool fence[PODS];      /*   and its byte 18 */
bool gone[PODS];       /* the pod was deleted */
bool late[PODS];       /* state.json says PRIMARY, and a power loss may still undo that: */
byte late_pr[PODS];    /*   what it would say again, */
byte late_promise[PODS]; /*   with the promise */

/* --- what a crash forgets ------------------------------------------------------------ */

bool up[PODS];         /* the sidecar runs */
byte mode[PODS];       /* its relay: */
#define HELD    0
#define LOCAL   1
#define FORWARD 2
byte target[PODS];     /*   where to, */
byte known[PODS];      /*   and the epoch of that knowledge */
bool none[PODS];       /* the authority was seen without a record */
bool unsynced[PODS];   /* frames were applied to the image since its last fsync */
bool image[PODS];      /* the standby knows at which position its image is; after a restart it follows again */
byte heir[PODS];       /* the primary's candidate */
bool lock[PODS];       /* SQLite's write lock */
byte ready[PODS];      /* set of pods that said they are standbys; their streams may be broken by now */
byte step[PODS];       /* where pre-stop is: */
#define IDLE      0
#define HOLDING   1    /* DRAINING is on the disk, new requests are held */
#define PREPARING 2    /* write lock taken, PREPARE sent */
#define SEALING   3    /* promise heard and byte 18 set, in whatever order */
#define BACK      4    /* rolling back: the state first, */
#define BACK_SAVED 5   /*   then the fence, */
#define BACK_OPEN 6    /*   then the lock and the relay */
byte taking[PODS];     /* where the handling of a GRANT is: */
#define CHECKED 1
#define SWAPPED 2
byte stream[PODS];     /* the stream this pod receives: */
#define CLOSED 0
#define OPENED 1       /* accepted; HELLO is on its way */
#define BASE   2       /* HELLO taken, the base is coming */
#define PLACED 3       /* base checked, synced and renamed */
#define LIVE   4       /* STANDBY: the log follows */
byte source[PODS];     /*   from whom, */
byte shipped[PODS];    /*   what was sent so far, */
byte offered[PODS];    /*   the epoch in its HELLO */

/* --- messages: the last of each kind from each sender, received any number of times --- */

byte prepare_to[PODS], prepare_ep[PODS], prepare_content[PODS]; /* by sender; NOBODY: none */
bool prepare_live[PODS];           /* the sender still waits for the answer */
bool acked[PODS];                  /* the answer has come back to the sender, */
byte digest[PODS];                 /*   with this digest */
byte grant_to[PODS], grant_ep[PODS], grant_content[PODS];       /* by sender; 0: none */
byte confirmed[PODS];              /* epoch whose GRANT was confirmed to this sender */

/* --- requests -------------------------------------------------------------------------- */

byte rq[WRITES];
#define NEW   0
#define AT    1        /* waits in a relay */
#define RUN   2        /* PHP has it */
#define WRITTEN 3      /* committed, the answer is on its way */
#define OVER  4        /* answered or failed */
byte rq_pod[WRITES];
byte rq_via[WRITES];   /* the relay that forwarded it last, or NOBODY, */
byte rq_path[WRITES];  /*   all that did, as a set, */
byte rq_ep[WRITES];    /*   and the epoch it was forwarded with */
byte rq_hops[WRITES];
bool rq_heard[WRITES]; /* the way back is whole */

/* --- ghosts: what the invariants speak of ------------------------------------------------ */

byte told;             /* set of writes that were acknowledged */
byte ran[WRITES];      /* how often PHP got it */
byte lead = NOBODY;    /* the last pod that became primary */
byte lead_ep;
bool born;             /* the lineage has a primary's record on a disk */
bool excused;          /* the one copy was lost: serving again takes an operator */

byte handovers = HANDOVERS, faults = FAULTS, wipes = WIPES;

#if PODS == 2
#define EACH(f) f(0) f(1)
#define SUM(f) (f(0) + f(1))
#define ANY(f) (f(0) || f(1))
#elif PODS == 3
#define EACH(f) f(0) f(1) f(2)
#define SUM(f) (f(0) + f(1) + f(2))
#define ANY(f) (f(0) || f(1) || f(2))
#else
#define EACH(f) f(0) f(1) f(2) f(3)
#define SUM(f) (f(0) + f(1) + f(2) + f(3))
#define ANY(f) (f(0) || f(1) || f(2) || f(3))
#endif
#if WRITES == 1
#define ALL_WRITES(f) (f(0))
#define EACH_WRITE(f) f(0)
#elif WRITES == 2
#define ALL_WRITES(f) (f(0) && f(1))
#define EACH_WRITE(f) f(0) f(1)
#else
#define ALL_WRITES(f) (f(0) && f(1) && f(2))
#define EACH_WRITE(f) f(0) f(1) f(2)
#endif

/* --- the guards.  Each can be taken away: tests/model/mutations names them ----------------- */

#ifdef M_NO_FENCE
#define FENCE_SET(i) skip
#else
#define FENCE_SET(i) fence[i] = true
#endif

#ifdef M_FENCE_AFTER_COMMIT
#define fence_first(i) false
#else
#define fence_first(i) true
#endif

#ifdef M_GRANT_BEFORE_COMMIT
#define may_grant(i) (st[i] == FENCED || step[i] == SEALING)
#else
#define may_grant(i) (st[i] == FENCED)
#endif

#ifdef M_LOG_KEEPS_PAGE_1
#define log_void(i) false
#else
#define log_void(i) true
#endif

#ifdef M_NO_LOCK
#define LOCK_TAKE(i) skip
#else
#define LOCK_TAKE(i) lock[i] = true
#endif

#ifdef M_NO_DIGEST
#define digest_equal(i) true
#define image_at(c, i) true
#else
#define digest_equal(i) (digest[i] == prepare_content[i])
#ifdef M_PROMISE_VOUCHES
#define image_at(c, i) (image[c] && (content[c] == prepare_content[i] || \
    (promised[c] && promise[c] == prepare_content[i])))
#else
#define image_at(c, i) (image[c] && content[c] == prepare_content[i])
#endif
#endif

#ifdef M_PROMISE_VOUCHES
#define keeps(c) promised[c]
#define IMAGE_AGAIN(c) image[c] = (st[c] == STANDBY && promised[c])
#else
#define keeps(c) (promised[c] && promise[c] == content[c])
#define IMAGE_AGAIN(c) skip
#endif

#ifdef M_ACK_BEFORE_SYNC
#define image_synced(c) true
#else
#define image_synced(c) (!unsynced[c])
#endif

#ifdef M_PROMISE_NOT_KEPT
#define PROMISE_FORGET(i) promised[i] = false
#else
#define PROMISE_FORGET(i) skip
#endif

#if defined M_GRANT_TO_ANYBODY
#define grant_promised(c, i) true
#define grant_names(c, i) true
#elif defined M_NO_DIGEST
#define grant_promised(c, i) promised[c]
#define grant_names(c, i) (grant_to[i] == c)
#else
#define grant_promised(c, i) (promised[c] && promise[c] == grant_content[i])
#define grant_names(c, i) (grant_to[i] == c)
#endif

#ifdef M_GRANT_ANY_EPOCH
#define grant_next(c, i) true
#else
#define grant_next(c, i) (grant_ep[i] == ep[c] + 1)
#endif

#ifdef M_NO_SWAP
#define swap_holds(c) true
#else
#define swap_holds(c) (ae == ep[c] && ap == pr[c])
#endif

#ifdef M_FIRST_WITHOUT_SWAP
#define first_holds true
#else
#define first_holds (ae == 0)
#endif

#ifdef M_FIRST_ON_SILENCE
#define named_first(i) true
#else
#define named_first(i) (ae == 1 && ap == i)
#endif

#ifdef M_FIRST_WITHOUT_CLAIM
#define claimed(i) true
#else
#define claimed(i) claim[i]
#endif

#ifdef M_BACK_AFTER_COMMIT
#define take_back_holds(i) true
#define TAKE_BACK_EPOCH(i) ep[i]
#else
#define take_back_holds(i) (ae == ep[i] && ap == i)
#define TAKE_BACK_EPOCH(i) (ep[i] + 1)
#endif

#ifdef M_FENCED_FORGETS
#define RESTART_FENCED(i) if :: st[i] == FENCED -> st[i] = PRIMARY :: else fi
#else
#define RESTART_FENCED(i) skip
#endif

#ifdef M_HELLO_BREAKS_PROMISE
#define hello_allowed(i) true
#else
#define hello_allowed(i) (!promised[i])
#endif

#ifdef M_IMAGE_UNFENCED
#define IMAGE_FENCE(i) fence[i] = false
#else
#define IMAGE_FENCE(i) fence[i] = true
#endif

#ifdef M_SECOND_HOP
#define newer(i, w) true
#else
#define newer(i, w) (rq_via[w] == NOBODY || known[i] > rq_ep[w])
#endif

#ifdef M_SECOND_HOP
#define takes_on(q, i) true
#else
#define takes_on(q, i) (known[q] > known[i])
#endif

#ifdef M_REPLAY
#define CUT_SHORT(w) rq[w] = NEW; rq_via[w] = NOBODY; rq_path[w] = 0; rq_ep[w] = 0; rq_hops[w] = 0
#else
#define CUT_SHORT(w) rq_heard[w] = false
#endif

/* Promise and swap make it PRIMARY, whatever its state file says: after a power loss that undid this. */
#define is_primary_by_swap(i) (st[i] == STANDBY && promised[i] && ae == ep[i] + 1 && ap == i)

/* A record that a power loss undoes says again what it said before. */
#ifdef M_LATE_WITHOUT_PROMISE
#define PROMISE_AGAIN(i) skip
#else
#define PROMISE_AGAIN(i) promised[i] = true; promise[i] = late_promise[i]
#endif

/* --- invariants ------------------------------------------------------------------------------ */

#define writable(i) (db[i] && !fence[i])

inline check_one_writable() { assert(SUM(writable) <= 1) }
inline check_nothing_lost() { assert(lead == NOBODY || gone[lead] || (told & ~content[lead]) == 0) }

inline check_epoch(i, e) { assert(e >= ep[i]) }

/* Pod i has a record on its disk that it is primary at epoch e. */
inline becomes_primary(i, e)
{
    check_epoch(i, e);
    assert(e > lead_ep || (e == lead_ep && lead == i)); /* the same again: its record was undone */
    lead_ep = e; /* an inline is text: e may speak of ep[i] */
    lead = i;
    ep[i] = lead_ep;
    pr[i] = i;
    promised[i] = false;
    promise[i] = 0;
    check_nothing_lost();
}

/* The name of that record is not synced yet; the swap and the promise are, and say the same. */
inline record_late(i)
{
    late[i] = true; late_pr[i] = pr[i]; late_promise[i] = promise[i]
}

inline record_synced(i)
{
    late[i] = false; late_pr[i] = 0; late_promise[i] = 0
}

/* --- crash and restart ------------------------------------------------------------------------- */

#define on_the_way(w, i) (rq_pod[w] == i || (rq_path[w] & BIT(i)))
#define REQUEST_CUT(w) \
    if \
    :: rq[w] == AT && rq_pod[w] == i -> rq[w] = OVER \
    :: rq[w] != OVER && rq[w] != NEW && !(rq[w] == AT && rq_pod[w] == i) && on_the_way(w, i) -> CUT_SHORT(w) \
    :: else \
    fi;

inline forget(i)
{
    up[i] = false;
    mode[i] = HELD;
    target[i] = NOBODY; known[i] = 0;
    none[i] = false;
    image[i] = false;
    heir[i] = NOBODY;
    lock[i] = false;
    ready[i] = 0;
    step[i] = IDLE;
    taking[i] = 0;
    stream[i] = CLOSED;
    source[i] = NOBODY;
    shipped[i] = 0;
    offered[i] = 0;
    prepare_live[i] = false;
    acked[i] = false;
    digest[i] = 0;
    record_synced(i);
    /* What was not synced may be anything now: nothing of it counts. */
    if :: unsynced[i] -> content[i] = 0; unsynced[i] = false :: else fi;
    PROMISE_FORGET(i);
    EACH_WRITE(REQUEST_CUT)
    check_nothing_lost()
}

/* Nothing of this pod is left, and nobody answers for it. */
inline vanish(i)
{
    forget(i);
    st[i] = EMPTY; ep[i] = 0; pr[i] = NOBODY; succ[i] = NOBODY;
    promised[i] = false; promise[i] = 0; claim[i] = false;
    db[i] = false; content[i] = 0; fence[i] = false
}

/* --- following ------------------------------------------------------------------------------------ */

inline stream_end(i)
{
    stream[i] = CLOSED; source[i] = NOBODY; shipped[i] = 0; offered[i] = 0
}

#define feeds(i) (source[i] != NOBODY && up[source[i]] && \
    (st[source[i]] == PRIMARY || st[source[i]] == DRAINING) && ep[source[i]] == offered[i])

#define follows(i) (up[i] && (st[i] == EMPTY || st[i] == SYNCING || st[i] == STANDBY))

/* The primary that the authority named answers that it is PRIMARY, with its database open. */
#define answers(i) (target[i] != NOBODY && target[i] != i && up[target[i]] && \
    st[target[i]] == PRIMARY && mode[target[i]] == LOCAL && step[target[i]] == IDLE)

/* Pods that have not begun are alike: without loss of generality they begin in order. */
#define in_order(i) (i < 2 || st[i] != EMPTY || st[i - 1] != EMPTY || ep[i] > 0 || gone[i - 1])

/* --- one pod ---------------------------------------------------------------------------------------- */

/* Pre-stop with c as the candidate. */
#define DRAIN_TOWARDS(c) \
    :: d_step { up[i] && st[i] == PRIMARY && step[i] == IDLE && mode[i] == LOCAL && handovers > 0 && \
        (ready[i] & BIT(c)) -> \
        handovers--; \
        MOVE(i, PRIMARY, DRAINING); \
        record_synced(i); \
        heir[i] = c; mode[i] = HELD; step[i] = HOLDING; \
        printf("pod %d: holds requests, candidate is pod %d\n", i, c) }

/* Everything has ended: write lock, and the promise is asked for. */
#define PREPARE_SENT(i, also) \
    :: d_step { up[i] && step[i] == HOLDING && ALL_WRITES(idle) -> \
        LOCK_TAKE(i); \
        prepare_to[i] = heir[i]; prepare_ep[i] = ep[i]; prepare_content[i] = content[i]; \
        prepare_live[i] = true; acked[i] = false; digest[i] = 0; \
        step[i] = PREPARING; \
        also; \
        printf("pod %d: write lock; PREPARE to pod %d, writes %d\n", i, heir[i], content[i]) }

/* PREPARE of pod a arrives here. */
#define prepared_by(a) (up[i] && prepare_to[a] == i && st[i] == STANDBY && taking[i] == 0 && \
    prepare_ep[a] == ep[i] && pr[i] == a && image_at(i, a))

#define PREPARE_FROM(a) \
    /* image and promise become durable side by side, in any order */ \
    :: d_step { prepared_by(a) && !image_synced(i) -> \
        unsynced[i] = false; \
        printf("pod %d: PREPARE of pod %d: image synced\n", i, a) } \
    :: d_step { prepared_by(a) && !keeps(i) -> \
        promised[i] = true; promise[i] = content[i]; \
        /* a late one that nobody waits for: once more, and not without end */ \
        if :: prepare_live[a] :: else -> prepare_to[a] = NOBODY fi; \
        printf("pod %d: PREPARE of pod %d: promise saved\n", i, a) } \
    :: d_step { prepared_by(a) && image_synced(i) && keeps(i) && prepare_live[a] && !acked[a] -> \
        acked[a] = true; digest[a] = promise[i]; \
        printf("pod %d: PREPARE of pod %d: answered\n", i, a) }

/* GRANT of pod a arrives here. */
#define GRANT_FROM(a) \
    :: d_step { up[i] && a != i && grant_names(i, a) && grant_ep[a] > 0 && st[i] == STANDBY && taking[i] == 0 && \
        grant_next(i, a) && grant_promised(i, a) && swap_holds(i) -> \
        taking[i] = CHECKED; \
        printf("pod %d: GRANT of pod %d, epoch %d\n", i, a, grant_ep[a]) } \
    :: d_step { up[i] && grant_to[a] == i && grant_ep[a] > 0 && ep[i] >= grant_ep[a] && \
        (st[i] == PRIMARY || st[i] == DRAINING || st[i] == FENCED || st[i] == FORWARDING) && \
        confirmed[a] < grant_ep[a] -> \
        confirmed[a] = grant_ep[a]; \
        printf("pod %d: confirms the GRANT of pod %d, epoch %d\n", i, a, grant_ep[a]) }

proctype pod(byte i)
{
end:
    do
    /* ---- first deployment ---- */
    :: d_step { up[i] && st[i] == EMPTY && ae == 0 && !none[i] ->
        none[i] = true;
        printf("pod %d: the authority has no record\n", i) }
    :: d_step { up[i] && st[i] == EMPTY && none[i] && !claim[i] ->
        claim[i] = true;
        printf("pod %d: saves its claim\n", i) }
    :: d_step { up[i] && st[i] == EMPTY && none[i] && claim[i] && first_holds ->
        none[i] = false; ae = 1; ap = i;
        printf("pod %d: swaps the authority to epoch 1\n", i) }
    :: d_step { up[i] && st[i] == EMPTY && none[i] && claim[i] && !first_holds ->
        none[i] = false;
        printf("pod %d: another pod was the first\n", i) }
    :: d_step { up[i] && st[i] == EMPTY && named_first(i) && claimed(i) && !db[i] ->
        assert(!born);
        db[i] = true; content[i] = 0; fence[i] = false;
        check_one_writable();
        printf("pod %d: installs the seed database\n", i) }
    :: d_step { up[i] && st[i] == EMPTY && named_first(i) && claimed(i) && db[i] ->
        MOVE(i, EMPTY, PRIMARY);
        born = true;
        becomes_primary(i, 1) }

    /* ---- serving ---- */
    :: d_step { up[i] && st[i] == DRAINING && step[i] == IDLE ->
        MOVE(i, DRAINING, PRIMARY) }
    :: d_step { up[i] && st[i] == PRIMARY && step[i] == IDLE && fence[i] ->
        assert(ae == ep[i] && ap == i);
        fence[i] = false;
        check_one_writable();
        printf("pod %d: lifts the fence\n", i) }
    :: d_step { up[i] && st[i] == PRIMARY && step[i] == IDLE && !fence[i] && mode[i] != LOCAL ->
        assert(ae == ep[i] && ap == i);
        mode[i] = LOCAL; target[i] = i; known[i] = ep[i]; taking[i] = 0;
        printf("pod %d: serves\n", i) }

    /* ---- following ---- */
    :: d_step { up[i] && (follows(i) || st[i] == FORWARDING) && stream[i] == CLOSED && ap != NOBODY &&
        ap != i && (target[i] != ap || known[i] != ae) ->
        target[i] = ap; known[i] = ae; mode[i] = FORWARD;
        printf("pod %d: the authority names pod %d at epoch %d; forwards to it\n", i, ap, ae) }
    :: d_step { follows(i) && stream[i] == CLOSED && promised[i] && taking[i] == 0 && answers(i) ->
        promised[i] = false; promise[i] = 0;
        printf("pod %d: pod %d is PRIMARY, so the promise is void\n", i, target[i]) }
    :: d_step { follows(i) && in_order(i) && stream[i] == CLOSED && !promised[i] && taking[i] == 0 && answers(i) ->
        source[i] = target[i]; stream[i] = OPENED;
        shipped[i] = content[target[i]]; offered[i] = ep[target[i]];
        printf("pod %d: opens a stream from pod %d\n", i, source[i]) }
    :: d_step { follows(i) && stream[i] == OPENED && hello_allowed(i) && offered[i] >= ep[i] ->
        if
        :: st[i] == EMPTY -> MOVE(i, EMPTY, SYNCING)
        :: st[i] == STANDBY -> MOVE(i, STANDBY, SYNCING)
        :: else
        fi;
        check_epoch(i, offered[i]);
        ep[i] = offered[i]; pr[i] = source[i];
        promised[i] = false; promise[i] = 0; image[i] = false; unsynced[i] = false;
        stream[i] = BASE;
        printf("pod %d: HELLO, epoch %d\n", i, ep[i]) }
    :: d_step { up[i] && stream[i] == OPENED && !(hello_allowed(i) && offered[i] >= ep[i] && follows(i)) ->
        stream_end(i);
        printf("pod %d: refuses the stream\n", i) }
    :: d_step { up[i] && st[i] == SYNCING && stream[i] == BASE ->
        content[i] = shipped[i]; db[i] = true; IMAGE_FENCE(i);
        check_one_writable();
        stream[i] = PLACED;
        printf("pod %d: base checked, synced, in place; writes %d\n", i, content[i]) }
    :: d_step { up[i] && st[i] == SYNCING && stream[i] == PLACED ->
        MOVE(i, SYNCING, STANDBY);
        image[i] = true; stream[i] = LIVE }
    :: d_step { up[i] && st[i] == STANDBY && stream[i] == LIVE && feeds(i) && !(ready[source[i]] & BIT(i)) ->
        ready[source[i]] = ready[source[i]] | BIT(i);
        printf("pod %d: tells pod %d that it is a standby\n", i, source[i]) }
    :: d_step { stream[i] != CLOSED && feeds(i) && shipped[i] != content[source[i]] ->
        shipped[i] = content[source[i]];
        printf("pod %d: ships writes %d to pod %d\n", source[i], shipped[i], i) }
    :: d_step { up[i] && st[i] == STANDBY && stream[i] == LIVE && taking[i] == 0 && shipped[i] != content[i] &&
        promised[i] ->
        promised[i] = false; promise[i] = 0;
        printf("pod %d: more of the log: withdraws its promise\n", i) }
    :: d_step { up[i] && st[i] == STANDBY && stream[i] == LIVE && taking[i] == 0 && shipped[i] != content[i] &&
        !promised[i] ->
        content[i] = shipped[i]; unsynced[i] = true;
        printf("pod %d: applies the log; writes %d\n", i, content[i]) }
    :: d_step { up[i] && stream[i] != CLOSED && (!feeds(i) || st[i] == PRIMARY) ->
        stream_end(i);
        printf("pod %d: the stream ends\n", i) }
    :: d_step { up[i] && stream[i] != CLOSED && faults > 0 ->
        faults--;
        stream_end(i);
        printf("pod %d: the stream breaks\n", i) }
    :: d_step { up[i] && st[i] == SYNCING && stream[i] == BASE && faults > 0 ->
        faults--;
        stream_end(i);
        MOVE(i, SYNCING, EMPTY) }
    :: d_step { up[i] && st[i] == FORWARDING && ae > 0 && ap != i ->
        MOVE(i, FORWARDING, SYNCING);
        printf("pod %d: post-start of a later life\n", i) }

    /* ---- promise and GRANT, as a standby ---- */
    EACH(PREPARE_FROM)
    EACH(GRANT_FROM)
    :: d_step { up[i] && st[i] == STANDBY && taking[i] == CHECKED && swap_holds(i) ->
        ae = ep[i] + 1; ap = i; taking[i] = SWAPPED;
        printf("pod %d: swaps the authority to epoch %d\n", i, ae) }
    :: d_step { up[i] && taking[i] == CHECKED && !swap_holds(i) ->
        taking[i] = 0;
        printf("pod %d: the authority has changed\n", i) }
    /* also after a restart: the authority names this pod, and the promise is on the disk */
    :: d_step { up[i] && is_primary_by_swap(i) ->
        MOVE(i, STANDBY, PRIMARY);
        stream_end(i);
        taking[i] = 0; image[i] = false;
        record_late(i);
        becomes_primary(i, ep[i] + 1) }
    :: d_step { up[i] && late[i] ->
        record_synced(i);
        printf("pod %d: its record as primary is synced\n", i) }
#ifdef M_GRANT_TO_ANYBODY
    :: d_step { up[i] && st[i] == STANDBY && taking[i] == SWAPPED && !promised[i] ->
        MOVE(i, STANDBY, PRIMARY);
        stream_end(i);
        taking[i] = 0;
        becomes_primary(i, ae) }
#endif

    /* ---- the cut-over, as the primary ---- */
    EACH(DRAIN_TOWARDS)
#define idle(w) !(rq[w] == RUN && rq_pod[w] == i && rq_heard[w])
    PREPARE_SENT(i, skip)
#if PODS == 2 && !defined(M_NO_FENCE) && !defined(M_FENCE_AFTER_COMMIT)
    /* byte 18 is set in the same time: before the promise comes, or with it (below); a third pod
     * adds nothing to that, and triples the states */
    PREPARE_SENT(i, fence[i] = true)
#endif
    :: d_step { up[i] && step[i] == PREPARING && acked[i] && digest_equal(i) ->
        if :: fence_first(i) -> FENCE_SET(i) :: else fi;
        prepare_live[i] = false;
        step[i] = SEALING;
        printf("pod %d: the promise has come, and byte 18 is set\n", i) }
    :: d_step { up[i] && step[i] == SEALING ->
        MOVE(i, DRAINING, FENCED);
        succ[i] = heir[i]; lock[i] = false; step[i] = IDLE;
        printf("pod %d: commit point, successor is pod %d\n", i, succ[i]) }
    :: d_step { up[i] && step[i] == SEALING && faults > 0 ->
        faults--;
        st[i] = FENCED; succ[i] = heir[i]; step[i] = BACK;
        printf("pod %d: the save of FENCED is reported as failed, but is on the disk\n", i) }
#ifdef M_FENCE_AFTER_COMMIT
    :: d_step { up[i] && st[i] == FENCED && step[i] == IDLE && !fence[i] ->
        fence[i] = true;
        printf("pod %d: byte 18 set\n", i) }
#endif
    /* any time-out or failure before the commit point */
    :: d_step { up[i] && (step[i] == HOLDING || step[i] == PREPARING || step[i] == SEALING) ->
        prepare_live[i] = false; acked[i] = false; digest[i] = 0; step[i] = BACK;
        printf("pod %d: rolls back\n", i) }
#ifdef M_UNFENCE_BEFORE_ROLL_BACK
    :: d_step { up[i] && step[i] == BACK ->
        fence[i] = false; lock[i] = false;
        step[i] = BACK_OPEN;
        printf("pod %d: lifts the fence\n", i) }
    :: d_step { up[i] && step[i] == BACK_OPEN ->
        st[i] = PRIMARY; heir[i] = NOBODY; step[i] = IDLE }
#else
    :: d_step { up[i] && step[i] == BACK ->
        if
        :: st[i] == DRAINING -> MOVE(i, DRAINING, PRIMARY)
        :: else -> st[i] = PRIMARY /* it was in doubt */
        fi;
        succ[i] = NOBODY; step[i] = BACK_SAVED }
    :: d_step { up[i] && step[i] == BACK_SAVED ->
        fence[i] = false;
        check_one_writable();
        step[i] = BACK_OPEN;
        printf("pod %d: lifts the fence\n", i) }
    :: d_step { up[i] && step[i] == BACK_OPEN ->
        lock[i] = false; heir[i] = NOBODY; mode[i] = LOCAL; target[i] = i; known[i] = ep[i]; step[i] = IDLE;
        printf("pod %d: serves again\n", i) }
#endif
    :: d_step { up[i] && may_grant(i) && step[i] != BACK && grant_ep[i] < ep[i] + 1 ->
        grant_to[i] = heir[i]; grant_ep[i] = ep[i] + 1; grant_content[i] = prepare_content[i];
        if :: st[i] == FENCED -> grant_to[i] = succ[i] :: else fi;
        printf("pod %d: GRANT to pod %d, epoch %d, writes %d\n", i, grant_to[i], ep[i] + 1, prepare_content[i]) }
    :: d_step { up[i] && st[i] == FENCED && step[i] == IDLE && (confirmed[i] == ep[i] + 1 || (ae > ep[i] && ap != i)) ->
        MOVE(i, FENCED, FORWARDING);
        check_epoch(i, ep[i] + 1);
        ep[i] = ep[i] + 1; heir[i] = NOBODY; target[i] = succ[i]; known[i] = ep[i]; mode[i] = FORWARD;
        printf("pod %d: forwards to pod %d\n", i, succ[i]) }
#ifdef TAKE_BACK
    /* the successor does not take it: another swap takes the epoch away from it first */
    :: d_step { up[i] && st[i] == FENCED && step[i] == IDLE && take_back_holds(i) ->
        ae = TAKE_BACK_EPOCH(i); ap = i;
        printf("pod %d: takes the database back, swaps the authority to epoch %d\n", i, ae) }
    :: d_step { up[i] && st[i] == FENCED && step[i] == IDLE && ap == i && ae == ep[i] + 1 ->
        MOVE(i, FENCED, PRIMARY);
        succ[i] = NOBODY; heir[i] = NOBODY;
        becomes_primary(i, ep[i] + 1) }
#endif
    od
}

/* --- clients, and programs that write into the database directly ------------------------------ */

/* Writes are alike, so they may as well come in order. */
#define in_turn(w) (w == 0 || rq[w - 1] != NEW)

#define ARRIVES_AT(p) \
    :: d_step { rq[w] == NEW && in_turn(w) && up[p] -> \
        rq[w] = AT; rq_pod[w] = p; rq_heard[w] = true; \
        printf("write %d: arrives at pod %d\n", 1 << w, p) } \
    :: d_step { rq[w] == NEW && in_turn(w) && !gone[p] && writable(p) && !lock[p] -> \
        ran[w]++; assert(ran[w] == 1); \
        content[p] = content[p] | BIT(w); told = told | BIT(w); \
        rq[w] = OVER; \
        printf("write %d: written directly on pod %d\n", 1 << w, p); \
        check_nothing_lost() }

proctype client(byte w)
{
    byte p;
end:
    do
    EACH(ARRIVES_AT)
    :: d_step { rq[w] == AT && mode[rq_pod[w]] == LOCAL ->
        p = rq_pod[w];
        assert(st[p] == PRIMARY && rq_ep[w] <= ep[p]);
        ran[w]++; assert(ran[w] == 1);
        rq[w] = RUN;
        printf("write %d: PHP of pod %d has it\n", 1 << w, p);
        p = 0 }
    /* forwarded, unless the other relay would refuse it: then it waits */
    :: d_step { rq[w] == AT && mode[rq_pod[w]] == FORWARD && newer(rq_pod[w], w) && up[target[rq_pod[w]]] &&
        (mode[target[rq_pod[w]]] != FORWARD || takes_on(target[rq_pod[w]], rq_pod[w])) ->
        p = rq_pod[w];
        assert(rq_hops[w] <= HANDOVERS); /* each crossing with a greater epoch */
        rq_hops[w]++;
        rq_via[w] = p; rq_path[w] = rq_path[w] | BIT(p); rq_ep[w] = known[p]; rq_pod[w] = target[p];
        printf("write %d: pod %d forwards it to pod %d, epoch %d\n", 1 << w, p, rq_pod[w], rq_ep[w]);
        p = 0 }
    :: d_step { rq[w] == AT && mode[rq_pod[w]] == FORWARD && (!newer(rq_pod[w], w) || gone[target[rq_pod[w]]]) ->
        printf("write %d: refused by pod %d\n", 1 << w, rq_pod[w]);
        if
        :: rq_via[w] != NOBODY && rq_path[w] == BIT(rq_via[w]) && up[rq_via[w]] && rq_heard[w] ->
            rq_pod[w] = rq_via[w]; /* it waits there again */
            rq_via[w] = NOBODY; rq_path[w] = 0; rq_ep[w] = 0
        :: else ->
            rq[w] = OVER
        fi }
    :: d_step { rq[w] == RUN && !lock[rq_pod[w]] ->
        if
        :: writable(rq_pod[w]) ->
            assert(MAY_WRITE(rq_pod[w]) || is_primary_by_swap(rq_pod[w]));
            content[rq_pod[w]] = content[rq_pod[w]] | BIT(w);
            rq[w] = WRITTEN;
            printf("write %d: committed on pod %d\n", 1 << w, rq_pod[w])
        :: else ->
            rq[w] = OVER;
            printf("write %d: the database of pod %d is read-only\n", 1 << w, rq_pod[w])
        fi }
    :: d_step { rq[w] == WRITTEN ->
        rq[w] = OVER;
        if
        :: rq_heard[w] ->
            told = told | BIT(w);
            printf("write %d: acknowledged\n", 1 << w);
            check_nothing_lost()
        :: else
        fi }
    od
}

/* --- faults ------------------------------------------------------------------------------------ */

#define is_gone(i) gone[i]
#ifdef TAKE_BACK
#define may_go(i) true
#else
/* Not the successor from its promise to its swap: once the old pod is FENCED only another swap helps. */
#define waits_for(a) ((st[a] == FENCED || step[a] != IDLE) && ap == a)
#define may_go(i) (!ANY(waits_for))
#endif
#define FAULTS_OF(i) \
    :: d_step { faults > 0 && up[i] -> \
        faults--; \
        printf("pod %d: its sidecar is killed\n", i); \
        forget(i) } \
    :: d_step { faults > 0 && up[i] && late[i] && st[i] == PRIMARY -> \
        faults--; \
        printf("pod %d: power loss undoes its record as primary\n", i); \
        st[i] = STANDBY; ep[i] = ep[i] - 1; pr[i] = late_pr[i]; PROMISE_AGAIN(i); \
        forget(i) } \
    :: d_step { faults > 0 && up[i] && fence[i] && !log_void(i) -> \
        faults--; \
        printf("pod %d: all of it is killed; the log's page 1 is read again, and has no fence\n", i); \
        forget(i); \
        fence[i] = false } \
    :: d_step { !up[i] && !gone[i] -> \
        up[i] = true; \
        IMAGE_AGAIN(i); \
        if :: st[i] == FORWARDING -> target[i] = succ[i]; known[i] = ep[i]; mode[i] = FORWARD :: else fi; \
        RESTART_FENCED(i); \
        printf("pod %d: restarts as %e\n", i, st[i]) } \
    :: d_step { faults > 0 && !gone[i] && ap != i && may_go(i) && !ANY(is_gone) -> \
        faults--; \
        printf("pod %d: is deleted\n", i); \
        vanish(i); \
        gone[i] = true } \
    :: d_step { wipes > 0 && ae == 1 && ap == i && st[i] == PRIMARY -> \
        wipes--; excused = true; told = 0; lead = NOBODY; \
        printf("pod %d: loses its volume\n", i); \
        vanish(i) }

proctype fault()
{
end:
    do
    EACH(FAULTS_OF)
    od
}

/* --- progress: every run ends (checked as such), and when it does, somebody serves ---------------- */

#define serves(i) (up[i] && st[i] == PRIMARY && mode[i] == LOCAL && step[i] == IDLE && writable(i) && !lock[i])
#define over(w) (rq[w] == OVER)

proctype judge()
{
end:
    timeout ->
    assert(excused || ANY(serves));
    assert(excused || ALL_WRITES(over))
}

#define POD(i) \
    st[i] = EMPTY; up[i] = true; pr[i] = NOBODY; succ[i] = NOBODY; target[i] = NOBODY; heir[i] = NOBODY; \
    source[i] = NOBODY; prepare_to[i] = NOBODY; grant_to[i] = NOBODY; run pod(i);
#define CLIENT(w) rq_via[w] = NOBODY; run client(w);

init
{
    atomic {
        EACH(POD)
#ifndef FIRST
        ae = 1; ap = 0; claim[0] = true; born = true; lead = 0; lead_ep = 1;
        st[0] = PRIMARY; ep[0] = 1; pr[0] = 0; db[0] = true; mode[0] = LOCAL; target[0] = 0; known[0] = 1;
#endif
        EACH_WRITE(CLIENT)
        run fault();
        run judge()
    }
}
