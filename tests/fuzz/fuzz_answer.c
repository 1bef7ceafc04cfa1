/*
 * The whole way of an answer through mod_demo: records, CGI header, STDERR,
 * buckets down the filters.  However the bytes come the client gets the same;
 * it gets no byte that PHP did not write as body, no header that could end the
 * header; a refused answer leaves the request untouched for another attempt;
 * one that breaks off can not be taken for whole.
 *
 * Input: choices (see plan_of), bytes a read (0: 256), where the client begins
 * to be slow or is gone (times 16); then what the backend sends.
 */
#include "tests/fuzz/stub_http.h"

#include "apr_lib.h"
#include "apr_tables.h"

#include "lib/cgih.h"
#include "mod_demo/response/demo_header.h"
#include "mod_demo/response/demo_output.h"
#include "mod_demo/response/demo_recv.h"

FUZZ_NOT_COVERED

enum { CLIENT = 3, TAKES_ALL = 0, SLOW = 1, SLOW_DISK_FULL = 2, LOST = 3,
       HEAD = 4, UNBUFFERED = 8, SMALL = 16, WAITS = 32, RESET = 64, HTTP2 = 128 };

/* What a client, the log and the next attempt see of an exchange. */
typedef struct {
    stub_bytes text; /* all but the body */
    stub_bytes body;
} seen;

static stub_plan plan_of(const uint8_t *data, size_t size, size_t piece)
{
    int where = data[2] * 16;
    stub_plan plan = {
        .wire = data + 3, .len = size - 3, .piece = piece,
        .waits = data[0] & WAITS, .reset = data[0] & RESET, .http2 = data[0] & HTTP2,
        .head = data[0] & HEAD, .brief = data[2] & 1, .client_socket = data[2] & 2,
        .keep = data[2] & 4,
        .slow_after = STUB_NEVER, .lost_after = STUB_NEVER, .disk_full_after = STUB_NEVER,
    };

    stub_dir_defaults(&plan.dir);
    plan.dir.response_buffering = !(data[0] & UNBUFFERED);
    if (data[0] & SMALL) {
        plan.dir.limit.headers = 128;
        plan.dir.spool.memory = 32;
        plan.dir.spool.max = 96;
    }
    switch (data[0] & CLIENT) {
    case SLOW_DISK_FULL:
        plan.disk_full_after = 50;
        plan.slow_after = where;
        break;
    case SLOW:
        plan.slow_after = where;
        break;
    case LOST:
        plan.lost_after = where;
        break;
    default:
        break;
    }
    return plan;
}

/* --- what has to hold of each exchange ------------------------------------------------ */

static void check_field(const char *name, const char *value)
{
    static const char *const never[] = { "Status", "Connection", "Keep-Alive", "Transfer-Encoding",
                                         "Trailer", "Upgrade", "TE", "X-Accel-Buffering" };

    FUZZ_CHECK(name[0] != '\0');
    for (const char *c = name; *c != '\0'; c++) {
        FUZZ_CHECK(*c > 0x20 && *c < 0x7f && strchr("()<>@,;:\\\"/[]?={}", *c) == NULL);
    }
    for (const char *c = value; *c != '\0'; c++) {
        FUZZ_CHECK(!apr_iscntrl(*c) || *c == '\t');
    }
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++) {
        FUZZ_CHECK(strcasecmp(name, never[i]) != 0);
    }
}

static void check_headers(const request_rec *r)
{
    const apr_array_header_t *list = apr_table_elts(r->headers_out);

    for (int i = 0; i < list->nelts; i++) {
        const apr_table_entry_t *e = &((const apr_table_entry_t *)list->elts)[i];
        check_field(e->key, e->val);
    }
    if (r->content_type != NULL) {
        check_field("Content-Type", r->content_type);
    }
    if (r->status_line != NULL) {
        check_field("Reason", r->status_line);
    }
    FUZZ_CHECK(r->status >= 200 && r->status <= 599);
}

/* As if nothing had been asked: another attempt may follow. */
static void check_untouched(const stub_result *s)
{
    FUZZ_CHECK(s->r->status == HTTP_OK && s->r->status_line == NULL);
    FUZZ_CHECK(s->r->content_type == NULL && apr_is_empty_table(s->r->headers_out));
    FUZZ_CHECK(s->body.len == 0 && !s->eos && !s->r->connection->aborted);
}

/* Where a record ends and what it holds, read without the module's parser.
 * STDOUT of a wire image, as far as it goes. */
static void stdout_of(const stub_plan *plan, stub_bytes *out)
{
    size_t at = 0;

    while (plan->len - at >= 8) {
        const uint8_t *h = plan->wire + at;
        size_t content = (size_t)h[4] << 8 | h[5], skip = content + h[6];
        at += 8;
        if (h[1] == 3) {
            return;
        }
        if (h[1] == 6) {
            stub_append(out, plan->wire + at, content < plan->len - at ? content : plan->len - at);
        }
        at += skip < plan->len - at ? skip : plan->len - at;
    }
}

static void check_body(const stub_result *s, const stub_plan *plan, bool whole)
{
    const demo_answer *a = &s->x->answer;
    stub_bytes written = { 0 };
    cgih_scan scan;
    size_t header, want;

    stdout_of(plan, &written);
    cgih_scan_init(&scan);
    header = written.len > 0 ? cgih_scan_feed(&scan, written.data, written.len) : 0;
    FUZZ_CHECK(header > 0);
    want = written.len - header;
    if (a->stated_len >= 0 && (size_t)a->stated_len < want) {
        want = (size_t)a->stated_len;
    }
    if (a->discard) {
        want = 0;
    }
    FUZZ_CHECK(s->body.len <= want && (!whole || s->body.len == want));
    FUZZ_CHECK(s->body.len == 0 || memcmp(s->body.data, written.data + header, s->body.len) == 0);
    FUZZ_CHECK(!whole || a->discard || a->stated_len < 0 || (apr_off_t)want == a->stated_len);
    free(written.data);
}

