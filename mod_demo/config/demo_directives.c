#include "mod_demo/config/demo_directives.h"

#include <stddef.h>

#include "apr_strings.h"
#include "http_core.h"
#include "http_log.h"

#include "mod_demo/config/demo_config.h"
#include "mod_demo/config/demo_options.h"

APLOG_USE_MODULE(demo);

/* Bits of demo_server_conf.set and demo_dir_conf.set. */
enum { SET_STATUS = 1, SET_QUEUE = 2 };
enum { SET_REQUEST_BUFFERING = 1, SET_RESPONSE_BUFFERING = 2, SET_ATTEMPTS = 4,
       SET_DOCUMENT_ROOT = 8, SET_FRONT = 16 };

enum { PARAM_NAME_MAX = 1024 }; /* of DemoParam; php-fpm reads 64 KiB, with the value */

#define SEC APR_USEC_PER_SEC
#define DAY (24 * 3600 * (apr_int64_t)SEC)
#define TIB ((apr_int64_t)1 << 40)

static const demo_option timeout_options[] = {
    { "connect", DEMO_OPT_TIME, offsetof(demo_timeouts, connect), 1000, DAY },
    { "send", DEMO_OPT_TIME, offsetof(demo_timeouts, send), 1000, DAY },
    { "read", DEMO_OPT_TIME, offsetof(demo_timeouts, read), 1000, DAY },
    { "total", DEMO_OPT_TIME, offsetof(demo_timeouts, total), 0, DAY },
    { "queue", DEMO_OPT_TIME, offsetof(demo_timeouts, queue), 0, DAY },
    { NULL, 0, 0, 0, 0 }
};
static const demo_option pool_options[] = {
    { "max", DEMO_OPT_COUNT, offsetof(demo_pool_conf, max), 0, 65535 },
    { "idle", DEMO_OPT_TIME, offsetof(demo_pool_conf, idle), 1000, DAY },
    { NULL, 0, 0, 0, 0 }
};
static const demo_option health_options[] = {
    { "uri", DEMO_OPT_STRING, offsetof(demo_health_conf, uri), 0, 0 },
    { "expect", DEMO_OPT_STRING, offsetof(demo_health_conf, expect), 0, 0 },
    { "interval", DEMO_OPT_TIME, offsetof(demo_health_conf, interval), 10000, DAY },
    { "timeout", DEMO_OPT_TIME, offsetof(demo_health_conf, timeout), 1000, DAY },
    { "fall", DEMO_OPT_COUNT, offsetof(demo_health_conf, fall), 1, 1000 },
    { "rise", DEMO_OPT_COUNT, offsetof(demo_health_conf, rise), 1, 1000 },
    { NULL, 0, 0, 0, 0 }
};
static const demo_option spool_options[] = {
    { "memory", DEMO_OPT_SIZE, offsetof(demo_spool_conf, memory), 0, 1 << 30 },
    { "max", DEMO_OPT_SIZE, offsetof(demo_spool_conf, max), 0, TIB },
    { NULL, 0, 0, 0, 0 }
};
static const demo_option limit_options[] = {
    { "headers", DEMO_OPT_SIZE, offsetof(demo_limits, headers), 1024, 1 << 28 },
    { "params", DEMO_OPT_SIZE, offsetof(demo_limits, params), 4096, 1 << 28 },
    { NULL, 0, 0, 0, 0 }
};

/* --- the two records --------------------------------------------------------- */

void *demo_server_conf_create(apr_pool_t *p, server_rec *s)
{
    demo_server_conf *c = apr_pcalloc(p, sizeof *c);

    c->pool.max = DEMO_POOL_AUTO;
    c->pool.idle = 200 * 1000;
    c->queue_max = 64;
    demo_health_defaults(&c->health);
    return c;
}

void *demo_dir_conf_create(apr_pool_t *p, char *dir)
{
    demo_dir_conf *c = apr_pcalloc(p, sizeof *c);

    c->timeout = (demo_timeouts){ 2 * SEC, 60 * SEC, 60 * SEC, 0, 10 * SEC };
    c->spool = (demo_spool_conf){ 64 * 1024, (apr_off_t)1 << 30 };
    c->limit = (demo_limits){ 256 * 1024, 4 * 1024 * 1024 };
    c->request_buffering = c->response_buffering = 1;
    c->attempts = 2;
    return c;
}

/* Members whose bit is not set in to->… come from base. */
static void options_merge(const demo_option *table, void *to, const void *base, unsigned set)
{
    for (int i = 0; table[i].name != NULL; i++) {
        static const apr_size_t sizes[] = {
            [DEMO_OPT_TIME] = sizeof(apr_interval_time_t), [DEMO_OPT_SIZE] = sizeof(apr_off_t),
            [DEMO_OPT_COUNT] = sizeof(int), [DEMO_OPT_STRING] = sizeof(const char *)
        };
        if ((set & (1u << i)) == 0) {
            memcpy((char *)to + table[i].offset, (const char *)base + table[i].offset,
                   sizes[table[i].type]);
        }
    }
}

