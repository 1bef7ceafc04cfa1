/* The live database, opened while system calls of SQLite's fail. */
#include "testlib.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

#include "fcgi-sidecar/database/sc_db.h"

static char folder[64], path[96];
static int opens, fail_at; /* of SQLite's opens for writing the fail_at-th one fails */

static int counted_open(const char *file, int flags, int mode)
{
    if ((flags & O_ACCMODE) == O_RDWR && ++opens == fail_at) {
        errno = EMFILE;
        return -1;
    }
    return open(file, flags, mode);
}

static int make_database(void **state)
{
    sqlite3 *c;

    snprintf(folder, sizeof(folder), "/tmp/sc-db-XXXXXX");
    if (mkdtemp(folder) == NULL) {
        return 1;
    }
    snprintf(path, sizeof(path), "%s/db.sqlite", folder);
    if (sqlite3_open(path, &c) != SQLITE_OK
        || sqlite3_exec(c, "PRAGMA journal_mode=WAL; CREATE TABLE t (x)", NULL, NULL, NULL) != SQLITE_OK) {
        return 1;
    }
    return sqlite3_close(c);
}

static int remove_database(void **state)
{
    static const char *const suffixes[] = { "", "-wal", "-shm" };
    char name[128];
    size_t i;

    sqlite3_vfs_find(NULL)->xSetSystemCall(sqlite3_vfs_find(NULL), "open", NULL);
    for (i = 0; i < 3; i++) {
        snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
        unlink(name);
    }
    return rmdir(folder);
}

/* As PHP does, so that the log has frames. */
static void insert(void)
{
    sqlite3 *c;

    opens = fail_at; /* none of these fails */
    assert_int_equal(sqlite3_open(path, &c), SQLITE_OK);
    assert_int_equal(sqlite3_exec(c, "PRAGMA wal_autocheckpoint=0; INSERT INTO t VALUES (1)", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(c), SQLITE_OK);
}

/* What a cut-over wants of it. */
static void can_be_given_away(sc_db *db)
{
    sc_error err = { 0, "" };
    bool whole = false;

    assert_int_equal(sc_db_lock(db, 1000, &err), APR_SUCCESS);
    if (sc_db_checkpoint(db, &whole, &err) != APR_SUCCESS || !whole) {
        fail_msg("open %d of %d failed, and no checkpoint is made after it: %s", fail_at, opens, err.text);
    }
    assert_int_equal(sc_db_log_void(db, &err), APR_SUCCESS);
    assert_int_equal(sc_db_log_restore(db, &err), APR_SUCCESS);
    sc_db_unlock(db);
}

/* No descriptor is left for one open: SQLite then reads alone, for as long as that connection lives.
 * Either opening fails, and is tried again, or the database can be written and handed over. */
static void test_one_open_without_a_descriptor(void **state)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
    int failed = 0;

    assert_int_equal(vfs->xSetSystemCall(vfs, "open", (sqlite3_syscall_ptr)counted_open), SQLITE_OK);
    for (fail_at = 1;; fail_at++) {
        sc_error err = { 0, "" };
        sc_db *db = NULL;
        apr_status_t rv;

        insert();
        opens = 0;
        rv = sc_db_open(&db, path, &err);
        if (rv != APR_SUCCESS) {
            assert_null(db);
            assert_string_not_equal(err.text, "");
            failed++;
            opens = fail_at; /* the next one is made */
            assert_int_equal(sc_db_open(&db, path, &err), APR_SUCCESS);
        }
        can_be_given_away(db);
        sc_db_close(db);
        if (opens < fail_at) {
            break;
        }
    }
    assert_true(fail_at > 4); /* two connections, log and index: each was met */
    print_message("%d opens, %d of them needed a second sc_db_open()\n", fail_at - 1, failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_open_without_a_descriptor, make_database, remove_database),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
