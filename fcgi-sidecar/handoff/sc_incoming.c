#include "fcgi-sidecar/handoff/sc_incoming.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-sidecar/base/sc_bytes.h"
#include "fcgi-sidecar/base/sc_direct.h"
#include "fcgi-sidecar/base/sc_fault.h"
#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/base/sc_log.h"
#include "fcgi-sidecar/database/sc_db_fence.h"
#include "fcgi-sidecar/handoff/sc_durable.h"

#define WRITEBACK_STEP (8u * 1024u * 1024u) /* bytes between two hints to write back */
#define WRITEBACK_BEHIND 4                  /* steps that may be on their way to the disk */

bool sc_incoming_path(const sc_node *n, char *path, size_t size)
{
    return (size_t)snprintf(path, size, "%s/incoming.sqlite", n->options->state_dir) < size;
}

apr_status_t sc_incoming_init(sc_incoming *im, sc_node *n, sc_error *err)
{
    memset(im, 0, sizeof(*im));
    im->node = n;
    im->fd = im->direct = im->left.partial_fd = im->left.old_fd = -1;
    return sc_incoming_path(n, im->path, sizeof(im->path)) ? APR_SUCCESS
        : sc_error_errno(err, ENAMETOOLONG, "--state-dir");
}

/* --- what is here already ------------------------------------------------------------- */

/* The database may have become this process's own while it was looked at. */
static void close_left(sc_incoming *im)
{
    if (im->left.old_fd >= 0) {
        sc_node_close_file(im->node, im->left.old_fd);
        im->left.old_fd = -1;
    }
    sc_resume_close(&im->left);
}

/* Of a large file all that takes longer than post-start waits for something to move. */
static apr_status_t read_left(void *incoming, uint64_t offset, uint8_t *out, size_t len)
{
    sc_incoming *im = incoming;

    SC_STEP("describe");
    sc_work_moved(im->node, &im->node->start);
    return sc_resume_read(&im->left, offset, out, len);
}

/* Described once until it changes, for it takes a reading of all of it; a
 * failure means a whole copy, not none. */
apr_status_t sc_incoming_look_around(void *incoming)
{
    sc_incoming *im = incoming;
    sc_node *n = im->node;
    apr_status_t rv;

    if (n->copy_whole) {
        unlink(im->path);
        return APR_SUCCESS;
    }
    if (!sc_resume_open(&im->left, im->path, n->image_known ? n->options->database : NULL)
        || n->have != NULL) {
        return APR_SUCCESS;
    }
    rv = sc_resume_describe(&im->left, &n->secret, read_left, im, &n->have);
    if (rv != APR_SUCCESS) {
        sc_warn("SC0415", "the whole base is copied: what is here can not be read: %s",
                strerror(rv));
        close_left(im);
    }
    return rv;
}

static void forget_description(sc_node *n)
{
    json_decref(n->have);
    n->have = NULL;
}

/* Opens the file that takes the base; what an unfinished copy left stays when
 * the primary sends differences only. */
apr_status_t sc_incoming_open(sc_incoming *im, bool resume, sc_error *err)
{
    sc_node *n = im->node;
    bool described = n->have != NULL;

    forget_description(n); /* from here on it changes */
    im->fd = open(im->path, O_RDWR | O_CREAT | O_CLOEXEC | (resume ? 0 : O_TRUNC), 0600);
    if (im->fd < 0) {
        return sc_error_errno(err, errno, "can not create %s", im->path);
    }
    if (im->left.partial > im->bytes && ftruncate(im->fd, (off_t)im->bytes) != 0) {
        return sc_error_errno(err, errno, "can not cut %s", im->path);
    }
    /* Room for all of it, or an error now; and blocks that are there already need no journal when
     * they are written, for which PHP's syncs would wait. */
    if (fallocate(im->fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)im->bytes) != 0 && errno == ENOSPC) {
        return sc_error_errno(err, ENOSPC, "no room for the base, %llu bytes, in %s",
                              (unsigned long long)im->bytes, im->path);
    }
    im->direct = sc_direct_open(im->path);
    if (resume) {
        sc_info("SC0413", "going on with what is here: %llu bytes of an unfinished copy, %llu of an "
                "earlier image; the base has %llu", (unsigned long long)im->left.partial,
                (unsigned long long)im->left.old, (unsigned long long)im->bytes);
    }
    else if (described) {
        sc_warn("SC0416", "the whole base is copied: the primary does not send differences");
    }
    if (!resume) {
        close_left(im);
    }
    return APR_SUCCESS;
}

