#include "mod_demo/backend/demo_backend.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "apr_strings.h"

#include "mod_demo/shm/demo_clock.h"

static_assert(sizeof(struct sockaddr_in6) <= sizeof(struct sockaddr_un), "no room for IPv6");

/* A retired slot may still be somebody's kept connection or pending request. */
#define RETIRED_KEEP_US (60 * 1000000LL)

/* So many checks that were not made, and this besides for a busy machine. */
#define OVERDUE_CHECKS 3
#define OVERDUE_US     1000000LL

demo_backend demo_backends[DEMO_BACKENDS_MAX];
unsigned     demo_backend_count;

int demo_backend_current(const demo_backend *b)
{
    return atomic_load_explicit(&demo_seg->backends[b->index].use, memory_order_acquire) == b->use;
}

unsigned demo_backend_slots(const demo_backend *b, uint16_t slots[DEMO_PER_BACKEND_MAX])
{
    const demo_shm_backend *sb = &demo_seg->backends[b->index];
    uint32_t seq, n;
    int tries = 0;

    if (!demo_backend_current(b)) {
        return 0;
    }
    do {
        seq = demo_seq_read(&sb->seq);
        n = atomic_load_explicit(&sb->n, memory_order_relaxed);
        for (uint32_t i = 0; i < n && i < DEMO_PER_BACKEND_MAX; i++) {
            slots[i] = atomic_load_explicit(&sb->slots[i], memory_order_relaxed);
        }
    } while (demo_seq_again(&sb->seq, seq, &tries));
    return n < DEMO_PER_BACKEND_MAX ? n : DEMO_PER_BACKEND_MAX;
}

int demo_backend_address(const demo_backend *b, int slot, demo_address *out)
{
    const demo_shm_addr *a = &demo_seg->addrs[slot];
    uint32_t seq;
    int32_t owner;
    int tries = 0;

    do {
        seq = demo_seq_read(&a->seq);
        owner = atomic_load_explicit(&a->backend, memory_order_relaxed);
        out->use = atomic_load_explicit(&a->use, memory_order_relaxed);
        out->len = atomic_load_explicit(&a->addr_len, memory_order_relaxed);
        demo_words_load(out->addr.words, a->addr, sizeof(struct sockaddr_un));
    } while (demo_seq_again(&a->seq, seq, &tries));
    out->slot = slot;
    return owner == (int32_t)b->index && tries < DEMO_SEQ_TRIES;
}

int demo_backend_unchecked(const demo_backend *b, int slot, int64_t now)
{
    int64_t at = atomic_load_explicit(&demo_seg->addrs[slot].checked_at, memory_order_relaxed);

    return now - at > OVERDUE_CHECKS * b->health->interval + b->health->timeout + OVERDUE_US;
}

int demo_backend_found(const demo_backend *b, int slot, enum demo_health_state state, int64_t now)
{
    return atomic_load_explicit(&demo_seg->addrs[slot].health, memory_order_relaxed) == (uint32_t)state
           && !demo_backend_unchecked(b, slot, now);
}

void demo_address_text(const struct sockaddr *sa, char *text, size_t size)
{
    char host[INET6_ADDRSTRLEN] = "?";

    if (sa->sa_family == AF_UNIX) {
        (void)snprintf(text, size, "%s", ((const struct sockaddr_un *)(const void *)sa)->sun_path);
    }
    else if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)sa;
        (void)inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof(host));
        (void)snprintf(text, size, "[%s]:%u", host, ntohs(in->sin6_port));
    }
    else {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)sa;
        (void)inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
        (void)snprintf(text, size, "%s:%u", host, ntohs(in->sin_port));
    }
}

/* --- the table of addresses; the caller holds demo_seg->table -------------------------- */

static int slot_idle(const demo_shm_addr *a, int64_t now)
{
    int64_t retired = atomic_load(&a->retired_at);

    if (atomic_load(&a->backend) < 0) {
        return 1;
    }
    if (retired == 0 || now - retired < RETIRED_KEEP_US) {
        return 0;
    }
    for (int g = 0; g < DEMO_G_COUNT; g++) {
        if (atomic_load(&a->gauge[g]) != 0) {
            return 0;
        }
    }
    return 1;
}

