#include "fcgi-sidecar/database/sc_wal.h"

#include <errno.h>
#include <string.h>

#include "fcgi-sidecar/base/sc_bytes.h"
#include "fcgi-sidecar/base/sc_file.h"

#define MAGIC_LITTLE 0x377f0682u /* checksums read little-endian words */
#define MAGIC_BIG    0x377f0683u
#define INDEX_COPY   48          /* the header is there twice */
#define LOOK_TRIES   100

void sc_wal_init(sc_wal *w, int fd, const volatile uint8_t *index, size_t page_size)
{
    memset(w, 0, sizeof(*w));
    w->fd = fd;
    w->index = index;
    w->page_size = page_size;
}

static uint32_t native_u32(const uint8_t *in)
{
    uint32_t value;

    memcpy(&value, in, sizeof(value));
    return value;
}

static void copy_volatile(uint8_t *out, const volatile uint8_t *in, size_t len)
{
    const volatile uint32_t *words = (const volatile uint32_t *)(const volatile void *)in;
    size_t i;

    for (i = 0; i < len / 4; i++) {
        uint32_t word = words[i];

        memcpy(out + 4 * i, &word, 4);
    }
}

apr_status_t sc_wal_look(const sc_wal *w, sc_wal_index *index)
{
    uint8_t one[INDEX_COPY], two[INDEX_COPY], backfill[4];
    int i;

    for (i = 0; i < LOOK_TRIES; i++) {
        /* A writer changes the second copy first. */
        copy_volatile(one, w->index, sizeof(one));
        __sync_synchronize();
        copy_volatile(two, w->index + INDEX_COPY, sizeof(two));
        if (memcmp(one, two, sizeof(one)) == 0) {
            break;
        }
    }
    if (i == LOOK_TRIES) {
        return EAGAIN;
    }
    if (one[12] == 0) {
        return SC_ENONE;
    }
    copy_volatile(backfill, w->index + 2 * INDEX_COPY, sizeof(backfill));
    index->frames = native_u32(one + 16);
    index->pages = native_u32(one + 20);
    index->checksum[0] = native_u32(one + 24);
    index->checksum[1] = native_u32(one + 28);
    index->salt[0] = sc_get_u32(one + 32);
    index->salt[1] = sc_get_u32(one + 36);
    index->backfilled = native_u32(backfill);
    return APR_SUCCESS;
}

bool sc_wal_at_end(const sc_wal *w, const sc_wal_index *index)
{
    return w->position.salt[0] == index->salt[0] && w->position.salt[1] == index->salt[1]
        ? w->position.frame == index->frames : index->frames == 0;
}

void sc_wal_checksum(bool big_endian, const uint8_t *data, size_t len, uint32_t sum[2])
{
    uint32_t a = sum[0], b = sum[1];
    size_t i;

    for (i = 0; i + 8 <= len; i += 8) {
        uint32_t x, y;

        if (big_endian) {
            x = sc_get_u32(data + i);
            y = sc_get_u32(data + i + 4);
        }
        else {
            x = (uint32_t)data[i] | (uint32_t)data[i + 1] << 8 | (uint32_t)data[i + 2] << 16
              | (uint32_t)data[i + 3] << 24;
            y = (uint32_t)data[i + 4] | (uint32_t)data[i + 5] << 8 | (uint32_t)data[i + 6] << 16
              | (uint32_t)data[i + 7] << 24;
        }
        a += x + b;
        b += y + a;
    }
    sum[0] = a;
    sum[1] = b;
}

/* Goes to the start of the generation that the index names. */
static apr_status_t begin_generation(sc_wal *w, const sc_wal_index *index, sc_error *err)
{
    uint8_t head[SC_WAL_HEADER_LEN];
    uint32_t sum[2] = { 0, 0 };
    uint32_t magic;
    apr_status_t rv = sc_file_pread(w->fd, head, sizeof(head), 0);

    if (rv != APR_SUCCESS) {
        return sc_error_errno(err, rv, "can not read the header of the write-ahead log");
    }
    magic = sc_get_u32(head);
    w->big_endian = magic == MAGIC_BIG;
    sc_wal_checksum(w->big_endian, head, 24, sum);
    if ((magic != MAGIC_LITTLE && magic != MAGIC_BIG) || sc_get_u32(head + 8) != w->page_size
        || sc_get_u32(head + 16) != index->salt[0] || sc_get_u32(head + 20) != index->salt[1]
        || sc_get_u32(head + 24) != sum[0] || sc_get_u32(head + 28) != sum[1]) {
        return sc_error_set(err, SC_ECORRUPT, "the header of the write-ahead log does not fit its "
                            "index");
    }
    memcpy(w->position.salt, index->salt, sizeof(index->salt));
    memcpy(w->position.checksum, sum, sizeof(sum));
    w->position.frame = 0;
    return APR_SUCCESS;
}

/* Checks frame `position.frame + 1` at head and its page, and moves over it. */
static bool take_frame(sc_wal *w, const uint8_t *head, const uint8_t *page)
{
    uint32_t sum[2];

    memcpy(sum, w->position.checksum, sizeof(sum));
    sc_wal_checksum(w->big_endian, head, 8, sum);
    sc_wal_checksum(w->big_endian, page, w->page_size, sum);
    if (sc_get_u32(head) == 0 || sc_get_u32(head + 8) != w->position.salt[0]
        || sc_get_u32(head + 12) != w->position.salt[1] || sc_get_u32(head + 16) != sum[0]
        || sc_get_u32(head + 20) != sum[1]) {
        return false;
    }
    memcpy(w->position.checksum, sum, sizeof(sum));
    w->position.frame++;
    return true;
}

apr_status_t sc_wal_read(sc_wal *w, const sc_wal_index *index, uint32_t pages,
                         sc_wal_batch *batch, sc_error *err)
{
    apr_status_t rv;

    batch->count = 0;
    batch->commit_pages = 0;
    if (index->frames == 0) {
        return APR_SUCCESS;
    }
    if (w->position.salt[0] != index->salt[0] || w->position.salt[1] != index->salt[1]) {
        rv = begin_generation(w, index, err);
        if (rv != APR_SUCCESS) {
            return rv;
        }
    }
    while (w->position.frame < index->frames && batch->count < batch->room) {
        uint8_t head[SC_WAL_FRAME_LEN];
        uint8_t *page = batch->pages + (size_t)batch->count * w->page_size;
        off_t at = SC_WAL_HEADER_LEN
                 + (off_t)w->position.frame * (off_t)(SC_WAL_FRAME_LEN + w->page_size);

        rv = sc_file_pread(w->fd, head, sizeof(head), at);
        if (rv == APR_SUCCESS) {
            rv = sc_file_pread(w->fd, page, w->page_size, at + SC_WAL_FRAME_LEN);
        }
        if (rv != APR_SUCCESS) {
            return sc_error_errno(err, rv, "can not read the write-ahead log");
        }
        if (!take_frame(w, head, page)) {
            return sc_error_set(err, SC_ECORRUPT, "frame %u of the write-ahead log fails its "
                                "checksum", w->position.frame + 1);
        }
        batch->page_numbers[batch->count++] = sc_get_u32(head);
        batch->commit_pages = sc_get_u32(head + 4);
        if (batch->commit_pages != 0 && batch->commit_pages < pages) {
            break;
        }
    }
    return APR_SUCCESS;
}
