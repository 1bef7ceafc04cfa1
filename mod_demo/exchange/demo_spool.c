#include "mod_demo/exchange/demo_spool.h"

#include <stdlib.h>
#include <unistd.h>

#include "apr_portable.h"
#include "apr_strings.h"
#include "http_log.h"

APLOG_USE_MODULE(demo);

static const char *folder; /* of temporary files, or NULL */

/* APR finds it by writing a file, and goes elsewhere from one request to the
 * next when that fails: a full disk would make the next one full, too. */
void demo_spool_child_init(apr_pool_t *pchild, server_rec *s)
{
    const char *wanted = getenv("TMPDIR");
    apr_status_t rv = APR_SUCCESS, other;

    if (wanted != NULL && access(wanted, W_OK | X_OK) == 0) {
        folder = apr_pstrdup(pchild, wanted);
        return;
    }
    if (wanted != NULL) {
        rv = errno;
    }
    other = apr_temp_dir_get(&folder, pchild);
    if (other != APR_SUCCESS) {
        folder = NULL;
        rv = rv != APR_SUCCESS ? rv : other;
    }
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, rv, s, "DM1035: TMPDIR=%s: httpd's user can not write "
                     "there; large bodies %s", wanted != NULL ? wanted : "(not set)",
                     folder != NULL ? apr_pstrcat(pchild, "go to ", folder, NULL)
                     : "are refused, no other folder is writable either: set it to one that is");
    }
}

void demo_spool_init(demo_spool *spool, const demo_spool_conf *conf,
                     enum demo_direction direction, apr_pool_t *pool)
{
    *spool = (demo_spool){ .pool = pool, .conf = conf, .direction = direction };
}

static void memory_reserve(demo_spool *spool, apr_size_t need)
{
    apr_size_t cap = spool->memory_cap ? spool->memory_cap : 4096;
    char *grown;

    if (need <= spool->memory_cap) {
        return;
    }
    while (cap < need) {
        cap *= 2;
    }
    if ((apr_off_t)cap > spool->conf->memory) {
        cap = (apr_size_t)spool->conf->memory;
    }
    grown = apr_palloc(spool->pool, cap);
    if (spool->memory_len > 0) {
        memcpy(grown, spool->memory, spool->memory_len);
    }
    spool->memory = grown;
    spool->memory_cap = cap;
}

void demo_spool_expect(demo_spool *spool, apr_off_t len)
{
    /* A body that will go to the file anyway takes no more memory than it must. */
    if (len > 0 && len <= spool->conf->memory) {
        memory_reserve(spool, (apr_size_t)len);
    }
}

static apr_status_t file_open(demo_spool *spool)
{
    char *name;
    apr_status_t rv;

    if (folder == NULL) {
        return ENOENT;
    }
    name = apr_pstrcat(spool->pool, folder, "/mod_demo.XXXXXX", NULL);
    /* Sendfile whatever EnableSendfile says: httpd's core reads a file that it
     * does not send so into memory, 128 KiB at a time, and then blocks because it
     * holds so much of it. */
    rv = apr_file_mktemp(&spool->file, name, APR_FOPEN_CREATE | APR_FOPEN_READ | APR_FOPEN_WRITE
                         | APR_FOPEN_EXCL | APR_FOPEN_BINARY | APR_FOPEN_SENDFILE_ENABLED,
                         spool->pool);
    if (rv != APR_SUCCESS) {
        spool->file = NULL;
        return rv;
    }
    rv = apr_file_remove(name, spool->pool);
    if (rv != APR_SUCCESS) {
        (void)apr_file_close(spool->file);
        spool->file = NULL;
        return rv;
    }
    demo_metrics_spool_file(spool->direction);
    return APR_SUCCESS;
}

apr_status_t demo_spool_write_file(demo_spool *spool, const char *data, apr_size_t len)
{
    apr_status_t rv;

    if ((apr_off_t)len > spool->conf->max - spool->file_len) {
        return DEMO_SPOOL_EXCEEDED;
    }
    if (spool->file == NULL && (rv = file_open(spool)) != APR_SUCCESS) {
        return rv;
    }
    rv = apr_file_write_full(spool->file, data, len, NULL);
    if (rv == APR_SUCCESS) {
        spool->file_len += (apr_off_t)len;
        demo_metrics_spool_bytes(spool->direction, len);
    }
    return rv;
}

apr_status_t demo_spool_write(demo_spool *spool, const char *data, apr_size_t len)
{
    if (spool->file == NULL) {
        apr_size_t room = (apr_size_t)spool->conf->memory - spool->memory_len;
        apr_size_t part = len < room ? len : room;
        if (part > 0) {
            memory_reserve(spool, spool->memory_len + part);
            memcpy(spool->memory + spool->memory_len, data, part);
            spool->memory_len += part;
            data += part;
            len -= part;
        }
    }
    return len == 0 ? APR_SUCCESS : demo_spool_write_file(spool, data, len);
}

bool demo_spool_is_full(apr_status_t rv)
{
    return rv == ENOSPC || rv == EDQUOT;
}

const char *demo_spool_folder(void)
{
    return folder != NULL ? folder : "(no folder is writable)";
}

apr_off_t demo_spool_len(const demo_spool *spool)
{
    return (apr_off_t)spool->memory_len + spool->file_len;
}

apr_status_t demo_spool_read(const demo_spool *spool, apr_off_t offset, char *out, apr_size_t len)
{
    apr_os_file_t fd;

    if (offset < (apr_off_t)spool->memory_len) {
        apr_size_t part = spool->memory_len - (apr_size_t)offset;
        if (part > len) {
            part = len;
        }
        memcpy(out, spool->memory + offset, part);
        out += part;
        len -= part;
        offset += (apr_off_t)part;
    }
    if (len == 0) {
        return APR_SUCCESS;
    }
    (void)apr_os_file_get(&fd, spool->file);
    offset -= (apr_off_t)spool->memory_len;
    while (len > 0) {
        ssize_t n = pread(fd, out, len, offset);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? errno : APR_EOF;
        }
        out += n;
        len -= (apr_size_t)n;
        offset += n;
    }
    return APR_SUCCESS;
}
