/*
 * sc_owner.h -- owner and mode of a database that is put in place.
 */
#ifndef SC_OWNER_H
#define SC_OWNER_H

#include <sys/types.h>

#include "fcgi-sidecar/base/sc_error.h"

/* Sets mode, and as root the owner: that named by owner ("USER[:GROUP]", names
 * or numbers) or, NULL, that of the folder of path. */
apr_status_t sc_owner_apply(int fd, const char *path, const char *owner, mode_t mode,
                            sc_error *err);

/* Whether owner, NULL or "USER[:GROUP]", is known here; SC_EUSAGE when it is not.  For
 * the start: a first copy is a bad time to find out. */
apr_status_t sc_owner_check(const char *owner, sc_error *err);

#endif /* SC_OWNER_H */
