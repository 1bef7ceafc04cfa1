#include "tests/fuzz/stub_http.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#endif
#endif
#ifndef ASAN_POISON_MEMORY_REGION
#define ASAN_POISON_MEMORY_REGION(at, len) ((void)(at), (void)(len))
#define ASAN_UNPOISON_MEMORY_REGION(at, len) ((void)(at), (void)(len))
#endif

#include "apr_buckets.h"
#include "apr_general.h"
#include "apr_lib.h"
#include "apr_portable.h"
#include "apr_strings.h"
#include "ap_listen.h"
#include "ap_mpm.h"
#include "http_connection.h"
#include "http_core.h"
#include "http_log.h"
#include "http_protocol.h"
#include "scoreboard.h"
#include "util_filter.h"

#include "mod_demo/exchange/demo_spool.h"
#include "mod_demo/shm/demo_clock.h"
#include "mod_demo/shm/demo_metrics.h"
#include "mod_demo/shm/demo_segment.h"

FUZZ_NOT_COVERED

#define BACKEND_FD 1000 /* never given to the system */
#define CLIENT_FD  1001

module demo_module = { STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, NULL, 0 };

typedef struct allocation {
    struct allocation *next;
} allocation;

/* The one exchange at a time, and what lives longer. */
static struct {
    const stub_plan *plan;
    stub_result result;
    size_t at;           /* of plan->wire, read */
    size_t readable;     /* bytes of conn.in that are not poisoned */
    bool waited;         /* EAGAIN was said for the next piece */
    size_t filed;        /* bytes written to temporary files */
    apr_pool_t *root, *pool;
    allocation *blocks;       /* of apr_palloc() */
    demo_conn conn;
    demo_exchange exchange;
    request_rec request;
    conn_rec connection, master;
    void *connection_config[1];
    server_rec server;
} now;

void stub_append(stub_bytes *b, const void *data, size_t len)
{
    if (len > b->cap - b->len) {
        b->cap = (b->len + len) * 2;
        b->data = realloc(b->data, b->cap);
        FUZZ_CHECK(b->data != NULL);
    }
    if (len > 0) {
        memcpy(b->data + b->len, data, len);
        b->len += len;
    }
}

void stub_dir_defaults(demo_dir_conf *dir)
{
    *dir = (demo_dir_conf){
        .timeout = { .read = apr_time_from_sec(60) },
        .spool = { .memory = 65536, .max = 1 << 30 },
        .limit = { .headers = 262144, .params = 4194304 },
        .request_buffering = 1,
        .response_buffering = 1,
        .attempts = 2,
    };
}

static void pools_make(void)
{
    if (now.root == NULL) {
        FUZZ_CHECK(apr_initialize() == APR_SUCCESS);
        FUZZ_CHECK(apr_pool_create(&now.root, NULL) == APR_SUCCESS);
        now.readable = sizeof now.conn.in;
        FUZZ_CHECK(setenv("TMPDIR", "/tmp", 1) == 0); /* where no file is made */
        demo_spool_child_init(now.root, &now.server);
    }
    FUZZ_CHECK(apr_pool_create(&now.pool, now.root) == APR_SUCCESS);
}

request_rec *stub_request(stub_result *s)
{
    static char protocol[] = "HTTP/1.1", uri[] = "/"; /* httpd's members are not const */
    request_rec *r = &now.request;

    memset(r, 0, sizeof *r);
    r->pool = now.pool;
    r->connection = &now.connection;
    r->server = &now.server;
    r->status = HTTP_OK;
    r->method = "GET";
    r->method_number = M_GET;
    r->protocol = protocol;
    r->unparsed_uri = uri;
    r->headers_in = apr_table_make(now.pool, 4);
    r->headers_out = apr_table_make(now.pool, 4);
    r->err_headers_out = apr_table_make(now.pool, 4);
    r->subprocess_env = apr_table_make(now.pool, 4);
    r->notes = apr_table_make(now.pool, 4);
    s->r = r;
    return r;
}

