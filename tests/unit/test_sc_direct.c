/* Much data for one file, past the page cache or through it: what is read is what was written. */
#include "testlib.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-sidecar/base/sc_direct.h"
#include "fcgi-sidecar/base/sc_file.h"

#define BLOCK SC_DIRECT_BLOCK
#define BYTES (64u * BLOCK)

struct file {
    char path[64];
    int fd, direct;
    uint8_t *want, *data; /* BYTES; data lies at a whole block */
};

static int set_up(void **state)
{
    struct file *f = calloc(1, sizeof(*f));

    assert_non_null(f);
    snprintf(f->path, sizeof(f->path), "test_sc_direct.XXXXXX");
    f->fd = mkstemp(f->path); /* in the build's folder: a file system of a disk, as a rule */
    assert_true(f->fd >= 0);
    f->direct = sc_direct_open(f->path);
    f->want = calloc(1, BYTES);
    f->data = sc_direct_alloc(BYTES);
    assert_true(f->want != NULL && f->data != NULL);
    assert_int_equal((uintptr_t)f->data % BLOCK, 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct file *f = *state;

    sc_file_close(f->direct);
    close(f->fd);
    unlink(f->path);
    free(f->want);
    free(f->data);
    free(f);
    return 0;
}

/* len bytes of a pattern, taken from data + skew, to offset. */
static void put(struct file *f, size_t skew, size_t len, size_t offset, unsigned pattern)
{
    size_t i;

    for (i = 0; i < len; i++) {
        f->data[skew + i] = f->want[offset + i] = (uint8_t)(pattern + i * 7 + i / BLOCK);
    }
    assert_int_equal(sc_direct_pwrite(&f->direct, f->fd, f->data + skew, len, (off_t)offset),
                     APR_SUCCESS);
}

static void is_there(struct file *f, size_t bytes)
{
    uint8_t *have = malloc(bytes);

    assert_non_null(have);
    assert_int_equal(lseek(f->fd, 0, SEEK_END), (off_t)bytes);
    assert_int_equal(sc_file_pread(f->fd, have, bytes, 0), APR_SUCCESS);
    assert_memory_equal(have, f->want, bytes);
    free(have);
}

static void sizes_that_are_no_whole_blocks(void **state)
{
    struct file *f = *state;
    static const size_t lens[] = { 1, 512, BLOCK - 1, BLOCK, BLOCK + 512, 3 * BLOCK, 5 * BLOCK + 1 };
    size_t i;

    for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        assert_int_equal(ftruncate(f->fd, 0), 0);
        put(f, 0, lens[i], 0, (unsigned)i);
        is_there(f, lens[i]);
    }
}

static void places_and_memory_that_are_no_whole_blocks(void **state)
{
    struct file *f = *state;

    put(f, 0, 8 * BLOCK, 0, 1);
    put(f, 0, 4 * BLOCK, 8 * BLOCK, 2);
    put(f, 4, 4 * BLOCK, 2 * BLOCK, 3);
    put(f, 0, 2 * BLOCK, BLOCK + 512, 4);
    put(f, 1, 700, 12 * BLOCK - 300, 5);
    is_there(f, 12 * BLOCK + 400);
}

/* Pages in the cache, some of them not written yet, and what goes past them. */
static void both_ways_see_one_another(void **state)
{
    struct file *f = *state;
    unsigned round;

    put(f, 0, BYTES, 0, 1);
    for (round = 0; round < 20; round++) {
        is_there(f, BYTES);                            /* cached */
        put(f, 4, BLOCK, (round % 8) * BLOCK, round);  /* dirty */
        put(f, 0, 8 * BLOCK, (round % 4) * 2 * BLOCK, round + 100);
    }
    is_there(f, BYTES);
    assert_int_equal(fsync(f->fd), 0);
    is_there(f, BYTES);
}

static void without_the_second_way(void **state)
{
    struct file *f = *state;

    sc_file_close(f->direct);
    f->direct = -1;
    put(f, 0, 4 * BLOCK + 5, 0, 1);
    is_there(f, 4 * BLOCK + 5);
}

static void nothing_to_open(void **state)
{
    (void)state;
    assert_int_equal(sc_direct_open("there/is/no/such.file"), -1);
    assert_null(sc_direct_alloc(SIZE_MAX));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sizes_that_are_no_whole_blocks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(places_and_memory_that_are_no_whole_blocks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(both_ways_see_one_another, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_the_second_way, set_up, tear_down),
        cmocka_unit_test(nothing_to_open)
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
