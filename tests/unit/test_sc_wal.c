/* The log of a real SQLite database, read beside SQLite and against it. */
#include "testlib.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sqlite3.h>

#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/database/sc_db.h"
#include "fcgi-sidecar/database/sc_db_fence.h"
#include "fcgi-sidecar/database/sc_db_file.h"

#define PAGE 4096
#define ROOM 16

static char folder[64], path[96];

/* What a follower keeps: an image made of the file and the log alone. */
struct image {
    uint8_t *bytes;
    uint32_t pages;
};

static int make_database(void **state)
{
    sqlite3 *c;

    snprintf(folder, sizeof(folder), "/tmp/sc-wal-XXXXXX");
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
    static const char *const suffixes[] = { "", "-wal", "-shm", "-image" };
    char name[128];
    size_t i;

    for (i = 0; i < 4; i++) {
        snprintf(name, sizeof(name), "%s%s", path, suffixes[i]);
        unlink(name);
    }
    return rmdir(folder);
}

static sqlite3 *writer(void)
{
    sqlite3 *c;

    assert_int_equal(sqlite3_open(path, &c), SQLITE_OK);
    sqlite3_busy_timeout(c, 2000);
    return c;
}

static void sql(sqlite3 *c, const char *text)
{
    char *why = NULL;

    if (sqlite3_exec(c, text, NULL, NULL, &why) != SQLITE_OK) {
        fail_msg("%s: %s", text, why);
    }
}

static void put_page(struct image *im, uint32_t number, const uint8_t *page)
{
    if (number > im->pages) {
        im->bytes = realloc(im->bytes, (size_t)number * PAGE);
        assert_non_null(im->bytes);
        memset(im->bytes + (size_t)im->pages * PAGE, 0, (size_t)(number - im->pages) * PAGE);
        im->pages = number;
    }
    memcpy(im->bytes + (size_t)(number - 1) * PAGE, page, PAGE);
}

static void take_base(struct image *im, const sc_db *db)
{
    struct stat st;
    uint8_t page[PAGE];
    uint32_t i;

    assert_int_equal(fstat(sc_db_fd(db), &st), 0);
    for (i = 0; i < st.st_size / PAGE; i++) {
        assert_int_equal(sc_file_pread(sc_db_fd(db), page, PAGE, (off_t)i * PAGE), APR_SUCCESS);
        put_page(im, i + 1, page);
    }
}

/* Moves the reader up and the image with it; returns the frames read. */
static unsigned follow(struct image *im, sc_reader *reader, sc_wal *wal)
{
    uint32_t numbers[ROOM];
    uint8_t *pages = malloc(ROOM * PAGE);
    sc_wal_batch batch = { .page_numbers = numbers, .pages = pages, .room = ROOM };
    sc_wal_index index;
    sc_error err = { 0, "" };
    unsigned n = 0;
    uint32_t i;

    assert_int_equal(sc_reader_advance(reader, &err), APR_SUCCESS);
    assert_int_equal(sc_wal_look(wal, &index), APR_SUCCESS);
    while (!sc_wal_at_end(wal, &index)) {
        if (sc_wal_read(wal, &index, im->pages, &batch, &err) != APR_SUCCESS) {
            fail_msg("%s", err.text);
        }
        for (i = 0; i < batch.count; i++) {
            put_page(im, numbers[i], pages + (size_t)i * PAGE);
        }
        if (batch.commit_pages != 0) {
            im->pages = batch.commit_pages;
        }
        n += batch.count;
    }
    sc_reader_settle(reader);
    free(pages);
    return n;
}

