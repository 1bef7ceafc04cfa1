/*
 * cgih.h -- incremental parser of a CGI response header (RFC 3875 §6).
 *
 * Lines end with LF or CR LF, mixed as they come; an empty line ends the
 * header.  The parser keeps nothing but a state byte and counters: the caller
 * collects the bytes, the parser says where the header ends, and then hands
 * out one line after the other.  No allocation; any thread.
 *
 * Folded lines (obs-fold, RFC 9112 §5.2) are refused, as are lines without a
 * colon, empty or odd field names, and control characters in values: what a
 * responder must not send can not be used to smuggle a header to the client.
 */
#ifndef CGIH_H
#define CGIH_H

#include <stddef.h>

enum {
    CGIH_EFIELD  = -1, /* line without a colon, or a field name that is not a token */
    CGIH_EVALUE  = -2, /* NUL, bare CR or another control character in a value */
    CGIH_EFOLD   = -3, /* continuation line */
    CGIH_ESTATUS = -4  /* Status: not three digits 100..599, then end or space */
};

typedef struct {
    unsigned char state;
} cgih_scan;

/* One line; the slices borrow the caller's header, white space around the
 * value is cut off. */
typedef struct {
    const char *name;
    size_t      name_len;
    const char *value;
    size_t      value_len;
} cgih_field;

void cgih_scan_init(cgih_scan *s);

/* Looks for the end of the header in the next piece.  Returns the number of
 * bytes of this piece that belong to the header, terminator included (> 0), or
 * 0 when all of the piece does and the header goes on. */
size_t cgih_scan_feed(cgih_scan *s, const char *in, size_t len);

/* Hands out the line at *pos of a complete header and moves *pos behind it.
 * 1 a field, 0 the end of the header, or an error (CGIH_EFIELD, CGIH_EVALUE,
 * CGIH_EFOLD). */
int cgih_next(const char *header, size_t len, size_t *pos, cgih_field *field);

/* Case-insensitive comparison with a NUL-terminated ASCII name. */
int cgih_field_is(const cgih_field *field, const char *name);

/* The value of a Status field: 100..599 and, when reason is not NULL, the
 * reason phrase as a slice of it (may be empty); or CGIH_ESTATUS. */
int cgih_status(const cgih_field *field, const char **reason, size_t *reason_len);

/* Static string, never NULL. */
const char *cgih_error_name(int error);

#endif /* CGIH_H */
