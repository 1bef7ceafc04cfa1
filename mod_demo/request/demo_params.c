#include "mod_demo/request/demo_params.h"

#include "apr_strings.h"
#include "http_core.h"
#include "http_log.h"
#include "http_protocol.h"
#include "util_script.h"

#include "lib/fcgiw.h"

APLOG_USE_MODULE(demo);

#define FIRST_SIZE 4096 /* holds what a browser sends; doubled when it does not */
#define BEGIN_LEN (FCGIW_HEADER_LEN + FCGIW_BODY_LEN)

/* The request target as the client sent it, without scheme and host. */
static const char *request_uri(request_rec *r)
{
    const char *uri;

    while (r->prev != NULL || r->main != NULL) {
        r = r->prev != NULL ? r->prev : r->main;
    }
    uri = r->unparsed_uri;
    if (uri[0] != '/') {
        const char *host = strstr(uri, "://");
        if (host != NULL) {
            /* The path may be missing: a slash further on is the query's. */
            uri = host + 3 + strcspn(host + 3, "/?#");
            return *uri == '/' ? uri : apr_pstrcat(r->pool, "/", uri, NULL);
        }
    }
    return uri;
}

static void body_vars(demo_exchange *x, apr_table_t *env)
{
    if (x->request.stated_len >= 0) {
        apr_table_setn(env, "CONTENT_LENGTH",
                       apr_off_t_toa(x->r->pool, x->request.stated_len));
    }
    else {
        apr_table_unset(env, "CONTENT_LENGTH");
    }
    /* PHP gets the body whole, however it came. */
    apr_table_unset(env, "HTTP_TRANSFER_ENCODING");
}

/* RFC 3875 §4.1; over what ap_add_common_vars() set. */
static void cgi_vars(demo_exchange *x, apr_table_t *env)
{
    request_rec *r = x->r;
    const demo_script *script = &x->script;
    const char *root = script->root[0] != '\0' ? script->root : "/"; /* DemoDocumentRoot / */

    apr_table_setn(env, "GATEWAY_INTERFACE", "CGI/1.1");
    apr_table_setn(env, "SERVER_PROTOCOL", r->protocol);
    apr_table_setn(env, "REQUEST_METHOD", r->method);
    apr_table_setn(env, "QUERY_STRING", r->args ? r->args : "");
    apr_table_setn(env, "REQUEST_URI", request_uri(r));
    apr_table_setn(env, "SCRIPT_NAME", script->name);
    apr_table_setn(env, "SCRIPT_FILENAME", script->filename);
    apr_table_setn(env, "DOCUMENT_ROOT", root);
    if (x->dir->document_root != NULL) {
        apr_table_setn(env, "CONTEXT_DOCUMENT_ROOT", root);
    }
    apr_table_unset(env, "PATH_INFO");
    apr_table_unset(env, "PATH_TRANSLATED");
    if (script->path_info[0] != '\0') {
        apr_table_setn(env, "PATH_INFO", script->path_info);
        apr_table_setn(env, "PATH_TRANSLATED",
                       apr_pstrcat(r->pool, script->root, script->path_info, NULL));
        /* With it php-fpm believes in a wrapper of old: it takes PATH_TRANSLATED
         * for the script and hides PATH_INFO from PHP. */
        apr_table_unset(env, "REDIRECT_URL");
    }
    /* PHP built with force-cgi-redirect refuses to run without. */
    if (apr_table_get(env, "REDIRECT_STATUS") == NULL) {
        apr_table_setn(env, "REDIRECT_STATUS", "200");
    }
    if (strcmp(ap_http_scheme(r), "https") == 0 && apr_table_get(env, "HTTPS") == NULL) {
        apr_table_setn(env, "HTTPS", "on");
    }
}

static int configured_vars(demo_exchange *x, apr_table_t *env)
{
    const apr_array_header_t *params = x->dir->params;

    for (int i = 0; params != NULL && i < params->nelts; i++) {
        const demo_param *param = &APR_ARRAY_IDX(params, i, demo_param);
        const char *wrong = NULL;
        const char *value = ap_expr_str_exec(x->r, param->value, &wrong);
        if (wrong != NULL) {
            ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, x->r, "DM1020: DemoParam %s: the expression "
                          "failed: %s", param->name, wrong);
            return HTTP_INTERNAL_SERVER_ERROR;
        }
        apr_table_setn(env, param->name, value);
    }
    return OK;
}

