#include "mod_demo/response/demo_header.h"

#include <stdlib.h>

#include "apr_strings.h"
#include "http_protocol.h"

#include "mod_demo/response/demo_output.h"

/* What a header says in all, before it touches the request. */
typedef struct {
    int status;               /* 0: no Status */
    const char *reason;
    size_t reason_len;
    const char *location;
    apr_off_t length;         /* Content-Length, or -1 */
    bool immediate;           /* event stream, or X-Accel-Buffering: no */
    bool validator;           /* ETag or Last-Modified: the client may have it already */
} summary;

static bool refuse(demo_exchange *x, const char *what)
{
    return demo_fail(x, DEMO_PHASE_RESPONSE, HTTP_BAD_GATEWAY, 0, what);
}

static bool refuse_long(demo_exchange *x)
{
    return refuse(x, apr_psprintf(x->r->pool, "the header exceeds DemoLimit headers= (%" APR_OFF_T_FMT " bytes)",
                                  x->dir->limit.headers));
}

/* Between this server and the next only; RFC 9110 §7.6.1. */
static bool is_hop_by_hop(const cgih_field *f)
{
    static const char *const names[] = {
        "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding",
        "Upgrade"
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (cgih_field_is(f, names[i])) {
            return true;
        }
    }
    return false;
}

static bool value_is(const cgih_field *f, const char *text)
{
    size_t len = strlen(text);
    return f->value_len >= len && strncasecmp(f->value, text, len) == 0
           && (f->value_len == len || f->value[len] == ';' || f->value[len] == ' ');
}

/* The beginning of a line for the log, which escapes what is not printable. */
static const char *excerpt(apr_pool_t *pool, const char *line, size_t len)
{
    static const size_t most = 48;

    while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r')) {
        len--;
    }
    return apr_psprintf(pool, "%.*s%s", (int)(len > most ? most : len), line,
                        len > most ? "..." : "");
}

static bool summarize_field(demo_exchange *x, const cgih_field *f, summary *sum)
{
    if (cgih_field_is(f, "Status")) {
        int status = cgih_status(f, &sum->reason, &sum->reason_len);
        if (status < 200 || (sum->status != 0 && sum->status != status)) {
            return refuse(x, apr_psprintf(x->r->pool, "malformed Status \"%s\"",
                                          excerpt(x->r->pool, f->value, f->value_len)));
        }
        sum->status = status;
    }
    else if (cgih_field_is(f, "Content-Length")) {
        apr_off_t len;
        const char *text = apr_pstrndup(x->r->pool, f->value, f->value_len);
        if (!ap_parse_strict_length(&len, text) || (sum->length >= 0 && sum->length != len)) {
            return refuse(x, apr_psprintf(x->r->pool, "%s \"%s\"", sum->length >= 0
                                          ? "a second, different Content-Length" : "malformed Content-Length",
                                          excerpt(x->r->pool, f->value, f->value_len)));
        }
        sum->length = len;
    }
    else if (cgih_field_is(f, "Location")) {
        sum->location = apr_pstrndup(x->r->pool, f->value, f->value_len);
    }
    else if (cgih_field_is(f, "Content-Type")) {
        sum->immediate = sum->immediate || value_is(f, "text/event-stream");
    }
    else if (cgih_field_is(f, "X-Accel-Buffering")) {
        sum->immediate = sum->immediate || value_is(f, "no");
    }
    else if (cgih_field_is(f, "ETag") || cgih_field_is(f, "Last-Modified")) {
        sum->validator = true;
    }
    return true;
}

static bool summarize(demo_exchange *x, const char *header, size_t len, summary *sum)
{
    size_t pos = 0, start = 0;
    cgih_field f;
    int got;

    *sum = (summary){ .length = -1 };
    while ((got = cgih_next(header, len, &pos, &f)) > 0) {
        if (!summarize_field(x, &f, sum)) {
            return false;
        }
        start = pos;
    }
    return got == 0 || refuse(x, apr_psprintf(x->r->pool, "malformed header: %s: \"%s\"",
                                              cgih_error_name(got),
                                              excerpt(x->r->pool, header + start, pos - start)));
}

/* For a status that it does not know httpd has the line of another one, and that is
 * what the client would get: Status: 599, as of PHP's http_response_code(599). */
static bool has_reason(int status)
{
    return strtol(ap_get_status_line(status), NULL, 10) == status;
}

static void status_set(request_rec *r, const summary *sum)
{
    /* Without a Status it stays what it is: 200, or that of the error whose
     * ErrorDocument this is. */
    if (sum->status != 0 || sum->location != NULL) {
        r->status = sum->status != 0 ? sum->status : HTTP_MOVED_TEMPORARILY;
    }
    r->status_line = NULL;
    if (sum->reason_len > 0 || (sum->status != 0 && !has_reason(r->status))) {
        r->status_line = apr_psprintf(r->pool, "%03d %.*s", r->status, (int)sum->reason_len,
                                      sum->reason_len > 0 ? sum->reason : "");
    }
}

