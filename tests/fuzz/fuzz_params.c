/*
 * The request's parameters as mod_demo encodes them: php-fpm reads just the
 * pairs of the environment, whole and in order, in records that decode alone;
 * or the request is refused for its size.
 *
 * Input: DemoLimit params= (two bytes), then names and values, each ended by
 * NUL; every byte 0xff of a value stands for 300 letters.
 */
#include "tests/fuzz/stub_http.h"

#include "ap_expr.h"
#include "http_protocol.h"
#include "util_script.h"

#include "lib/fcgiw.h"
#include "mod_demo/request/demo_params.h"

FUZZ_NOT_COVERED

enum { LONG = 300 };

static const uint8_t *input;
static size_t input_len;

/* The next text of the input, in the request's pool; NULL: there is none. */
static const char *next_text(size_t *at, apr_pool_t *p)
{
    const uint8_t *from = input + *at, *end;
    size_t len, extra = 0;
    char *out, *to;

    end = memchr(from, 0, input_len - *at);
    if (end == NULL) {
        return NULL;
    }
    len = (size_t)(end - from);
    *at += len + 1;
    for (size_t i = 0; i < len; i++) {
        extra += from[i] == 0xff ? LONG : 0;
    }
    out = to = apr_palloc(p, len + extra + 1);
    for (size_t i = 0; i < len; i++) {
        if (from[i] == 0xff) {
            memset(to, 'x', LONG);
            to += LONG;
        }
        else {
            *to++ = (char)from[i];
        }
    }
    *to = '\0';
    return out;
}

void ap_add_common_vars(request_rec *r)
{
    const char *name, *value;
    size_t at = 0;

    while (at < input_len && (name = next_text(&at, r->pool)) != NULL && at < input_len
           && (value = next_text(&at, r->pool)) != NULL) {
        apr_table_addn(r->subprocess_env, name, value);
    }
}

const char *ap_run_http_scheme(const request_rec *r)
{
    (void)r;
    return "http";
}

const char *ap_expr_str_exec(request_rec *r, const ap_expr_info_t *expr, const char **error)
{
    (void)r, (void)expr;
    *error = NULL;
    return "";
}

/* The next pair of the environment that can be sent. */
static const apr_table_entry_t *next_entry(const apr_array_header_t *list, int *i)
{
    while (*i < list->nelts) {
        const apr_table_entry_t *e = &((const apr_table_entry_t *)list->elts)[(*i)++];
        if (e->key != NULL && e->key[0] != '\0' && e->val != NULL) {
            return e;
        }
    }
    return NULL;
}

static void check_pairs(const uint8_t *data, size_t len, const apr_array_header_t *env, int *i)
{
    size_t at = 0;

    while (at < len) {
        const apr_table_entry_t *e = next_entry(env, i);
        fcgiw_pair pair;
        fcgiw_result n = fcgiw_pair_decode(&pair, data + at, len - at);
        FUZZ_CHECK(n > 0 && e != NULL);
        FUZZ_CHECK(pair.name_len == strlen(e->key) && memcmp(pair.name, e->key, pair.name_len) == 0);
        FUZZ_CHECK(pair.value_len == strlen(e->val)
                   && memcmp(pair.value, e->val, pair.value_len) == 0);
        at += (size_t)n;
    }
}

static void check_head(const demo_request *request, const apr_array_header_t *env)
{
    size_t at = FCGIW_HEADER_LEN + FCGIW_BODY_LEN;
    bool ended = false;
    int i = 0;

    FUZZ_CHECK(request->head_len > at && request->head[1] == FCGIW_BEGIN_REQUEST);
    while (at < request->head_len) {
        fcgiw_header h;
        FUZZ_CHECK(fcgiw_header_decode(&h, request->head + at, request->head_len - at) > 0);
        at += FCGIW_HEADER_LEN;
        FUZZ_CHECK(!ended && h.type == FCGIW_PARAMS && h.request_id == DEMO_REQUEST_ID);
        FUZZ_CHECK(h.content_length <= request->head_len - at);
        check_pairs(request->head + at, h.content_length, env, &i);
        at += (size_t)h.content_length + h.padding_length;
        ended = h.content_length == 0;
    }
    FUZZ_CHECK(ended && at == request->head_len && next_entry(env, &i) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    stub_plan plan = { .piece = 1, .slow_after = STUB_NEVER, .lost_after = STUB_NEVER,
                       .disk_full_after = STUB_NEVER };
    stub_result *s;
    int status;

    if (size < 2) {
        return 0;
    }
    stub_dir_defaults(&plan.dir);
    plan.dir.limit.params = 4096 + (data[0] << 8 | data[1]) * 4;
    input = data + 2;
    input_len = size - 2;
    s = stub_begin(&plan);
    s->x->request.stated_len = -1;
    s->x->script = (demo_script){ .name = "/index.php", .filename = "/srv/index.php", .root = "/srv",
                                  .path_info = "" };
    status = demo_params_build(s->x);
    if (status == OK) {
        FUZZ_CHECK((apr_off_t)s->x->request.head_len <= plan.dir.limit.params);
        check_head(&s->x->request, apr_table_elts(s->r->subprocess_env));
    }
    else {
        FUZZ_CHECK((status == HTTP_REQUEST_URI_TOO_LARGE || status == 431) && s->log.len > 0);
    }
    stub_end(s);
    return 0;
}

FUZZ_COVERED
