/* URLs of backends, and php-fpm's status page. */
#include "testlib.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "mod_demo/backend/demo_endpoint.h"
#include "mod_demo/background/demo_fetch.h"
#include "mod_demo/observe/demo_fpmqueue.h"
#include "mod_demo/observe/demo_status.h"

static apr_pool_t *pool;

static const demo_endpoint *good(const char *url, enum demo_endpoint_path path)
{
    const demo_endpoint *e = NULL;
    const char *wrong = demo_endpoint_parse(&e, url, path, pool);

    if (wrong != NULL) {
        fail_msg("%s", wrong);
    }
    return e;
}

static void test_good_urls(void **state)
{
    static const struct {
        const char *in, *url, *host;
        unsigned port;
    } cases[] = {
        { "fcgi://php-fpm", "fcgi://php-fpm:9000", "php-fpm", 9000 },
        { "fcgi://php-fpm/", "fcgi://php-fpm:9000", "php-fpm", 9000 },
        { "FCGI://Php_1.example:1", "fcgi://Php_1.example:1", "Php_1.example", 1 },
        { "fcgi://127.0.0.1:65535", "fcgi://127.0.0.1:65535", "127.0.0.1", 65535 },
        { "fcgi://[::1]", "fcgi://[::1]:9000", "::1", 9000 },
        { "fcgi://[fe80::1]:9001", "fcgi://[fe80::1]:9001", "fe80::1", 9001 },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const demo_endpoint *e = good(cases[i].in, DEMO_PATH_NONE);
        assert_string_equal(e->url, cases[i].url);
        assert_string_equal(e->host, cases[i].host);
        assert_int_equal(e->port, cases[i].port);
        assert_null(e->path);
    }
    assert_string_equal(good("unix:/run/php.sock", DEMO_PATH_NONE)->sock, "/run/php.sock");
    assert_string_equal(good("unix:///run/php.sock", DEMO_PATH_NONE)->url, "unix:/run/php.sock");
    assert_string_equal(good("fcgi://php-fpm:9002/status", DEMO_PATH_ALLOWED)->path, "/status");
    assert_string_equal(good("fcgi://php-fpm:9002/status", DEMO_PATH_ALLOWED)->url,
                        "fcgi://php-fpm:9002");
}

static void test_bad_urls(void **state)
{
    static const struct {
        const char *url, *says;
    } cases[] = {
        { "http://php-fpm:9000", "neither with fcgi:// nor with unix:/" },
        { "", "neither with fcgi:// nor with unix:/" },
        { "php-fpm:9000", "neither with fcgi:// nor with unix:/" },
        { "fcgi://", "the host is missing" },
        { "fcgi://:9000", "the host is missing" },
        { "fcgi://a:", "is no port" },
        { "fcgi://a:0", "port 0 is not within" },
        { "fcgi://a:65536", "port 65536 is not within" },
        { "fcgi://a:99999999999", "is no port" },
        { "fcgi://a:9x", "is no port" },
        { "fcgi://a:-1", "is no port" },
        { "fcgi://::1:9000", "IPv6 addresses go in brackets" },
        { "fcgi://[::1", "closing bracket" },
        { "fcgi://[::1]9000", "is no port" },
        { "fcgi://[::g]", "is no IPv6 address" },
        { "fcgi://a b", "is no host name" },
        { "fcgi://user@a", "is no host name" },
        { "fcgi://a/path", "a path makes no sense" },
        { "fcgi://a?x", "query" },
        { "unix:relative", "absolute path" },
        { "unix:/", "absolute path" },
        { "unix:", "absolute path" },
    };
    const demo_endpoint *e = NULL;
    char text[400];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *wrong = demo_endpoint_parse(&e, cases[i].url, DEMO_PATH_NONE, pool);
        assert_non_null(wrong);
        if (strstr(wrong, cases[i].says) == NULL) {
            fail_msg("%s: %s", cases[i].url, wrong);
        }
    }
    (void)snprintf(text, sizeof(text), "unix:/%0108d", 0);
    assert_non_null(strstr(demo_endpoint_parse(&e, text, DEMO_PATH_NONE, pool), "at most 107"));
    (void)snprintf(text, sizeof(text), "fcgi://%0254d", 0);
    assert_non_null(strstr(demo_endpoint_parse(&e, text, DEMO_PATH_NONE, pool), "at most 253"));
}

static const char page_text[] =
    "pool:                 www\n"
    "process manager:      dynamic\n"
    "start time:           21/Nov/2026:12:11:02 +0000\n"
    "start since:          42\r\n"
    "accepted conn:        1234\n"
    "listen queue:         3\n"
    "max listen queue:     7\n"
    "listen queue len:     511\n"
    "idle processes:       0\n"
    "active processes:     90000\n"
    "total processes:      90000\n"
    "max active processes: 90001\n"
    "max children reached: 2\n"
    "slow requests:        5\n";
static const char list_text[] =
    "\n************************\npid:  1\nstate: Idle\nscript: -\n"
    "\n************************\npid:  2\nstate: Running\npool: nonsense\nslow requests: 99\n"
    "\n************************\npid:  3\nstate: Reading headers\n";

static void test_status_page(void **state)
{
    static const int64_t want[DEMO_ST_COUNT] = { 42, 1234, 3, 7, 511, 0, 90000, 90000, 90001, 2, 5 };
    demo_status_page page;
    char both[2048];

    assert_int_equal(demo_status_parse(page_text, &page), 1);
    assert_string_equal(page.pool, "www");
    assert_memory_equal(page.value, want, sizeof(want));
    /* with the list of workers, that one counts */
    (void)snprintf(both, sizeof(both), "%s%s", page_text, list_text);
    assert_int_equal(demo_status_parse(both, &page), 1);
    assert_string_equal(page.pool, "www");
    assert_int_equal(page.value[DEMO_ST_IDLE], 1);
    assert_int_equal(page.value[DEMO_ST_ACTIVE], 2);
    assert_int_equal(page.value[DEMO_ST_TOTAL], 3);
    assert_int_equal(page.value[DEMO_ST_MAX_ACTIVE], 3);
    assert_int_equal(page.value[DEMO_ST_SLOW], 5);
}

