/*
 * sc_probe.h -- does anybody accept connections at an address?
 */
#ifndef SC_PROBE_H
#define SC_PROBE_H

#include <stdbool.h>

/* address: "unix:/path" or "HOST:PORT"; waits at most ms for the connection. */
bool sc_probe_accepts(const char *address, int ms);

#endif /* SC_PROBE_H */