stub_result *stub_begin(const stub_plan *plan)
{
    stub_result *s = &now.result;
    demo_exchange *x = &now.exchange;

    pools_make();
    now.plan = plan;
    now.at = now.filed = 0;
    now.waited = false;
    s->body.len = s->log.len = 0;
    s->eos = s->error = false;
    memset(&now.server, 0, sizeof now.server);
    now.server.timeout = apr_time_from_sec(60);
    now.server.log.level = APLOG_INFO;
    memset(&now.connection, 0, sizeof now.connection);
    now.connection.pool = now.pool;
    now.connection.base_server = &now.server;
    now.connection.bucket_alloc = apr_bucket_alloc_create(now.pool);
    now.connection.keepalive = AP_CONN_KEEPALIVE;
    demo_module.module_index = 0;
    now.connection_config[0] = NULL;
    now.connection.conn_config = (ap_conf_vector_t *)now.connection_config;
    now.connection.master = plan->http2 ? &now.master : NULL;
    stub_request(s)->header_only = plan->head;
    memset(x, 0, sizeof *x);
    x->r = s->r;
    x->dir = &plan->dir;
    x->conn = &now.conn;
    x->conn->fd = BACKEND_FD;
    x->conn->brief = plan->brief;
    x->conn->keep = plan->keep;
    x->target.slot = -1;
    x->client_fd = plan->client_socket && !plan->http2 ? CLIENT_FD : -1;
    s->x = x;
    return s;
}

void stub_end(stub_result *s)
{
    while (now.blocks != NULL) {
        allocation *next = now.blocks->next;
        free(now.blocks);
        now.blocks = next;
    }
    apr_pool_destroy(now.pool);
    now.pool = NULL;
    s->x = NULL;
    s->r = NULL;
}

/* --- the system ------------------------------------------------------------------- */

/* The linker lets shared libraries see them. */
#pragma GCC visibility push(default)
ssize_t __wrap_recv(int fd, void *buf, size_t len, int flags);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout);
int __wrap_ioctl(int fd, unsigned long request, int *out);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len);
int __wrap_sched_yield(void);
void *__wrap_apr_palloc(apr_pool_t *pool, apr_size_t size);
apr_status_t __wrap_apr_file_mktemp(apr_file_t **file, char *name, apr_int32_t flags,
                                    apr_pool_t *pool);
apr_status_t __wrap_apr_file_remove(const char *name, apr_pool_t *pool);
apr_status_t __real_apr_file_write_full(apr_file_t *file, const void *buf, apr_size_t len,
                                        apr_size_t *written);
apr_status_t __wrap_apr_file_write_full(apr_file_t *file, const void *buf, apr_size_t len,
                                        apr_size_t *written);
#pragma GCC visibility pop

ssize_t __wrap_recv(int fd, void *buf, size_t len, int flags)
{
    size_t n = now.plan->len - now.at;

    if (fd == CLIENT_FD) {
        errno = EAGAIN; /* a client that has nothing to say yet */
        return -1;
    }
    FUZZ_CHECK(fd == BACKEND_FD && len > 0);
    now.waited = now.plan->waits && !now.waited;
    if (now.waited) {
        errno = EAGAIN;
        return -1;
    }
    if (n == 0) {
        errno = ECONNRESET;
        return now.plan->reset ? -1 : 0;
    }
    n = n < now.plan->piece ? n : now.plan->piece;
    n = n < len ? n : len;
    ASAN_UNPOISON_MEMORY_REGION(buf, n);
    memcpy(buf, now.plan->wire + now.at, n);
    if (n < now.readable) {
        ASAN_POISON_MEMORY_REGION((char *)buf + n, now.readable - n);
    }
    now.readable = n;
    now.at += n;
    return (ssize_t)n;
}

/* Who waits finds what he waits for. */
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout)
{
    FUZZ_CHECK(n > 0 && fds[0].fd == BACKEND_FD && timeout != 0);
    for (nfds_t i = 0; i < n; i++) {
        fds[i].revents = 0;
    }
    fds[0].revents = fds[0].events;
    return 1;
}

