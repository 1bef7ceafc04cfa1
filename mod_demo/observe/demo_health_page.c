#include "mod_demo/observe/demo_health_page.h"

#include <string.h>

#include "apr_strings.h"
#include "http_protocol.h"
#include "http_request.h"

#include "lib/prom.h"
#include "mod_demo/backend/demo_backend.h"
#include "mod_demo/background/demo_health.h"
#include "mod_demo/config/demo_config.h"
#include "mod_demo/shm/demo_clock.h"

#define CHECK_HTTPD   "httpd"
#define CHECK_BACKEND "php-fpm"

enum verdict { PASS, WARN, FAIL };

typedef struct {
    const char  *name;    /* what ?exclude= takes */
    const char  *part;    /* an address, or NULL: the check as a whole */
    enum verdict verdict;
    const char  *text;    /* detail, or NULL */
    apr_time_t   at;      /* when it was found out */
} finding;

typedef struct {
    apr_pool_t         *pool;
    apr_array_header_t *findings; /* finding; a part follows the check it belongs to */
} report;

static finding *report_add(report *rep, const char *name, enum verdict verdict, const char *text)
{
    finding *f = apr_array_push(rep->findings);

    memset(f, 0, sizeof(*f));
    f->name = name;
    f->verdict = verdict;
    f->text = text;
    f->at = apr_time_now();
    return f;
}

/* --- what the background thread found ---------------------------------------------------- */

static void address_finding(report *rep, const demo_backend *b, int slot)
{
    const demo_shm_addr *a = &demo_seg->addrs[slot];
    demo_address address;
    char where[DEMO_TARGET_NAME_MAX], text[DEMO_HEALTH_TEXT_MAX];
    uint32_t health = atomic_load(&a->health);
    int64_t now = demo_now(), age = now - atomic_load(&a->checked_at);

    if (!demo_backend_address(b, slot, &address)) {
        return;
    }
    demo_address_text(&address.addr.sa, where, sizeof(where));
    (void)demo_text_load(&a->text_seq, a->text, sizeof(text), text);
    finding *f = report_add(rep, CHECK_BACKEND, FAIL, NULL);
    f->part = apr_pstrdup(rep->pool, where);
    if (health == DEMO_HEALTH_UNKNOWN) {
        f->text = "not checked yet";
        return;
    }
    f->at -= age;
    if (demo_backend_unchecked(b, slot, now)) {
        f->text = apr_psprintf(rep->pool, "last checked %" APR_INT64_T_FMT " ms ago, every %" APR_INT64_T_FMT
                               " ms is due", (apr_int64_t)(age / 1000),
                               (apr_int64_t)(b->health->interval / 1000));
        return;
    }
    f->verdict = health == DEMO_HEALTH_DOWN ? FAIL
               : strncmp(text, DEMO_HEALTH_NO_PING, strlen(DEMO_HEALTH_NO_PING)) == 0 ? WARN : PASS;
    if (strcmp(text, "ok") != 0) {
        f->text = apr_pstrdup(rep->pool, text);
    }
}

static void backend_findings(report *rep, const demo_backend *b)
{
    uint16_t slots[DEMO_PER_BACKEND_MAX];
    unsigned n = demo_backend_slots(b, slots);

    if (n == 0) {
        char why[DEMO_HEALTH_TEXT_MAX];
        const demo_shm_backend *sb = &demo_seg->backends[b->index];
        (void)demo_text_load(&sb->text_seq, sb->text, sizeof(why), why);
        finding *f = report_add(rep, CHECK_BACKEND, FAIL, apr_pstrcat(rep->pool, "resolve: ", why, NULL));
        f->part = b->endpoint->url;
    }
    for (unsigned i = 0; i < n; i++) {
        address_finding(rep, b, slots[i]);
    }
}

/* The backends of the server that is asked; of all servers when it has none. */
static void collect_backends(report *rep, server_rec *s)
{
    const demo_cluster *own = demo_server_conf_get(s)->cluster;
    unsigned n = own != NULL ? own->n_backends + own->n_backups : demo_backend_count;

    for (unsigned i = 0; i < n; i++) {
        const demo_backend *b = own != NULL ? own->backends[i] : &demo_backends[i];
        if (b->health != NULL) {
            backend_findings(rep, b);
        }
    }
}

