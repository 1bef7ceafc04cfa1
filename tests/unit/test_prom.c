/* The writer of the Prometheus text formats. */
#include "lib/prom.h"
#include "testlib.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* A sink that keeps what it gets, or fails at the call that fail_at counts down to. */
typedef struct {
    char text[8192];
    size_t used;
    int fail_at; /* 0: never */
    int calls;
} sink;

static int sink_write(void *ctx, const char *data, size_t len)
{
    sink *s = ctx;

    s->calls++;
    if (s->fail_at != 0 && s->calls >= s->fail_at) {
        return -1;
    }
    assert_true(len > 0 && len < sizeof(s->text) - s->used);
    memcpy(s->text + s->used, data, len);
    s->used += len;
    s->text[s->used] = '\0';
    return 0;
}

static const prom_family requests = { "demo_requests", PROM_COUNTER, NULL, "Requests." };
static const prom_family sent = { "demo_sent_bytes", PROM_COUNTER, "bytes", "Bytes sent." };
static const prom_family up = { "demo_up", PROM_GAUGE, NULL, "Whether it is up." };
static const prom_family build = { "demo_build", PROM_INFO, NULL, "The build." };
static const prom_family odd = { "odd_total", PROM_UNKNOWN, NULL, "Named by others." };
static const prom_family latency = { "demo_seconds", PROM_HISTOGRAM, "seconds", "Latency." };

/* A page with one family of each type. */
static int page(sink *s, enum prom_format format)
{
    static const double bounds[] = { 0.005, 1, 2.5, 1e6 };
    static const uint64_t counts[] = { 1, 0, 2, 3, 4 };
    const prom_label two[] = { { "code", "200" }, { "method", "GET" } };
    const prom_histogram h = { bounds, COUNT(bounds), counts, 12.25 };
    prom_writer w;

    prom_init(&w, format, sink_write, s);
    prom_begin(&w, &requests);
    prom_u64(&w, two, 2, 7);
    prom_u64(&w, NULL, 0, UINT64_MAX);
    prom_begin(&w, &sent);
    prom_u64(&w, two, 1, 0);
    prom_begin(&w, &up);
    prom_u64(&w, NULL, 0, 1);
    prom_double(&w, two, 1, 0.25);
    prom_begin(&w, &build);
    prom_u64(&w, &(prom_label){ "version", "0.1.0" }, 1, 1);
    prom_begin(&w, &odd);
    prom_double(&w, NULL, 0, 3);
    prom_begin(&w, &latency);
    prom_histogram_write(&w, NULL, 0, &h);
    prom_histogram_write(&w, two, 2, &h);
    return prom_end(&w);
}

static void page_in_the_text_format(void **state)
{
    sink s = { .used = 0 };

    assert_int_equal(page(&s, PROM_TEXT), 0);
    assert_string_equal(s.text,
        "# HELP demo_requests_total Requests.\n"
        "# TYPE demo_requests_total counter\n"
        "demo_requests_total{code=\"200\",method=\"GET\"} 7\n"
        "demo_requests_total 18446744073709551615\n"
        "# HELP demo_sent_bytes_total Bytes sent.\n"
        "# TYPE demo_sent_bytes_total counter\n"
        "demo_sent_bytes_total{code=\"200\"} 0\n"
        "# HELP demo_up Whether it is up.\n"
        "# TYPE demo_up gauge\n"
        "demo_up 1\n"
        "demo_up{code=\"200\"} 0.25\n"
        "# HELP demo_build_info The build.\n"
        "# TYPE demo_build_info gauge\n"
        "demo_build_info{version=\"0.1.0\"} 1\n"
        "# HELP odd_total Named by others.\n"
        "# TYPE odd_total untyped\n"
        "odd_total 3\n"
        "# HELP demo_seconds Latency.\n"
        "# TYPE demo_seconds histogram\n"
        "demo_seconds_bucket{le=\"0.005\"} 1\n"
        "demo_seconds_bucket{le=\"1\"} 1\n"
        "demo_seconds_bucket{le=\"2.5\"} 3\n"
        "demo_seconds_bucket{le=\"1e+06\"} 6\n"
        "demo_seconds_bucket{le=\"+Inf\"} 10\n"
        "demo_seconds_sum 12.25\n"
        "demo_seconds_count 10\n"
        "demo_seconds_bucket{code=\"200\",method=\"GET\",le=\"0.005\"} 1\n"
        "demo_seconds_bucket{code=\"200\",method=\"GET\",le=\"1\"} 1\n"
        "demo_seconds_bucket{code=\"200\",method=\"GET\",le=\"2.5\"} 3\n"
        "demo_seconds_bucket{code=\"200\",method=\"GET\",le=\"1e+06\"} 6\n"
        "demo_seconds_bucket{code=\"200\",method=\"GET\",le=\"+Inf\"} 10\n"
        "demo_seconds_sum{code=\"200\",method=\"GET\"} 12.25\n"
        "demo_seconds_count{code=\"200\",method=\"GET\"} 10\n");
}