int __wrap_ioctl(int fd, unsigned long request, int *out)
{
    FUZZ_CHECK(fd == CLIENT_FD);
    (void)request;
    *out = 0;
    return 0;
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    FUZZ_CHECK(fd == CLIENT_FD);
    (void)level, (void)name, (void)value, (void)len;
    return 0;
}

int __wrap_sched_yield(void)
{
    return 0;
}

void *__wrap_apr_palloc(apr_pool_t *pool, apr_size_t size)
{
    allocation *b = malloc(sizeof *b + size);

    FUZZ_CHECK(pool == now.pool && b != NULL);
    b->next = now.blocks;
    now.blocks = b;
    return b + 1;
}

apr_status_t __wrap_apr_file_mktemp(apr_file_t **file, char *name, apr_int32_t flags,
                                    apr_pool_t *pool)
{
    int fd = memfd_create(name, MFD_CLOEXEC);

    FUZZ_CHECK(fd >= 0);
    return apr_os_pipe_put_ex(file, &fd, 1, pool) == APR_SUCCESS
           ? apr_os_file_put(file, &fd, flags, pool) : APR_EGENERAL;
}

apr_status_t __wrap_apr_file_remove(const char *name, apr_pool_t *pool)
{
    (void)name, (void)pool;
    return APR_SUCCESS;
}

/* A disk that fills up takes a part. */
apr_status_t __wrap_apr_file_write_full(apr_file_t *file, const void *buf, apr_size_t len,
                                        apr_size_t *written)
{
    size_t room = now.plan->disk_full_after == STUB_NEVER
                  ? len : (size_t)now.plan->disk_full_after - now.filed;
    size_t part = len < room ? len : room;
    apr_status_t rv = __real_apr_file_write_full(file, buf, part, written);

    now.filed += part;
    return rv != APR_SUCCESS || part == len ? rv : APR_ENOSPC;
}

/* --- httpd: the log ------------------------------------------------------------------ */

/* No MPM: no turns of threads, see demo_turn.h. */
ap_listen_rec *ap_listeners;

apr_status_t ap_mpm_query(int query_code, int *result)
{
    *result = 0;
    return APR_ENOTIMPL;
}

apr_socket_t *ap_get_conn_socket(conn_rec *c)
{
    return NULL;
}

int ap_update_child_status_from_conn(ap_sb_handle_t *sbh, int status, conn_rec *c)
{
    return 0;
}

int ap_run_generate_log_id(const conn_rec *c, const request_rec *r, const char **id)
{
    (void)c, (void)r;
    *id = "id";
    return OK;
}

void ap_log_error_(const char *file, int line, int module_index, int level, apr_status_t status,
                   const server_rec *s, const char *fmt, ...)
{
    (void)file, (void)line, (void)module_index, (void)level, (void)status, (void)s, (void)fmt;
}

void ap_log_rerror_(const char *file, int line, int module_index, int level, apr_status_t status,
                    const request_rec *r, const char *fmt, ...)
{
    char text[MAX_STRING_LEN]; /* as in httpd, which cuts what is longer */
    va_list ap;

    (void)file, (void)line, (void)module_index, (void)status, (void)r;
    va_start(ap, fmt);
    (void)apr_vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    /* DM1051, a temporary file that fails: whether one is needed depends on how
     * the bytes come. */
    if (level <= APLOG_WARNING && strncmp(text, "DM1051", 6) != 0) {
        stub_append(&now.result.log, text, strlen(text));
        stub_append(&now.result.log, "\n", 1);
    }
}

/* --- httpd: the answer ----------------------------------------------------------------- */

void ap_set_content_type(request_rec *r, const char *type)
{
    r->content_type = type;
}

void ap_set_content_length(request_rec *r, apr_off_t len)
{
    r->clength = len;
    apr_table_setn(r->headers_out, "Content-Length", apr_off_t_toa(r->pool, len));
}

int ap_parse_strict_length(apr_off_t *len, const char *text)
{
    char *end;

    return apr_isdigit(*text) && apr_strtoff(len, text, &end, 10) == APR_SUCCESS && *end == '\0';
}