/* The image has to be a whole database with that many rows. */
static void image_holds(const struct image *im, int rows)
{
    char name[128], query[] = "SELECT count(*) FROM t";
    sqlite3_stmt *stmt;
    sqlite3 *c;

    snprintf(name, sizeof(name), "%s-image", path);
    assert_int_equal(sc_file_replace(name, im->bytes, (size_t)im->pages * PAGE, 0600, NULL), APR_SUCCESS);
    assert_int_equal(sc_db_check_file(name, NULL), APR_SUCCESS);
    assert_int_equal(sqlite3_open(name, &c), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(c, query, -1, &stmt, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(stmt, 0), rows);
    sqlite3_finalize(stmt);
    sqlite3_close(c);
}

static void follows_over_restarts_of_the_log(void **state)
{
    struct image im = { 0 };
    sqlite3 *c = writer();
    sc_reader *reader;
    sc_db *db;
    sc_wal wal;
    int i;

    assert_int_equal(sc_db_open(&db, path, NULL), APR_SUCCESS);
    assert_int_equal(sc_reader_open(&reader, db, NULL), APR_SUCCESS);
    sc_db_wal(db, &wal);
    take_base(&im, db);
    for (i = 1; i <= 300; i++) {
        sql(c, "INSERT INTO t VALUES (randomblob(3000))");
        if (i % 3 == 0) {
            sql(c, "PRAGMA wal_checkpoint(PASSIVE)");
        }
        if (i % 7 == 0) {
            follow(&im, reader, &wal);
        }
        if (i % 50 == 0) {
            follow(&im, reader, &wal);
            image_holds(&im, i);
        }
    }
    sql(c, "DELETE FROM t; VACUUM");
    follow(&im, reader, &wal);
    image_holds(&im, 0);
    sc_reader_close(reader);
    sc_db_close(db);
    sqlite3_close(c);
    free(im.bytes);
}

/* A checkpoint while the base is read, and a log that is begun anew meanwhile. */
static void a_base_that_is_read_while_it_changes(void **state)
{
    struct image im = { 0 };
    sqlite3 *c = writer();
    sc_reader *reader;
    sc_db *db;
    sc_wal wal;

    sql(c, "INSERT INTO t VALUES (randomblob(100000)); PRAGMA wal_checkpoint(TRUNCATE)");
    assert_int_equal(sc_db_open(&db, path, NULL), APR_SUCCESS);
    assert_int_equal(sc_reader_open(&reader, db, NULL), APR_SUCCESS); /* READ_LOCK(0) */
    sc_db_wal(db, &wal);
    sql(c, "INSERT INTO t VALUES (randomblob(100000)); PRAGMA wal_checkpoint(PASSIVE)");
    take_base(&im, db);
    sql(c, "UPDATE t SET x = randomblob(50000); PRAGMA wal_checkpoint(PASSIVE)");
    sql(c, "INSERT INTO t VALUES (1)");
    assert_true(follow(&im, reader, &wal) > 0);
    image_holds(&im, 3);
    sc_reader_close(reader);
    sc_db_close(db);
    sqlite3_close(c);
    free(im.bytes);
}

/* A base that began when the log was wholly in the file lets checkpoints write again, and
 * loses nothing of it. */
static void a_base_gets_a_mark_as_soon_as_the_log_grows(void **state)
{
    struct image im = { 0 };
    sqlite3 *c = writer();
    sc_wal_index index;
    sc_reader *reader;
    sc_db *db;
    sc_wal wal;

    sql(c, "INSERT INTO t VALUES (randomblob(100000)); PRAGMA wal_checkpoint(TRUNCATE)");
    assert_int_equal(sc_db_open(&db, path, NULL), APR_SUCCESS);
    assert_int_equal(sc_reader_open(&reader, db, NULL), APR_SUCCESS);
    sc_db_wal(db, &wal);
    assert_false(sc_reader_mark(reader, &wal));
    sql(c, "INSERT INTO t VALUES (randomblob(100000)); PRAGMA wal_checkpoint(PASSIVE)");
    assert_int_equal(sc_wal_look(&wal, &index), APR_SUCCESS);
    assert_int_equal(index.backfilled, 0);
    take_base(&im, db);
    assert_true(sc_reader_mark(reader, &wal));
    sql(c, "UPDATE t SET x = randomblob(50000); PRAGMA wal_checkpoint(PASSIVE)");
    assert_int_equal(sc_wal_look(&wal, &index), APR_SUCCESS);
    assert_true(index.backfilled > 0 && index.backfilled < index.frames);
    assert_true(sc_reader_mark(reader, &wal));
    assert_int_equal(follow(&im, reader, &wal), index.frames);
    image_holds(&im, 2);
    sc_reader_close(reader);
    sc_db_close(db);
    sqlite3_close(c);
    free(im.bytes);
}

static void what_is_not_committed_is_not_read(void **state)
{
    struct image im = { 0 };
    sqlite3 *c = writer();
    sc_reader *reader;
    sc_db *db;
    sc_wal wal;

    assert_int_equal(sc_db_open(&db, path, NULL), APR_SUCCESS);
    assert_int_equal(sc_reader_open(&reader, db, NULL), APR_SUCCESS);
    sc_db_wal(db, &wal);
    take_base(&im, db);
    follow(&im, reader, &wal);
    sql(c, "PRAGMA cache_size=2; BEGIN"); /* spills into the log */
    sql(c, "INSERT INTO t SELECT randomblob(3000) FROM (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL "
           "SELECT i + 1 FROM n WHERE i < 200) SELECT i FROM n)");
    assert_int_equal(follow(&im, reader, &wal), 0);
    sql(c, "ROLLBACK; INSERT INTO t VALUES (1)");
    assert_true(follow(&im, reader, &wal) > 0);
    image_holds(&im, 1);
    sc_reader_close(reader);
    sc_db_close(db);
    sqlite3_close(c);
    free(im.bytes);
}

static void a_damaged_frame_is_found(void **state)
{
    uint32_t numbers[ROOM];
    uint8_t pages[ROOM * PAGE];
    sc_wal_batch batch = { .page_numbers = numbers, .pages = pages, .room = ROOM };
    sqlite3 *c = writer();
    sc_wal_index index;
    sc_error err = { 0, "" };
    char name[128];
    uint8_t byte;
    sc_db *db;
    sc_wal wal;
    int fd;

    assert_int_equal(sc_db_open(&db, path, NULL), APR_SUCCESS);
    sql(c, "INSERT INTO t VALUES (1)");
    snprintf(name, sizeof(name), "%s-wal", path);
    fd = open(name, O_RDWR);
    assert_int_equal(sc_file_pread(fd, &byte, 1, 32 + 24 + 100), APR_SUCCESS);
    byte ^= 1;
    assert_int_equal(sc_file_pwrite(fd, &byte, 1, 32 + 24 + 100), APR_SUCCESS);
    sc_db_wal(db, &wal);
    assert_int_equal(sc_wal_look(&wal, &index), APR_SUCCESS);
    assert_int_equal(sc_wal_read(&wal, &index, 0, &batch, &err), SC_ECORRUPT);
    assert_non_null(strstr(err.text, "frame 1"));
    byte ^= 1;
    assert_int_equal(sc_file_pwrite(fd, &byte, 1, 32 + 24 + 100), APR_SUCCESS);
    close(fd);
    sqlite3_close(c);
    sc_db_close(db);
}

static void the_fence_stops_writers(void **state)
{
    bool fenced = true;
    sqlite3 *c;
    sc_db *db;

    assert_int_equal(sc_db_open(&db, path, NULL), APR_SUCCESS);
    assert_int_equal(sc_db_fence_get(sc_db_fd(db), &fenced), APR_SUCCESS);
    assert_false(fenced);
    assert_int_equal(sc_db_lock(db, 100, NULL), APR_SUCCESS);
    c = writer();
    sqlite3_busy_timeout(c, 50);
    assert_int_equal(sqlite3_exec(c, "INSERT INTO t VALUES (1)", NULL, NULL, NULL), SQLITE_BUSY);
    assert_int_equal(sc_db_checkpoint(db, &fenced, NULL), APR_SUCCESS);
    assert_true(fenced); /* whole */
    assert_int_equal(sc_db_fence_set(sc_db_fd(db), true, NULL), APR_SUCCESS);
    sqlite3_close(c);
    c = writer();
    assert_int_equal(sqlite3_exec(c, "INSERT INTO t VALUES (1)", NULL, NULL, NULL), SQLITE_READONLY);
    assert_int_equal(sqlite3_exec(c, "SELECT * FROM t", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(c);
    sc_db_close(db);
}

static off_t log_bytes(void)
{
    char name[128];
    struct stat st;

    snprintf(name, sizeof(name), "%s-wal", path);
    assert_int_equal(stat(name, &st), 0);
    return st.st_size;
}

static int rows(sqlite3 *c)
{
    sqlite3_stmt *q;
    int n;

    assert_int_equal(sqlite3_prepare_v2(c, "SELECT count(*) FROM t", -1, &q, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(q), SQLITE_ROW);
    n = sqlite3_column_int(q, 0);
    sqlite3_finalize(q);
    return n;
}

/* All that a crash would leave: what is read of it is read from the files alone. */
static int rows_after_a_crash(void)
{
    char command[512], name[128];
    sqlite3 *c;
    int n;

    snprintf(name, sizeof(name), "%s/crash", folder);
    snprintf(command, sizeof(command), "cp %s %s && cp %s-wal %s-wal", path, name, path, name);
    assert_int_equal(system(command), 0);
    assert_int_equal(sqlite3_open(name, &c), SQLITE_OK);
    n = rows(c);
    sqlite3_close(c); /* its log goes with it */
    unlink(name);
    return n;
}

static void room_in_the_log_changes_nothing_but_its_length(void **state)
{
    sqlite3 *c = writer(), *other = writer();
    sc_db *db = NULL;
    sc_wal_index index;
    sc_wal wal;
    off_t before, after;

    sql(c, "INSERT INTO t VALUES (1), (2)");
    assert_int_equal(sc_db_open(&db, path, NULL), APR_SUCCESS);
    sc_db_wal(db, &wal);
    assert_int_equal(sc_wal_look(&wal, &index), APR_SUCCESS);
    before = log_bytes();
    sql(c, "BEGIN IMMEDIATE"); /* may append: no room is made */
    sc_db_log_room(db, (uint64_t)before);
    assert_int_equal(log_bytes(), before);
    sql(c, "COMMIT");
    sc_db_log_room(db, (uint64_t)before);
    after = log_bytes();
    assert_true(after >= before + (off_t)SC_DB_LOG_ROOM);
    sc_db_log_room(db, (uint64_t)before); /* there is room */
    assert_int_equal(log_bytes(), after);
    assert_int_equal(rows_after_a_crash(), 2);
    sql(c, "INSERT INTO t VALUES (3)");
    sql(other, "INSERT INTO t VALUES (4)");
    assert_int_equal(log_bytes(), after); /* written into the room */
    assert_int_equal(rows(c), 4);
    assert_int_equal(rows_after_a_crash(), 4);
    sqlite3_close(c);
    sqlite3_close(other);
    sc_db_close(db);
}

#define T(f) cmocka_unit_test_setup_teardown(f, make_database, remove_database)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(follows_over_restarts_of_the_log), T(a_base_that_is_read_while_it_changes),
        T(a_base_gets_a_mark_as_soon_as_the_log_grows),
        T(what_is_not_committed_is_not_read), T(a_damaged_frame_is_found), T(the_fence_stops_writers),
        T(room_in_the_log_changes_nothing_but_its_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