static void page_in_openmetrics(void **state)
{
    sink s = { .used = 0 };

    assert_int_equal(page(&s, PROM_OPENMETRICS), 0);
    assert_string_equal(s.text,
        "# HELP demo_requests Requests.\n"
        "# TYPE demo_requests counter\n"
        "demo_requests_total{code=\"200\",method=\"GET\"} 7\n"
        "demo_requests_total 18446744073709551615\n"
        "# HELP demo_sent_bytes Bytes sent.\n"
        "# TYPE demo_sent_bytes counter\n"
        "# UNIT demo_sent_bytes bytes\n"
        "demo_sent_bytes_total{code=\"200\"} 0\n"
        "# HELP demo_up Whether it is up.\n"
        "# TYPE demo_up gauge\n"
        "demo_up 1\n"
        "demo_up{code=\"200\"} 0.25\n"
        "# HELP demo_build The build.\n"
        "# TYPE demo_build info\n"
        "demo_build_info{version=\"0.1.0\"} 1\n"
        "# HELP odd_total Named by others.\n"
        "# TYPE odd_total unknown\n"
        "odd_total 3\n"
        "# HELP demo_seconds Latency.\n"
        "# TYPE demo_seconds histogram\n"
        "# UNIT demo_seconds seconds\n"
        "demo_seconds_bucket{le=\"0.005\"} 1\n"
        "demo_seconds_bucket{le=\"1.0\"} 1\n"
        "demo_seconds_bucket{le=\"2.5\"} 3\n"
        "demo_seconds_bucket{le=\"1e+06\"} 6\n"
        "demo_seconds_bucket{le=\"+Inf\"} 10\n"
        "demo_seconds_sum 12.25\n"
        "demo_seconds_count 10\n"
        "demo_seconds_bucket{code=\"200\",method=\"GET\",le=\"0.005\"} 1\n"
        "demo_seconds_bucket{code=\"200\",method=\"GET\",le=\"1.0\"} 1\n"
        "demo_seconds_bucket{code=\"200\",method=\"GET\",le=\"2.5\"} 3\n"
        "demo_seconds_bucket{code=\"200\",method=\"GET\",le=\"1e+06\"} 6\n"
        "demo_seconds_bucket{code=\"200\",method=\"GET\",le=\"+Inf\"} 10\n"
        "demo_seconds_sum{code=\"200\",method=\"GET\"} 12.25\n"
        "demo_seconds_count{code=\"200\",method=\"GET\"} 10\n"
        "# EOF\n");
}

static void empty_page(void **state)
{
    sink s = { .used = 0 };
    prom_writer w;

    prom_init(&w, PROM_TEXT, sink_write, &s);
    assert_int_equal(prom_end(&w), 0);
    assert_int_equal(s.calls, 0);
    prom_init(&w, PROM_OPENMETRICS, sink_write, &s);
    assert_int_equal(prom_end(&w), 0);
    assert_string_equal(s.text, "# EOF\n");
}

/* --- escaping ---------------------------------------------------------------- */