const char *ap_get_status_line(int status)
{
    return status == HTTP_OK ? "200 OK" : "500 Internal Server Error";
}

int ap_meets_conditions(request_rec *r)
{
    const char *has = apr_table_get(r->headers_out, "ETag");

    return has != NULL && strcmp(has, "\"seen\"") == 0 ? HTTP_NOT_MODIFIED : OK;
}

static void no_destroy(void *data)
{
    (void)data;
}

static apr_status_t no_read(apr_bucket *b, const char **data, apr_size_t *len,
                            apr_read_type_e block)
{
    (void)b, (void)block;
    *data = NULL;
    *len = 0;
    return APR_SUCCESS;
}

#define META_TYPE(name)                                                               \
    { name, 5, APR_BUCKET_METADATA, no_destroy, no_read, apr_bucket_setaside_noop,    \
      apr_bucket_split_notimpl, apr_bucket_simple_copy }
const apr_bucket_type_t ap_bucket_type_error = META_TYPE("ERROR");
const apr_bucket_type_t ap_bucket_type_eoc = META_TYPE("EOC");

static apr_bucket *meta_create(const apr_bucket_type_t *type, apr_bucket_alloc_t *list)
{
    apr_bucket *b = apr_bucket_alloc(sizeof *b, list);

    APR_BUCKET_INIT(b);
    b->free = apr_bucket_free;
    b->list = list;
    b->type = type;
    b->length = 0;
    b->start = 0;
    b->data = NULL;
    return b;
}

apr_bucket *ap_bucket_error_create(int error, const char *text, apr_pool_t *p,
                                   apr_bucket_alloc_t *list)
{
    (void)text, (void)p;
    FUZZ_CHECK(error >= 400);
    return meta_create(&ap_bucket_type_error, list);
}

apr_bucket *ap_bucket_eoc_create(apr_bucket_alloc_t *list)
{
    return meta_create(&ap_bucket_type_eoc, list);
}

/* The client. */
apr_status_t ap_pass_brigade(ap_filter_t *next, apr_bucket_brigade *bb)
{
    const stub_plan *plan = now.plan;
    stub_result *s = &now.result;

    (void)next;
    FUZZ_CHECK(!s->eos && !now.connection.aborted);
    while (!APR_BRIGADE_EMPTY(bb)) {
        apr_bucket *b = APR_BRIGADE_FIRST(bb);
        const char *data;
        apr_size_t len;
        FUZZ_CHECK(!s->eos);
        if (APR_BUCKET_IS_EOS(b)) {
            s->eos = true;
        }
        else if (b->type == &ap_bucket_type_error) {
            s->error = true;
        }
        else if (!APR_BUCKET_IS_METADATA(b)) {
            FUZZ_CHECK(!s->error);
            FUZZ_CHECK(apr_bucket_read(b, &data, &len, APR_BLOCK_READ) == APR_SUCCESS);
            stub_append(&s->body, data, len);
        }
        apr_bucket_delete(b);
    }
    if (plan->lost_after != STUB_NEVER && s->body.len >= (size_t)plan->lost_after) {
        return APR_ECONNABORTED;
    }
    now.connection.data_in_output_filters =
        plan->slow_after != STUB_NEVER && s->body.len >= (size_t)plan->slow_after;
    return APR_SUCCESS;
}

/* --- the module's counters ---------------------------------------------------------------- */

int64_t demo_now(void)
{
    return apr_time_now();
}

void demo_metrics_count(enum demo_counter id, uint64_t n)
{
    FUZZ_CHECK(id < DEMO_C_COUNT && n > 0);
}

void demo_metrics_spool_file(enum demo_direction direction)
{
    FUZZ_CHECK(direction == DEMO_DIR_RESPONSE);
}

void demo_metrics_spool_bytes(enum demo_direction direction, uint64_t n)
{
    FUZZ_CHECK(direction == DEMO_DIR_RESPONSE && n > 0);
}

FUZZ_COVERED
