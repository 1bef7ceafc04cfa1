/* file:///path: the record is a file; PATH.lock serialises those who change it. */
#include "fcgi-sidecar/authority/sc_authority.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "fcgi-sidecar/base/sc_fault.h"
#include "fcgi-sidecar/base/sc_file.h"

#define LOCK_WAIT_MS 5000

static apr_status_t file_read(const sc_authority *a, sc_authority_record *r, sc_error *err)
{
    char *text = NULL;
    size_t len = 0;
    apr_status_t rv = sc_file_read(a->place, &text, &len, err);

    if (rv == ENOENT) {
        return sc_error_set(err, SC_ENONE, "the authority %s has no record", a->place);
    }
    if (rv != APR_SUCCESS) {
        return rv;
    }
    if (!sc_authority_record_parse(r, text, len)) {
        rv = sc_error_set(err, SC_ECORRUPT, "the authority's record %s is damaged; restore it: it "
                          "says who is primary", a->place);
    }
    free(text);
    return rv;
}

/* A lock that is not had in time is an error: a stopped process may hold it. */
static apr_status_t take_lock(const char *place, int *fd, sc_error *err)
{
    char path[PATH_MAX];
    int64_t end = sc_now_ms() + LOCK_WAIT_MS;
    struct timespec pause = { 0, 2000000 };

    if ((size_t)snprintf(path, sizeof(path), "%s.lock", place) >= sizeof(path)) {
        return sc_error_errno(err, ENAMETOOLONG, "%s", place);
    }
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*fd < 0) {
        return sc_error_errno(err, errno, "can not open %s", path);
    }
    while (flock(*fd, LOCK_EX | LOCK_NB) != 0) {
        int errnum = errno;

        if ((errnum != EWOULDBLOCK && errnum != EINTR) || sc_now_ms() > end) {
            close(*fd);
            *fd = -1;
            return sc_error_errno(err, errnum, "can not lock %s", path);
        }
        nanosleep(&pause, NULL);
    }
    return APR_SUCCESS;
}

static apr_status_t file_swap(const sc_authority *a, const sc_authority_record *from,
                              const sc_authority_record *to, sc_error *err)
{
    sc_authority_record now;
    char *text = NULL;
    int fd = -1;
    apr_status_t rv = take_lock(a->place, &fd, err);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = file_read(a, &now, err);
    rv = sc_authority_expect(rv, &now, from, err);
    if (rv != APR_SUCCESS) {
        goto leave;
    }
    SC_STEP("authority-swap");
    text = sc_authority_record_text(to);
    rv = text == NULL ? sc_error_errno(err, ENOMEM, "%s", a->place)
                      : sc_file_replace(a->place, text, strlen(text), 0600, err);
leave:
    free(text);
    close(fd); /* releases the lock */
    return rv;
}

const sc_authority_kind sc_authority_file = { "file://", file_read, file_swap };