/* The line that a label value makes, from its opening quote to its closing one. */
static const char *label(const char *value)
{
    static sink s;
    prom_writer w;
    size_t len = value != NULL ? strlen(value) + 1 : 0;
    char *copy = (char *)tight(value, len);

    memset(&s, 0, sizeof(s));
    prom_init(&w, PROM_TEXT, sink_write, &s);
    w.family = &up;
    prom_u64(&w, &(prom_label){ "l", value != NULL ? copy : NULL }, 1, 1);
    assert_int_equal(prom_end(&w), 0);
    tight_free(copy);
    assert_memory_equal(s.text, "demo_up{l=", 10);
    assert_string_equal(s.text + s.used - 4, "} 1\n");
    s.text[s.used - 4] = '\0';
    return s.text + 10;
}

#define FFFD "\xef\xbf\xbd"

static void label_values(void **state)
{
    assert_string_equal(label(""), "\"\"");
    assert_string_equal(label(NULL), "\"\"");
    assert_string_equal(label("plain /path?a=b {x},y"), "\"plain /path?a=b {x},y\"");
    assert_string_equal(label("\\"), "\"\\\\\"");
    assert_string_equal(label("\""), "\"\\\"\"");
    assert_string_equal(label("\n"), "\"\\n\"");
    assert_string_equal(label("a\\\"\nb\\n"), "\"a\\\\\\\"\\nb\\\\n\"");
    assert_string_equal(label("tab\tcr\r"), "\"tab\tcr\r\"");
}

static void label_values_in_utf8(void **state)
{
    /* the first and the last of each length, and around the surrogates */
    static const char *const good[] = {
        "\x01", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
        "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "caf\xc3\xa9"
    };
    static const char *const bad[] = {
        "\x80", "\xbf", "\xc0", "\xc1", "\xc2", "\xe0", "\xed", "\xf0", "\xf4", "\xf5", "\xff"
    };
    char want[64];

    for (size_t i = 0; i < COUNT(good); i++) {
        (void)snprintf(want, sizeof(want), "\"%s\"", good[i]);
        assert_string_equal(label(good[i]), want);
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_string_equal(label(bad[i]), "\"" FFFD "\"");
        (void)snprintf(want, sizeof(want), "x%sy", bad[i]);
        assert_string_equal(label(want), "\"x" FFFD "y\"");
    }
    assert_string_equal(label("\xc0\xaf"), "\"" FFFD FFFD "\"");              /* overlong */
    assert_string_equal(label("\xe0\x9f\xbf"), "\"" FFFD FFFD FFFD "\"");
    assert_string_equal(label("\xf0\x8f\xbf\xbf"), "\"" FFFD FFFD FFFD FFFD "\"");
    assert_string_equal(label("\xed\xa0\x80"), "\"" FFFD FFFD FFFD "\"");     /* surrogate */
    assert_string_equal(label("\xf4\x90\x80\x80"), "\"" FFFD FFFD FFFD FFFD "\"");
    assert_string_equal(label("\xe2\x82"), "\"" FFFD FFFD "\"");              /* cut */
    assert_string_equal(label("\xf0\x9f\x98"), "\"" FFFD FFFD FFFD "\"");
    assert_string_equal(label("\xe2\"\xac"), "\"" FFFD "\\\"" FFFD "\"");
    assert_string_equal(label("\xe2\n"), "\"" FFFD "\\n\"");
}

/* 0.0.4 leaves quotes in help texts alone, OpenMetrics does not. */
static void help_texts(void **state)
{
    const prom_family f = { "f", PROM_GAUGE, NULL, "a \"b\" \\ c\nd" };
    sink s = { .used = 0 };
    prom_writer w;

    prom_init(&w, PROM_TEXT, sink_write, &s);
    prom_begin(&w, &f);
    assert_string_equal(s.text, "# HELP f a \"b\" \\\\ c\\nd\n# TYPE f gauge\n");
    memset(&s, 0, sizeof(s));
    prom_init(&w, PROM_OPENMETRICS, sink_write, &s);
    prom_begin(&w, &f);
    assert_string_equal(s.text, "# HELP f a \\\"b\\\" \\\\ c\\nd\n# TYPE f gauge\n");
}

/* --- numbers ----------------------------------------------------------------- */

static const char *number(double v)
{
    static sink s;
    prom_writer w;

    memset(&s, 0, sizeof(s));
    prom_init(&w, PROM_TEXT, sink_write, &s);
    w.family = &up;
    prom_double(&w, NULL, 0, v);
    assert_memory_equal(s.text, "demo_up ", 8);
    assert_int_equal(s.text[s.used - 1], '\n');
    s.text[s.used - 1] = '\0';
    return s.text + 8;
}

