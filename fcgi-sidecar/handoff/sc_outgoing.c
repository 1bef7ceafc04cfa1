#include "fcgi-sidecar/handoff/sc_outgoing.h"

#include <apr_time.h>
#include <errno.h>
#include <sys/stat.h>

#include "fcgi-sidecar/base/sc_bytes.h"
#include "fcgi-sidecar/base/sc_fault.h"
#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/database/sc_db_fence.h"

#define GIVE_WAY      10     /* times as long as a piece of a base took is the pause behind it, */
#define GIVE_WAY_US   100000 /* and at most this */

static apr_status_t send_hello(sc_outgoing *s, uint64_t bytes, mode_t mode)
{
    sc_state state;

    sc_node_state(s->node, &state);
    return sc_control_send_json(s->request, SC_FRAME_HELLO,
        json_pack("{s:s, s:I, s:I, s:I, s:i, s:b, s:b, s:o}", "lineage", state.lineage,
                  "epoch", (json_int_t)state.epoch, "page_size", (json_int_t)s->page_size,
                  "bytes", (json_int_t)bytes, "mode", (int)(mode & 0777),
                  "resume", s->have->count > 0, "checks", !SC_FAULT("unchecked"),
                  "primary", sc_member_to_json(&s->node->self)));
}

static apr_status_t send_pages(sc_outgoing *s, uint32_t first, const uint8_t *data, size_t len)
{
    uint8_t number[4];
    sc_frame_part parts[2] = { { number, 4 }, { data, len } };

    sc_put_u32(number, first);
    atomic_fetch_add(&s->node->metrics.bytes_shipped, len);
    return sc_frame_write(s->out, SC_FRAME_PAGES, parts, 2);
}

/* Flushed: the follower must not wait for the next page that differs. */
static apr_status_t send_same(sc_outgoing *s, uint32_t first, size_t len)
{
    uint8_t range[8];
    sc_frame_part part = { range, sizeof(range) };
    apr_status_t rv;

    sc_put_u32(range, first);
    sc_put_u32(range + 4, (uint32_t)(len / s->page_size));
    rv = sc_frame_write(s->out, SC_FRAME_SAME, &part, 1);
    return rv == APR_SUCCESS ? sc_control_flush(s->request) : rv;
}

/* A piece of the base, at `first`: what the follower has is only named. */
static apr_status_t send_piece(sc_outgoing *s, uint32_t first, size_t len)
{
    size_t page_size = s->page_size, at = 0;
    uint64_t offset = (uint64_t)(first - 1) * page_size;
    apr_status_t rv = APR_SUCCESS;

    while (at < len && rv == APR_SUCCESS) {
        size_t begin = at, block = s->have->count > 0 ? s->have->block : len;
        bool same = false;

        for (; at < len; at += block < len - at ? block : len - at) {
            bool is = s->have->count > 0
                && sc_have_same(s->have, offset + at, s->buffer + at,
                                block < len - at ? block : len - at);

            if (at != begin && is != same) {
                break;
            }
            same = is;
        }
        rv = same ? send_same(s, first + (uint32_t)(begin / page_size), at - begin)
                  : send_pages(s, first + (uint32_t)(begin / page_size), s->buffer + begin,
                               at - begin);
    }
    return rv;
}

static apr_status_t read_piece(sc_outgoing *s, uint32_t first, uint32_t count)
{
    size_t page_size = s->page_size;
    apr_status_t rv = sc_file_pread(sc_db_fd(s->node->db), s->buffer, (size_t)count * page_size,
                                    (off_t)(first - 1) * (off_t)page_size);
    uint32_t i;

    if (rv == APR_SUCCESS && first == 1) {
        s->buffer[SC_DB_FENCE_OFFSET] = SC_DB_WAL_VALUE;
    }
    for (i = 0; i < count && rv == APR_SUCCESS; i++) {
        rv = sc_pages_put(s->pages, first + i, s->buffer + (size_t)i * page_size, page_size);
    }
    return rv;
}

static uint64_t completed_now(const sc_outgoing *s)
{
    sc_relay_stats stats;

    sc_relay_stats_get(s->node->relay, &stats);
    return stats.completed;
}

/* While requests are served the copy takes an eleventh of the time only: processor and
 * disk are theirs as well. */
static void give_way(sc_outgoing *s, int64_t took_us)
{
    uint64_t completed = completed_now(s);

    if (completed != s->completed) {
        apr_sleep(took_us < GIVE_WAY_US / GIVE_WAY ? took_us * GIVE_WAY : GIVE_WAY_US);
    }
    s->completed = completed;
}

apr_status_t sc_outgoing_send(void *outgoing)
{
    sc_outgoing *s = outgoing;
    size_t page_size = s->page_size;
    uint32_t step = (uint32_t)(SC_SHIP_CHUNK / page_size), at, total;
    struct stat st;
    apr_status_t rv;

    if (fstat(sc_db_fd(s->node->db), &st) != 0) {
        return errno;
    }
    total = (uint32_t)((uint64_t)st.st_size / page_size);
    s->completed = completed_now(s);
    rv = send_hello(s, (uint64_t)total * page_size, st.st_mode);
    for (at = 1; at <= total && rv == APR_SUCCESS; at += step) {
        uint32_t count = total - at + 1 < step ? total - at + 1 : step;
        int64_t began = sc_now_us();

        (void)sc_reader_mark(s->reader, s->wal);
        rv = s->node->stopping || s->node->sealing ? ECANCELED : read_piece(s, at, count);
        if (rv == APR_SUCCESS) {
            rv = send_piece(s, at, (size_t)count * page_size);
            give_way(s, sc_now_us() - began);
        }
    }
    return rv == APR_SUCCESS ? sc_frame_write(s->out, SC_FRAME_BASE_END, NULL, 0) : rv;
}
