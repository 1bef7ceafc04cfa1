/* What a follower has, described and compared; records that are written ahead. */
#include "testlib.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/database/sc_have.h"

#define BLOCK SC_HAVE_BLOCK_MIN
#define BYTES (3 * BLOCK + 4096) /* the last block is short */

static const sc_secret key = { "0123456789abcdef0123456789abcde" };

static uint8_t *database(void)
{
    uint8_t *d = malloc(BYTES);
    size_t i;

    assert_non_null(d);
    for (i = 0; i < BYTES; i++) {
        d[i] = (uint8_t)(i * 31 + i / BLOCK);
    }
    d[18] = 2;
    return d;
}

static apr_status_t read_memory(void *context, uint64_t offset, uint8_t *out, size_t len)
{
    memcpy(out, (const uint8_t *)context + offset, len);
    return APR_SUCCESS;
}

static apr_status_t read_badly(void *context, uint64_t offset, uint8_t *out, size_t len)
{
    (void)context, (void)out, (void)len;
    return offset < BLOCK ? APR_SUCCESS : EIO;
}

static json_t *described(uint8_t *d)
{
    json_t *json = NULL;

    assert_int_equal(sc_have_describe(&key, BYTES, read_memory, d, &json), APR_SUCCESS);
    assert_non_null(json);
    return json;
}

static bool same(const sc_have *h, const uint8_t *d, size_t block)
{
    size_t at = block * BLOCK;

    return sc_have_same(h, at, d + at, BYTES - at < BLOCK ? BYTES - at : BLOCK);
}

static void each_block_is_compared(void **state)
{
    uint8_t *d = database();
    json_t *json = described(d);
    sc_have h;
    size_t i;

    (void)state;
    assert_true(sc_have_take(&h, &key, json));
    assert_int_equal(h.count, 4);
    for (i = 0; i < 4; i++) {
        size_t last = i == 3 ? BYTES - 1 : (i + 1) * BLOCK - 1;

        assert_true(same(&h, d, i));
        d[last] ^= 1;
        assert_false(same(&h, d, i));
        d[last] ^= 1;
    }
    assert_false(sc_have_same(&h, 4 * BLOCK, d, BLOCK)); /* beyond what is described */
    assert_false(sc_have_same(&h, BLOCK, d, BLOCK));     /* the first one's bytes, in another place */
    assert_false(sc_have_same(&h, 0, d, BLOCK - 512));   /* shorter */
    sc_have_free(&h);
    sc_have_free(&h);
    json_decref(json);
    free(d);
}

static void the_fence_does_not_count(void **state)
{
    uint8_t *d = database();
    json_t *json;
    sc_have h;

    (void)state;
    d[18] = 0x7f;
    json = described(d);
    d[18] = 2;
    assert_true(sc_have_take(&h, &key, json));
    assert_true(same(&h, d, 0));
    d[19] ^= 1;
    assert_false(same(&h, d, 0));
    sc_have_free(&h);
    json_decref(json);
    free(d);
}

static void two_descriptions_have_nothing_in_common(void **state)
{
    uint8_t *d = database();
    json_t *one = described(d), *two = described(d);

    (void)state;
    assert_string_not_equal(json_string_value(json_object_get(one, "sums")),
                            json_string_value(json_object_get(two, "sums")));
    json_decref(one);
    json_decref(two);
    free(d);
}

static void what_can_not_be_read_is_not_described(void **state)
{
    json_t *json;

    (void)state;
    assert_int_equal(sc_have_describe(&key, BYTES, read_badly, NULL, &json), EIO);
    assert_null(json);
}

static void malformed_descriptions_are_none(void **state)
{
    uint8_t *d = database();
    static const char *const members[] = { "salt", "block", "bytes", "sums" };
    json_t *good = described(d);
    sc_have h;
    size_t i;

    (void)state;
    assert_false(sc_have_take(&h, &key, NULL));
    for (i = 0; i < 4; i++) {
        json_t *bad = json_deep_copy(good);

        json_object_del(bad, members[i]);
        assert_false(sc_have_take(&h, &key, bad));
        json_object_set_new(bad, members[i], json_integer(3));
        assert_false(sc_have_take(&h, &key, bad));
        json_object_set_new(bad, members[i], json_string("zz"));
        assert_false(sc_have_take(&h, &key, bad));
        json_decref(bad);
    }
    json_object_set_new(good, "bytes", json_integer((json_int_t)1 << 62));
    assert_false(sc_have_take(&h, &key, good));
    json_decref(good);
    free(d);
}

static void blocks_grow_with_the_database(void **state)
{
    (void)state;
    assert_int_equal(sc_have_block_size(1), SC_HAVE_BLOCK_MIN);
    assert_int_equal(sc_have_block_size((uint64_t)SC_HAVE_BLOCK_MIN * SC_HAVE_BLOCKS_MAX),
                     2 * SC_HAVE_BLOCK_MIN);
    assert_int_equal(sc_have_block_size((uint64_t)1 << 50), SC_HAVE_BLOCK_MAX);
}

/* --- written ahead --------------------------------------------------------------- */

static char folder[64], path[96], temp[112];

static void assert_content(const char *want)
{
    char *data;
    size_t len;

    assert_int_equal(sc_file_read(path, &data, &len, NULL), APR_SUCCESS);
    assert_string_equal(data, want);
    free(data);
}

static void a_record_written_ahead(void **state)
{
    const sc_file_content own = { .path = path, .temp = temp, .data = "five", .len = 4, .mode = 0600,
                                  .name_later = true };
    struct stat before, after;

    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/sc-have-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/record", folder);
    snprintf(temp, sizeof(temp), "%s.tmp", path);
    assert_int_equal(sc_file_replace(path, "one", 3, 0600, NULL), APR_SUCCESS);

    sc_file_put_ahead(&(sc_file_content){ .path = path, .data = "two", .len = 3, .mode = 0600 });
    assert_content("one");                              /* nothing has changed yet */
    assert_int_equal(stat(temp, &before), 0);
    assert_int_equal(sc_file_replace(path, "two", 3, 0600, NULL), APR_SUCCESS);
    assert_content("two");
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);      /* that very file */

    sc_file_put_ahead(&(sc_file_content){ .path = path, .data = "three", .len = 5, .mode = 0600 });
    assert_int_equal(sc_file_replace(path, "four", 4, 0600, NULL), APR_SUCCESS);
    assert_content("four");                             /* another record after all */
    assert_int_equal(sc_file_replace(path, "three", 5, 0600, NULL), APR_SUCCESS);
    assert_content("three");                            /* what was written ahead is used up */
    assert_int_equal(access(temp, F_OK), -1);

    snprintf(temp, sizeof(temp), "%s.own.tmp", path);   /* beside another process's */
    sc_file_put_ahead(&own);
    assert_int_equal(stat(temp, &before), 0);
    assert_int_equal(sc_file_put(&own, NULL), APR_SUCCESS);
    assert_content("five");
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    sc_file_put_ahead(&own);
    sc_file_drop_ahead(temp);                           /* not needed after all */
    assert_int_equal(access(temp, F_OK), -1);
    assert_int_equal(sc_file_put(&own, NULL), APR_SUCCESS);
    assert_content("five");
    unlink(path);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_block_is_compared),
        cmocka_unit_test(the_fence_does_not_count),
        cmocka_unit_test(two_descriptions_have_nothing_in_common),
        cmocka_unit_test(what_can_not_be_read_is_not_described),
        cmocka_unit_test(malformed_descriptions_are_none),
        cmocka_unit_test(blocks_grow_with_the_database),
        cmocka_unit_test(a_record_written_ahead),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