static void check(const stub_result *s, const stub_plan *plan, bool ok)
{
    const demo_exchange *x = s->x;
    const demo_answer *a = &x->answer;
    bool lost = s->r->connection->aborted;

    FUZZ_CHECK(ok ? x->failure.phase == DEMO_PHASE_NONE && a->ended && a->header_done
                  : x->failure.phase != DEMO_PHASE_NONE && x->failure.what != NULL);
    FUZZ_CHECK(ok || !x->failure.untouched || !a->header_done);
    if (!a->header_done) {
        check_untouched(s);
        return;
    }
    if (a->redirect != NULL) {
        FUZZ_CHECK(a->redirect[0] == '/' && a->redirect[1] != '/');
        check_field("Location", a->redirect);
        check_untouched(s);
        return;
    }
    check_headers(s->r);
    check_body(s, plan, ok && !lost);
    FUZZ_CHECK(!ok || lost || (s->eos && !s->error));
    FUZZ_CHECK(ok || lost || s->error);
    FUZZ_CHECK(ok || s->r->connection->keepalive == AP_CONN_CLOSE || x->failure.phase == DEMO_PHASE_CLIENT);
}

/* --- one exchange ------------------------------------------------------------------------ */

static void say(stub_bytes *out, const char *name, const char *value)
{
    stub_append(out, name, strlen(name));
    stub_append(out, ": ", 2);
    if (value != NULL) {
        stub_append(out, value, strlen(value));
    }
    stub_append(out, "\n", 1);
}

static void say_number(stub_bytes *out, const char *name, apr_off_t n)
{
    char text[32];

    (void)snprintf(text, sizeof text, "%lld", (long long)n);
    say(out, name, text);
}

static void describe(const stub_result *s, seen *out)
{
    const demo_failure *f = &s->x->failure;
    const demo_answer *a = &s->x->answer;
    const apr_array_header_t *list = apr_table_elts(s->r->headers_out);

    say_number(&out->text, "phase", (apr_off_t)f->phase);
    say_number(&out->text, "failure", f->status);
    say_number(&out->text, "cause", f->cause);
    say(&out->text, "what", f->what);
    say_number(&out->text, "retry", f->untouched * 4 + f->queueable * 2 + f->elsewhere_only);
    say_number(&out->text, "status", s->r->status);
    say(&out->text, "line", s->r->status_line);
    say(&out->text, "type", s->r->content_type);
    for (int i = 0; i < list->nelts; i++) {
        const apr_table_entry_t *e = &((const apr_table_entry_t *)list->elts)[i];
        say(&out->text, e->key, e->val);
    }
    say(&out->text, "redirect", a->redirect);
    say_number(&out->text, "stated", a->stated_len);
    say_number(&out->text, "body", a->body_len);
    say_number(&out->text, "state", a->started * 8 + a->header_done * 4 + a->discard * 2 + a->ended);
    say_number(&out->text, "end", s->eos * 4 + s->error * 2 + s->r->connection->aborted);
    stub_append(&out->text, s->log.data, s->log.len);
    stub_append(&out->body, s->body.data, s->body.len);
}

/* As demo_attempt.c and demo_handler.c do it. */
static void run(const stub_plan *plan, seen *out)
{
    stub_result *s = stub_begin(plan);
    demo_exchange *x = s->x;
    bool ok;

    demo_recv_init(x);
    ok = demo_recv_answer(x);
    if (plan->keep && x->failure.phase == DEMO_PHASE_READ && x->answer.header_done
        && demo_output_take_back(x)) {
        demo_header_take_back(x);
        demo_recv_init(x);
    }
    if (ok && x->answer.redirect == NULL) {
        ok = demo_output_end(x);
    }
    else if (x->answer.header_done && x->answer.redirect == NULL
             && x->failure.phase != DEMO_PHASE_CLIENT) {
        demo_output_abort(x);
    }
    check(s, plan, ok);
    describe(s, out);
    stub_end(s);
}

static void check_same(const seen *a, const seen *b, bool lost)
{
    if (lost) { /* where a client is lost depends on what it was given at once */
        size_t len = a->body.len < b->body.len ? a->body.len : b->body.len;
        FUZZ_CHECK(len == 0 || memcmp(a->body.data, b->body.data, len) == 0);
        return;
    }
    FUZZ_CHECK(a->text.len == b->text.len && memcmp(a->text.data, b->text.data, a->text.len) == 0);
    FUZZ_CHECK(a->body.len == b->body.len);
    FUZZ_CHECK(a->body.len == 0 || memcmp(a->body.data, b->body.data, a->body.len) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static seen whole, pieces; /* their memory is used again */
    size_t cuts[] = { data[1 < size ? 1 : 0] > 0 ? data[1 < size ? 1 : 0] : 256, 1 };
    stub_plan plan;

    if (size < 3) {
        return 0;
    }
    plan = plan_of(data, size, DEMO_READ_SIZE);
    whole.text.len = whole.body.len = 0;
    run(&plan, &whole);
    for (size_t i = 0; i < 2; i++) {
        plan.piece = cuts[i];
        pieces.text.len = pieces.body.len = 0;
        run(&plan, &pieces);
        check_same(&whole, &pieces, (data[0] & CLIENT) == LOST);
    }
    return 0;
}

FUZZ_COVERED
