/*
 * The CGI response header: its end is found at the same place however the
 * bytes come; what is handed out is clean; written again it reads the same.
 *
 * Input: the size of the pieces (0: 256), then the response.
 */
#include "fuzz.h"

#include "lib/cgih.h"

/* Where the header ends, fed in pieces of that size; 0: it does not. */
static size_t scan(const char *in, size_t len, size_t piece)
{
    cgih_scan s;

    cgih_scan_init(&s);
    for (size_t at = 0; at < len; at += piece) {
        size_t n = len - at < piece ? len - at : piece;
        char *copy = fuzz_copy(in + at, n);
        size_t end = cgih_scan_feed(&s, copy, n);
        FUZZ_CHECK(end <= n);
        free(copy);
        if (end > 0) {
            return at + end;
        }
    }
    return 0;
}

static void check_field(const cgih_field *f, const char *header, size_t pos)
{
    static const char odd[] = "()<>@,;:\\\"/[]?={} \t";

    FUZZ_CHECK(f->name_len > 0 && f->name >= header);
    FUZZ_CHECK(f->value >= f->name + f->name_len && f->value + f->value_len <= header + pos);
    for (size_t i = 0; i < f->name_len; i++) {
        unsigned char c = (unsigned char)f->name[i];
        FUZZ_CHECK(c > 0x20 && c < 0x7f && strchr(odd, c) == NULL);
    }
    for (size_t i = 0; i < f->value_len; i++) {
        unsigned char c = (unsigned char)f->value[i];
        FUZZ_CHECK((c >= 0x20 || c == '\t') && c != 0x7f);
    }
    if (f->value_len > 0) {
        char first = f->value[0], last = f->value[f->value_len - 1];
        FUZZ_CHECK(first != ' ' && first != '\t' && last != ' ' && last != '\t');
    }
}

static void check_status(const cgih_field *f)
{
    const char *reason = NULL;
    size_t reason_len = 0;
    int code = cgih_status(f, &reason, &reason_len);

    if (code < 0) {
        FUZZ_CHECK(code == CGIH_ESTATUS);
        return;
    }
    FUZZ_CHECK(code >= 100 && code <= 599);
    FUZZ_CHECK(reason >= f->value + 3 && reason + reason_len == f->value + f->value_len);
}

/* "name: value" written by us is one field with the same parts. */
static void check_again(const cgih_field *f)
{
    size_t len = f->name_len + f->value_len + 3, pos = 0;
    char *line = malloc(len);
    cgih_field again;

    FUZZ_CHECK(line != NULL);
    memcpy(line, f->name, f->name_len);
    line[f->name_len] = ':';
    memcpy(line + f->name_len + 1, f->value, f->value_len);
    memcpy(line + len - 2, "\r\n", 2);
    FUZZ_CHECK(cgih_next(line, len, &pos, &again) == 1 && pos == len);
    FUZZ_CHECK(again.name_len == f->name_len && again.value_len == f->value_len);
    FUZZ_CHECK(memcmp(again.name, f->name, f->name_len) == 0);
    FUZZ_CHECK(memcmp(again.value, f->value, f->value_len) == 0);
    FUZZ_CHECK(cgih_next(line, len, &pos, &again) == 0);
    free(line);
}

/* Also walks on behind an error: a caller may log more than the first. */
static void walk(const char *in, size_t len, int whole)
{
    char *header = fuzz_copy(in, len);
    size_t pos = 0;
    cgih_field f;
    int rc;

    for (;;) {
        size_t before = pos;
        rc = cgih_next(header, len, &pos, &f);
        FUZZ_CHECK(pos <= len && (pos > before || rc == 0));
        if (rc == 0) {
            break;
        }
        if (rc == 1) {
            check_field(&f, header, pos);
            check_status(&f);
            check_again(&f);
        }
        else {
            FUZZ_CHECK(rc == CGIH_EFIELD || rc == CGIH_EVALUE || rc == CGIH_EFOLD);
        }
    }
    FUZZ_CHECK(!whole || pos == len);
    free(header);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *in;
    size_t end;

    if (size < 2) {
        return 0;
    }
    in = (const char *)data + 1;
    end = scan(in, size - 1, size - 1);
    FUZZ_CHECK(scan(in, size - 1, data[0] > 0 ? data[0] : 256) == end);
    FUZZ_CHECK(scan(in, size - 1, 1) == end);
    walk(in, end > 0 ? end : size - 1, end > 0);
    return 0;
}