static const struct {
    double v;
    const char *text;
} numbers[] = {
    { 0.0, "0" }, { -0.0, "-0" }, { 1.0, "1" }, { -1.0, "-1" }, { 0.1, "0.1" }, { 0.3, "0.3" },
    { 0.1 + 0.2, "0.30000000000000004" }, { 1.0 / 3, "0.3333333333333333" }, { 10, "10" },
    { 100, "100" }, { 100000, "100000" }, { 123456, "123456" }, { 999999.5, "999999.5" },
    /* from here Go's %g has an exponent, and so have OpenMetrics' canonical numbers */
    { 1e6, "1e+06" }, { 1234567, "1.234567e+06" }, { 1e10, "1e+10" }, { 1e100, "1e+100" },
    { 1763724892.5, "1.7637248925e+09" }, { 0.001, "0.001" }, { 0.0001, "0.0001" },
    { 0.00001, "1e-05" }, { 1e-10, "1e-10" }, { 12.5, "12.5" }, { 9007199254740993.0, "9.007199254740992e+15" },
    { DBL_MAX, "1.7976931348623157e+308" }, { -DBL_MAX, "-1.7976931348623157e+308" },
    { DBL_MIN, "2.2250738585072014e-308" }, { 4.9406564584124654e-324, "5e-324" },
    { INFINITY, "+Inf" }, { -INFINITY, "-Inf" }, { NAN, "NaN" }, { -NAN, "NaN" }
};

static void doubles(void **state)
{
    for (size_t i = 0; i < COUNT(numbers); i++) {
        assert_string_equal(number(numbers[i].v), numbers[i].text);
    }
    for (int i = 1; i <= 10000; i++) { /* OpenMetrics: 0.001 … 10.0 in thousandths */
        char want[32];
        (void)snprintf(want, sizeof(want), "%d.%03d", i / 1000, i % 1000);
        for (size_t n = strlen(want); want[n - 1] == '0' || want[n - 1] == '.'; n--) {
            if (want[n - 1] == '.') {
                want[n - 1] = '\0';
                break;
            }
            want[n - 1] = '\0';
        }
        assert_string_equal(number(i / 1000.0), want);
    }
}

static void doubles_read_back(void **state)
{
    uint64_t bits = 0x9e3779b97f4a7c15u;

    for (int i = 0; i < 20000; i++) {
        double v;
        bits ^= bits << 13;
        bits ^= bits >> 7;
        bits ^= bits << 17;
        memcpy(&v, &bits, sizeof(v));
        if (isfinite(v)) {
            double back = strtod(number(v), NULL);
            assert_memory_equal(&back, &v, sizeof(v));
        }
    }
}

/* A module or PHP in the same process may have set a locale with a comma. */
static void doubles_in_another_locale(void **state)
{
    static const char *const names[] = { "de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "de_DE",
                                         "ps_AF.UTF-8", "nl_NL.UTF-8" };
    const char *set = NULL;

    for (size_t i = 0; i < COUNT(names) && set == NULL; i++) {
        set = setlocale(LC_NUMERIC, names[i]) != NULL ? names[i] : NULL;
    }
    if (set == NULL || strcmp(localeconv()->decimal_point, ".") == 0) {
        print_message("skipped: no locale with a decimal comma is installed\n");
        skip();
    }
    for (size_t i = 0; i < COUNT(numbers); i++) {
        const char *text = number(numbers[i].v);
        (void)setlocale(LC_NUMERIC, "C");
        assert_string_equal(text, numbers[i].text);
        (void)setlocale(LC_NUMERIC, set);
    }
    (void)setlocale(LC_NUMERIC, "C");
}

static void histogram_of_nothing(void **state)
{
    static const uint64_t counts[1] = { 0 };
    const prom_histogram h = { NULL, 0, counts, 0 };
    sink s = { .used = 0 };
    prom_writer w;

    prom_init(&w, PROM_OPENMETRICS, sink_write, &s);
    w.family = &latency;
    prom_histogram_write(&w, NULL, 0, &h);
    assert_string_equal(s.text, "demo_seconds_bucket{le=\"+Inf\"} 0\ndemo_seconds_sum 0\n"
                                "demo_seconds_count 0\n");
}

