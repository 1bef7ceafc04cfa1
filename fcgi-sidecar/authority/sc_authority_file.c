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

/* Who writes ahead has no lock: each instance has a temporary file of its own. */
static bool own_temp(const sc_authority *a, const sc_authority_record *to, char *temp, size_t size)
{
    return (size_t)snprintf(temp, size, "%s.%s.tmp", a->place, to->primary.uid) < size;
}

static void file_ahead(const sc_authority *a, const sc_authority_record *to)
{
    char temp[PATH_MAX];
    char *text = sc_authority_record_text(to);

    if (text != NULL && own_temp(a, to, temp, sizeof(temp))) {
        sc_file_put_ahead(&(sc_file_content){ .path = a->place, .temp = temp, .data = text,
                                              .len = strlen(text), .mode = 0600 });
    }
    free(text);
}

static void file_drop_ahead(const sc_authority *a, const sc_authority_record *to)
{
    char temp[PATH_MAX];

    if (own_temp(a, to, temp, sizeof(temp))) {
        sc_file_drop_ahead(temp);
    }
}

static apr_status_t replace_record(const sc_authority *a, const sc_authority_record *to, sc_error *err)
{
    char temp[PATH_MAX];
    char *text = sc_authority_record_text(to);
    apr_status_t rv;

    if (text == NULL || !own_temp(a, to, temp, sizeof(temp))) {
        rv = sc_error_errno(err, text == NULL ? ENOMEM : ENAMETOOLONG, "%s", a->place);
    }
    else {
        rv = sc_file_put(&(sc_file_content){ .path = a->place, .temp = temp, .data = text,
                                             .len = strlen(text), .mode = 0600 }, err);
    }
    free(text);
    return rv;
}

static apr_status_t file_swap(const sc_authority *a, const sc_authority_record *from,
                              const sc_authority_record *to, sc_error *err)
{
    sc_authority_record now;
    int fd = -1;
    apr_status_t rv = take_lock(a->place, &fd, err);

    if (rv != APR_SUCCESS) {
        return rv;
    }
    rv = file_read(a, &now, err);
    rv = sc_authority_expect(rv, &now, from, err);
    if (rv == APR_SUCCESS) {
        SC_STEP("authority-swap");
        rv = replace_record(a, to, err);
    }
    close(fd); /* releases the lock */
    return rv;
}

const sc_authority_kind sc_authority_file = { "file://", file_read, file_swap, file_ahead, file_drop_ahead };
