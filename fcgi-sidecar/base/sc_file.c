#include "fcgi-sidecar/base/sc_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "fcgi-sidecar/base/sc_fault.h"

#define LINKS_MAX 40 /* as many as the kernel follows */

apr_status_t sc_file_pwrite(int fd, const void *data, size_t len, off_t offset)
{
    const char *p = data;

    while (len > 0) {
        ssize_t n = SC_FAULT("pwrite") ? -1 : pwrite(fd, p, len, offset);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? errno : EIO;
        }
        p += n;
        len -= (size_t)n;
        offset += n;
    }
    return APR_SUCCESS;
}

apr_status_t sc_file_pread(int fd, void *data, size_t len, off_t offset)
{
    char *p = data;

    while (len > 0) {
        ssize_t n = SC_FAULT("pread") ? -1 : pread(fd, p, len, offset);

        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? errno : EIO;
        }
        p += n;
        len -= (size_t)n;
        offset += n;
    }
    return APR_SUCCESS;
}

apr_status_t sc_file_sync_folder(const char *path, sc_error *err)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t len = slash == NULL ? 0 : (size_t)(slash - path);
    int fd;
    int errnum = 0;

    if (slash == NULL) {
        snprintf(folder, sizeof(folder), ".");
    }
    else if (len >= sizeof(folder)) {
        return sc_error_errno(err, ENAMETOOLONG, "%s", path);
    }
    else {
        memcpy(folder, path, len > 0 ? len : 1);
        folder[len > 0 ? len : 1] = '\0';
    }
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return sc_error_errno(err, errno, "can not open the folder %s", folder);
    }
    if (SC_FAULT("fsync-folder") || fsync(fd) != 0) {
        errnum = errno;
    }
    close(fd);
    return errnum == 0 ? APR_SUCCESS
                       : sc_error_errno(err, errnum, "can not sync the folder %s", folder);
}

static apr_status_t rename_only(const char *from, const char *to, sc_error *err)
{
    return SC_FAULT("rename") || rename(from, to) != 0
        ? sc_error_errno(err, errno, "can not rename %s to %s", from, to) : APR_SUCCESS;
}

apr_status_t sc_file_rename(const char *from, const char *to, sc_error *err)
{
    apr_status_t rv = rename_only(from, to, err);

    return rv == APR_SUCCESS ? sc_file_sync_folder(to, err) : rv;
}