/* OpenMetrics: bounds are floats in their spelling too; 0.0.4 writes them as values. */
static void histogram_bounds(void **state)
{
    static const double bounds[] = { -1, 0, 0.25, 10, 123456, 1e7, 1e10 };
    static const uint64_t counts[] = { 0, 0, 0, 0, 0, 0, 0, UINT64_MAX };
    static const char *const open[] = { "-1.0", "0.0", "0.25", "10.0", "123456.0", "1e+07", "1e+10" };
    static const char *const text[] = { "-1", "0", "0.25", "10", "123456", "1e+07", "1e+10" };
    const prom_histogram h = { bounds, COUNT(bounds), counts, 0.5 };

    for (int format = PROM_TEXT; format <= PROM_OPENMETRICS; format++) {
        sink s = { .used = 0 };
        char want[100];
        prom_writer w;

        prom_init(&w, (enum prom_format)format, sink_write, &s);
        w.family = &latency;
        prom_histogram_write(&w, NULL, 0, &h);
        for (size_t i = 0; i < COUNT(bounds); i++) {
            (void)snprintf(want, sizeof(want), "demo_seconds_bucket{le=\"%s\"} 0\n",
                           format == PROM_TEXT ? text[i] : open[i]);
            assert_non_null(strstr(s.text, want));
        }
        assert_non_null(strstr(s.text, "_count 18446744073709551615\n"));
    }
}

/* --- negotiation ------------------------------------------------------------- */

static const struct {
    const char *accept;
    enum prom_format format;
} accepts[] = {
    { NULL, PROM_TEXT },
    { "", PROM_TEXT },
    { "*/*", PROM_TEXT },
    { "text/plain", PROM_TEXT },
    { "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", PROM_TEXT },
    { "application/openmetrics-text", PROM_OPENMETRICS },
    { "APPLICATION/OpenMetrics-Text", PROM_OPENMETRICS },
    { "application/openmetrics-text; version=1.0.0; charset=utf-8", PROM_OPENMETRICS },
    { "application/openmetrics-text;version=1.0.0", PROM_OPENMETRICS },
    { " \tapplication/openmetrics-text\t;q=1", PROM_OPENMETRICS },
    { "application/openmetrics-text2", PROM_TEXT },
    { "application/openmetrics", PROM_TEXT },
    { "xapplication/openmetrics-text", PROM_TEXT },
    { "application/openmetricz-text", PROM_TEXT },
    { "axxxxxxxxxxxxxxxxxxxxxxxxxxx", PROM_TEXT },
    { "bpplication/openmetrics-text", PROM_TEXT },
    { "application/openmetrics-text;q=0", PROM_TEXT },
    { "application/openmetrics-text;q=0.000", PROM_TEXT },
    { "application/openmetrics-text;q=0.001", PROM_OPENMETRICS },
    { "application/openmetrics-text;Q=0", PROM_TEXT },
    { "application/openmetrics-text; q=0", PROM_TEXT },
    { "text/plain, application/openmetrics-text", PROM_OPENMETRICS },
    { "text/plain;q=0.5, application/openmetrics-text;q=0.4", PROM_TEXT },
    { "text/plain;q=0.4, application/openmetrics-text;q=0.5", PROM_OPENMETRICS },
    { "text/plain;q=0.5, application/openmetrics-text;q=0.5", PROM_OPENMETRICS },
    { "text/plain;q=0.999,application/openmetrics-text;q=0.998", PROM_TEXT },
    { "application/openmetrics-text;q=0.5,*/*", PROM_TEXT },
    { "application/openmetrics-text;q=0.5,text/*;q=0.6", PROM_TEXT },
    { "application/openmetrics-text;q=0.5,*/*;q=0.1", PROM_OPENMETRICS },
    /* what names the type decides, not what covers it */
    { "application/openmetrics-text;q=0.5,text/plain;q=0.1,*/*", PROM_OPENMETRICS },
    { "application/openmetrics-text;q=0.5,text/plain;q=0,*/*", PROM_OPENMETRICS },
    { "*/*,text/plain;q=0.1,application/openmetrics-text;q=0.5", PROM_OPENMETRICS },
    { "application/openmetrics-text;q=0.5,text/*;q=0.1,*/*", PROM_OPENMETRICS },
    { "application/openmetrics-text;q=0.3,application/openmetrics-text;version=0.0.1;q=0.8,"
      "text/plain;q=0.5", PROM_OPENMETRICS },
    /* Prometheus 2 and 3 */
    { "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;"
      "q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", PROM_OPENMETRICS },
    { "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
      "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;"
      "escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2", PROM_OPENMETRICS },
    { "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding="
      "delimited;q=0.7,text/plain;version=0.0.4;q=0.3", PROM_TEXT },
    /* odd ones are no reason to fail */
    { ",,,", PROM_TEXT },
    { ", application/openmetrics-text ,", PROM_OPENMETRICS },
    { "application/openmetrics-text;q=", PROM_OPENMETRICS },
    { "application/openmetrics-text;q=99999999999999999999", PROM_OPENMETRICS },
    { "application/openmetrics-text;q=0.00000000000000000001", PROM_TEXT },
    { "application/openmetrics-text;seq=0", PROM_OPENMETRICS },
    { "\xff\x01,application/openmetrics-text", PROM_OPENMETRICS },
};