/* Refused for its size: what made it so large decides between 414 and 431. */
static int too_large(demo_exchange *x, const char *name, size_t len, const char *limit)
{
    bool uri = strcmp(name, "REQUEST_URI") == 0 || strcmp(name, "QUERY_STRING") == 0
               || strcmp(name, "PATH_INFO") == 0 || strcmp(name, "SCRIPT_NAME") == 0;

    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, x->r, "DM1021: parameter %s of %" APR_SIZE_T_FMT
                  " bytes is refused: %s", name, len, limit);
    return uri ? HTTP_REQUEST_URI_TOO_LARGE : 431; /* RFC 6585 §5 */
}

/* A larger buffer with the same content; false above DemoLimit params=. */
static bool grow(demo_exchange *x, fcgiw_params *p, size_t need)
{
    size_t cap = p->cap;
    uint8_t *buf;

    while (cap < need) {
        cap *= 2;
    }
    if ((apr_off_t)need > x->dir->limit.params) {
        return false;
    }
    if ((apr_off_t)cap > x->dir->limit.params) {
        cap = (size_t)x->dir->limit.params; /* or what follows would fit without a look at it */
    }
    buf = apr_palloc(x->r->pool, cap);
    memcpy(buf, p->buf, p->len);
    p->buf = buf;
    p->cap = cap;
    return true;
}

static int pair_add(demo_exchange *x, fcgiw_params *p, const char *name, const char *value)
{
    fcgiw_pair pair = { (const uint8_t *)name, strlen(name), (const uint8_t *)value,
                        strlen(value) };
    fcgiw_result n = fcgiw_params_add(p, &pair);

    if (n == FCGIW_ENOSPACE) {
        size_t need = p->len + 2 * FCGIW_HEADER_LEN
                      + (size_t)fcgiw_pair_size(pair.name_len, pair.value_len);
        if (!grow(x, p, need)) {
            return too_large(x, name, pair.value_len, "the parameters exceed DemoLimit params=");
        }
        n = fcgiw_params_add(p, &pair);
    }
    if (n < 0) {
        return too_large(x, name, pair.value_len,
                         "PHP accepts none that does not fit into one FastCGI record");
    }
    return OK;
}

static int encode(demo_exchange *x, const apr_table_t *env)
{
    const apr_array_header_t *list = apr_table_elts(env);
    const apr_table_entry_t *e = (const apr_table_entry_t *)list->elts;
    const fcgiw_begin begin = { FCGIW_RESPONDER, 0 };
    uint8_t *buf = apr_palloc(x->r->pool, FIRST_SIZE);
    fcgiw_params p;

    /* The parameters stand behind BEGIN_REQUEST in the same buffer. */
    fcgiw_params_init(&p, buf, FIRST_SIZE, DEMO_REQUEST_ID);
    fcgiw_begin_encode(buf, DEMO_REQUEST_ID, &begin);
    p.len = p.open = BEGIN_LEN;
    for (int i = 0; i < list->nelts; i++) {
        int status;
        if (e[i].key == NULL || e[i].key[0] == '\0' || e[i].val == NULL) {
            continue;
        }
        status = pair_add(x, &p, e[i].key, e[i].val);
        if (status != OK) {
            return status;
        }
    }
    if (fcgiw_params_end(&p) < 0) {
        if (!grow(x, &p, p.len + FCGIW_HEADER_LEN) || fcgiw_params_end(&p) < 0) {
            return too_large(x, "(end)", p.len, "the parameters exceed DemoLimit params=");
        }
    }
    x->request.head = p.buf;
    x->request.head_len = p.len;
    return OK;
}

int demo_params_build(demo_exchange *x)
{
    request_rec *r = x->r;
    int status;

    ap_add_common_vars(r);
    cgi_vars(x, r->subprocess_env);
    body_vars(x, r->subprocess_env);
    status = configured_vars(x, r->subprocess_env);
    return status != OK ? status : encode(x, r->subprocess_env);
}

void demo_params_keep(demo_request *request, bool keep)
{
    request->head[FCGIW_HEADER_LEN + 2] = keep ? FCGIW_KEEP_CONN : 0; /* §5.1: role, flags */
}
