/* Shared memory, choice of an address, backoff, what a dead child gives back. */
#include "testlib.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mod_demo/backend/demo_backend.h"
#include "mod_demo/backend/demo_balance.h"
#include "mod_demo/observe/demo_counters.h"
#include "mod_demo/shm/demo_clock.h"
#include "mod_demo/shm/demo_gauges.h"
#include "mod_demo/shm/demo_shm.h"
#include "addresses.h"
#include "stub_httpd.h"

static apr_pool_t   *pool;
static demo_cluster *cluster;

/* A fresh process: shared memory, one cluster with these backends and backups. */
static void begin(const char *const *urls, const char *const *backups)
{
    stub_retained = NULL;
    demo_cluster_reset();
    cluster = demo_cluster_create(pool);
    for (; urls != NULL && *urls != NULL; urls++) {
        assert_null(demo_cluster_add(cluster, *urls, 0, pool));
    }
    for (; backups != NULL && *backups != NULL; backups++) {
        assert_null(demo_cluster_add(cluster, *backups, 1, pool));
    }
    server_rec *s = stub_server(pool);
    assert_int_equal(demo_shm_open(s), APR_SUCCESS);
    demo_cluster_publish(cluster, s, "/srv/www");
    demo_shm_child_init(s);
    assert_non_null(demo_child);
}

static int pick(int avoid)
{
    demo_target t;

    assert_int_equal(demo_balance_pick(cluster, avoid, &t), APR_SUCCESS);
    int slot = t.slot;
    demo_balance_done(&t, DEMO_OUTCOME_ABORTED);
    return slot;
}

static void test_one_backend(void **state)
{
    const char *urls[] = { "fcgi://127.0.0.1:9000", NULL };
    demo_target t;

    begin(urls, NULL);
    assert_int_equal(demo_cluster_size(cluster), 1);
    assert_int_equal(demo_balance_pick(cluster, -1, &t), APR_SUCCESS);
    assert_string_equal(t.name, "fcgi://127.0.0.1:9000 (127.0.0.1:9000)");
    assert_int_equal(t.addr.sa.sa_family, AF_INET);
    assert_int_equal(demo_gauge_read(&demo_seg->addrs[t.slot].gauge[DEMO_G_OUTSTANDING]), 1);
    int slot = t.slot;
    demo_balance_done(&t, DEMO_OUTCOME_OK);
    demo_balance_done(&t, DEMO_OUTCOME_OK);
    assert_int_equal(demo_gauge_read(&demo_seg->addrs[slot].gauge[DEMO_G_OUTSTANDING]), 0);
    assert_int_equal(atomic_load(&demo_seg->addrs[slot].outcome[DEMO_OUTCOME_OK]), 1);
    /* avoided, but there is no other */
    assert_int_equal(pick(slot), slot);
}

static void test_name_without_address(void **state)
{
    const char *urls[] = { "fcgi://php-fpm", NULL };
    demo_target t;
    char text[200];

    begin(urls, NULL);
    assert_int_equal(demo_balance_pick(cluster, -1, &t), APR_EAGAIN);
    assert_int_equal(t.slot, -1);
    demo_balance_done(&t, DEMO_OUTCOME_FAILED);
    assert_int_equal(demo_balance_pick_wait(cluster, -1, 12000, &t), APR_TIMEUP);
    assert_string_equal(demo_cluster_trouble(cluster, text, sizeof(text)),
                        "fcgi://php-fpm:9000: not resolved yet");
    (void)set_addresses(cluster->backends[0], 1, 3);
    assert_int_equal(demo_balance_pick_wait(cluster, -1, 12000, &t), APR_SUCCESS);
    demo_balance_done(&t, DEMO_OUTCOME_OK);
    assert_int_equal(demo_cluster_size(cluster), 3);
}

static void test_fewer_outstanding_wins(void **state)
{
    const char *urls[] = { "unix:/a", "unix:/b", NULL };
    demo_target t[20];
    int count[2] = { 0, 0 };

    begin(urls, NULL);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(demo_balance_pick(cluster, -1, &t[i]), APR_SUCCESS);
        count[strcmp(t[i].name, "unix:/a") == 0]++;
    }
    assert_int_equal(count[0], 10);
    for (int i = 0; i < 20; i++) {
        demo_balance_done(&t[i], DEMO_OUTCOME_OK);
    }
}

