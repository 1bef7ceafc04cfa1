/*
 * sc_serve.h -- the long-running part: relay, control port, HTTP endpoint and
 * the one owner of database and state.
 *
 * TERM or INT: the relay finishes what it has (lame duck), still forwarding
 * what arrives, for --lame-duck; a second signal ends at once.
 */
#ifndef SC_SERVE_H
#define SC_SERVE_H

#include "fcgi-sidecar/base/sc_options.h"
#include "fcgi-sidecar/relay/sc_relay.h"

/* File in --state-dir with the addresses that are really bound. */
#define SC_SERVE_FILE "serve.json"

/* The relay's configuration as the options say; strings are borrowed from them. */
void sc_serve_relay_config(sc_relay_config *config, const sc_options *o);

/* Runs until a signal; the exit code's status. */
apr_status_t sc_serve(const sc_options *o, sc_error *err);

#endif /* SC_SERVE_H */
