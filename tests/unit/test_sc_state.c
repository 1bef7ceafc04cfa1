/* The state file, its table of moves, and small files that are whole or absent. */
#include "testlib.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/node/sc_node.h"
#include "fcgi-sidecar/node/sc_state.h"

static char folder[64];

static int make_folder(void **state)
{
    snprintf(folder, sizeof(folder), "/tmp/sc-state-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/state.json", folder);
    unlink(path);
    return rmdir(folder);
}

static void loads_nothing_as_empty(void **state)
{
    sc_state s;
    sc_error err = { 0, "" };

    assert_int_equal(sc_state_load(&s, folder, NULL, &err), APR_SUCCESS);
    assert_int_equal(s.id, SC_STATE_EMPTY);
    assert_int_equal(strlen(s.uid), 32);
    assert_int_equal(sc_state_load(&s, folder, "a-uid", &err), APR_SUCCESS);
    assert_string_equal(s.uid, "a-uid");
    assert_int_equal(sc_state_load(&s, folder, "no/slash", &err), SC_EUSAGE);
    assert_non_null(strstr(err.text, "--uid"));
}

static void fill(sc_state *s)
{
    assert_int_equal(sc_state_load(s, folder, "me", NULL), APR_SUCCESS);
    strcpy(s->lineage, "0123456789abcdef0123456789abcdef");
    s->epoch = 41;
    strcpy(s->primary.uid, "me");
    strcpy(s->primary.control, "10.0.0.1:9001");
    strcpy(s->primary.relay, "10.0.0.1:9000");
    s->position = (sc_position){ { 0xffffffff, 1 }, 7, { 3, 0x80000000 } };
    s->digest = 0xfedcba9876543210;
    s->prepared = true;
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* Any close of a file drops the locks that the process has on it, those of SQLite too. */
static void a_reader_of_the_database_is_not_closed_under_it(void **state)
{
    static sc_node n;
    int early = open("/dev/null", O_RDONLY), late = open("/dev/null", O_RDONLY);
    int later = open("/dev/null", O_RDONLY);

    n.late_fd = -1;
    assert_int_equal(pthread_mutex_init(&n.lock, NULL), 0);
    n.state.id = SC_STATE_STANDBY;
    sc_node_close_file(&n, early);
    assert_false(is_open(early));
    n.taking_over = 1;
    sc_node_close_file(&n, late);
    assert_true(is_open(late) && n.late_fd == late);
    n.taking_over = 0;
    n.state.id = SC_STATE_PRIMARY;
    sc_node_close_file(&n, later);
    assert_true(is_open(late) && is_open(later));
    close(late);
    close(later);
    pthread_mutex_destroy(&n.lock);
}

static void reads_back_what_it_wrote(void **state)
{
    sc_state s, t;

    fill(&s);
    assert_int_equal(sc_state_move(&s, SC_STATE_PRIMARY, "test", NULL), APR_SUCCESS);
    assert_int_equal(sc_state_load(&t, folder, NULL, NULL), APR_SUCCESS);
    assert_int_equal(t.id, SC_STATE_PRIMARY);
    assert_int_equal(t.epoch, 41);
    assert_true(t.prepared);
    assert_true(sc_position_equal(&s.position, &t.position));
    assert_int_equal(t.digest, s.digest);
    assert_string_equal(t.primary.control, "10.0.0.1:9001");
    assert_int_equal(sc_state_load(&t, folder, "another", NULL), SC_EREFUSED);
}

static void finds_each_flipped_byte(void **state)
{
    char path[128];
    char *text;
    size_t len, i, accepted = 0;
    sc_state s;

    fill(&s);
    assert_int_equal(sc_state_save(&s, NULL), APR_SUCCESS);
    snprintf(path, sizeof(path), "%s/state.json", folder);
    assert_int_equal(sc_file_read(path, &text, &len, NULL), APR_SUCCESS);
    for (i = 0; i < len; i++) {
        text[i] ^= 1;
        assert_int_equal(sc_file_replace(path, text, len, 0600, NULL), APR_SUCCESS);
        accepted += sc_state_load(&s, folder, NULL, NULL) == APR_SUCCESS;
        text[i] ^= 1;
    }
    assert_int_equal(accepted, 0);
    for (i = 0; i < len; i += 7) {
        assert_int_equal(sc_file_replace(path, text, i, 0600, NULL), APR_SUCCESS);
        assert_int_not_equal(sc_state_load(&s, folder, NULL, NULL), APR_SUCCESS);
    }
    free(text);
}

static void refuses_moves_that_are_not_listed(void **state)
{
    sc_state s;
    sc_error err = { 0, "" };
    unsigned from, to, allowed = 0;

    fill(&s);
    assert_int_equal(sc_state_move(&s, SC_STATE_FORWARDING, "test", &err), SC_EREFUSED);
    assert_non_null(strstr(err.text, "EMPTY -> FORWARDING"));
    assert_int_equal(s.id, SC_STATE_EMPTY);
    for (from = 0; from < SC_STATE_COUNT; from++) {
        for (to = 0; to < SC_STATE_COUNT; to++) {
            allowed += sc_state_allows((sc_state_id)from, (sc_state_id)to);
        }
    }
    assert_int_equal(allowed, 12);
    /* Past the commit point the only way back is another swap of the authority. */
    assert_true(sc_state_allows(SC_STATE_FENCED, SC_STATE_PRIMARY));
    assert_false(sc_state_allows(SC_STATE_FENCED, SC_STATE_DRAINING));
    assert_false(sc_state_allows(SC_STATE_FORWARDING, SC_STATE_PRIMARY));
    assert_false(sc_state_allows(SC_STATE_SYNCING, SC_STATE_PRIMARY));
}

static void keeps_the_old_state_when_it_can_not_be_saved(void **state)
{
    sc_state s;

    fill(&s);
    strcpy(s.path, "/nowhere/at/all/state.json");
    assert_int_equal(sc_state_move(&s, SC_STATE_PRIMARY, "test", NULL), ENOENT);
    assert_int_equal(s.id, SC_STATE_EMPTY);
}

static void makes_folders(void **state)
{
    char path[128];
    struct stat st;

    snprintf(path, sizeof(path), "%s/a/b/c", folder);
    assert_int_equal(sc_file_make_folder(path, NULL), APR_SUCCESS);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(sc_file_make_folder(path, NULL), APR_SUCCESS);
    assert_int_not_equal(sc_file_make_folder("/dev/null/x", NULL), APR_SUCCESS);
    rmdir(path);
    path[strlen(path) - 2] = '\0';
    rmdir(path);
    path[strlen(path) - 2] = '\0';
    rmdir(path);
}

#define T(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(loads_nothing_as_empty), T(reads_back_what_it_wrote), T(finds_each_flipped_byte),
        T(refuses_moves_that_are_not_listed), T(keeps_the_old_state_when_it_can_not_be_saved),
        T(makes_folders), cmocka_unit_test(a_reader_of_the_database_is_not_closed_under_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