void *demo_server_conf_merge(apr_pool_t *p, void *base_, void *add_)
{
    const demo_server_conf *base = base_, *add = add_;
    demo_server_conf *c = apr_pmemdup(p, add, sizeof *c);

    if (add->cluster == NULL) {
        c->cluster = base->cluster;
        c->has_primary = base->has_primary;
    }
    else if (!add->has_primary && base->has_primary) {
        /* DemoBackupBackend alone: it stands by what the main server has. */
        c->cluster = demo_cluster_with_backups(base->cluster, add->cluster, p);
        c->has_primary = 1;
    }
    options_merge(pool_options, &c->pool, &base->pool, add->pool_set);
    options_merge(health_options, &c->health, &base->health, add->health_set);
    c->status = add->set & SET_STATUS ? add->status : base->status;
    c->queue_max = add->set & SET_QUEUE ? add->queue_max : base->queue_max;
    c->set = base->set | add->set;
    c->pool_set = base->pool_set | add->pool_set;
    c->health_set = base->health_set | add->health_set;
    return c;
}

void *demo_dir_conf_merge(apr_pool_t *p, void *base_, void *add_)
{
    const demo_dir_conf *base = base_, *add = add_;
    demo_dir_conf *c = apr_pmemdup(p, add, sizeof *c);

    options_merge(timeout_options, &c->timeout, &base->timeout, add->timeout_set);
    options_merge(spool_options, &c->spool, &base->spool, add->spool_set);
    options_merge(limit_options, &c->limit, &base->limit, add->limit_set);
    if ((add->set & SET_REQUEST_BUFFERING) == 0) {
        c->request_buffering = base->request_buffering;
    }
    if ((add->set & SET_RESPONSE_BUFFERING) == 0) {
        c->response_buffering = base->response_buffering;
    }
    if ((add->set & SET_ATTEMPTS) == 0) {
        c->attempts = base->attempts;
    }
    if ((add->set & SET_DOCUMENT_ROOT) == 0) {
        c->document_root = base->document_root;
    }
    if ((add->set & SET_FRONT) == 0) {
        c->front = base->front;
    }
    if (base->params != NULL && add->params != NULL) {
        c->params = apr_array_append(p, base->params, add->params);
    }
    else if (add->params == NULL) {
        c->params = base->params;
    }
    c->set = base->set | add->set;
    c->timeout_set = base->timeout_set | add->timeout_set;
    c->spool_set = base->spool_set | add->spool_set;
    c->limit_set = base->limit_set | add->limit_set;
    return c;
}

/* --- directives of a server --------------------------------------------------- */

static const char *backend_add(cmd_parms *cmd, const char *url, int backup)
{
    demo_server_conf *c = demo_server_conf_get(cmd->server);
    const char *wrong = ap_check_cmd_context(cmd, NOT_IN_DIR_CONTEXT);

    if (wrong != NULL) {
        return wrong;
    }
    if (c->cluster == NULL) {
        c->cluster = demo_cluster_create(cmd->pool);
    }
    wrong = demo_cluster_add(c->cluster, url, backup, cmd->pool);
    if (wrong != NULL) {
        return apr_psprintf(cmd->pool, "%s (without DemoBackend the environment variable "
                            DEMO_BACKEND_ENV " counts): %s", cmd->cmd->name, wrong);
    }
    if (!backup) {
        c->has_primary = 1;
    }
    return NULL;
}

static const char *set_backend(cmd_parms *cmd, void *dir, const char *url)
{
    return backend_add(cmd, url, 0);
}

static const char *set_backup(cmd_parms *cmd, void *dir, const char *url)
{
    return backend_add(cmd, url, 1);
}

/* Where the options of a directive go. */
typedef struct {
    const demo_option *table;
    void *record;
    unsigned *set; /* a bit for each row of the table */
} options_place;

static const char *option_set(cmd_parms *cmd, options_place to, const char *arg)
{
    int bit = 0;
    const char *wrong = demo_option_parse(to.table, to.record, arg, &bit, cmd->pool);

    if (wrong != NULL) {
        return apr_psprintf(cmd->pool, "%s: %s", cmd->cmd->name, wrong);
    }
    *to.set |= 1u << bit;
    return NULL;
}

static const char *options_set(cmd_parms *cmd, options_place to, int argc, char *const argv[])
{
    const char *wrong = NULL;

    if (argc == 0) {
        return apr_psprintf(cmd->pool, "%s needs at least one name=value", cmd->cmd->name);
    }
    for (int i = 0; i < argc && wrong == NULL; i++) {
        wrong = option_set(cmd, to, argv[i]);
    }
    return wrong;
}

