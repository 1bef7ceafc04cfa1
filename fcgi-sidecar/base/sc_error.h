/*
 * sc_error.h -- a status and the sentence that explains it.
 *
 * Functions return apr_status_t; those that can fail in a way an operator has
 * to act on also fill an sc_error: what failed, where, why, what to do, in one
 * line.  Errno values are APR statuses on Unix.
 */
#ifndef SC_ERROR_H
#define SC_ERROR_H

#include <apr_errno.h>

/* Beside errno: what decides the exit code of the program. */
#define SC_EUSAGE   (APR_OS_START_USERERR + 1) /* exit 2: bad option or argument */
#define SC_EREFUSED (APR_OS_START_USERERR + 2) /* exit 3: the protocol says no */
#define SC_EAGAIN   (APR_OS_START_USERERR + 3) /* exit 75: not now, try again */
#define SC_EFAILED  (APR_OS_START_USERERR + 4) /* exit 1 */
#define SC_ECORRUPT (APR_OS_START_USERERR + 5) /* exit 1: data that fails its check */
#define SC_EAUTH    (APR_OS_START_USERERR + 6) /* exit 1: a message without a valid MAC */
#define SC_ENONE    (APR_OS_START_USERERR + 7) /* exit 1: asked for what does not exist */
#define SC_ECHANGED (APR_OS_START_USERERR + 8) /* exit 3: compare-and-swap found another value */
#define SC_EUNKNOWN (APR_OS_START_USERERR + 9) /* exit 1: the authority does not know who asks */

#define SC_ERROR_LEN 512

typedef struct {
    apr_status_t rv;
    char text[SC_ERROR_LEN]; /* one line, no trailing newline; longer text is cut */
} sc_error;

/* Stores and returns rv.  err may be NULL. */
apr_status_t sc_error_set(sc_error *err, apr_status_t rv, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same with ": " and the text of errnum appended, for which a text that is too long is
 * cut; returns errnum (EIO for 0). */
apr_status_t sc_error_errno(sc_error *err, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* 0, 1, 2, 3 or 75. */
int sc_error_exit_code(apr_status_t rv);

/* The status that a peer's exit code stands for; the reverse of the above. */
apr_status_t sc_error_from_exit_code(int code);

#endif /* SC_ERROR_H */