static void test_failure_holds_back_and_success_forgives(void **state)
{
    const char *urls[] = { "unix:/a", "unix:/b", NULL };
    demo_target t, u;
    int64_t first, second;

    begin(urls, NULL);
    assert_int_equal(demo_balance_pick(cluster, -1, &t), APR_SUCCESS);
    int bad = t.slot;
    demo_shm_addr *a = &demo_seg->addrs[bad];
    u = t;
    (void)demo_gauge_add(bad, DEMO_G_OUTSTANDING, 1);
    demo_balance_done(&t, DEMO_OUTCOME_FAILED);
    first = atomic_load(&a->held_until) - demo_now();
    assert_in_range(first, 900000, 1000000);
    /* a second request that fails in the same moment does not double it */
    demo_balance_done(&u, DEMO_OUTCOME_FAILED);
    assert_int_equal(atomic_load(&a->failures), 1);
    for (int i = 0; i < 50; i++) {
        assert_int_not_equal(pick(-1), bad);
    }
    atomic_store(&a->held_until, 1); /* the time is over */
    do {
        assert_int_equal(demo_balance_pick(cluster, -1, &t), APR_SUCCESS);
        demo_balance_done(&t, t.slot == bad ? DEMO_OUTCOME_FAILED : DEMO_OUTCOME_ABORTED);
    } while (atomic_load(&a->failures) == 1);
    second = atomic_load(&a->held_until) - demo_now();
    assert_in_range(second, 1900000, 2000000);
    atomic_store(&a->failures, 60);
    atomic_store(&a->held_until, 1);
    do {
        assert_int_equal(demo_balance_pick(cluster, -1, &t), APR_SUCCESS);
        demo_balance_done(&t, t.slot == bad ? DEMO_OUTCOME_FAILED : DEMO_OUTCOME_ABORTED);
    } while (atomic_load(&a->failures) == 60);
    assert_in_range(atomic_load(&a->held_until) - demo_now(), 29900000, 30000000);
    atomic_store(&a->held_until, 1);
    do {
        assert_int_equal(demo_balance_pick(cluster, -1, &t), APR_SUCCESS);
        demo_balance_done(&t, DEMO_OUTCOME_OK);
    } while (atomic_load(&a->failures) != 0);
    assert_int_equal(atomic_load(&a->held_until), 0);
}

static void test_last_one_is_never_out(void **state)
{
    const char *urls[] = { "unix:/a", "unix:/b", NULL };

    begin(urls, NULL);
    int a = pick(-1), b = pick(a);
    assert_int_not_equal(a, b);
    atomic_store(&demo_seg->addrs[a].held_until, demo_now() + 9000000);
    atomic_store(&demo_seg->addrs[b].held_until, demo_now() + 5000000);
    assert_int_equal(pick(-1), b); /* held back for less long */
    assert_int_equal(pick(b), a);
    atomic_store(&demo_seg->addrs[a].held_until, 0);
    atomic_store(&demo_seg->addrs[a].health, DEMO_HEALTH_DOWN);
    atomic_store(&demo_seg->addrs[a].checked_at, demo_now());
    atomic_store(&demo_seg->addrs[b].held_until, 0);
    assert_int_equal(pick(-1), b); /* a is down */
    atomic_store(&demo_seg->addrs[a].checked_at, demo_now() - 60000000);
    atomic_store(&demo_seg->addrs[b].health, DEMO_HEALTH_DOWN);
    atomic_store(&demo_seg->addrs[b].checked_at, demo_now());
    assert_int_equal(pick(-1), a); /* what was found out about a is too old */
}

/* Held back for a moment after a failure is better than not answering at all. */
static void test_what_was_found_down_comes_last(void **state)
{
    const char *urls[] = { "unix:/a", "unix:/b", NULL }, *backups[] = { "unix:/backup", NULL };

    begin(urls, backups);
    int a = pick(-1), b = pick(a), backup;
    atomic_store(&demo_seg->addrs[a].health, DEMO_HEALTH_DOWN);
    atomic_store(&demo_seg->addrs[a].checked_at, demo_now());
    atomic_store(&demo_seg->addrs[b].held_until, demo_now() + 9000000);
    backup = pick(-1);
    assert_true(backup != a && backup != b);
    atomic_store(&demo_seg->addrs[backup].held_until, demo_now() + 5000000);
    assert_int_equal(pick(-1), b);
    atomic_store(&demo_seg->addrs[b].health, DEMO_HEALTH_DOWN);
    atomic_store(&demo_seg->addrs[b].checked_at, demo_now());
    assert_int_equal(pick(-1), backup);
    atomic_store(&demo_seg->addrs[backup].health, DEMO_HEALTH_DOWN);
    atomic_store(&demo_seg->addrs[backup].checked_at, demo_now());
    assert_int_equal(pick(-1), a);                  /* somebody is tried always */
}

