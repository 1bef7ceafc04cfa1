/*
 * sc_dial.h -- connections with a limit on the waiting.
 */
#ifndef SC_DIAL_H
#define SC_DIAL_H

#include <stdbool.h>

#include "fcgi-sidecar/base/sc_error.h"

/* Connects to HOST:PORT, each of its addresses for at most timeout_ms.  *fd is
 * non-blocking and the caller's to close; -1 on failure. */
apr_status_t sc_dial(const char *address, int timeout_ms, int *fd, sc_error *err);

/* Waits for the events of poll(2); ETIMEDOUT. */
apr_status_t sc_dial_wait(int fd, short events, int timeout_ms);

/* Does anybody accept connections at "unix:/path" or HOST:PORT? */
bool sc_dial_accepts(const char *address, int timeout_ms);

#endif /* SC_DIAL_H */