static apr_status_t write_temp(const char *temp, const void *data, size_t len, mode_t mode,
                               sc_error *err)
{
    int fd = open(temp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    apr_status_t rv;

    if (fd < 0) {
        return sc_error_errno(err, errno, "can not create %s", temp);
    }
    rv = sc_file_pwrite(fd, data, len, 0);
    if (rv == APR_SUCCESS && (SC_FAULT("fsync") || fsync(fd) != 0)) {
        rv = errno;
    }
    if (close(fd) != 0 && rv == APR_SUCCESS) {
        rv = errno;
    }
    if (rv != APR_SUCCESS) {
        unlink(temp);
        return sc_error_errno(err, rv, "can not write %s", temp);
    }
    return APR_SUCCESS;
}

/* What lies in a temporary file, synced.  The lock is held while a file of the slot is
 * written; two in one slot only wait for one another. */
static struct ahead {
    pthread_mutex_t lock;
    char temp[PATH_MAX];
    void *data; /* NULL: nothing */
    size_t len;
} aheads[4] = { { .lock = PTHREAD_MUTEX_INITIALIZER }, { .lock = PTHREAD_MUTEX_INITIALIZER },
                { .lock = PTHREAD_MUTEX_INITIALIZER }, { .lock = PTHREAD_MUTEX_INITIALIZER } };

static struct ahead *lock_slot(const char *temp)
{
    unsigned sum = 0;
    struct ahead *a;

    while (*temp != '\0') {
        sum = sum * 31 + (unsigned char)*temp++;
    }
    a = &aheads[sum % (sizeof(aheads) / sizeof(aheads[0]))];
    pthread_mutex_lock(&a->lock);
    return a;
}

static void forget_ahead(struct ahead *a)
{
    free(a->data);
    a->data = NULL;
    a->temp[0] = '\0';
}

static bool temp_name(const sc_file_content *c, char *temp, size_t size)
{
    int n = c->temp != NULL ? snprintf(temp, size, "%s", c->temp)
                            : snprintf(temp, size, "%s.tmp", c->path);

    return n >= 0 && (size_t)n < size;
}

void sc_file_put_ahead(const sc_file_content *c)
{
    struct ahead *a;
    char temp[PATH_MAX];

    if (!temp_name(c, temp, sizeof(temp))) {
        return;
    }
    a = lock_slot(temp);
    forget_ahead(a);
    a->data = malloc(c->len);
    if (a->data != NULL && !SC_FAULT("ahead")
        && write_temp(temp, c->data, c->len, c->mode, NULL) == APR_SUCCESS) {
        memcpy(a->temp, temp, strlen(temp) + 1);
        memcpy(a->data, c->data, c->len);
        a->len = c->len;
    }
    else {
        forget_ahead(a);
    }
    pthread_mutex_unlock(&a->lock);
}

void sc_file_drop_ahead(const char *temp)
{
    struct ahead *a = lock_slot(temp);

    if (strcmp(a->temp, temp) == 0) {
        forget_ahead(a);
        unlink(temp);
    }
    pthread_mutex_unlock(&a->lock);
}

/* Is it that which was written?  It is used up, one way or the other. */
static bool take_ahead(struct ahead *a, const char *temp, const sc_file_content *c)
{
    bool is = a->data != NULL && strcmp(a->temp, temp) == 0 && a->len == c->len
        && memcmp(a->data, c->data, c->len) == 0;

    if (strcmp(a->temp, temp) == 0) {
        forget_ahead(a);
    }
    return is;
}

apr_status_t sc_file_put(const sc_file_content *c, sc_error *err)
{
    struct ahead *a;
    char temp[PATH_MAX];
    apr_status_t rv = APR_SUCCESS;

    if (!temp_name(c, temp, sizeof(temp))) {
        return sc_error_errno(err, ENAMETOOLONG, "%s", c->path);
    }
    a = lock_slot(temp);
    if (!take_ahead(a, temp, c)) {
        rv = write_temp(temp, c->data, c->len, c->mode, err);
    }
    if (rv == APR_SUCCESS) {
        rv = rename_only(temp, c->path, err);
    }
    if (rv == APR_SUCCESS && !c->name_later) {
        rv = sc_file_sync_folder(c->path, err);
    }
    pthread_mutex_unlock(&a->lock);
    return rv;
}

apr_status_t sc_file_replace(const char *path, const void *data, size_t len, mode_t mode,
                             sc_error *err)
{
    sc_file_content c = { .path = path, .data = data, .len = len, .mode = mode };

    return sc_file_put(&c, err);
}

apr_status_t sc_file_read(const char *path, char **data, size_t *len, sc_error *err)
{
    struct stat st;
    apr_status_t rv = APR_SUCCESS;
    char *buf = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    *data = NULL;
    *len = 0;
    if (fd < 0) {
        return sc_error_errno(err, errno, "can not open %s", path);
    }
    if (fstat(fd, &st) != 0) {
        rv = sc_error_errno(err, errno, "can not stat %s", path);
        goto leave;
    }
    if (!S_ISREG(st.st_mode) || st.st_size > (off_t)SC_FILE_SMALL_MAX) {
        rv = sc_error_set(err, SC_ECORRUPT, "%s is no file of at most %u bytes", path,
                          SC_FILE_SMALL_MAX);
        goto leave;
    }
    buf = malloc((size_t)st.st_size + 1);
    if (buf == NULL) {
        rv = sc_error_errno(err, ENOMEM, "can not read %s", path);
        goto leave;
    }
    rv = sc_file_pread(fd, buf, (size_t)st.st_size, 0);
    if (rv != APR_SUCCESS) {
        sc_error_errno(err, rv, "can not read %s", path);
        goto leave;
    }
    buf[st.st_size] = '\0';
    *data = buf;
    *len = (size_t)st.st_size;
    buf = NULL;
leave:
    free(buf);
    close(fd);
    return rv;
}

apr_status_t sc_file_make_folder(const char *path, sc_error *err)
{
    char part[PATH_MAX];
    struct stat st;
    size_t i;

    for (i = 1; i < sizeof(part); i++) {
        char c = path[i - 1] == '\0' ? '\0' : path[i];

        if (c != '/' && c != '\0') {
            continue;
        }
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0700) != 0 && errno != EEXIST && stat(part, &st) != 0) {
            return sc_error_errno(err, errno, "can not make the folder %s", part);
        }
        if (c == '\0') {
            break;
        }
    }
    if (stat(path, &st) != 0) {
        return sc_error_errno(err, errno, "can not make the folder %s", path);
    }
    if (!S_ISDIR(st.st_mode)) {
        return sc_error_errno(err, ENOTDIR, "%s", path);
    }
    return APR_SUCCESS;
}

static int64_t clock_us(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

int64_t sc_now_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

void sc_file_close(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

int64_t sc_now_ms(void)
{
    return clock_us(CLOCK_MONOTONIC) / 1000;
}

int64_t sc_wall_ms(void)
{
    return clock_us(CLOCK_REALTIME) / 1000;
}

apr_status_t sc_file_follow_links(const char *path, char *out, size_t size, sc_error *err)
{
    char target[PATH_MAX];
    int i;

    if ((size_t)snprintf(out, size, "%s", path) >= size) {
        return sc_error_errno(err, ENAMETOOLONG, "%s", path);
    }
    for (i = 0; i < LINKS_MAX; i++) {
        ssize_t n = readlink(out, target, sizeof(target));
        const char *slash = strrchr(out, '/');
        size_t at = 0;

        if (n < 0) {
            return APR_SUCCESS; /* no link, or not there: whoever opens it will say */
        }
        if (target[0] != '/' && slash != NULL) {
            at = (size_t)(slash - out) + 1; /* beside the link */
        }
        if (at + (size_t)n >= size) {
            return sc_error_errno(err, ENAMETOOLONG, "%s", path);
        }
        memcpy(out + at, target, (size_t)n);
        out[at + (size_t)n] = '\0';
    }
    return sc_error_errno(err, ELOOP, "%s", path);
}