/* What has just failed there may pass; what was found down does not answer. */
static void test_another_attempt_does_not_go_where_nobody_answers(void **state)
{
    const char *urls[] = { "unix:/a", "unix:/b", NULL }, *backups[] = { "unix:/c", "unix:/d", NULL };
    int slot[4];

    begin(urls, backups);
    for (unsigned i = 0; i < 4; i++) {
        uint16_t slots[DEMO_PER_BACKEND_MAX];
        assert_int_equal(demo_backend_slots(cluster->backends[i], slots), 1);
        slot[i] = slots[0];
        atomic_store(&demo_seg->addrs[slot[i]].health, DEMO_HEALTH_DOWN);
        atomic_store(&demo_seg->addrs[slot[i]].checked_at, demo_now());
    }
    for (unsigned i = 0; i < 4; i += 2) { /* a, then the backup c: up, but held back */
        atomic_store(&demo_seg->addrs[slot[i]].health, DEMO_HEALTH_UP);
        atomic_store(&demo_seg->addrs[slot[i]].held_until, demo_now() + 1000000);
        assert_int_equal(pick(slot[i]), slot[i]);
        atomic_store(&demo_seg->addrs[slot[i]].health, DEMO_HEALTH_DOWN);
    }
    assert_int_equal(pick(slot[0]), slot[1]); /* all are down: the other one */
}

static void test_backup(void **state)
{
    const char *urls[] = { "unix:/a", NULL }, *backups[] = { "unix:/backup", NULL };

    begin(urls, backups);
    int a = pick(-1);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(pick(-1), a);
    }
    int backup = pick(a); /* the other attempt */
    assert_int_not_equal(a, backup);
    atomic_store(&demo_seg->addrs[a].held_until, demo_now() + 9000000);
    assert_int_equal(pick(-1), backup);
    atomic_store(&demo_seg->addrs[backup].held_until, demo_now() + 5000000);
    assert_int_equal(pick(-1), a); /* nothing is usable: the main one */
}

static void test_addresses_keep_their_slots(void **state)
{
    const char *urls[] = { "fcgi://php-fpm", NULL };
    uint16_t before[DEMO_PER_BACKEND_MAX], after[DEMO_PER_BACKEND_MAX];

    begin(urls, NULL);
    const demo_backend *b = cluster->backends[0];
    (void)set_addresses(b, 1, 4);
    assert_int_equal(demo_backend_slots(b, before), 4);
    atomic_store(&demo_seg->addrs[before[2]].failures, 7);
    (void)set_addresses(b, 3, 4); /* 1 and 2 are gone, 5 and 6 are new */
    assert_int_equal(demo_backend_slots(b, after), 4);
    assert_int_equal(after[0], before[2]);
    assert_int_equal(after[1], before[3]);
    assert_int_equal(atomic_load(&demo_seg->addrs[after[0]].failures), 7);
    assert_true(atomic_load(&demo_seg->addrs[before[0]].retired_at) > 0);
    (void)set_addresses(b, 1, 4); /* and back */
    assert_int_equal(demo_backend_slots(b, after), 4);
    assert_memory_equal(after, before, 4 * sizeof(before[0]));
    assert_true(atomic_load(&demo_seg->addrs[before[0]].retired_at) == 0);
}

