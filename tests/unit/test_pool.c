/* Kept connections: who waits has his turn, whatever others do, and the bound holds.
 *
 * A wait ends by itself after 50 ms, and does not begin where nothing comes back;
 * so a turn counts only when the machine let the test be quick, it has many. */
#include "testlib.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mod_demo/backend/demo_backend.h"
#include "mod_demo/pool/demo_bound.h"
#include "mod_demo/pool/demo_pool.h"
#include "mod_demo/shm/demo_clock.h"
#include "mod_demo/shm/demo_gauges.h"
#include "mod_demo/shm/demo_segment.h"
#include "mod_demo/shm/demo_shm.h"
#include "mod_demo/shm/demo_yield.h"
#include "stub_httpd.h"

enum { FLOW = 16, SILENCE_US = 20000, AT_ONCE_US = 10000, SETTLED_US = 20000 };
enum { TURNS = 200, QUICK = 20, PATIENT_US = 6000, TOO_LATE_US = 40000 };
enum { CROWD = 6, CROWD_ROUNDS = 500, CROWD_MAX = 2, FD_MAX = 4096 };

static apr_pool_t    *pool;
static demo_target    target;
static demo_pool_conf conf = { .max = 1, .idle = 10 * APR_USEC_PER_SEC };
static int            listener = -1;

/* One who comes while the only connection is in use. */
typedef struct {
    pthread_t   thread;
    demo_conn  *conn;
    bool        admitted;
    atomic_int  came, left;
    int         order;      /* among those that got a connection */
} guest;

static atomic_int turn;

static void *guest_main(void *arg)
{
    guest *g = arg;

    atomic_store(&g->came, 1);
    g->conn = demo_pool_take(&target, &conf, &g->admitted);
    atomic_store(&g->left, 1);
    g->order = atomic_fetch_add(&turn, 1);
    if (g->conn != NULL) {
        demo_pool_give(g->conn, &conf);
    }
    return NULL;
}

static void guest_start(guest *g)
{
    *g = (guest){ .conn = NULL };
    assert_int_equal(pthread_create(&g->thread, NULL, guest_main, g), 0);
    while (!atomic_load(&g->came)) {
        usleep(100);
    }
    usleep(PATIENT_US);
}

/* A leave to open that was not used goes back. */
static void guest_end(guest *g)
{
    pthread_join(g->thread, NULL);
    if (g->conn == NULL && g->admitted) {
        demo_pool_unadmit(&target);
    }
}

/* The only connection. */
static demo_conn *the_connection(void)
{
    bool admitted = false;
    demo_conn *conn = demo_pool_take(&target, &conf, &admitted);

    if (conn == NULL) {
        assert_true(admitted);
        assert_int_equal(demo_conn_open(&conn, &target, APR_USEC_PER_SEC), APR_SUCCESS);
        demo_pool_admitted(conn);
    }
    return conn;
}

static void connection_return(demo_conn *conn, bool admitted)
{
    if (conn != NULL) {
        demo_pool_give(conn, &conf);
    }
    else if (admitted) {
        demo_pool_unadmit(&target);
    }
}

/* Who comes waits only where connections come back all the time. */
static demo_conn *flowing_connection(void)
{
    demo_conn *conn = the_connection();

    for (int i = 0; i < FLOW; i++) {
        demo_pool_give(conn, &conf);
        conn = the_connection();
    }
    return conn;
}

static void test_who_waits_gets_it_before_who_comes(void **state)
{
    int first = 0, quick = 0;

    (void)state;
    for (int i = 0; i < TURNS && quick < QUICK; i++) {
        demo_conn *conn = flowing_connection();
        apr_time_t began = demo_now();
        bool admitted;
        guest g;
        int mine;
        bool in_time;
        guest_start(&g);
        in_time = demo_now() - began < TOO_LATE_US && !atomic_load(&g.left);
        conn->taken = demo_now();   /* an answer of microseconds */
        demo_pool_give(conn, &conf);
        conn = demo_pool_take(&target, &conf, &admitted);
        mine = atomic_fetch_add(&turn, 1);
        guest_end(&g);
        connection_return(conn, admitted);
        quick += in_time;
        first += in_time && (g.conn != NULL || g.admitted) && g.order < mine;
    }
    assert_true(first * 4 >= quick * 3);
}

