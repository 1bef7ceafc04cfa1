/* Messages of a stream, MACs, nonces, and the rolling digest. */
#include "testlib.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fcgi-sidecar/base/sc_direct.h"
#include "fcgi-sidecar/control/sc_frame.h"
#include "fcgi-sidecar/control/sc_message.h"
#include "fcgi-sidecar/control/sc_nonce.h"
#include "fcgi-sidecar/database/sc_pages.h"

#define NONCE "00112233445566778899aabbccddeeff"

static const sc_secret key = { "0123456789abcdef0123456789abcde" };

struct wire {
    uint8_t data[8192];
    size_t len, at;
};

static apr_status_t put(void *context, const void *data, size_t len)
{
    struct wire *w = context;

    assert_true(w->len + len <= sizeof(w->data));
    memcpy(w->data + w->len, data, len);
    w->len += len;
    return APR_SUCCESS;
}

static apr_status_t take(void *context, void *data, size_t len)
{
    struct wire *w = context;

    if (w->len - w->at < len) {
        return ECONNRESET;
    }
    memcpy(data, w->data + w->at, len);
    w->at += len;
    return APR_SUCCESS;
}

static void write_three(struct wire *w)
{
    sc_frame_writer out;
    sc_frame_part parts[2] = { { "he", 2 }, { "llo", 3 } };

    memset(w, 0, sizeof(*w));
    assert_int_equal(sc_frame_writer_init(&out, &key, NONCE, put, w), APR_SUCCESS);
    assert_int_equal(sc_frame_write(&out, SC_FRAME_HELLO, parts, 2), APR_SUCCESS);
    assert_int_equal(sc_frame_write(&out, SC_FRAME_BASE_END, NULL, 0), APR_SUCCESS);
    assert_int_equal(sc_frame_write(&out, SC_FRAME_DONE, parts, 1), APR_SUCCESS);
    sc_frame_writer_free(&out);
}

/* Messages that are read before the first error. */
static unsigned read_all(struct wire *w, const char *nonce, apr_status_t *end)
{
    sc_frame_reader in;
    enum sc_frame_type type;
    const uint8_t *payload;
    size_t len;
    unsigned n = 0;

    w->at = 0;
    assert_int_equal(sc_frame_reader_init(&in, &key, nonce, take, w), APR_SUCCESS);
    while ((*end = sc_frame_read(&in, &type, &payload, &len)) == APR_SUCCESS) {
        if (n == 0) {
            assert_int_equal(type, SC_FRAME_HELLO);
            assert_int_equal(len, 5);
            assert_memory_equal(payload, "hello", 5);
        }
        assert_int_equal((uintptr_t)(payload + 4) % SC_DIRECT_BLOCK, 0);
        n++;
    }
    sc_frame_reader_free(&in);
    return n;
}

static void frames_come_back(void **state)
{
    struct wire w;
    apr_status_t end;

    write_three(&w);
    assert_int_equal(read_all(&w, NONCE, &end), 3);
    assert_int_equal(end, ECONNRESET);
}

static void each_changed_byte_is_found(void **state)
{
    struct wire w;
    apr_status_t end;
    size_t i;

    write_three(&w);
    for (i = 0; i < w.len; i++) {
        unsigned n;

        w.data[i] ^= 0x10;
        n = i < 53 ? 0 : i < 85 ? 1 : 2; /* salt 16, 16 + 5 + 16, 16 + 16 */
        if (n == 0) {
            sc_frame_reader in;
            enum sc_frame_type type;
            const uint8_t *payload;
            size_t len;

            w.at = 0;
            sc_frame_reader_init(&in, &key, NONCE, take, &w);
            assert_int_not_equal(sc_frame_read(&in, &type, &payload, &len), APR_SUCCESS);
            sc_frame_reader_free(&in);
        }
        else {
            assert_int_equal(read_all(&w, NONCE, &end), n);
        }
        w.data[i] ^= 0x10;
    }
}

static void order_and_nonce_count(void **state)
{
    struct wire w;
    apr_status_t end;

    write_three(&w);
    memmove(w.data + 53, w.data + 53 + 32, w.len - 53 - 32); /* the second is left out */
    w.len -= 32;
    assert_int_equal(read_all(&w, NONCE, &end), 1);
    assert_int_equal(end, SC_EAUTH);
    write_three(&w);
    assert_int_equal(read_all(&w, "ffeeddccbbaa99887766554433221100", &end), 0);
    assert_int_equal(end, SC_EAUTH);
}

