#include "mod_demo/request/demo_path.h"

#include "apr_file_info.h"
#include "apr_strings.h"
#include "http_core.h"
#include "http_log.h"
#include "http_protocol.h"
#include "http_request.h"

APLOG_USE_MODULE(demo);

/* The end of the first segment of path that ends in ".php" and is more than
 * that, or NULL. */
static const char *script_end(const char *path)
{
    for (const char *at = path; (at = strstr(at, ".php")) != NULL; at += 4) {
        if ((at[4] == '\0' || at[4] == '/') && at > path && at[-1] != '/') {
            return at + 4;
        }
    }
    return NULL;
}

/* The length of root when path is in it, else 0. */
static apr_size_t prefix_len(const char *path, const char *root)
{
    apr_size_t len = root == NULL ? 0 : strlen(root);

    while (len > 0 && root[len - 1] == '/') {
        len--;
    }
    return strncmp(path, root ? root : "", len) == 0
           && (path[len] == '/' || path[len] == '\0') ? len : 0;
}

/* Where in a file name the site begins: a folder "/srv/site.php/" above the
 * document root is no script. */
static apr_size_t site_start(request_rec *r, const char *full)
{
    apr_size_t len = prefix_len(full, ap_context_document_root(r));
    return len > 0 ? len : prefix_len(full, ap_document_root(r));
}

static const char *full_path(request_rec *r)
{
    return r->path_info == NULL || r->path_info[0] == '\0'
           ? r->filename : apr_pstrcat(r->pool, r->filename, r->path_info, NULL);
}

static int has_control(const char *s)
{
    for (; *s != '\0'; s++) {
        if ((unsigned char)*s < 0x20 || (unsigned char)*s == 0x7f) {
            return 1;
        }
    }
    return 0;
}

/* The path of the URL that is the script's.  A rewritten request kept the URL
 * that it came with, so a file below the document root tells better. */
static const char *script_name(request_rec *r, const char *file, const char *path_info)
{
    apr_size_t uri = strlen(r->uri), info = strlen(path_info);
    const char *alias = ap_context_prefix(r);

    if (alias == NULL || alias[0] == '\0') {
        apr_size_t len = prefix_len(file, ap_document_root(r));
        if (len > 0) {
            return file + len;
        }
    }
    if (info > 0 && info < uri && strcmp(r->uri + uri - info, path_info) == 0) {
        return apr_pstrndup(r->pool, r->uri, uri - info);
    }
    return r->uri;
}

/* What php-fpm calls the file. */
static const char *as_php_sees(request_rec *r, const demo_dir_conf *conf, const char *file)
{
    apr_size_t len;

    if (conf->document_root == NULL) {
        return file;
    }
    len = prefix_len(file, ap_document_root(r));
    return len == 0 ? file : apr_pstrcat(r->pool, conf->document_root, file + len, NULL);
}

/* The file of DemoFrontController on this side.  Below an Alias that it is below,
 * too, it is in the folder that the Alias names. */
static const char *front_file(request_rec *r, const char *front)
{
    apr_size_t len = prefix_len(front, ap_context_prefix(r));
    const char *root = len > 0 ? ap_context_document_root(r) : ap_document_root(r);
    apr_size_t root_len = strlen(root);

    while (root_len > 0 && root[root_len - 1] == '/') {
        root_len--;
    }
    return apr_psprintf(r->pool, "%.*s%s", (int)root_len, root, front + len);
}

/* Cuts r->filename + r->path_info; OK or a status. */
static int script_split(request_rec *r, const char **file, const char **path_info)
{
    const char *full = full_path(r), *site = full + site_start(r, full);
    const char *end = script_end(site);
    int is_file = r->finfo.filetype == APR_REG;
    apr_size_t here = strlen(r->filename);

    /* Below a file of another kind, whatever its case ("/x.jpg/.php"). */
    if (is_file && end != full + here && ap_strcasestr(full + here, ".php") != NULL) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "DM1010: %s: refused, a script is asked for "
                      "below the file %s", r->uri, r->filename);
        return HTTP_NOT_FOUND;
    }
    if (end == NULL || (is_file && full + here == end)) {
        /* Another suffix: the file is the script, and so is a path without one. */
        *file = is_file ? r->filename : full;
        *path_info = full + strlen(*file);
        return OK;
    }
    *file = *end == '\0' ? full : apr_pstrndup(r->pool, full, (apr_size_t)(end - full));
    *path_info = end;
    return OK;
}