static void test_who_waits_may_open_in_stead_of_what_is_closed(void **state)
{
    int good = 0;

    (void)state;
    for (int i = 0; i < TURNS && good == 0; i++) {
        demo_conn *conn = flowing_connection();
        apr_time_t began = demo_now();
        guest g;
        guest_start(&g);
        demo_pool_drop(conn);
        guest_end(&g);
        assert_true(g.conn == NULL);
        good += g.admitted && demo_now() - began < TOO_LATE_US;
    }
    assert_int_equal(good, 1);
}

/* One long request in PHP is no reason for others to wait, unless everybody has to
 * wait for a processor: what is measured then tells nothing. */
static void test_nobody_waits_where_nothing_comes_back(void **state)
{
    demo_conn *conn = the_connection();
    int at_once = 0, calm = 0;

    (void)state;
    usleep(SILENCE_US);
    for (int i = 0; i < TURNS && at_once == 0; i++) {
        apr_time_t began = demo_now();
        bool admitted, crowded = demo_is_crowded();
        conn->taken = began + APR_USEC_PER_SEC; /* it is not long, however slow this test */
        assert_null(demo_pool_take(&target, &conf, &admitted));
        assert_false(admitted);
        at_once += demo_now() - began < AT_ONCE_US;
        calm += !crowded && !demo_is_crowded();
    }
    assert_true(at_once > 0 || calm < QUICK);
    demo_pool_drop(conn);
}

/* The right of a long request goes to the next one; what lost it is closed. */
static void test_a_long_request_loses_its_right(void **state)
{
    demo_conn *slow = the_connection(), *next;
    bool admitted;

    (void)state;
    slow->taken = demo_now() - APR_USEC_PER_SEC;
    assert_null(demo_pool_take(&target, &conf, &admitted));
    assert_true(admitted);
    assert_int_equal(demo_conns_count(target.slot), 1);
    assert_int_equal(demo_conn_open(&next, &target, APR_USEC_PER_SEC), APR_SUCCESS);
    demo_pool_admitted(next);
    demo_pool_give(slow, &conf);
    assert_int_equal(demo_conns_count(target.slot), 1);
    demo_pool_give(next, &conf);
    assert_ptr_equal(demo_pool_take(&target, &conf, &admitted), next);
    demo_pool_drop(next);
    assert_int_equal(demo_conns_count(target.slot), 0);
}

/* Unless there is one again by then. */
static void test_a_right_that_was_lost_is_found_again(void **state)
{
    demo_conn *slow = the_connection();
    bool admitted;

    (void)state;
    slow->taken = demo_now() - APR_USEC_PER_SEC;
    assert_null(demo_pool_take(&target, &conf, &admitted));
    assert_true(admitted);
    demo_pool_unadmit(&target);
    slow->taken = demo_now();
    slow->busy = 0;
    demo_pool_give(slow, &conf);
    assert_int_equal(demo_conns_count(target.slot), 1);
    assert_ptr_equal(demo_pool_take(&target, &conf, &admitted), slow);
    demo_pool_drop(slow);
    assert_int_equal(demo_conns_count(target.slot), 0);
}

static demo_conn *open_admitted(const demo_pool_conf *c)
{
    demo_conn *conn = NULL;
    bool admitted;

    assert_null(demo_pool_take(&target, c, &admitted));
    assert_true(admitted);
    assert_int_equal(demo_conn_open(&conn, &target, APR_USEC_PER_SEC), APR_SUCCESS);
    demo_pool_admitted(conn);
    return conn;
}

/* Another child has none: this one gives up what is more than its share, and takes
 * no more before the other has its own. */
