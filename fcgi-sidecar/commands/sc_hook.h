/*
 * sc_hook.h -- the sub-commands that talk to the serve of this instance.
 *
 * They reach it on its control port, as the uid of --state-dir, and wait up to
 * --start-timeout for it to answer (a hook may run before serve listens).
 */
#ifndef SC_HOOK_H
#define SC_HOOK_H

#include "fcgi-sidecar/base/sc_options.h"

/* Progress goes to stderr; a reason of failure also to --termination-log. */
apr_status_t sc_hook_post_start(const sc_options *o, sc_error *err);
apr_status_t sc_hook_pre_stop(const sc_options *o, sc_error *err);
apr_status_t sc_hook_promote(const sc_options *o, sc_error *err);

/* Prints to stdout; falls back to the state file when serve does not answer. */
apr_status_t sc_hook_status(const sc_options *o, sc_error *err);

#endif /* SC_HOOK_H */