/* A script that states no Status leaves it to the server whether the client
 * has this answer already (If-None-Match, If-Modified-Since), as with a file. */
static bool is_unchanged(request_rec *r, const summary *sum)
{
    return sum->validator && sum->status == 0 && r->status == HTTP_OK
           && r->method_number == M_GET && r->main == NULL
           && ap_meets_conditions(r) == HTTP_NOT_MODIFIED;
}

/* The fields, out of a copy in which names and values get their NUL. */
static void fields_set(request_rec *r, char *header, size_t len)
{
    size_t pos = 0;
    cgih_field f;

    while (cgih_next(header, len, &pos, &f) > 0) {
        char *name = header + (f.name - header), *value = header + (f.value - header);
        if (is_hop_by_hop(&f) || cgih_field_is(&f, "Status")
            || cgih_field_is(&f, "Content-Length") || cgih_field_is(&f, "X-Accel-Buffering")) {
            continue;
        }
        bool is_type = cgih_field_is(&f, "Content-Type");
        bool is_location = cgih_field_is(&f, "Location");
        name[f.name_len] = '\0';
        value[f.value_len] = '\0';
        if (is_type) {
            ap_set_content_type(r, value);
        }
        else if (is_location) {
            apr_table_setn(r->headers_out, name, value);
        }
        else {
            apr_table_addn(r->headers_out, name, value);
        }
    }
}

/* RFC 3875 §6.2.2: a Location that is a path of this site, without a Status,
 * asks for the answer to that path.  "//host" is no path but another site. */
static bool is_local_redirect(const summary *sum)
{
    return sum->status == 0 && sum->location != NULL && sum->location[0] == '/'
           && sum->location[1] != '/';
}

/* Only kept connections end in the middle of an answer as a matter of course. */
static void before_keep(demo_exchange *x)
{
    const request_rec *r = x->r;

    if (x->conn->keep) {
        x->answer.before = (demo_before){
            .kept = true, .content_type = r->content_type, .status_line = r->status_line,
            .clength = r->clength, .status = r->status,
            .headers_out = apr_is_empty_table(r->headers_out)
                           ? NULL : apr_table_copy(r->pool, r->headers_out)
        };
    }
}

void demo_header_take_back(demo_exchange *x)
{
    request_rec *r = x->r;
    const demo_before *b = &x->answer.before;

    if (b->kept) {
        if (b->headers_out != NULL) {
            r->headers_out = b->headers_out;
        }
        else {
            apr_table_clear(r->headers_out);
        }
        r->content_type = b->content_type;
        r->status_line = b->status_line;
        r->clength = b->clength;
        r->status = b->status;
    }
}

static bool header_apply(demo_exchange *x, const char *header, size_t len)
{
    request_rec *r = x->r;
    demo_answer *a = &x->answer;
    summary sum;

    if (!summarize(x, header, len, &sum)) {
        return false;
    }
    a->header_done = true;
    if (is_local_redirect(&sum)) {
        a->redirect = sum.location;
        a->discard = true;
        return true;
    }
    before_keep(x);
    status_set(r, &sum);
    fields_set(r, apr_pstrmemdup(r->pool, header, len), len);
    a->stated_len = sum.length;
    if (is_unchanged(r, &sum)) {
        r->status = HTTP_NOT_MODIFIED;
    }
    if (sum.length >= 0 && !AP_STATUS_IS_HEADER_ONLY(r->status)) {
        ap_set_content_length(r, sum.length);
    }
    a->discard = r->header_only || AP_STATUS_IS_HEADER_ONLY(r->status);
    demo_output_begin(x, sum.immediate || !x->dir->response_buffering);
    return true;
}

/* Collects a header that comes in pieces. */
static bool piece_keep(demo_exchange *x, const char *data, size_t len)
{
    demo_answer *a = &x->answer;

    if ((apr_off_t)(a->header_len + len) > x->dir->limit.headers) {
        return refuse_long(x);
    }
    if (a->header_len + len > a->header_cap) {
        size_t cap = a->header_cap > 0 ? a->header_cap : 4096;
        char *grown;
        while (cap < a->header_len + len) {
            cap *= 2;
        }
        grown = apr_palloc(x->r->pool, cap);
        if (a->header_len > 0) {
            memcpy(grown, a->header, a->header_len);
        }
        a->header = grown;
        a->header_cap = cap;
    }
    memcpy(a->header + a->header_len, data, len);
    a->header_len += len;
    return true;
}

bool demo_header_feed(demo_exchange *x, const char *data, size_t len, size_t *used)
{
    demo_answer *a = &x->answer;
    size_t end = cgih_scan_feed(&a->scan, data, len);

    *used = end > 0 ? end : len;
    if (a->header_len == 0 && end > 0) {
        if ((apr_off_t)end > x->dir->limit.headers) {
            return refuse_long(x);
        }
        return header_apply(x, data, end); /* whole in one record, as nearly always */
    }
    if (!piece_keep(x, data, *used)) {
        return false;
    }
    return end == 0 || header_apply(x, a->header, a->header_len);
}