static void test_a_child_leaves_others_their_share(void **state)
{
    const demo_pool_conf two = { .max = 2, .idle = 10 * APR_USEC_PER_SEC };
    demo_shm_child *me = demo_child, *other = NULL;
    demo_conn *first = open_admitted(&two), *second = open_admitted(&two);
    bool admitted;

    (void)state;
    for (uint32_t i = 0; i < demo_seg->n_children && other == NULL; i++) {
        other = &demo_seg->children[i] != me ? &demo_seg->children[i] : NULL;
    }
    assert_non_null(other);
    atomic_store(&other->pid, 1);
    usleep(SETTLED_US); /* it is looked again who shares */
    demo_child = other;
    demo_conns_want(target.slot);
    demo_child = me;
    demo_pool_give(first, &two);
    assert_int_equal(demo_conns_count(target.slot), 1);
    demo_pool_give(second, &two);
    assert_int_equal(demo_conns_count(target.slot), 1);
    second = demo_pool_take(&target, &two, &admitted);
    assert_non_null(second);
    second->taken = demo_now() + APR_USEC_PER_SEC;
    assert_null(demo_pool_take(&target, &two, &admitted));
    assert_false(admitted);
    atomic_store(&other->pid, 0);
    atomic_store(&demo_seg->addrs[target.slot].conns_wanted, 0);
    demo_pool_drop(second);
    assert_int_equal(demo_conns_count(target.slot), 0);
}

/* The bound holds whatever was passed on. */
static void test_nothing_is_counted_twice_or_lost(void **state)
{
    bool admitted;
    demo_conn *conn = the_connection();

    (void)state;
    assert_false(demo_conns_acquire(target.slot, 1));
    demo_pool_drop(conn);
    assert_true(demo_pool_take(&target, &conf, &admitted) == NULL);
    assert_true(admitted);
    demo_pool_unadmit(&target);
    assert_true(demo_conns_acquire(target.slot, 1));
    demo_conns_release(target.slot);
}

static void note(apr_interval_time_t fresh, int times)
{
    for (int i = 0; i < times; i++) {
        demo_bound_note(target.slot, fresh, 1000);
    }
}

/* Without max= the bound follows what new connections tell of the listen queue. */
static void test_bound_follows_the_listen_queue(void **state)
{
    (void)state;
    assert_int_equal(demo_bound_get(target.slot), DEMO_BOUND_MIN);
    demo_bound_note(target.slot, 1, 0); /* nothing is known of kept ones: tells nothing */
    note(1400, 1000);                   /* neither quick nor slow */
    assert_int_equal(demo_bound_get(target.slot), DEMO_BOUND_MIN);
    note(500, 1000);
    assert_int_equal(demo_bound_get(target.slot), DEMO_BOUND_MAX);
    note(3000, 10);
    assert_in_range(demo_bound_get(target.slot), DEMO_BOUND_MIN, DEMO_BOUND_MAX - 3);
    note(3000, 1000);
    assert_int_equal(demo_bound_get(target.slot), DEMO_BOUND_MIN);
    for (int i = 0; i < 1000; i++) {    /* as beside another gateway: one quick, three slow */
        note(500, 1);
        note(3000, 3);
        assert_in_range(demo_bound_get(target.slot), DEMO_BOUND_MIN, DEMO_BOUND_MIN + 1);
    }
    assert_int_equal(demo_bound_get(-1), DEMO_BOUND_MIN);
}

/* What is kept beyond a bound that fell is closed when it comes back. */
static void test_a_bound_that_fell_is_kept(void **state)
{
    const demo_pool_conf automatic = { .max = DEMO_POOL_AUTO, .idle = 10 * APR_USEC_PER_SEC };
    demo_conn *held[DEMO_BOUND_MIN + 1];
    bool admitted;

    (void)state;
    note(500, 1000);
    for (int i = 0; i <= DEMO_BOUND_MIN; i++) {
        assert_null(demo_pool_take(&target, &automatic, &admitted));
        assert_true(admitted);
        assert_int_equal(demo_conn_open(&held[i], &target, APR_USEC_PER_SEC), APR_SUCCESS);
        demo_pool_admitted(held[i]);
        held[i]->reused = true;
    }
    note(9000, 1000);
    for (int i = 0; i <= DEMO_BOUND_MIN; i++) {
        demo_pool_give(held[i], &automatic);
    }
    assert_int_equal(demo_conns_count(target.slot), DEMO_BOUND_MIN);
}

/* --- many at once; with ThreadSanitizer, too ----------------------------------------------- */

static const demo_pool_conf crowded = { .max = CROWD_MAX, .idle = 2000 }; /* the reaper has work, too */
static atomic_int           used_by[FD_MAX]; /* whose a connection is, by its descriptor */
static atomic_int           shared, above;   /* faults */

