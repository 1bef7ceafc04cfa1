/*
 * sc_tools.h -- the sub-commands that work without serve: snapshot and check.
 */
#ifndef SC_TOOLS_H
#define SC_TOOLS_H

#include "fcgi-sidecar/base/sc_options.h"

/* A consistent, checked copy of --database in o->file; an existing file is
 * replaced only by a whole one. */
apr_status_t sc_tools_snapshot(const sc_options *o, sc_error *err);

/* Prints a line a check to stdout; SC_EFAILED when one fails. */
apr_status_t sc_tools_check(const sc_options *o, sc_error *err);

#endif /* SC_TOOLS_H */
