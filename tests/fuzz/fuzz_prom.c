/*
 * The metrics writer: whatever the labels, helps and numbers, the page can be
 * parsed; labels come back as they went in where they are UTF-8.
 *
 * Input: 8 bytes of a double, 8 of an integer, then texts ended by NUL: Accept,
 * help, two label values.
 */
#include "fuzz.h"

#include <ctype.h>
#include <math.h>

#include "lib/prom.h"

typedef struct {
    char *text;
    size_t len, cap;
} page;

static int page_add(void *ctx, const char *data, size_t len)
{
    page *p = ctx;

    FUZZ_CHECK(len > 0);
    while (p->cap - p->len <= len) {
        p->cap = p->cap * 2 + 256;
        p->text = realloc(p->text, p->cap);
        FUZZ_CHECK(p->text != NULL);
    }
    memcpy(p->text + p->len, data, len);
    p->len += len;
    p->text[p->len] = '\0';
    return 0;
}

/* --- a strict reader of both formats ----------------------------------------- */

/* Decodes by arithmetic where the writer goes by tables of ranges. */
static const char *skip_utf8(const char *s)
{
    static const unsigned long least[] = { 0, 0x80, 0x800, 0x10000 };
    unsigned char c = (unsigned char)*s++;
    int more = c < 0x80 ? 0 : (c & 0xe0) == 0xc0 ? 1 : (c & 0xf0) == 0xe0 ? 2
             : (c & 0xf8) == 0xf0 ? 3 : -1;
    unsigned long code;

    if (more < 0) {
        return NULL;
    }
    code = more == 0 ? c : c & (0x3fu >> more);
    for (int i = 0; i < more; i++, s++) {
        if (((unsigned char)*s & 0xc0) != 0x80) {
            return NULL;
        }
        code = code << 6 | ((unsigned char)*s & 0x3f);
    }
    return code < least[more] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff) ? NULL : s;
}

static int is_utf8(const char *s)
{
    while (s != NULL && *s != '\0') {
        s = skip_utf8(s);
    }
    return s != NULL;
}

static const char *skip_name(const char *s)
{
    FUZZ_CHECK(isalpha((unsigned char)*s) || *s == '_');
    while (isalnum((unsigned char)*s) || *s == '_') {
        s++;
    }
    return s;
}

static const char *skip_number(const char *s)
{
    char *end;

    FUZZ_CHECK(*s != ' ');
    (void)strtod(s, &end);
    FUZZ_CHECK(end > s && strchr(s, ',') == NULL);
    return end;
}

/* Behind the closing quote; what it says goes to out, at most as long as s. */
static const char *skip_quoted(const char *s, char *out)
{
    FUZZ_CHECK(*s++ == '"');
    while (*s != '"') {
        FUZZ_CHECK(*s != '\0' && *s != '\n');
        if (*s == '\\') {
            s++;
            FUZZ_CHECK(*s == '\\' || *s == '"' || *s == 'n');
            *out++ = (char)(*s == 'n' ? '\n' : *s);
            s++;
        }
        else {
            *out++ = *s++;
        }
    }
    *out = '\0';
    return s + 1;
}

/* name{label="value",…} number; a label named a or b must be the given one. */
static void check_sample(const char *line, const char *const values[2], char *scratch)
{
    const char *s = skip_name(line);

    if (*s == '{') {
        do {
            const char *name = ++s;
            s = skip_name(s);
            FUZZ_CHECK(*s == '=');
            s = skip_quoted(s + 1, scratch);
            if (name[1] == '=' && (name[0] == 'a' || name[0] == 'b')) {
                const char *want = values[name[0] - 'a'];
                FUZZ_CHECK(!is_utf8(want) || strcmp(scratch, want) == 0);
            }
        } while (*s == ',');
        FUZZ_CHECK(*s == '}');
        s++;
    }
    FUZZ_CHECK(*s == ' ');
    s = skip_number(s + 1);
    FUZZ_CHECK(*s == '\0');
}

