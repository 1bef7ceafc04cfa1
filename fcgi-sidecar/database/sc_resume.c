#include "fcgi-sidecar/database/sc_resume.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fcgi-sidecar/base/sc_file.h"

static int open_one(const char *path, uint64_t *bytes)
{
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    struct stat st;

    *bytes = 0;
    if (fd < 0) {
        return -1;
    }
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size <= 0) {
        close(fd);
        return -1;
    }
    *bytes = (uint64_t)st.st_size;
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return fd;
}

bool sc_resume_open(sc_resume *r, const char *incoming, const char *database)
{
    r->partial_fd = open_one(incoming, &r->partial);
    r->old_fd = open_one(database, &r->old);
    r->block = sc_have_block_size(r->partial > r->old ? r->partial : r->old);
    return r->partial_fd >= 0 || r->old_fd >= 0;
}

apr_status_t sc_resume_describe(const sc_resume *r, const sc_secret *secret, sc_have_read_fn read,
                                void *context, json_t **json)
{
    return sc_have_describe(secret, r->partial > r->old ? r->partial : r->old, read, context, json);
}

/* A block is taken from one of them, whole. */
bool sc_resume_in_place(const sc_resume *r, uint64_t offset)
{
    uint64_t all = r->partial > r->old ? r->partial : r->old;
    uint64_t end = (offset / r->block + 1) * r->block;

    return (end < all ? end : all) <= r->partial;
}

apr_status_t sc_resume_read(void *resume, uint64_t offset, uint8_t *out, size_t len)
{
    const sc_resume *r = resume;

    return sc_file_pread(sc_resume_in_place(r, offset) ? r->partial_fd : r->old_fd, out, len,
                         (off_t)offset);
}

static void close_one(int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
    *fd = -1;
}

void sc_resume_close(sc_resume *r)
{
    close_one(&r->partial_fd);
    close_one(&r->old_fd);
    r->partial = r->old = 0;
}