/* Else the same number would stand under one key for two messages. */
static void the_same_request_gets_another_key(void **state)
{
    struct wire a, b;

    write_three(&a);
    write_three(&b);
    assert_int_equal(a.len, b.len);
    assert_memory_not_equal(a.data, b.data, SC_FRAME_SALT_LEN);
    assert_memory_equal(a.data + 16, b.data + 16, SC_FRAME_HEAD_LEN + 5);
    assert_memory_not_equal(a.data + 37, b.data + 37, SC_TAG_LEN);
}

static void a_length_has_a_limit(void **state)
{
    struct wire w;
    apr_status_t end;

    write_three(&w);
    w.data[SC_FRAME_SALT_LEN + 4] = 0xff;
    assert_int_equal(read_all(&w, NONCE, &end), 0);
    assert_int_equal(end, SC_ECORRUPT);
}

static void a_request_mac_covers_everything(void **state)
{
    sc_message m = { "/v1/grant", "aa", 1, "me", "you", NONCE, 1000 }, other;
    char mac[SC_HEX_LEN + 1], again[SC_HEX_LEN + 1];
    int i;

    sc_message_mac(&key, &m, "{}", 2, mac);
    for (i = 0; i < 8; i++) {
        other = m;
        switch (i) {
        case 0: strcpy(other.path, "/v1/who"); break;
        case 1: strcpy(other.lineage, "ab"); break;
        case 2: other.epoch = 2; break;
        case 3: strcpy(other.uid, "mf"); break;
        case 4: strcpy(other.to, ""); break;
        case 5: other.nonce[0] = 'f'; break;
        case 6: other.time_ms = 1001; break;
        default: break;
        }
        sc_message_mac(&key, &other, i == 7 ? "{ }" : "{}", i == 7 ? 3 : 2, again);
        assert_string_not_equal(mac, again);
    }
    sc_message_mac(&key, &m, "{}", 2, again);
    assert_string_equal(mac, again);
}