static void check_comment(const char *line, enum prom_format format)
{
    if (format == PROM_OPENMETRICS && strcmp(line, "# EOF") == 0) {
        return;
    }
    FUZZ_CHECK(strncmp(line, "# HELP ", 7) == 0 || strncmp(line, "# TYPE ", 7) == 0
               || (format == PROM_OPENMETRICS && strncmp(line, "# UNIT ", 7) == 0));
    FUZZ_CHECK(*skip_name(line + 7) == ' ');
}

static void check_page(page *p, enum prom_format format, const char *const values[2])
{
    char *scratch = malloc(p->len + 1);
    size_t lines = 0;

    FUZZ_CHECK(scratch != NULL && is_utf8(p->text) && strlen(p->text) == p->len);
    for (char *line = p->text, *lf; *line != '\0'; line = lf + 1) {
        lf = strchr(line, '\n');
        FUZZ_CHECK(lf != NULL);
        *lf = '\0';
        lines++;
        if (line[0] == '#') {
            check_comment(line, format);
        }
        else {
            check_sample(line, values, scratch);
        }
    }
    /* as many lines as were written: no text has broken out of its own */
    FUZZ_CHECK(lines == (format == PROM_OPENMETRICS ? 17 : 15));
    free(scratch);
}

/* --- the page ---------------------------------------------------------------- */

static void write_page(page *p, enum prom_format format, const char *help,
                       const char *const values[2], const void *numbers)
{
    const prom_label labels[] = { { "a", values[0] }, { "b", values[1] } };
    const prom_family families[] = {
        { "f_seconds", PROM_HISTOGRAM, "seconds", help }, { "c", PROM_COUNTER, NULL, help },
        { "g", PROM_GAUGE, NULL, help }, { "i", PROM_INFO, NULL, help }
    };
    const uint64_t counts[] = { 1, 2 };
    double v, bound;
    uint64_t u;
    prom_writer w;

    memcpy(&v, numbers, sizeof(v));
    memcpy(&u, (const char *)numbers + sizeof(v), sizeof(u));
    bound = isfinite(v) ? v : 1.5;
    const prom_histogram h = { &bound, 1, counts, v };
    prom_init(&w, format, page_add, p);
    prom_begin(&w, &families[0]);
    prom_histogram_write(&w, labels, 2, &h);
    prom_begin(&w, &families[1]);
    prom_u64(&w, labels, 2, u);
    prom_begin(&w, &families[2]);
    prom_double(&w, labels, 1, v);
    prom_begin(&w, &families[3]);
    prom_u64(&w, NULL, 0, 1);
    if (format == PROM_TEXT) {
        FUZZ_CHECK(p->text[p->len - 1] == '\n');
    }
    FUZZ_CHECK(prom_end(&w) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const size_t fixed = sizeof(double) + sizeof(uint64_t);
    const char *texts[4] = { NULL };
    char *copy;

    if (size < fixed) {
        return 0;
    }
    copy = malloc(size - fixed + 4); /* room for the NULs that are missing */
    FUZZ_CHECK(copy != NULL);
    memcpy(copy, data + fixed, size - fixed);
    memset(copy + size - fixed, 0, 4);
    texts[0] = copy;
    for (size_t i = 1; i < 4; i++) {
        const char *end = texts[i - 1] + strlen(texts[i - 1]);
        texts[i] = end < copy + size - fixed + 3 ? end + 1 : end;
    }
    (void)prom_negotiate(texts[0]);
    for (int format = PROM_TEXT; format <= PROM_OPENMETRICS; format++) {
        page p = { NULL, 0, 0 };
        write_page(&p, (enum prom_format)format, texts[1], &texts[2], data);
        check_page(&p, (enum prom_format)format, &texts[2]);
        free(p.text);
    }
    free(copy);
    return 0;
}
