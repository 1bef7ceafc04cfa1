#include "mod_demo/backend/demo_balance.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mod_demo/backend/demo_backend.h"
#include "mod_demo/shm/demo_clock.h"
#include "mod_demo/shm/demo_segment.h"

#define HOLD_FIRST_US   1000000LL  /* after the first failure; doubled with each further one */
#define HOLD_MAX_US    30000000LL
#define HOLD_BUSY_US     100000LL  /* OVERLOADED: it works, only not now */
#define WAIT_STEP_MS    5

/* xorshift; even spread is all that is asked of it. */
static uint32_t random_below(uint32_t n)
{
    static _Thread_local uint32_t state;

    if (state == 0) {
        state = ((uint32_t)demo_now() ^ ((uint32_t)getpid() << 16)) | 1u;
    }
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return (uint32_t)(((uint64_t)state * n) >> 32);
}

/* --- the addresses of a part of a cluster ------------------------------------------------ */

typedef struct {
    const demo_backend *const *backends;
    unsigned n_backends;
    unsigned n;      /* addresses of all of them */
} part;

typedef struct {
    const demo_backend *backend;
    int slot; /* -1: none */
} choice;

static unsigned part_count(part *p)
{
    p->n = 0;
    for (unsigned i = 0; i < p->n_backends; i++) {
        if (demo_backend_current(p->backends[i])) {
            p->n += atomic_load_explicit(&demo_seg->backends[p->backends[i]->index].n,
                                         memory_order_relaxed);
        }
    }
    return p->n;
}

/* The k-th address.  The lists may change meanwhile: then another, or none. */
static choice part_at(const part *p, unsigned k)
{
    choice c = { NULL, -1 };

    for (unsigned i = 0; i < p->n_backends; i++) {
        const demo_shm_backend *sb = &demo_seg->backends[p->backends[i]->index];
        unsigned n = atomic_load_explicit(&sb->n, memory_order_acquire);
        if (!demo_backend_current(p->backends[i])) {
            continue;
        }
        if (k < n && k < DEMO_PER_BACKEND_MAX) {
            c.backend = p->backends[i];
            c.slot = atomic_load_explicit(&sb->slots[k], memory_order_relaxed);
            return c;
        }
        k -= n;
    }
    return c;
}

/* By its health check, lately. */
static int found_down(choice c, int64_t now)
{
    return demo_backend_found(c.backend, c.slot, DEMO_HEALTH_DOWN, now);
}

static int usable(choice c, int64_t now)
{
    return atomic_load_explicit(&demo_seg->addrs[c.slot].held_until, memory_order_relaxed) <= now
           && !found_down(c, now);
}

static int32_t load_of(choice c)
{
    return atomic_load_explicit(&demo_seg->addrs[c.slot].gauge[DEMO_G_OUTSTANDING],
                                memory_order_relaxed);
}

/* The better of two usable ones drawn at random; when neither is usable, the
 * first usable one from there on. */
static choice part_choose(const part *p, int avoid, int64_t now)
{
    choice none = { NULL, -1 }, best = none;

    if (p->n == 0) {
        return none;
    }
    unsigned first = random_below(p->n);
    unsigned second = p->n > 1 ? (first + 1 + random_below(p->n - 1)) % p->n : first;
    for (unsigned i = 0; i < (p->n > 1 ? 2u : 1u); i++) {
        choice c = part_at(p, i == 0 ? first : second);
        if (c.slot >= 0 && c.slot != avoid && usable(c, now)
            && (best.slot < 0 || load_of(c) < load_of(best))) {
            best = c;
        }
    }
    for (unsigned i = 1; best.slot < 0 && i < p->n; i++) {
        choice c = part_at(p, (first + i) % p->n);
        if (c.slot >= 0 && c.slot != avoid && usable(c, now)) {
            best = c;
        }
    }
    return best;
}

/* Nothing is usable: the one that is held back for the shortest time, of all or of those
 * that were not found down. */
static choice part_last_resort(const part *p, int avoid, int all, int64_t now)
{
    choice best = { NULL, -1 };
    int64_t best_until = 0;

    for (unsigned i = 0; i < p->n; i++) {
        choice c = part_at(p, i);
        if (c.slot < 0 || (c.slot == avoid && p->n > 1) || (!all && found_down(c, now))) {
            continue;
        }
        int64_t until = atomic_load(&demo_seg->addrs[c.slot].held_until);
        if (best.slot < 0 || until < best_until
            || (until == best_until && load_of(c) < load_of(best))) {
            best = c;
            best_until = until;
        }
    }
    return best;
}

static choice cluster_choose(const demo_cluster *cluster, int avoid)
{
    int64_t now = demo_now_coarse();
    part primary = { cluster->backends, cluster->n_backends, 0 };
    part backup = { cluster->backends + cluster->n_backends, cluster->n_backups, 0 };

    (void)part_count(&primary);
    choice c = part_choose(&primary, avoid, now);
    if (c.slot < 0 && part_count(&backup) > 0) {
        c = part_choose(&backup, avoid, now);
    }
    if (c.slot < 0 && avoid >= 0) {
        c = part_choose(&primary, -1, now);
    }
    if (c.slot < 0) {
        c = part_last_resort(&primary, avoid, 0, now);
    }
    if (c.slot < 0) {
        c = part_last_resort(&backup, avoid, 0, now);
    }
    if (c.slot < 0 && avoid >= 0) { /* rather there again than where nobody answers */
        c = part_last_resort(&primary, -1, 0, now);
        if (c.slot < 0) {
            c = part_last_resort(&backup, -1, 0, now);
        }
    }
    if (c.slot < 0) { /* a sole backend is always tried */
        c = part_last_resort(primary.n > 0 ? &primary : &backup, avoid, 1, now);
    }
    return c;
}