static void slot_fill(demo_shm_addr *a, const demo_backend *b, const demo_sockaddr *addr,
                      socklen_t len)
{
    char where[DEMO_TARGET_NAME_MAX], name[DEMO_TARGET_NAME_MAX];

    demo_address_text(&addr->sa, where, sizeof(where));
    if (b->endpoint->kind == DEMO_ENDPOINT_UNIX) {
        (void)apr_cpystrn(name, b->endpoint->url, sizeof(name));
    }
    else {
        (void)apr_snprintf(name, sizeof(name), "%s (%s)", b->endpoint->url, where);
    }
    uint32_t seq = demo_seq_write(&a->seq);
    (void)atomic_fetch_add(&a->use, 1);
    atomic_store(&a->backend, (int32_t)b->index);
    atomic_store(&a->addr_len, len);
    demo_words_store(a->addr, addr, sizeof(addr->un));
    demo_words_store(a->name, name, sizeof(name));
    atomic_store(&a->retired_at, 0);
    for (int i = 0; i < DEMO_OUTCOME_COUNT; i++) {
        atomic_store(&a->outcome[i], 0);
    }
    atomic_store(&a->last_ok, 0);
    atomic_store(&a->held_until, 0);
    atomic_store(&a->failures, 0);
    atomic_store(&a->bound_more, 0);
    atomic_store(&a->bound_score, 0);
    atomic_store(&a->health, DEMO_HEALTH_UNKNOWN);
    atomic_store(&a->health_run, 0);
    atomic_store(&a->checked_at, 0);
    atomic_store(&a->check_us, 0);
    for (int i = 0; i < DEMO_RESULT_COUNT; i++) {
        atomic_store(&a->checks[i], 0);
    }
    demo_seq_written(&a->seq, seq);
}

static int slot_find(const demo_backend *b, const demo_sockaddr *addr, socklen_t len)
{
    for (int i = 0; i < DEMO_ADDRESSES_MAX; i++) {
        demo_sockaddr known;
        const demo_shm_addr *a = &demo_seg->addrs[i];
        if (atomic_load(&a->backend) != (int32_t)b->index || atomic_load(&a->addr_len) != len) {
            continue;
        }
        demo_words_load(&known, a->addr, sizeof(known.un));
        if (memcmp(&known, addr, len) == 0) {
            return i;
        }
    }
    return -1;
}

static int slot_get(const demo_backend *b, const demo_sockaddr *addr, socklen_t len,
                    int64_t now)
{
    int slot = slot_find(b, addr, len);

    if (slot >= 0) {
        atomic_store(&demo_seg->addrs[slot].retired_at, 0);
        return slot;
    }
    for (int i = 0; i < DEMO_ADDRESSES_MAX; i++) {
        if (slot_idle(&demo_seg->addrs[i], now)) {
            slot_fill(&demo_seg->addrs[i], b, addr, len);
            return i;
        }
    }
    return -1;
}

/* What a writer that was killed left half-written; nobody else writes now. */
static void drop_torn(void)
{
    for (int i = 0; i < DEMO_ADDRESSES_MAX; i++) {
        demo_shm_addr *a = &demo_seg->addrs[i];
        uint32_t seq = atomic_load(&a->seq);
        if ((seq & 1u) != 0) {
            atomic_store(&a->backend, -1);
            demo_seq_written(&a->seq, seq);
        }
    }
}

unsigned demo_backend_set(const demo_backend *b, const demo_sockaddr *addrs,
                          const socklen_t *lens, unsigned n)
{
    demo_shm_backend *sb = &demo_seg->backends[b->index];
    uint16_t slots[DEMO_PER_BACKEND_MAX];
    int64_t now = demo_now();
    unsigned kept = 0;

    demo_lock(&demo_seg->table);
    /* A leader of an earlier configuration may not have noticed yet; what is no
     * longer named takes no slots back. */
    if (!demo_backend_current(b) || atomic_load(&sb->epoch) != atomic_load(&demo_seg->epoch)) {
        demo_unlock(&demo_seg->table);
        return 0;
    }
    drop_torn();
    for (unsigned i = 0; i < n; i++) {
        int slot = slot_get(b, &addrs[i], lens[i], now);
        if (slot >= 0) {
            slots[kept++] = (uint16_t)slot;
        }
    }
    for (int i = 0; i < DEMO_ADDRESSES_MAX; i++) {
        demo_shm_addr *a = &demo_seg->addrs[i];
        int used = 0;
        for (unsigned k = 0; k < kept; k++) {
            used |= slots[k] == i;
        }
        if (!used && atomic_load(&a->backend) == (int32_t)b->index
            && atomic_load(&a->retired_at) == 0) {
            atomic_store(&a->retired_at, now);
        }
    }
    uint32_t seq = demo_seq_write(&sb->seq);
    for (unsigned i = 0; i < kept; i++) {
        atomic_store_explicit(&sb->slots[i], slots[i], memory_order_relaxed);
    }
    atomic_store_explicit(&sb->n, kept, memory_order_relaxed);
    demo_seq_written(&sb->seq, seq);
    atomic_store(&sb->resolved_at, now);
    demo_unlock(&demo_seg->table);
    return n - kept;
}