/* RFC 4231, test case 2. */
static void hmac_is_the_standard_one(void **state)
{
    sc_secret jefe = { "Jefe" };
    char mac[SC_HEX_LEN + 1];

    sc_mac_hex(&jefe, "what do ya want for nothing?", 28, mac);
    assert_string_equal(mac, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

/* Test case 13 of McGrew and Viega, "The Galois/Counter Mode of Operation". */
static void gmac_is_the_standard_one(void **state)
{
    static const unsigned char want[] = { 0x53, 0x0f, 0x8a, 0xfb, 0xc7, 0x45, 0x36, 0xb9,
                                          0xa9, 0x63, 0xb4, 0xf1, 0xc4, 0xcb, 0x73, 0x8b };
    sc_secret zero = { { 0 } };
    sc_tag *tag = sc_tag_new(&zero);
    unsigned char got[SC_TAG_LEN], parts[SC_TAG_LEN];

    assert_non_null(tag);
    sc_tag_begin(tag, 0);
    sc_tag_end(tag, got);
    assert_memory_equal(got, want, sizeof(want));
    sc_tag_begin(tag, 1);
    sc_tag_add(tag, "abcdefghijklmnopqrst", 20);
    sc_tag_end(tag, got);
    sc_tag_begin(tag, 1); /* the same in pieces */
    sc_tag_add(tag, "abc", 3);
    sc_tag_add(tag, "defghijklmnopqrst", 17);
    sc_tag_end(tag, parts);
    assert_memory_equal(got, parts, sizeof(got));
    sc_tag_begin(tag, 2);
    sc_tag_add(tag, "abcdefghijklmnopqrst", 20);
    sc_tag_end(tag, parts);
    assert_memory_not_equal(got, parts, sizeof(got));
    sc_tag_free(tag);
}

static void a_nonce_is_good_once(void **state)
{
    sc_nonce_cache *c = malloc(sizeof(*c));
    char nonce[SC_NONCE_LEN + 1];
    unsigned i, taken = 0;

    assert_non_null(c);
    sc_nonce_init(c, 1000);
    assert_true(sc_nonce_take(c, NONCE, 5));
    assert_false(sc_nonce_take(c, NONCE, 6));
    assert_false(sc_nonce_take(c, NONCE, 1004));
    assert_true(sc_nonce_take(c, NONCE, 1005));
    for (i = 0; i < 2 * SC_NONCE_SLOTS; i++) {
        sc_random_hex(nonce, SC_NONCE_LEN / 2);
        taken += sc_nonce_take(c, nonce, 1006);
        assert_false(sc_nonce_take(c, nonce, 1006)); /* taken or refused, never twice */
    }
    assert_in_range(taken, SC_NONCE_SLOTS / 2, SC_NONCE_SLOTS);
    free(c);
}

static void the_digest_forgets_nothing(void **state)
{
    uint8_t page[512];
    sc_pages a = { 0 }, b = { 0 };
    uint64_t before;
    uint32_t i;

    memset(page, 7, sizeof(page));
    for (i = 1; i <= 2000; i++) {
        memcpy(page, &i, sizeof(i));
        assert_int_equal(sc_pages_put(&a, i, page, sizeof(page)), APR_SUCCESS);
    }
    for (i = 2000; i >= 1; i--) { /* another order */
        memcpy(page, &i, sizeof(i));
        assert_int_equal(sc_pages_put(&b, i, page, sizeof(page)), APR_SUCCESS);
    }
    assert_int_equal(a.digest, b.digest);
    before = a.digest;
    page[511] ^= 1;
    sc_pages_put(&a, 1, page, sizeof(page));
    assert_int_not_equal(a.digest, before);
    page[511] ^= 1;
    sc_pages_put(&a, 1, page, sizeof(page));
    assert_int_equal(a.digest, before);
    sc_pages_put(&a, 3000, page, sizeof(page)); /* grows over a hole and shrinks again */
    sc_pages_resize(&a, 2000);
    assert_int_equal(a.digest, before);
    sc_pages_resize(&a, 0);
    assert_int_equal(a.digest, 0);
    sc_pages_free(&a);
    sc_pages_free(&b);
}

/* A file that grew past 1 GiB through the log has a lock page that was never put in; one
 * whose base had it has. */
static void the_lock_page_may_be_in_it_or_not(void **state)
{
    enum { SIZE = 65536, LOCK = 0x40000000 / SIZE + 1, PAGES = LOCK + 2 };
    char path[] = "/tmp/test-pages-XXXXXX";
    uint8_t *page = calloc(1, SIZE);
    sc_pages p = { 0 };
    int fd = mkstemp(path);
    bool same;
    uint32_t i;

    assert_true(fd >= 0 && unlink(path) == 0 && ftruncate(fd, (off_t)PAGES * SIZE) == 0);
    page[17] = 1; /* its size: 65536 */
    page[18] = 2;
    assert_int_equal(pwrite(fd, page, 100, 0), 100);
    assert_int_equal(sc_pages_put(&p, 1, page, SIZE), APR_SUCCESS);
    memset(page, 0, SIZE);
    for (i = 2; i <= PAGES; i++) {
        assert_int_equal(i == LOCK ? APR_SUCCESS : sc_pages_put(&p, i, page, SIZE), APR_SUCCESS);
    }
    assert_int_equal(sc_pages_match_file(fd, p.digest, &same), APR_SUCCESS);
    assert_true(same);
    assert_int_equal(sc_pages_put(&p, LOCK, page, SIZE), APR_SUCCESS);
    assert_int_equal(sc_pages_match_file(fd, p.digest, &same), APR_SUCCESS);
    assert_true(same);
    assert_int_equal(pwrite(fd, "x", 1, (off_t)(PAGES - 1) * SIZE), 1);
    assert_int_equal(sc_pages_match_file(fd, p.digest, &same), APR_SUCCESS);
    assert_false(same);
    sc_pages_free(&p);
    close(fd);
    free(page);
}

#define T(f) cmocka_unit_test(f)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(frames_come_back), T(each_changed_byte_is_found), T(order_and_nonce_count),
        T(the_same_request_gets_another_key), T(a_length_has_a_limit),
        T(a_request_mac_covers_everything), T(hmac_is_the_standard_one), T(gmac_is_the_standard_one),
        T(a_nonce_is_good_once), T(the_digest_forgets_nothing), T(the_lock_page_may_be_in_it_or_not),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
