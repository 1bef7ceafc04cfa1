#include "fcgi-sidecar/base/sc_error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* A reason is one line: a log line and a termination message can not be split
 * by what a file name or a peer holds. */
static void flatten(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f) {
            *text = ' ';
        }
    }
}

apr_status_t sc_error_set(sc_error *err, apr_status_t rv, const char *fmt, ...)
{
    va_list ap;

    if (err != NULL) {
        char text[SC_ERROR_LEN]; /* an argument may be err->text itself */

        va_start(ap, fmt);
        vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);
        flatten(text);
        memcpy(err->text, text, sizeof(err->text));
        err->rv = rv;
    }
    return rv;
}

apr_status_t sc_error_errno(sc_error *err, int errnum, const char *fmt, ...)
{
    va_list ap;

    if (errnum == 0) {
        errnum = EIO;
    }
    if (err != NULL) {
        char text[SC_ERROR_LEN];
        char why[128];
        size_t room;
        int n;

        va_start(ap, fmt);
        n = vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);
        apr_strerror(errnum, why, sizeof(why));
        room = sizeof(text) - strlen(why) - sizeof("...: ");
        if (n >= 0 && (size_t)n <= room) {
            snprintf(text + n, sizeof(text) - (size_t)n, ": %s", why);
        }
        else { /* of a name that is too long the end goes, not the reason */
            snprintf(text + room, sizeof(text) - room, "...: %s", why);
        }
        flatten(text);
        memcpy(err->text, text, sizeof(err->text));
        err->rv = errnum;
    }
    return errnum;
}

int sc_error_exit_code(apr_status_t rv)
{
    switch (rv) {
    case APR_SUCCESS: return 0;
    case SC_EUSAGE:   return 2;
    case SC_EREFUSED:
    case SC_ECHANGED: return 3;
    case SC_EAGAIN:   return 75;
    default:          return 1;
    }
}

apr_status_t sc_error_from_exit_code(int code)
{
    switch (code) {
    case 0:  return APR_SUCCESS;
    case 2:  return SC_EUSAGE;
    case 3:  return SC_EREFUSED;
    case 75: return SC_EAGAIN;
    default: return SC_EFAILED;
    }
}