static void test_retired_slots_are_used_again_when_nobody_needs_them(void **state)
{
    const char *urls[] = { "fcgi://php-fpm", NULL };
    uint16_t slots[DEMO_PER_BACKEND_MAX];
    demo_address address;

    begin(urls, NULL);
    const demo_backend *b = cluster->backends[0];
    (void)set_addresses(b, 1, 1);
    (void)demo_backend_slots(b, slots);
    int slot = slots[0];
    assert_int_equal(demo_backend_address(b, slot, &address), 1);
    uint32_t use = address.use;
    (void)demo_gauge_add(slot, DEMO_G_CONNS, 1); /* a kept connection */
    for (unsigned i = 0; i < 10; i++) {
        (void)set_addresses(b, 100 + i * 64, 64);
        for (int k = 0; k < DEMO_ADDRESSES_MAX; k++) {
            if (atomic_load(&demo_seg->addrs[k].retired_at) != 0) {
                atomic_store(&demo_seg->addrs[k].retired_at, 1 - 61000000); /* long ago */
            }
        }
        assert_int_equal(demo_backend_slots(b, slots), 64);
    }
    assert_int_equal(atomic_load(&demo_seg->addrs[slot].use), use);
    (void)demo_gauge_add(slot, DEMO_G_CONNS, -1);
    for (unsigned i = 0; i < 10 && atomic_load(&demo_seg->addrs[slot].use) == use; i++) {
        (void)set_addresses(b, 5000 + i * 64, 64);
        for (int k = 0; k < DEMO_ADDRESSES_MAX; k++) {
            if (atomic_load(&demo_seg->addrs[k].retired_at) != 0) {
                atomic_store(&demo_seg->addrs[k].retired_at, 1 - 61000000);
            }
        }
    }
    assert_int_not_equal(atomic_load(&demo_seg->addrs[slot].use), use);
}

static void test_half_written_slot_is_dropped(void **state)
{
    const char *urls[] = { "fcgi://php-fpm", NULL };
    uint16_t slots[DEMO_PER_BACKEND_MAX];
    demo_target t;

    begin(urls, NULL);
    const demo_backend *b = cluster->backends[0];
    (void)set_addresses(b, 1, 1);
    (void)demo_backend_slots(b, slots);
    (void)demo_seq_write(&demo_seg->addrs[slots[0]].seq); /* and the writer is killed */
    assert_int_equal(demo_balance_pick(cluster, -1, &t), APR_EAGAIN);
    assert_int_equal(demo_gauge_read(&demo_seg->addrs[slots[0]].gauge[DEMO_G_OUTSTANDING]), 0);
    (void)set_addresses(b, 1, 1);
    assert_int_equal(demo_balance_pick(cluster, -1, &t), APR_SUCCESS);
    demo_balance_done(&t, DEMO_OUTCOME_OK);
}

/* --- children ---------------------------------------------------------------------------- */

static void test_restart_keeps_counters_and_slots(void **state)
{
    const char *urls[] = { "unix:/a", NULL };
    demo_sample sample = { .status = 204, .method = M_GET, .queue_us = -1, .connect_us = -1,
                           .first_byte_us = -1, .total_us = 600 };

    begin(urls, NULL);
    demo_metrics_request(&sample);
    int slot = pick(-1);
    demo_segment *seg = demo_seg;
    demo_cluster_reset(); /* the module is loaded anew */
    demo_seg = NULL;
    cluster = demo_cluster_create(pool);
    assert_null(demo_cluster_add(cluster, "unix:/b", 0, pool));
    assert_null(demo_cluster_add(cluster, "unix:/a", 0, pool));
    server_rec *s = stub_server(pool);
    assert_int_equal(demo_shm_open(s), APR_SUCCESS);
    demo_cluster_publish(cluster, s, "/srv/www");
    assert_ptr_equal(demo_seg, seg);
    assert_int_equal(demo_requests_sum(DEMO_SCOPE_FCGI, 0, 204), 1);
    uint16_t slots[DEMO_PER_BACKEND_MAX];
    assert_int_equal(demo_backend_slots(cluster->backends[1], slots), 1);
    assert_int_equal(slots[0], slot);
}

static void test_dead_child_gives_back(void **state)
{
    const char *urls[] = { "unix:/a", NULL };
    int ready[2], status;

    begin(urls, NULL);
    int slot = pick(-1);
    demo_shm_addr *a = &demo_seg->addrs[slot];
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        demo_target t;
        demo_shm_child_init(stub_server(pool));
        for (int i = 0; i < 5; i++) {
            (void)demo_balance_pick(cluster, -1, &t);
        }
        (void)demo_conns_acquire(slot, 0);
        (void)demo_queue_enter(10);
        demo_in_flight(3);
        (void)!write(ready[1], "x", 1);
        (void)pause();
        _exit(0);
    }
    char c;
    assert_int_equal(read(ready[0], &c, 1), 1);
    assert_int_equal(demo_gauge_read(&a->gauge[DEMO_G_OUTSTANDING]), 5);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    demo_shm_child_gone(getpid() + 1000000); /* another */
    assert_int_equal(demo_gauge_read(&a->gauge[DEMO_G_OUTSTANDING]), 5);
    demo_shm_child_gone(pid);
    assert_int_equal(demo_gauge_read(&a->gauge[DEMO_G_OUTSTANDING]), 0);
    assert_int_equal(demo_gauge_read(&a->gauge[DEMO_G_CONNS]), 0);
    assert_int_equal(demo_gauge_read(&demo_seg->server[DEMO_SG_QUEUED]), 0);
    assert_int_equal(demo_gauge_read(&demo_seg->server[DEMO_SG_IN_FLIGHT]), 0);
    close(ready[0]);
    close(ready[1]);
}