/* --- pages ------------------------------------------------------------------------------ */

static apr_status_t write_fence(const sc_incoming *im)
{
    uint8_t fence = SC_DB_FENCE_VALUE;

    return sc_file_pwrite(im->fd, &fence, 1, SC_DB_FENCE_OFFSET);
}

/* Around the fence: the standby's file has its name by now, and who stops, or dies,
 * between a whole page 1 and the fence would leave a database that anybody may write. */
static apr_status_t write_first_page(const sc_incoming *im, const uint8_t *page)
{
    const size_t behind = SC_DB_FENCE_OFFSET + 1;
    apr_status_t rv = write_fence(im);

    if (rv == APR_SUCCESS) {
        rv = sc_file_pwrite(im->fd, page, SC_DB_FENCE_OFFSET, 0);
    }
    return rv == APR_SUCCESS ? sc_file_pwrite(im->fd, page + behind, im->page_size - behind, (off_t)behind)
                             : rv;
}

/* Puts pages into file and digest; page 1 bears the fence in the file alone. */
apr_status_t sc_incoming_put(sc_incoming *im, uint32_t number, const uint8_t *page)
{
    off_t at = (off_t)(number - 1) * (off_t)im->page_size;
    apr_status_t rv = sc_pages_put(&im->pages, number, page, im->page_size);

    if (rv == APR_SUCCESS) {
        rv = number == 1 ? write_first_page(im, page) : sc_file_pwrite(im->fd, page, im->page_size, at);
    }
    return rv;
}

/* Where there is no such call the copy does without.  What the disk did not take is told
 * here, or by the sync at the end, but not by both. */
static apr_status_t write_range(const sc_incoming *im, uint64_t offset, unsigned flags)
{
    int errnum = SC_FAULT("write-back")
        || sync_file_range(im->fd, (off_t)offset, WRITEBACK_STEP, flags) != 0 ? errno : 0;

    if (errnum == 0 || errnum == ENOSYS || errnum == EPERM || errnum == EINVAL || errnum == ESPIPE) {
        return APR_SUCCESS;
    }
    sc_durable_failed(im->node, errnum);
    return errnum;
}

/* The disk works while the rest comes, and never gets far behind: a long tail
 * of unwritten pages would hold up every sync of PHP's on the same disk. */
static apr_status_t write_back(const sc_incoming *im, uint64_t end)
{
    uint64_t behind = WRITEBACK_BEHIND * (uint64_t)WRITEBACK_STEP;
    apr_status_t rv = write_range(im, end - WRITEBACK_STEP, SYNC_FILE_RANGE_WRITE);

    return rv == APR_SUCCESS && end > behind
        ? write_range(im, end - behind - WRITEBACK_STEP, SYNC_FILE_RANGE_WAIT_BEFORE
                      | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER) : rv;
}

/* So much more of the base is in place. */
static apr_status_t note_base(sc_incoming *im, size_t len)
{
    uint64_t before = im->got;
    apr_status_t rv = APR_SUCCESS;

    im->got += len;
    if (before / WRITEBACK_STEP != im->got / WRITEBACK_STEP) {
        if (im->direct < 0) {
            rv = write_back(im, im->got / WRITEBACK_STEP * WRITEBACK_STEP);
        }
        sc_work_done(im->node, &im->node->start, im->got);
    }
    return rv;
}

