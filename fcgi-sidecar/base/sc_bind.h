/*
 * sc_bind.h -- a bound, listening TCP socket.
 */
#ifndef SC_BIND_H
#define SC_BIND_H

#include <stdint.h>

#include "fcgi-sidecar/base/sc_error.h"

/* Binds "HOST:PORT" (port 0: any) with SO_REUSEADDR; *port is the real one.
 * option is the name in the error text. */
apr_status_t sc_bind_tcp(const char *address, const char *option, int *fd, uint16_t *port,
                           sc_error *err);

#endif /* SC_BIND_H */
