/*
 * The arguments of directives: a number that is taken lies within its bounds,
 * and one that is refused changes nothing; a URL that is taken reads the same
 * in its canonical form; each refusal says something.
 *
 * Input: 'o' and an argument "name=value", or any other byte and a URL.
 */
#include "tests/fuzz/fuzz.h"

#include "apr_general.h"
#include "apr_pools.h"

#include "mod_demo/backend/demo_endpoint.h"
#include "mod_demo/config/demo_options.h"

FUZZ_NOT_COVERED

typedef struct {
    apr_interval_time_t time;
    apr_off_t size;
    int count;
    const char *text;
} record;

static const demo_option table[] = {
    { "time", DEMO_OPT_TIME, APR_OFFSETOF(record, time), 1000, apr_time_from_sec(86400) },
    { "size", DEMO_OPT_SIZE, APR_OFFSETOF(record, size), 1, APR_INT64_MAX },
    { "count", DEMO_OPT_COUNT, APR_OFFSETOF(record, count), -1, 65536 },
    { "text", DEMO_OPT_STRING, APR_OFFSETOF(record, text), 0, 0 },
    { NULL, DEMO_OPT_STRING, 0, 0, 0 }
};

static void check_option(const char *text, apr_pool_t *p)
{
    record r = { -7, -7, -7, NULL };
    int bit = -7;
    const char *wrong = demo_option_parse(table, &r, text, &bit, p);

    if (wrong != NULL) {
        FUZZ_CHECK(wrong[0] != '\0');
        FUZZ_CHECK(r.time == -7 && r.size == -7 && r.count == -7 && r.text == NULL);
        return;
    }
    FUZZ_CHECK(bit >= 0 && bit < 4);
    FUZZ_CHECK(bit == 0 ? r.time >= table[0].min && r.time <= table[0].max : r.time == -7);
    FUZZ_CHECK(bit == 1 ? r.size >= 1 : r.size == -7);
    FUZZ_CHECK(bit == 2 ? r.count >= 0 && r.count <= 65536 : r.count == -7);
    FUZZ_CHECK(bit == 3 ? r.text[0] != '\0' && r.text != text : r.text == NULL);
}

static void check_endpoint(const char *text, apr_pool_t *p)
{
    const demo_endpoint *e = NULL, *again = NULL;
    const char *wrong = demo_endpoint_parse(&e, text, DEMO_PATH_ALLOWED, p);

    if (wrong != NULL) {
        FUZZ_CHECK(wrong[0] != '\0' && e == NULL);
        return;
    }
    if (e->kind == DEMO_ENDPOINT_UNIX) {
        FUZZ_CHECK(e->sock[0] == '/' && e->sock[1] != '\0' && strlen(e->sock) < 108);
    }
    else {
        FUZZ_CHECK(e->port >= 1 && e->port <= 65535);
        FUZZ_CHECK(e->host[0] != '\0' && strlen(e->host) <= DEMO_HOST_MAX);
        FUZZ_CHECK(strpbrk(e->host, "/@ []") == NULL);
        FUZZ_CHECK(e->path == NULL || (e->path[0] == '/' && e->path[1] != '\0'));
    }
    FUZZ_CHECK(demo_endpoint_parse(&again, e->url, DEMO_PATH_NONE, p) == NULL);
    FUZZ_CHECK(strcmp(again->url, e->url) == 0 && again->kind == e->kind && again->port == e->port);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static apr_pool_t *pool;
    char *text;

    if (pool == NULL) {
        FUZZ_CHECK(apr_initialize() == APR_SUCCESS && apr_pool_create(&pool, NULL) == APR_SUCCESS);
    }
    if (size < 1) {
        return 0;
    }
    text = malloc(size + 1);
    FUZZ_CHECK(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    if (text[0] == 'o') {
        check_option(text + 1, pool);
    }
    else {
        check_endpoint(text + 1, pool);
    }
    apr_pool_clear(pool);
    free(text);
    return 0;
}

FUZZ_COVERED