/* One line for all addresses: fine as long as one of them answers. */
static void summarize(report *rep, int whole, int first)
{
    finding *all = &APR_ARRAY_IDX(rep->findings, whole, finding);
    int n = rep->findings->nelts - first, good = 0;
    enum verdict best = FAIL;

    for (int i = first; i < rep->findings->nelts; i++) {
        const finding *f = &APR_ARRAY_IDX(rep->findings, i, finding);
        good += f->verdict != FAIL;
        best = f->verdict < best ? f->verdict : best;
    }
    all->verdict = best;
    if (n == 1) {
        const finding *only = &APR_ARRAY_IDX(rep->findings, first, finding);
        all->text = only->text == NULL ? NULL
                  : apr_pstrcat(rep->pool, only->part, ": ", only->text, NULL);
        all->at = only->at;
        rep->findings->nelts = first;
    }
    else if (n == 0) {
        all->verdict = FAIL;
        all->text = "no backend is configured";
    }
    else if (good < n) {
        all->verdict = good > 0 ? WARN : FAIL;
        all->text = apr_psprintf(rep->pool, "%d of %d addresses answer", good, n);
    }
}

static void collect(report *rep, server_rec *s, int with_backends)
{
    (void)report_add(rep, CHECK_HTTPD, PASS, NULL);
    if (with_backends && demo_seg != NULL) {
        int whole = rep->findings->nelts;
        (void)report_add(rep, CHECK_BACKEND, FAIL, NULL);
        collect_backends(rep, s);
        summarize(rep, whole, whole + 1);
    }
}

/* --- ?verbose and ?exclude=NAME ------------------------------------------------------------ */

static const char *query_next(const char **query, apr_pool_t *p)
{
    const char *start = *query, *end;

    if (start == NULL || *start == '\0') {
        return NULL;
    }
    end = strchr(start, '&');
    *query = end != NULL ? end + 1 : NULL;
    char *arg = end != NULL ? apr_pstrndup(p, start, (apr_size_t)(end - start)) : apr_pstrdup(p, start);
    (void)ap_unescape_urlencoded(arg);
    return arg;
}

static int query_verbose(request_rec *r)
{
    const char *query = r->args, *arg;

    while (query != NULL && (arg = query_next(&query, r->pool)) != NULL) {
        if (strcmp(arg, "verbose") == 0 || strncmp(arg, "verbose=", 8) == 0) {
            return 1;
        }
    }
    return 0;
}

/* Takes the excluded checks out; the names that match none come back. */
static const char *query_exclude(request_rec *r, report *rep)
{
    const char *query = r->args, *arg, *unknown = NULL;

    while (query != NULL && (arg = query_next(&query, r->pool)) != NULL) {
        int kept = 0, n = rep->findings->nelts;
        if (strncmp(arg, "exclude=", 8) != 0) {
            continue;
        }
        for (int i = 0; i < n; i++) {
            finding *f = &APR_ARRAY_IDX(rep->findings, i, finding);
            if (strcmp(f->name, arg + 8) != 0) {
                APR_ARRAY_IDX(rep->findings, kept++, finding) = *f;
            }
        }
        if (kept == n) {
            unknown = apr_pstrcat(r->pool, unknown != NULL ? unknown : "",
                                  unknown != NULL ? ", " : "", arg + 8, NULL);
        }
        rep->findings->nelts = kept;
    }
    return unknown;
}

static enum verdict overall(const report *rep)
{
    enum verdict worst = PASS;

    for (int i = 0; i < rep->findings->nelts; i++) {
        const finding *f = &APR_ARRAY_IDX(rep->findings, i, finding);
        if (f->part == NULL && f->verdict > worst) {
            worst = f->verdict;
        }
    }
    return worst;
}

/* --- output ------------------------------------------------------------------------------------ */

/* "[+]php-fpm ok", "[+]php-fpm ok: 1 of 2 addresses answer", "[-]php-fpm failed: …" */
static void print_line(request_rec *r, const finding *f)
{
    ap_rprintf(r, "[%s]%s%s%s %s", f->verdict == FAIL ? "-" : "+", f->name,
               f->part != NULL ? "/" : "", f->part != NULL ? f->part : "",
               f->verdict == FAIL ? "failed" : "ok");
    if (f->text != NULL) {
        ap_rprintf(r, ": %s", f->text);
    }
    ap_rputs("\n", r);
}