static const char *set_pool(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    demo_server_conf *c = demo_server_conf_get(cmd->server);
    options_place to = { pool_options, &c->pool, &c->pool_set };

    if (argc == 1 && strcasecmp(argv[0], "off") == 0) {
        c->pool.max = 0;
        c->pool_set |= 1; /* the first row, max= */
        return NULL;
    }
    return options_set(cmd, to, argc, argv);
}

static const char *set_queue(cmd_parms *cmd, void *dir, const char *arg)
{
    demo_server_conf *c = demo_server_conf_get(cmd->server);
    static const demo_option options[] = {
        { "max", DEMO_OPT_COUNT, offsetof(demo_server_conf, queue_max), 0, 1 << 20 },
        { NULL, 0, 0, 0, 0 }
    };
    unsigned given = 0; /* has one option only */

    c->set |= SET_QUEUE;
    return option_set(cmd, (options_place){ options, c, &given }, arg);
}

static const char *set_health(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    demo_server_conf *c = demo_server_conf_get(cmd->server);
    options_place to = { health_options, &c->health, &c->health_set };
    const char *wrong = options_set(cmd, to, argc, argv);

    if (wrong != NULL) {
        return wrong;
    }
    if (c->health.uri[0] != '/') {
        return apr_psprintf(cmd->pool, "DemoHealthCheck: uri=%s does not begin with a slash",
                            c->health.uri);
    }
    if (strlen(c->health.uri) >= DEMO_HEALTH_TEXT_MAX
        || strlen(c->health.expect) >= DEMO_HEALTH_TEXT_MAX) {
        return apr_psprintf(cmd->pool, "DemoHealthCheck: uri= and expect= take at most %d bytes",
                            DEMO_HEALTH_TEXT_MAX - 1);
    }
    return NULL;
}

static const char *set_status(cmd_parms *cmd, void *dir, const char *url)
{
    demo_server_conf *c = demo_server_conf_get(cmd->server);
    const char *wrong;

    wrong = demo_endpoint_parse(&c->status, url, DEMO_PATH_ALLOWED, cmd->pool);
    if (wrong == NULL) {
        wrong = demo_cluster_admit(c->status, cmd->pool);
    }
    if (wrong != NULL) {
        return apr_psprintf(cmd->pool, "DemoStatus: %s", wrong);
    }
    c->set |= SET_STATUS;
    return NULL;
}

/* --- directives of a directory -------------------------------------------------- */

static const char *set_timeout(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    demo_dir_conf *c = dir;
    options_place to = { timeout_options, &c->timeout, &c->timeout_set };

    return options_set(cmd, to, argc, argv);
}

static const char *set_spool(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    demo_dir_conf *c = dir;
    options_place to = { spool_options, &c->spool, &c->spool_set };

    return options_set(cmd, to, argc, argv);
}

static const char *set_limit(cmd_parms *cmd, void *dir, int argc, char *const argv[])
{
    demo_dir_conf *c = dir;
    options_place to = { limit_options, &c->limit, &c->limit_set };

    return options_set(cmd, to, argc, argv);
}

static const char *set_retry(cmd_parms *cmd, void *dir, const char *arg)
{
    demo_dir_conf *c = dir;
    static const demo_option options[] = {
        { "attempts", DEMO_OPT_COUNT, offsetof(demo_dir_conf, attempts), 1, 16 },
        { NULL, 0, 0, 0, 0 }
    };
    unsigned given = 0; /* has one option only */

    c->set |= SET_ATTEMPTS;
    return option_set(cmd, (options_place){ options, c, &given }, arg);
}

static const char *set_request_buffering(cmd_parms *cmd, void *dir, int on)
{
    demo_dir_conf *c = dir;
    c->request_buffering = on;
    c->set |= SET_REQUEST_BUFFERING;
    return NULL;
}

static const char *set_response_buffering(cmd_parms *cmd, void *dir, int on)
{
    demo_dir_conf *c = dir;
    c->response_buffering = on;
    c->set |= SET_RESPONSE_BUFFERING;
    return NULL;
}

static const char *set_document_root(cmd_parms *cmd, void *dir, const char *path)
{
    demo_dir_conf *c = dir;
    apr_size_t len = strlen(path);

    if (path[0] != '/') {
        return apr_psprintf(cmd->pool, "DemoDocumentRoot: %s is not an absolute path", path);
    }
    while (len > 1 && path[len - 1] == '/') {
        len--;
    }
    c->document_root = apr_pstrndup(cmd->pool, path, len == 1 ? 0 : len);
    c->set |= SET_DOCUMENT_ROOT;
    return NULL;
}

