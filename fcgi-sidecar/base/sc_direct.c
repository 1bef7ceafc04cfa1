#include "fcgi-sidecar/base/sc_direct.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "fcgi-sidecar/base/sc_fault.h"
#include "fcgi-sidecar/base/sc_file.h"

int sc_direct_open(const char *path)
{
    return SC_FAULT("open-direct") ? -1 : open(path, O_WRONLY | O_DIRECT | O_CLOEXEC);
}

/* How much of it the second way may take. */
static size_t whole_blocks(const uint8_t *data, size_t len, off_t offset)
{
    return (uintptr_t)data % SC_DIRECT_BLOCK == 0 && offset % (off_t)SC_DIRECT_BLOCK == 0
        ? len - len % SC_DIRECT_BLOCK : 0;
}

apr_status_t sc_direct_pwrite(int *direct, int fd, const uint8_t *data, size_t len, off_t offset)
{
    size_t done = *direct >= 0 ? whole_blocks(data, len, offset) : 0;
    apr_status_t rv = APR_SUCCESS;

    if (done > 0) {
        rv = SC_FAULT("pwrite-direct") ? errno : sc_file_pwrite(*direct, data, done, offset);
    }
    if (rv == EINVAL) {
        sc_file_close(*direct);
        *direct = -1;
        done = 0;
        rv = APR_SUCCESS;
    }
    return rv == APR_SUCCESS && done < len
        ? sc_file_pwrite(fd, data + done, len - done, offset + (off_t)done) : rv;
}

void *sc_direct_alloc(size_t size)
{
    size_t rest = size % SC_DIRECT_BLOCK;

    if (size > SIZE_MAX - SC_DIRECT_BLOCK) {
        return NULL;
    }
    return aligned_alloc(SC_DIRECT_BLOCK, rest == 0 ? size : size + SC_DIRECT_BLOCK - rest);
}