static demo_conn *crowd_take(void)
{
    bool admitted;
    demo_conn *conn = demo_pool_take(&target, &crowded, &admitted);

    if (conn == NULL && admitted) {
        if (demo_conn_open(&conn, &target, APR_USEC_PER_SEC) != APR_SUCCESS) {
            demo_pool_unadmit(&target);
            return NULL;
        }
        demo_pool_admitted(conn);
    }
    return conn;
}

static void *crowd_main(void *arg)
{
    int me = *(int *)arg, none;

    for (int i = 0; i < CROWD_ROUNDS; i++) {
        demo_conn *conn = crowd_take();
        if (conn == NULL) {
            continue;
        }
        none = 0;
        if (conn->fd < 0 || conn->fd >= FD_MAX
            || !atomic_compare_exchange_strong(&used_by[conn->fd], &none, me)) {
            atomic_fetch_add(&shared, 1);
            return NULL;
        }
        if (demo_conns_count(target.slot) > CROWD_MAX) {
            atomic_fetch_add(&above, 1);
        }
        memset(conn->in, me, sizeof conn->in); /* as a request does */
        none = me;
        if (!atomic_compare_exchange_strong(&used_by[conn->fd], &none, 0)) {
            atomic_fetch_add(&shared, 1);
        }
        if (i % 40 == me) {
            demo_pool_drop(conn);
        }
        else {
            demo_pool_give(conn, &crowded);
        }
    }
    return NULL;
}

static void test_a_connection_has_one_user(void **state)
{
    pthread_t threads[CROWD];
    int number[CROWD];

    (void)state;
    for (int i = 0; i < CROWD; i++) {
        number[i] = i + 1;
        assert_int_equal(pthread_create(&threads[i], NULL, crowd_main, &number[i]), 0);
    }
    for (int i = 0; i < CROWD; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(atomic_load(&shared), 0);
    assert_int_equal(atomic_load(&above), 0);
    /* The reaper ends what lies idle, and nothing else is counted. */
    for (int i = 0; i < 10000 && demo_conns_count(target.slot) > 0; i++) {
        usleep(1000);
    }
    assert_int_equal(demo_conns_count(target.slot), 0);
}

static int setup(void **state)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof in;
    demo_sockaddr addr;
    demo_cluster *cluster;
    server_rec *s;

    (void)state;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(listen(listener, 1024), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&in, &len), 0);
    memset(&addr, 0, sizeof addr);
    memcpy(&addr, &in, sizeof in);
    assert_int_equal(apr_pool_create(&pool, NULL), APR_SUCCESS);
    demo_cluster_reset();
    cluster = demo_cluster_create(pool);
    assert_null(demo_cluster_add(cluster, "fcgi://php-fpm", 0, pool));
    s = stub_server(pool);
    assert_int_equal(demo_shm_open(s), APR_SUCCESS);
    demo_cluster_publish(cluster, s, "/srv/www");
    demo_shm_child_init(s);
    (void)demo_backend_set(cluster->backends[0], &addr, &len, 1);
    assert_int_equal(demo_balance_pick(cluster, -1, &target), APR_SUCCESS);
    demo_pool_child_init(pool, s);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    apr_pool_destroy(pool);
    close(listener);
    return 0;
}

/* With an argument: only the tests of that name, which may have * in it. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_connection_has_one_user),
        cmocka_unit_test(test_who_waits_gets_it_before_who_comes),
        cmocka_unit_test(test_who_waits_may_open_in_stead_of_what_is_closed),
        cmocka_unit_test(test_nobody_waits_where_nothing_comes_back),
        cmocka_unit_test(test_a_long_request_loses_its_right),
        cmocka_unit_test(test_a_right_that_was_lost_is_found_again),
        cmocka_unit_test(test_a_child_leaves_others_their_share),
        cmocka_unit_test(test_nothing_is_counted_twice_or_lost),
        cmocka_unit_test(test_bound_follows_the_listen_queue),
        cmocka_unit_test(test_a_bound_that_fell_is_kept),
    };
    int failed;

    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    apr_initialize();
    failed = cmocka_run_group_tests(tests, setup, teardown);
    apr_terminate();
    return failed;
}
