/*
 * sc_nice.h -- work that gives way to PHP.
 */
#ifndef SC_NICE_H
#define SC_NICE_H

#include <apr_errno.h>

/* Runs work(context) on a thread of lower priority and returns its result.  On
 * the caller's own thread when there can be no other: a thread's priority can
 * not be raised again without privileges. */
apr_status_t sc_nice_run(apr_status_t (*work)(void *context), void *context);

/* Lowers the caller's own thread, for good. */
void sc_nice_self(void);

#endif /* SC_NICE_H */
