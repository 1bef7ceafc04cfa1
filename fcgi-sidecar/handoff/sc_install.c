#include "fcgi-sidecar/handoff/sc_install.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "fcgi-sidecar/base/sc_fault.h"
#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/base/sc_log.h"
#include "fcgi-sidecar/database/sc_db_file.h"
#include "fcgi-sidecar/database/sc_owner.h"

/* An fsync on a thread of its own. */
struct sync_job {
    int fd;
    apr_status_t rv;
};

static void *sync_thread(void *context)
{
    struct sync_job *job = context;

    job->rv = SC_FAULT("fsync-base") || fsync(job->fd) != 0 ? errno : APR_SUCCESS;
    return NULL;
}

/* Check and sync at the same time: one needs the processor, the other the disk. */
static apr_status_t check_and_sync(const sc_install *image, sc_error *err)
{
    struct sync_job job = { image->fd, APR_SUCCESS };
    pthread_t thread;
    bool threaded = !image->checked && pthread_create(&thread, NULL, sync_thread, &job) == 0;
    apr_status_t rv = image->checked ? APR_SUCCESS : sc_db_check_file(image->incoming, err);

    if (threaded) {
        pthread_join(thread, NULL);
    }
    else {
        sync_thread(&job);
    }
    return rv == APR_SUCCESS && job.rv != APR_SUCCESS
        ? sc_error_errno(err, job.rv, "can not sync %s", image->incoming) : rv;
}

/* PATH becomes PATH.replaced-TIME, with its log and journal, without which it may lack
 * what was committed; they go first, so that no crash leaves them to a file that is not
 * theirs. */
apr_status_t sc_install_set_aside(const char *database, sc_error *err)
{
    static const char *const suffixes[] = { "-wal", "-journal", "" };
    char aside[PATH_MAX + 48], path[PATH_MAX + 16];
    long long now = (long long)(sc_wall_ms() / 1000);
    bool any = false;
    size_t i;

    for (i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        snprintf(path, sizeof(path), "%s%s", database, suffixes[i]);
        snprintf(aside, sizeof(aside), "%s.replaced-%lld%s", database, now, suffixes[i]);
        if (rename(path, aside) == 0) {
            any = true;
        }
        else if (errno != ENOENT) {
            return sc_error_errno(err, errno, "can not set %s aside, which is not of the lineage", path);
        }
    }
    if (any) {
        sc_warn("SC0412", "a database that is not of the lineage was here; it is now %s.replaced-%lld",
                database, now);
    }
    return APR_SUCCESS;
}

/* What SQLite has beside a file that is replaced is of the file of before. */
static void remove_companions(const char *database)
{
    static const char *const suffixes[] = { "-wal", "-shm", "-journal" };
    char path[PATH_MAX + 16];
    size_t i;

    for (i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        snprintf(path, sizeof(path), "%s%s", database, suffixes[i]);
        unlink(path);
    }
}

apr_status_t sc_install_image(sc_node *n, const sc_install *image, sc_error *err)
{
    const sc_options *o = n->options;
    apr_status_t rv = check_and_sync(image, err);

    if (rv == APR_SUCCESS) {
        rv = sc_owner_apply(image->fd, o->database, o->owner, image->mode, err);
    }
    if (rv == APR_SUCCESS && !n->image_known) {
        rv = sc_install_set_aside(o->database, err);
    }
    if (rv == APR_SUCCESS) {
        remove_companions(o->database);
        SC_STEP("install");
        rv = sc_file_rename(image->incoming, o->database, err);
    }
    if (rv == APR_SUCCESS) {
        n->image_known = true;
    }
    return rv;
}