static void negotiation(void **state)
{
    for (size_t i = 0; i < COUNT(accepts); i++) {
        const char *a = accepts[i].accept;
        char *copy = (char *)tight(a, a != NULL ? strlen(a) + 1 : 0);
        enum prom_format got = prom_negotiate(a != NULL ? copy : NULL);
        if (got != accepts[i].format) {
            print_error("Accept: %s\n", a);
        }
        assert_int_equal(got, accepts[i].format);
        tight_free(copy);
    }
}

static void accepting_a_type(void **state)
{
    static const struct {
        const char *accept;
        bool yes;
    } cases[] = {
        { NULL, false }, { "", false }, { "*/*", false }, { "application/*", false },
        { "application/health+json", true }, { "Application/Health+JSON; q=0.001", true },
        { "text/html, application/health+json;q=0.5", true },
        { "application/health+json;q=0, text/plain", false },
        { "application/health+json;q=0.000", false }, { "application/health+jsonx", false },
        { "x-application/health+json", false },
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(prom_accepts(cases[i].accept, "application/health+json"), cases[i].yes);
    }
}

static void content_types(void **state)
{
    assert_string_equal(prom_content_type(PROM_TEXT), "text/plain; version=0.0.4; charset=utf-8");
    assert_string_equal(prom_content_type(PROM_OPENMETRICS),
                        "application/openmetrics-text; version=1.0.0; charset=utf-8");
}

/* --- a sink that fails ------------------------------------------------------- */

static void failing_sink(void **state)
{
    sink whole = { .used = 0 };

    assert_int_equal(page(&whole, PROM_OPENMETRICS), 0);
    for (int at = 1; at <= whole.calls + 1; at++) {
        sink s = { .fail_at = at };
        int rc = page(&s, PROM_OPENMETRICS);
        if (at > whole.calls) {
            assert_int_equal(rc, 0);
        }
        else {
            assert_int_equal(rc, -1);
            assert_int_equal(s.calls, at); /* not called again after its failure */
            assert_memory_equal(s.text, whole.text, s.used);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(page_in_the_text_format),
        cmocka_unit_test(page_in_openmetrics),
        cmocka_unit_test(empty_page),
        cmocka_unit_test(label_values),
        cmocka_unit_test(label_values_in_utf8),
        cmocka_unit_test(help_texts),
        cmocka_unit_test(doubles),
        cmocka_unit_test(doubles_read_back),
        cmocka_unit_test(doubles_in_another_locale),
        cmocka_unit_test(histogram_of_nothing),
        cmocka_unit_test(histogram_bounds),
        cmocka_unit_test(negotiation),
        cmocka_unit_test(accepting_a_type),
        cmocka_unit_test(content_types),
        cmocka_unit_test(failing_sink),
    };

    return cmocka_run_group_tests_name("prom", tests, NULL, NULL);
}