/* Cut anywhere, and with any byte replaced, it is read without a fault. */
static void test_broken_status_pages(void **state)
{
    static const char odd[] = { '\0', ':', '\n', '*', '-', '9', (char)0xff };
    demo_status_page page;
    size_t len = sizeof(page_text) - 1;

    for (size_t cut = 0; cut <= len; cut++) {
        char *text = (char *)tight(page_text, cut + 1);
        text[cut] = '\0';
        (void)demo_status_parse(text, &page);
        for (size_t k = 0; k < sizeof(odd) && cut < len; k++) {
            memcpy(text, page_text, cut);
            text[cut] = odd[k];
            char *whole = (char *)tight(page_text, sizeof(page_text));
            whole[cut] = odd[k];
            (void)demo_status_parse(whole, &page);
            tight_free(whole);
        }
        tight_free(text);
    }
    assert_int_equal(demo_status_parse("", &page), 0);
    assert_int_equal(demo_status_parse("accepted conn: 1\n", &page), 0);
    assert_int_equal(page.value[DEMO_ST_ACCEPTED], 1);
    assert_int_equal(demo_status_parse("pool: x\nslow requests: 1e3\nlisten queue: -1\n", &page), 1);
    assert_int_equal(page.value[DEMO_ST_SLOW], -1);
    assert_int_equal(page.value[DEMO_ST_QUEUE], -1);
}

/* A socket that listens in a new tmpfs at folder; waiting connections are in its queue. */
static void listen_in_tmpfs(const char *folder, int backlog, unsigned waiting)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    assert_return_code(mkdir(folder, 0700), errno);
    assert_return_code(mount("tmpfs", folder, "tmpfs", 0, NULL), errno);
    (void)snprintf(un.sun_path, sizeof un.sun_path, "%s/s", folder);
    assert_return_code(bind(fd, (struct sockaddr *)&un, sizeof un), errno);
    assert_return_code(listen(fd, backlog), errno);
    for (; waiting > 0; waiting--) {
        assert_return_code(connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&un, sizeof un), errno);
    }
}

/* Each tmpfs counts its own inodes: the two sockets have the same one. */
static void test_queue_of_the_right_file_system(void **state)
{
    char folder[] = "/tmp/demo-queue.XXXXXX";
    demo_fpmqueue queue;

    (void)state;
    assert_non_null(mkdtemp(folder));
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0
        || mount("tmpfs", folder, "tmpfs", 0, NULL) != 0) {
        (void)rmdir(folder);
        print_message("skipped: no file system may be mounted here\n");
        skip();
    }
    assert_return_code(chdir(folder), errno);
    listen_in_tmpfs("a", 10, 3);
    listen_in_tmpfs("b", 20, 1);
    assert_int_equal(demo_fpmqueue_read("a/s", &queue), 0);
    assert_int_equal(queue.waiting * 100 + queue.max, 310);
    assert_int_equal(demo_fpmqueue_read("b/s", &queue), 0);
    assert_int_equal(queue.waiting * 100 + queue.max, 120);
    assert_int_not_equal(demo_fpmqueue_read("c/s", &queue), 0);
    assert_return_code(chdir("/"), errno);
    assert_return_code(umount2(folder, MNT_DETACH), errno);
    assert_return_code(rmdir(folder), errno);
}

/* A ping that finds no room in the listen queue, and one that finds nobody. */
static void test_full_queue_is_busy(void **state)
{
    struct sockaddr_un un = { .sun_family = AF_UNIX };
    demo_fetch_request rq = { (struct sockaddr *)&un, sizeof(un), "/ping", "", "/srv/ping" };
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), waiting[8], n = 0;
    char buf[64];
    demo_fetch f;

    (void)state;
    (void)snprintf(un.sun_path, sizeof(un.sun_path), "/tmp/demo-busy.%d", (int)getpid());
    (void)unlink(un.sun_path);
    assert_return_code(bind(listener, (struct sockaddr *)&un, sizeof(un)), errno);
    assert_return_code(listen(listener, 0), errno);
    do {
        assert_in_range(n, 0, 7);
        waiting[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    } while (connect(waiting[n++], (struct sockaddr *)&un, sizeof(un)) == 0);
    demo_fetch_init(&f, buf, sizeof(buf));
    demo_fetch_start(&f, &rq, 0, 1000000);
    assert_int_equal(f.state, DEMO_FETCH_FAILED);
    assert_string_equal(f.text, "the listen queue of the socket is full");
    assert_int_equal(f.busy, 1);
    while (n > 0) {
        (void)close(waiting[--n]);
    }
    (void)close(listener);
    demo_fetch_start(&f, &rq, 0, 1000000);
    assert_int_equal(f.state, DEMO_FETCH_FAILED);
    assert_int_equal(f.busy, 0);
    (void)unlink(un.sun_path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_urls),
        cmocka_unit_test(test_bad_urls),
        cmocka_unit_test(test_status_page),
        cmocka_unit_test(test_broken_status_pages),
        cmocka_unit_test(test_queue_of_the_right_file_system),
        cmocka_unit_test(test_full_queue_is_busy),
    };

    (void)apr_initialize();
    (void)apr_pool_create(&pool, NULL);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