unsigned demo_cluster_size(const demo_cluster *cluster)
{
    part all = { cluster->backends, cluster->n_backends + cluster->n_backups, 0 };

    return demo_seg != NULL ? part_count(&all) : 0;
}

/* --- picking ------------------------------------------------------------------------------ */

static int target_fill(choice c, demo_target *t)
{
    const demo_shm_addr *a = &demo_seg->addrs[c.slot];
    demo_address address;

    /* Counted first: a slot with a request outstanding is not given away. */
    (void)demo_gauge_add(c.slot, DEMO_G_OUTSTANDING, 1);
    if (!demo_backend_address(c.backend, c.slot, &address)) {
        (void)demo_gauge_add(c.slot, DEMO_G_OUTSTANDING, -1);
        return 0;
    }
    t->slot = c.slot;
    t->use = address.use;
    t->backend = (int)c.backend->index;
    t->addr_len = address.len;
    memcpy(&t->addr.un, &address.addr.un, sizeof(t->addr.un));
    demo_words_load(t->name, a->name, sizeof(t->name));
    t->name[sizeof(t->name) - 1] = '\0';
    return 1;
}

apr_status_t demo_balance_pick(const demo_cluster *cluster, int avoid_slot, demo_target *target)
{
    target->slot = -1;
    if (demo_seg == NULL) {
        return APR_EAGAIN;
    }
    /* A second turn only when the list changed between choice and copy. */
    for (int turn = 0; turn < 3; turn++) {
        choice c = cluster_choose(cluster, avoid_slot);
        if (c.slot < 0) {
            return APR_EAGAIN;
        }
        if (target_fill(c, target)) {
            return APR_SUCCESS;
        }
    }
    return APR_EAGAIN;
}

apr_status_t demo_balance_pick_wait(const demo_cluster *cluster, int avoid_slot,
                                    apr_interval_time_t wait, demo_target *target)
{
    int64_t deadline = 0;

    for (;;) {
        apr_status_t rv = demo_balance_pick(cluster, avoid_slot, target);
        if (rv != APR_EAGAIN) {
            return rv;
        }
        int64_t now = demo_now();
        if (deadline == 0) {
            deadline = now + wait;
        }
        if (now >= deadline) {
            return APR_TIMEUP;
        }
        (void)poll(NULL, 0, WAIT_STEP_MS);
    }
}

const char *demo_cluster_trouble(const demo_cluster *cluster, char *text, size_t size)
{
    char why[DEMO_HEALTH_TEXT_MAX];

    text[0] = '\0';
    for (unsigned i = 0; demo_seg != NULL && i < cluster->n_backends; i++) {
        const demo_backend *b = cluster->backends[i];
        const demo_shm_backend *sb = &demo_seg->backends[b->index];
        size_t len = strlen(text);
        if (atomic_load(&sb->n) > 0) {
            continue;
        }
        (void)demo_text_load(&sb->text_seq, sb->text, sizeof(why), why);
        (void)snprintf(text + len, size - len, "%s%s: %s", len > 0 ? "; " : "",
                       b->endpoint->url, why);
    }
    return text;
}

/* --- afterwards ----------------------------------------------------------------------------- */

/* Many requests fail at the same moment when a backend dies; they count as one
 * failure, or the first outage would last for the longest backoff. */
static void hold_back(const demo_target *t, demo_shm_addr *a, int64_t now)
{
    int64_t held = atomic_load(&a->held_until);

    if (held > now) {
        return;
    }
    uint32_t failures = atomic_load(&a->failures);
    int64_t hold = failures < 5 ? HOLD_FIRST_US << failures : HOLD_MAX_US;
    if (hold > HOLD_MAX_US) {
        hold = HOLD_MAX_US;
    }
    if (atomic_compare_exchange_strong(&a->held_until, &held, now + hold)) {
        (void)atomic_fetch_add(&a->failures, 1);
    }
    atomic_store(&demo_seg->backends[t->backend].resolve_now, 1);
}

void demo_balance_done(demo_target *target, enum demo_outcome outcome)
{
    if (target->slot < 0) {
        return;
    }
    demo_shm_addr *a = &demo_seg->addrs[target->slot];
    int64_t now = demo_now_coarse(), held;

    (void)atomic_fetch_add_explicit(&a->outcome[outcome], 1, memory_order_relaxed);
    switch (outcome) {
    case DEMO_OUTCOME_OK:
        if (atomic_load_explicit(&a->last_ok, memory_order_relaxed) != now) {
            atomic_store_explicit(&a->last_ok, now, memory_order_relaxed);
        }
        if (atomic_load_explicit(&a->failures, memory_order_relaxed) != 0) {
            atomic_store(&a->failures, 0);
            atomic_store(&a->held_until, 0);
        }
        break;
    case DEMO_OUTCOME_FAILED:
        hold_back(target, a, now);
        break;
    case DEMO_OUTCOME_BUSY:
        held = atomic_load(&a->held_until);
        if (held <= now) {
            (void)atomic_compare_exchange_strong(&a->held_until, &held, now + HOLD_BUSY_US);
        }
        break;
    default:
        break;
    }
    (void)demo_gauge_add(target->slot, DEMO_G_OUTSTANDING, -1);
    target->slot = -1;
}
