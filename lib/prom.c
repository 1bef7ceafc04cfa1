#include "lib/prom.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NUMBER_MAX = 64 }; /* 17 digits, sign, exponent and a point of any locale, or 20 digits */

static void put_n(prom_writer *w, const char *s, size_t n)
{
    if (!w->failed && n > 0 && w->sink(w->ctx, s, n) != 0) {
        w->failed = true;
    }
}

static void put(prom_writer *w, const char *s)
{
    put_n(w, s, strlen(s));
}

/* Bytes of the UTF-8 sequence at s, or 0 when it is none (RFC 3629 §4: no
 * overlong form, no surrogate, nothing above U+10FFFF).  The closing NUL is no
 * continuation byte, so nothing behind it is read. */
static size_t utf8_len(const unsigned char *s)
{
    unsigned char min = 0x80, max = 0xbf; /* of the second byte */
    size_t n;

    if (s[0] < 0x80) {
        return 1;
    }
    if (s[0] < 0xc2 || s[0] > 0xf4) {
        return 0;
    }
    n = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    switch (s[0]) {
    case 0xe0: min = 0xa0; break;
    case 0xed: max = 0x9f; break;
    case 0xf0: min = 0x90; break;
    case 0xf4: max = 0x8f; break;
    default: break;
    }
    if (s[1] < min || s[1] > max) {
        return 0;
    }
    for (size_t i = 2; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return n;
}

/* What stands for the character at s, n bytes long (0: not UTF-8); NULL: itself. */
static const char *escape_of(const char *s, size_t n, bool quotes)
{
    if (n == 0) {
        return "\xef\xbf\xbd"; /* U+FFFD: one odd byte must not cost the whole scrape */
    }
    switch (*s) {
    case '\\': return "\\\\";
    case '\n': return "\\n";
    case '"':  return quotes ? "\\\"" : NULL;
    default:   return NULL;
    }
}

/* Label values escape \, " and newline; help texts too, in OpenMetrics; the
 * 0.0.4 format leaves quotes in help texts alone. */
static void put_escaped(prom_writer *w, const char *s, bool quotes)
{
    const char *start = s;

    while (*s != '\0') {
        size_t n = utf8_len((const unsigned char *)s);
        const char *esc = escape_of(s, n, quotes);
        if (esc != NULL) {
            put_n(w, start, (size_t)(s - start));
            put(w, esc);
            start = s + (n > 0 ? n : 1);
        }
        s += n > 0 ? n : 1;
    }
    put_n(w, start, (size_t)(s - start));
}

/* printf writes the point of the locale, which may be several bytes long. */
static void restore_point(char *number)
{
    size_t n = strspn(number, "+-0123456789");
    size_t point = strcspn(number + n, "0123456789e");

    if (point > 0) {
        number[n] = '.';
        memmove(number + n + 1, number + n + point, strlen(number + n + point) + 1);
    }
}

/* The shortest form that reads back as the same number, with an exponent where
 * Go's %g has one (below 1e-04, from 1e+06): OpenMetrics' canonical numbers. */
static void format_double(char out[NUMBER_MAX], double v)
{
    enum { DIGITS_MAX = 17 }; /* DBL_DECIMAL_DIG: enough for each double */
    int digits = 0;
    double back;

    if (isnan(v)) {
        (void)snprintf(out, NUMBER_MAX, "NaN");
        return;
    }
    if (isinf(v)) {
        (void)snprintf(out, NUMBER_MAX, v > 0 ? "+Inf" : "-Inf");
        return;
    }
    do {
        (void)snprintf(out, NUMBER_MAX, "%.*e", digits, v);
        back = strtod(out, NULL);
    } while (++digits < DIGITS_MAX && (back < v || back > v));
    long exponent = strtol(strchr(out, 'e') + 1, NULL, 10);
    if (exponent >= -4 && exponent < 6) {
        (void)snprintf(out, NUMBER_MAX, "%.*g", digits > 6 ? digits : 6, v);
    }
    restore_point(out);
}

static const char *type_name(enum prom_type type, enum prom_format format)
{
    switch (type) {
    case PROM_COUNTER:   return "counter";
    case PROM_HISTOGRAM: return "histogram";
    case PROM_INFO:      return format == PROM_OPENMETRICS ? "info" : "gauge";
    case PROM_UNKNOWN:   return format == PROM_OPENMETRICS ? "unknown" : "untyped";
    default:             return "gauge";
    }
}

/* What a sample's name has and its OpenMetrics family has not. */
static const char *type_suffix(enum prom_type type)
{
    return type == PROM_COUNTER ? "_total" : type == PROM_INFO ? "_info" : "";
}

/* In 0.0.4 the comment lines carry the name of the samples. */
static void comment(prom_writer *w, const char *word)
{
    put(w, "# ");
    put(w, word);
    put(w, " ");
    put(w, w->family->name);
    if (w->format == PROM_TEXT) {
        put(w, type_suffix(w->family->type));
    }
    put(w, " ");
}

void prom_init(prom_writer *w, enum prom_format format, prom_sink sink, void *ctx)
{
    w->sink = sink;
    w->ctx = ctx;
    w->format = format;
    w->family = NULL;
    w->failed = false;
}

void prom_begin(prom_writer *w, const prom_family *family)
{
    w->family = family;
    comment(w, "HELP");
    put_escaped(w, family->help, w->format == PROM_OPENMETRICS);
    put(w, "\n");
    comment(w, "TYPE");
    put(w, type_name(family->type, w->format));
    put(w, "\n");
    if (family->unit != NULL && w->format == PROM_OPENMETRICS) {
        comment(w, "UNIT");
        put(w, family->unit);
        put(w, "\n");
    }
}

static void put_label(prom_writer *w, bool first, const char *name, const char *value)
{
    put(w, first ? "{" : ",");
    put(w, name);
    put(w, "=\"");
    put_escaped(w, value != NULL ? value : "", true);
    put(w, "\"");
}

/* What one line says: name+suffix{labels,le="…"} value */
typedef struct {
    const char       *suffix;
    const prom_label *labels;
    size_t            n;     /* labels */
    const char       *le;    /* the bound of a bucket, or NULL */
    const char       *value;
} line;

static void put_line(prom_writer *w, const line *l)
{
    put(w, w->family->name);
    put(w, l->suffix);
    for (size_t i = 0; i < l->n; i++) {
        put_label(w, i == 0, l->labels[i].name, l->labels[i].value);
    }
    if (l->le != NULL) {
        put_label(w, l->n == 0, "le", l->le);
    }
    if (l->n > 0 || l->le != NULL) {
        put(w, "}");
    }
    put(w, " ");
    put(w, l->value);
    put(w, "\n");
}

/* A sample of any type but a histogram. */
static void put_sample(prom_writer *w, const prom_label *labels, size_t n, const char *value)
{
    put_line(w, &(line){ type_suffix(w->family->type), labels, n, NULL, value });
}

void prom_u64(prom_writer *w, const prom_label *labels, size_t n, uint64_t value)
{
    char number[NUMBER_MAX];

    (void)snprintf(number, sizeof(number), "%" PRIu64, value);
    put_sample(w, labels, n, number);
}

void prom_double(prom_writer *w, const prom_label *labels, size_t n, double value)
{
    char number[NUMBER_MAX];

    format_double(number, value);
    put_sample(w, labels, n, number);
}

void prom_histogram_write(prom_writer *w, const prom_label *labels, size_t n,
                          const prom_histogram *h)
{
    char number[NUMBER_MAX], bound[NUMBER_MAX];
    uint64_t cumulative = 0;

    for (size_t i = 0; i <= h->n; i++) {
        cumulative += h->counts[i];
        format_double(bound, i < h->n ? h->bounds[i] : HUGE_VAL);
        /* A bound is a label, so its spelling counts: OpenMetrics' is "1.0", not "1". */
        if (w->format == PROM_OPENMETRICS && strpbrk(bound, ".eI") == NULL) {
            memcpy(bound + strlen(bound), ".0", sizeof(".0"));
        }
        (void)snprintf(number, sizeof(number), "%" PRIu64, cumulative);
        put_line(w, &(line){ "_bucket", labels, n, bound, number });
    }
    format_double(number, h->sum);
    put_line(w, &(line){ "_sum", labels, n, NULL, number });
    (void)snprintf(number, sizeof(number), "%" PRIu64, cumulative);
    put_line(w, &(line){ "_count", labels, n, NULL, number });
}

int prom_end(prom_writer *w)
{
    if (w->format == PROM_OPENMETRICS) {
        put(w, "# EOF\n");
    }
    return w->failed ? -1 : 0;
}

/* --- negotiation ------------------------------------------------------------ */

/* The quality of one Accept entry [s, end), 0..1000; 1000 when none is stated
 * (RFC 9110 §12.4.2). */
static int quality(const char *s, const char *end)
{
    for (const char *p = s; p + 2 < end; p++) {
        if ((p[0] == 'q' || p[0] == 'Q') && p[1] == '=' && p > s
            && (p[-1] == ';' || p[-1] == ' ' || p[-1] == '\t')) {
            int q = 0, scale = 1000;
            for (p += 2; p < end && ((*p >= '0' && *p <= '9') || *p == '.'); p++) {
                if (*p != '.') {
                    q += (*p - '0') * scale;
                    scale /= 10;
                }
            }
            return q > 1000 ? 1000 : q;
        }
    }
    return 1000;
}

static bool media_type_is(const char *s, const char *end, const char *type)
{
    size_t n = strlen(type);

    if ((size_t)(end - s) < n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        if (c >= 'A' && c <= 'Z') {
            c = (char)(c + ('a' - 'A'));
        }
        if (c != type[i]) {
            return false;
        }
    }
    s += n;
    return s == end || *s == ';' || *s == ' ' || *s == '\t';
}

enum prom_format prom_negotiate(const char *accept)
{
    /* Ranges that cover text/plain, the most specific last; -1: not in the list. */
    static const char *const text_ranges[] = { "*/*", "text/*", "text/plain" };
    int text[] = { -1, -1, -1 };
    int open = -1, plain = -1;

    while (accept != NULL && *accept != '\0') {
        const char *end = accept + strcspn(accept, ",");
        accept += strspn(accept, " \t");
        int q = quality(accept, end);
        if (media_type_is(accept, end, "application/openmetrics-text")) {
            open = q > open ? q : open;
        }
        for (size_t i = 0; i < 3; i++) {
            if (media_type_is(accept, end, text_ranges[i])) {
                text[i] = q > text[i] ? q : text[i];
            }
        }
        accept = *end == ',' ? end + 1 : end;
    }
    for (size_t i = 0; i < 3; i++) {
        plain = text[i] >= 0 ? text[i] : plain;
    }
    return open > 0 && open >= plain ? PROM_OPENMETRICS : PROM_TEXT;
}

bool prom_accepts(const char *accept, const char *type)
{
    while (accept != NULL && *accept != '\0') {
        const char *end = accept + strcspn(accept, ",");
        accept += strspn(accept, " \t");
        if (media_type_is(accept, end, type) && quality(accept, end) > 0) {
            return true;
        }
        accept = *end == ',' ? end + 1 : end;
    }
    return false;
}

const char *prom_content_type(enum prom_format format)
{
    return format == PROM_OPENMETRICS
        ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
        : "text/plain; version=0.0.4; charset=utf-8";
}