static const char *set_front(cmd_parms *cmd, void *dir, const char *script)
{
    demo_dir_conf *c = dir;

    c->set |= SET_FRONT;
    if (strcasecmp(script, "off") == 0) {
        c->front = NULL;
        return NULL;
    }
    if (script[0] != '/') {
        return apr_psprintf(cmd->pool, "DemoFrontController: %s does not begin with a slash; "
                            "it is a path of the site such as /index.php, or off", script);
    }
    c->front = script;
    return NULL;
}

/* Takes the raw line, as httpd's TAKE2 refuses an empty value, which is a value
 * here: NAME "" hides what httpd would set. */
static const char *set_param(cmd_parms *cmd, void *dir, const char *args)
{
    demo_dir_conf *c = dir;
    const char *name = ap_getword_conf(cmd->pool, &args);
    int has_value = *args != '\0';
    const char *value = ap_getword_conf(cmd->pool, &args);
    const char *wrong = NULL;
    const ap_expr_info_t *expr;
    demo_param *param;

    if (*name == '\0' || !has_value || *args != '\0') {
        return "DemoParam takes two arguments, a FastCGI parameter: its name and an expression "
               "(in quotes where it has blanks)";
    }
    if (strlen(name) > PARAM_NAME_MAX) {
        return apr_psprintf(cmd->pool, "DemoParam %.40s...: the name of a parameter has at most %d "
                            "bytes", name, PARAM_NAME_MAX);
    }
    expr = ap_expr_parse_cmd(cmd, value, AP_EXPR_FLAG_STRING_RESULT, &wrong, NULL);
    if (wrong != NULL) {
        return apr_psprintf(cmd->pool, "DemoParam %s: %.100s%s is not a valid expression: %s", name,
                            value, strlen(value) > 100 ? "..." : "", wrong);
    }
    if (c->params == NULL) {
        c->params = apr_array_make(cmd->pool, 4, sizeof(demo_param));
    }
    param = apr_array_push(c->params);
    param->name = name;
    param->value = expr;
    return NULL;
}

#define ANYWHERE (RSRC_CONF | ACCESS_CONF)

const command_rec demo_directives[] = {
    AP_INIT_ITERATE("DemoBackend", set_backend, NULL, RSRC_CONF,
                    "where php-fpm is: fcgi://host[:9000] or unix:/path, one or more"),
    AP_INIT_ITERATE("DemoBackupBackend", set_backup, NULL, RSRC_CONF,
                    "used only while no other backend works"),
    AP_INIT_TAKE_ARGV("DemoTimeout", set_timeout, NULL, ANYWHERE,
                      "connect=2s send=60s read=60s total=0 queue=10s"),
    AP_INIT_TAKE_ARGV("DemoPool", set_pool, NULL, RSRC_CONF,
                      "max=N idle=T: connections kept open to a backend; or off"),
    AP_INIT_FLAG("DemoRequestBuffering", set_request_buffering, NULL, ANYWHERE,
                 "on: the body is received whole before PHP is occupied"),
    AP_INIT_FLAG("DemoResponseBuffering", set_response_buffering, NULL, ANYWHERE,
                 "on: PHP is read as fast as it writes; off: passed on at once"),
    AP_INIT_TAKE_ARGV("DemoSpool", set_spool, NULL, ANYWHERE,
                      "memory=64K max=1G: where a body goes to a file, and its bound"),
    AP_INIT_TAKE1("DemoRetry", set_retry, NULL, ANYWHERE, "attempts=2"),
    AP_INIT_TAKE1("DemoQueue", set_queue, NULL, RSRC_CONF,
                  "max=N: requests that may wait for a backend"),
    AP_INIT_TAKE1("DemoDocumentRoot", set_document_root, NULL, ANYWHERE,
                  "the document root as php-fpm sees it"),
    AP_INIT_TAKE1("DemoFrontController", set_front, NULL, RSRC_CONF | ACCESS_CONF | OR_FILEINFO,
                  "the script that runs for a path with no file behind it, or off"),
    AP_INIT_RAW_ARGS("DemoParam", set_param, NULL, ANYWHERE,
                     "a FastCGI parameter: its name and an expression"),
    AP_INIT_TAKE_ARGV("DemoLimit", set_limit, NULL, ANYWHERE,
                      "headers=256K params=4M: largest response header and parameters"),
    AP_INIT_TAKE_ARGV("DemoHealthCheck", set_health, NULL, RSRC_CONF,
                      "uri=/ping expect=pong interval=2s timeout=1s fall=2 rise=1"),
    AP_INIT_TAKE1("DemoStatus", set_status, NULL, RSRC_CONF,
                  "where php-fpm's status page is, e.g. fcgi://php-fpm:9002/status"),
    { .name = NULL }
};