int demo_path_map(request_rec *r, const demo_dir_conf *conf, demo_script *script)
{
    const char *front = ap_get_module_config(r->request_config, &demo_module);
    const char *file = NULL;
    int status;

    if (r->filename == NULL || r->filename[0] != '/' || r->uri[0] != '/') {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "DM1011: %s is not a path of the site", r->uri);
        return HTTP_NOT_FOUND;
    }
    if (has_control(r->uri) || has_control(r->filename)
        || (r->path_info != NULL && has_control(r->path_info))) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "DM1012: refused, a control character in the "
                      "path");
        return HTTP_BAD_REQUEST;
    }
    script->root = conf->document_root ? conf->document_root : ap_document_root(r);
    if (front != NULL) {
        script->name = front;
        script->path_info = "";
        script->filename = conf->document_root != NULL
                           ? apr_pstrcat(r->pool, script->root, front, NULL) : front_file(r, front);
        return OK;
    }
    status = script_split(r, &file, &script->path_info);
    if (status != OK) {
        return status;
    }
    if (r->used_path_info == AP_REQ_REJECT_PATH_INFO && script->path_info[0] != '\0') {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "DM1014: %s: refused, AcceptPathInfo is off and "
                      "%s follows the script", r->uri, script->path_info);
        return HTTP_NOT_FOUND;
    }
    /* "admin.php?x.php": whoever cuts at the question mark sees another script
     * than httpd's access control did (CVE-2024-38473). */
    if (strchr(file, '?') != NULL) {
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r, "DM1013: refused, an encoded question mark in "
                      "the name of a script");
        return HTTP_FORBIDDEN;
    }
    script->name = script_name(r, file, script->path_info);
    script->filename = as_php_sees(r, conf, file);
    return OK;
}

int demo_path_map_to_storage(request_rec *r)
{
    const char *full, *end;
    int status;

    if (r->proxyreq != PROXYREQ_NONE || r->filename == NULL || r->filename[0] != '/'
        || strstr(r->filename, ".php") == NULL) {
        return DECLINED;
    }
    status = ap_directory_walk(r);
    if (status != OK) {
        return status;
    }
    if (r->finfo.filetype == APR_NOFILE && r->path_info != NULL && r->path_info[0] != '\0') {
        full = full_path(r);
        end = script_end(full + site_start(r, full));
        if (end != NULL && end > full + strlen(r->filename)) {
            r->filename = apr_pstrndup(r->pool, full, (apr_size_t)(end - full));
            r->path_info = apr_pstrdup(r->pool, end);
        }
    }
    return ap_file_walk(r);
}

/* Are the site's scripts on this side at all?  Where only php-fpm has them a
 * script that is missing here says nothing. */
static int scripts_are_here(request_rec *r, const char *front)
{
    apr_finfo_t finfo;

    return apr_stat(&finfo, front_file(r, front), APR_FINFO_TYPE, r->pool) == APR_SUCCESS
           && finfo.filetype == APR_REG;
}

/* Is there something behind the path that answers by itself? */
static int has_own_answer(request_rec *r, const demo_dir_conf *conf, int is_ours)
{
    const char *full;

    if (r->finfo.filetype == APR_REG) {
        return is_ours || r->path_info == NULL || r->path_info[0] == '\0';
    }
    if (r->finfo.filetype == APR_DIR || !is_ours) {
        return 0;
    }
    full = full_path(r);
    return script_end(full + site_start(r, full)) != NULL && !scripts_are_here(r, conf->front);
}

/* mod_mime looked at the path of a file that is not there ("/export.tar.gz"): what it
 * made of it does not describe the script's answer.  A ForceType is meant. */
static void forget_suffix(request_rec *r)
{
    const core_dir_config *core = ap_get_core_module_config(r->per_dir_config);

    r->content_encoding = NULL;
    r->content_languages = NULL;
    if (core->mime_type == NULL) {
        ap_set_content_type(r, NULL);
    }
}

int demo_path_fixup(request_rec *r)
{
    const demo_dir_conf *conf = demo_dir_conf_get(r);
    int is_ours;

    if (conf->front == NULL || r->proxyreq != PROXYREQ_NONE || r->uri == NULL || r->uri[0] != '/'
        || r->filename == NULL || r->filename[0] != '/') {
        return DECLINED;
    }
    is_ours = r->handler != NULL && strcmp(r->handler, DEMO_HANDLER_FCGI) == 0;
    if (r->handler != NULL && !is_ours && strcmp(r->handler, DIR_MAGIC_TYPE) != 0) {
        return DECLINED; /* server-status and its like answer without a file */
    }
    if (has_own_answer(r, conf, is_ours)) {
        return DECLINED;
    }
    forget_suffix(r);
    r->handler = DEMO_HANDLER_FCGI;
    ap_set_module_config(r->request_config, &demo_module, (void *)conf->front);
    return DECLINED;
}