static void print_text(request_rec *r, const report *rep, const char *page, const char *unknown)
{
    int failed = overall(rep) == FAIL;

    ap_set_content_type(r, "text/plain; charset=utf-8");
    if (!failed && !query_verbose(r)) {
        ap_rputs("ok\n", r);
        return;
    }
    for (int i = 0; i < rep->findings->nelts; i++) {
        print_line(r, &APR_ARRAY_IDX(rep->findings, i, finding));
    }
    if (unknown != NULL) {
        ap_rprintf(r, "warn: no such check to exclude: %s\n", ap_escape_html(r->pool, unknown));
    }
    ap_rprintf(r, "%s check %s\n", page, failed ? "failed" : "passed");
}

static const char *json_string(apr_pool_t *p, const char *s)
{
    char *out = apr_palloc(p, strlen(s) * 6 + 3), *o = out;

    *o++ = '"';
    for (; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\') {
            *o++ = '\\';
            *o++ = (char)c;
        }
        else if (c < 0x20 || c >= 0x7f) {
            o += apr_snprintf(o, 7, "\\u%04x", c);
        }
        else {
            *o++ = (char)c;
        }
    }
    *o++ = '"';
    *o = '\0';
    return out;
}

static const char *const verdict_names[] = { "pass", "warn", "fail" };

/* draft-inadarei-api-health-check-06: checks is an object of arrays, an array a
 * check, an object in it a component. */
static void print_json(request_rec *r, const report *rep, const char *page)
{
    const char *open = NULL;

    ap_set_content_type(r, "application/health+json");
    ap_rprintf(r, "{\"status\":\"%s\",\"description\":\"%s\",\"checks\":{",
               verdict_names[overall(rep)], page);
    for (int i = 0; i < rep->findings->nelts; i++) {
        const finding *f = &APR_ARRAY_IDX(rep->findings, i, finding);
        char at[APR_RFC822_DATE_LEN + 16];
        apr_time_exp_t exp;
        apr_size_t len = 0;
        if (open == NULL || strcmp(open, f->name) != 0) {
            ap_rprintf(r, "%s\"%s\":[", open != NULL ? "]," : "", f->name);
        }
        else {
            ap_rputs(",", r);
        }
        open = f->name;
        (void)apr_time_exp_gmt(&exp, f->at);
        (void)apr_strftime(at, &len, sizeof(at), "%Y-%m-%dT%H:%M:%SZ", &exp);
        ap_rprintf(r, "{\"componentType\":\"%s\",\"status\":\"%s\",\"time\":\"%s\"",
                   f->part != NULL ? "component" : "system", verdict_names[f->verdict], at);
        if (f->part != NULL) {
            ap_rprintf(r, ",\"componentId\":%s", json_string(r->pool, f->part));
        }
        if (f->text != NULL) {
            ap_rprintf(r, ",\"output\":%s", json_string(r->pool, f->text));
        }
        ap_rputs("}", r);
    }
    ap_rprintf(r, "%s}}\n", open != NULL ? "]" : "");
}

int demo_health_handler(request_rec *r)
{
    const char *slash = strrchr(r->uri, '/'), *page = slash != NULL ? slash + 1 : r->uri;
    const char *accept = apr_table_get(r->headers_in, "Accept");
    int live = strcmp(page, "livez") == 0;
    report rep = { r->pool, apr_array_make(r->pool, 4, sizeof(finding)) };

    if (r->handler == NULL || strcmp(r->handler, DEMO_HANDLER_HEALTH) != 0) {
        return DECLINED;
    }
    if (!live && strcmp(page, "readyz") != 0 && strcmp(page, "healthz") != 0) {
        return HTTP_NOT_FOUND;
    }
    ap_allow_methods(r, REPLACE_ALLOW, "GET", NULL);
    if (r->method_number != M_GET) {
        return HTTP_METHOD_NOT_ALLOWED;
    }
    collect(&rep, r->server, !live);
    const char *unknown = query_exclude(r, &rep);
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    apr_table_mergen(r->headers_out, "Vary", "Accept");
    if (overall(&rep) == FAIL) {
        /* The page is the answer: no ErrorDocument in its place. */
        r->status = HTTP_SERVICE_UNAVAILABLE;
        r->status_line = NULL;
        apr_table_setn(r->headers_out, "Retry-After", "1");
    }
    if (prom_accepts(accept, "application/health+json")) {
        print_json(r, &rep, page);
    }
    else {
        print_text(r, &rep, page, unknown);
    }
    return OK;
}