static void test_unnoticed_dead_child_gives_its_place(void **state)
{
    const char *urls[] = { "unix:/a", NULL };
    int status;

    begin(urls, NULL);
    pid_t pid = fork();
    if (pid == 0) {
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    for (uint32_t i = 0; i < demo_seg->n_children; i++) {
        atomic_store(&demo_seg->children[i].pid, pid); /* all places taken by dead ones */
    }
    atomic_store(&demo_seg->children[3].server[DEMO_SG_QUEUED], 4);
    atomic_store(&demo_seg->server[DEMO_SG_QUEUED], 4);
    demo_child = NULL;
    demo_shm_child_init(stub_server(pool));
    assert_non_null(demo_child);
}

/* A child that is killed between its two additions leaves a wrong total. */
static void test_wrong_total_is_mended(void **state)
{
    const char *urls[] = { "unix:/a", NULL };

    begin(urls, NULL);
    int slot = pick(-1);
    demo_shm_addr *a = &demo_seg->addrs[slot];
    (void)demo_gauge_add(slot, DEMO_G_OUTSTANDING, 2);
    atomic_fetch_add(&a->gauge[DEMO_G_OUTSTANDING], -1);
    for (int i = 0; i < 4; i++) {
        demo_shm_mend();
        assert_int_equal(demo_gauge_read(&a->gauge[DEMO_G_OUTSTANDING]), 1);
    }
    for (int i = 0; i < 4; i++) {
        demo_shm_mend();
    }
    assert_int_equal(demo_gauge_read(&a->gauge[DEMO_G_OUTSTANDING]), 2);
    (void)demo_gauge_add(slot, DEMO_G_OUTSTANDING, -2);
}

static void test_bounds(void **state)
{
    const char *urls[] = { "unix:/a", NULL };

    begin(urls, NULL);
    int slot = pick(-1);
    assert_int_equal(demo_conns_acquire(slot, 2), 1);
    assert_int_equal(demo_conns_acquire(slot, 2), 1);
    assert_int_equal(demo_conns_acquire(slot, 2), 0);
    demo_conns_release(slot);
    assert_int_equal(demo_conns_acquire(slot, 2), 1);
    demo_conns_release(slot);
    demo_conns_release(slot);
    assert_int_equal(demo_queue_enter(1), 1);
    assert_int_equal(demo_queue_enter(1), 0);
    demo_queue_leave();
    assert_int_equal(demo_queue_enter(0), 0);
    assert_int_equal(demo_gauge_read(&demo_seg->server[DEMO_SG_QUEUED]), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_backend),
        cmocka_unit_test(test_name_without_address),
        cmocka_unit_test(test_fewer_outstanding_wins),
        cmocka_unit_test(test_failure_holds_back_and_success_forgives),
        cmocka_unit_test(test_last_one_is_never_out),
        cmocka_unit_test(test_what_was_found_down_comes_last),
        cmocka_unit_test(test_another_attempt_does_not_go_where_nobody_answers),
        cmocka_unit_test(test_backup),
        cmocka_unit_test(test_addresses_keep_their_slots),
        cmocka_unit_test(test_retired_slots_are_used_again_when_nobody_needs_them),
        cmocka_unit_test(test_half_written_slot_is_dropped),
        cmocka_unit_test(test_restart_keeps_counters_and_slots),
        cmocka_unit_test(test_dead_child_gives_back),
        cmocka_unit_test(test_unnoticed_dead_child_gives_its_place),
        cmocka_unit_test(test_wrong_total_is_mended),
        cmocka_unit_test(test_bounds),
    };

    (void)apr_initialize();
    (void)apr_pool_create(&pool, NULL);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
