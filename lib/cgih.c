#include "lib/cgih.h"

#include <string.h>

/* Terminators: LF LF, LF CR LF, and at the very start LF or CR LF (an empty
 * header).  "At line start" is therefore the state to begin with. */
enum { AT_LINE_START, IN_LINE, AT_LINE_START_CR };

void cgih_scan_init(cgih_scan *s)
{
    s->state = AT_LINE_START;
}

size_t cgih_scan_feed(cgih_scan *s, const char *in, size_t len)
{
    size_t i = 0;

    while (i < len) {
        if (s->state == IN_LINE) {
            const char *lf = memchr(in + i, '\n', len - i);
            if (lf == NULL) {
                return 0;
            }
            i = (size_t)(lf - in) + 1;
            s->state = AT_LINE_START;
            continue;
        }
        char c = in[i++];
        if (c == '\n') {
            return i;
        }
        s->state = c == '\r' && s->state == AT_LINE_START ? AT_LINE_START_CR : IN_LINE;
    }
    return 0;
}

/* RFC 9110 §5.6.2 */
static int is_token_char(unsigned char c)
{
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
        return 1;
    }
    return c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static int is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static int value_is_clean(const char *v, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)v[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return 0;
        }
    }
    return 1;
}

static int parse_line(const char *line, size_t len, cgih_field *f)
{
    const char *colon = memchr(line, ':', len);
    const char *v, *end = line + len;

    if (colon == NULL || colon == line) {
        return CGIH_EFIELD;
    }
    f->name = line;
    f->name_len = (size_t)(colon - line);
    for (size_t i = 0; i < f->name_len; i++) {
        if (!is_token_char((unsigned char)line[i])) {
            return CGIH_EFIELD;
        }
    }
    for (v = colon + 1; v < end && is_blank(*v); v++) {
    }
    while (end > v && is_blank(end[-1])) {
        end--;
    }
    f->value = v;
    f->value_len = (size_t)(end - v);
    return value_is_clean(f->value, f->value_len) ? 1 : CGIH_EVALUE;
}

int cgih_next(const char *header, size_t len, size_t *pos, cgih_field *field)
{
    const char *line = header + *pos;
    size_t left = len - *pos;
    const char *lf = left > 0 ? memchr(line, '\n', left) : NULL;
    size_t n = lf != NULL ? (size_t)(lf - line) : left;

    *pos += lf != NULL ? n + 1 : n;
    if (n > 0 && line[n - 1] == '\r') {
        n--;
    }
    if (n == 0) {
        return 0;
    }
    if (is_blank(line[0])) {
        return CGIH_EFOLD;
    }
    return parse_line(line, n, field);
}

static unsigned char lower(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? (unsigned char)(c + ('a' - 'A')) : c;
}

/* ASCII only: the locale must not decide what a header is. */
int cgih_field_is(const cgih_field *field, const char *name)
{
    size_t i;

    for (i = 0; i < field->name_len; i++) {
        if (name[i] == '\0'
            || lower((unsigned char)field->name[i]) != lower((unsigned char)name[i])) {
            return 0;
        }
    }
    return name[i] == '\0';
}

int cgih_status(const cgih_field *field, const char **reason, size_t *reason_len)
{
    const char *v = field->value;
    int code = 0;

    if (field->value_len < 3 || (field->value_len > 3 && v[3] != ' ')) {
        return CGIH_ESTATUS;
    }
    for (int i = 0; i < 3; i++) {
        if (v[i] < '0' || v[i] > '9') {
            return CGIH_ESTATUS;
        }
        code = code * 10 + (v[i] - '0');
    }
    if (code < 100 || code > 599) {
        return CGIH_ESTATUS;
    }
    if (reason != NULL) {
        size_t skip = field->value_len > 3 ? 4 : 3;
        *reason = v + skip;
        *reason_len = field->value_len - skip;
    }
    return code;
}

const char *cgih_error_name(int error)
{
    switch (error) {
    case CGIH_EFIELD:  return "malformed header line";
    case CGIH_EVALUE:  return "control character in a header value";
    case CGIH_EFOLD:   return "folded header line";
    case CGIH_ESTATUS: return "malformed Status";
    default:           return error < 0 ? "unknown error" : "no error";
    }
}
