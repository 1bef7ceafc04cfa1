#include "fcgi-sidecar/database/sc_db_fence.h"

#include <errno.h>
#include <unistd.h>

#include "fcgi-sidecar/base/sc_fault.h"
#include "fcgi-sidecar/base/sc_file.h"

apr_status_t sc_db_fence_get(int fd, bool *fenced)
{
    uint8_t version;
    apr_status_t rv = sc_file_pread(fd, &version, 1, SC_DB_FENCE_OFFSET);

    *fenced = rv == APR_SUCCESS && version > SC_DB_WAL_VALUE;
    return rv;
}

apr_status_t sc_db_fence_set(int fd, bool fenced, sc_error *err)
{
    uint8_t version = fenced ? SC_DB_FENCE_VALUE : SC_DB_WAL_VALUE;
    bool now;
    apr_status_t rv = sc_db_fence_get(fd, &now);

    if (rv == APR_SUCCESS && now == fenced) {
        return APR_SUCCESS;
    }
    if (rv == APR_SUCCESS) {
        rv = sc_file_pwrite(fd, &version, 1, SC_DB_FENCE_OFFSET);
    }
    /* Off needs no sync: after a crash a PRIMARY takes it off again. */
    if (rv == APR_SUCCESS && fenced && (SC_FAULT("fsync-fence") || fdatasync(fd) != 0)) {
        rv = errno;
    }
    return rv == APR_SUCCESS ? rv : sc_error_errno(err, rv, "can not %s the database",
                                                   fenced ? "fence" : "unfence");
}