apr_status_t sc_incoming_take_pages(sc_incoming *im, const uint8_t *payload, size_t len,
                                    sc_error *err)
{
    uint32_t first, count, i;
    apr_status_t rv = APR_SUCCESS;

    if (im->fd < 0 || im->complete || len < 4 || (len - 4) % im->page_size != 0) {
        return sc_error_set(err, SC_ECORRUPT, "the primary's base is malformed");
    }
    first = sc_get_u32(payload);
    count = (uint32_t)((len - 4) / im->page_size);
    if (first == 0 || (uint64_t)(first - 1) * im->page_size != im->got
        || im->got + (len - 4) > im->bytes) {
        return sc_error_set(err, SC_ECORRUPT, "the primary's base has a gap at page %u", first);
    }
    for (i = 0; i < count && rv == APR_SUCCESS; i++) {
        /* One write for the piece; digest page by page. */
        rv = sc_pages_put(&im->pages, first + i, payload + 4 + (size_t)i * im->page_size,
                          im->page_size);
    }
    if (rv == APR_SUCCESS) {
        rv = sc_direct_pwrite(&im->direct, im->fd, payload + 4, len - 4, (off_t)im->got);
    }
    if (rv == APR_SUCCESS && first == 1) {
        rv = write_fence(im);
    }
    if (rv == APR_SUCCESS) {
        atomic_fetch_add(&im->node->metrics.bytes_received, len - 4);
        rv = note_base(im, len - 4);
    }
    return rv == APR_SUCCESS ? rv : sc_error_errno(err, rv, "can not write %s", im->path);
}

/* A piece that is here already: into place, and into the digest as it is read
 * now. */
static apr_status_t keep_piece(sc_incoming *im, uint8_t *buffer, size_t len)
{
    uint32_t number = (uint32_t)(im->got / im->page_size) + 1;
    apr_status_t rv = sc_resume_read(&im->left, im->got, buffer, len);
    size_t at;

    if (rv == APR_SUCCESS && number == 1) {
        buffer[SC_DB_FENCE_OFFSET] = SC_DB_WAL_VALUE;
    }
    for (at = 0; at < len && rv == APR_SUCCESS; at += im->page_size) {
        rv = sc_pages_put(&im->pages, number++, buffer + at, im->page_size);
    }
    if (rv == APR_SUCCESS && !sc_resume_in_place(&im->left, im->got)) {
        rv = sc_direct_pwrite(&im->direct, im->fd, buffer, len, (off_t)im->got);
    }
    if (rv == APR_SUCCESS && im->got == 0) {
        rv = write_fence(im);
    }
    return rv;
}

apr_status_t sc_incoming_take_same(sc_incoming *im, const uint8_t *payload, size_t len,
                                   sc_error *err)
{
    uint64_t first, bytes;
    uint8_t *buffer;
    apr_status_t rv = APR_SUCCESS;

    if (im->fd < 0 || im->complete || len != 8 || (first = sc_get_u32(payload)) == 0
        || (first - 1) * im->page_size != im->got
        || (bytes = (uint64_t)sc_get_u32(payload + 4) * im->page_size) > im->bytes - im->got) {
        return sc_error_set(err, SC_ECORRUPT, "the primary's base is malformed");
    }
    buffer = sc_direct_alloc(SC_HAVE_BLOCK_MIN);
    rv = buffer != NULL ? APR_SUCCESS : ENOMEM;
    while (bytes > 0 && rv == APR_SUCCESS) {
        size_t piece = bytes < SC_HAVE_BLOCK_MIN ? (size_t)bytes : SC_HAVE_BLOCK_MIN;

        rv = keep_piece(im, buffer, piece);
        im->kept += piece;
        bytes -= piece;
        atomic_fetch_add(&im->node->metrics.bytes_kept, piece);
        if (rv == APR_SUCCESS) {
            rv = note_base(im, piece);
        }
    }
    free(buffer);
    return rv == APR_SUCCESS ? rv : sc_error_errno(err, rv, "can not go on with %s", im->path);
}

static void close_direct(sc_incoming *im)
{
    sc_file_close(im->direct);
    im->direct = -1;
}

apr_status_t sc_incoming_end(sc_incoming *im, sc_error *err)
{
    im->complete = im->fd >= 0 && im->got == im->bytes;
    close_direct(im);
    return im->complete ? APR_SUCCESS
        : sc_error_set(err, SC_ECORRUPT, "the base is %llu bytes short",
                       (unsigned long long)(im->bytes - im->got));
}

apr_status_t sc_incoming_resize(sc_incoming *im, uint32_t pages)
{
    apr_status_t rv = sc_pages_resize(&im->pages, pages);

    if (rv == APR_SUCCESS && (SC_FAULT("ftruncate")
        || ftruncate(im->fd, (off_t)pages * (off_t)im->page_size) != 0)) {
        rv = errno;
    }
    return rv;
}

void sc_incoming_close(sc_incoming *im)
{
    close_direct(im);
    sc_file_close(im->fd);
    im->fd = -1;
    close_left(im);
    sc_pages_free(&im->pages);
}
