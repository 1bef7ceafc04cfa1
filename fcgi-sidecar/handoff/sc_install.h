/*
 * sc_install.h -- a received image takes its place.
 */
#ifndef SC_INSTALL_H
#define SC_INSTALL_H

#include "fcgi-sidecar/node/sc_node.h"

/* Checks the file `incoming` (open as fd, fenced), makes it durable, sets owner
 * and mode, and renames it to --database.  A database of unknown origin that is
 * there is renamed, not lost.  On failure --database is what it was. */
apr_status_t sc_install_image(sc_node *n, const char *incoming, int fd, mode_t mode,
                              sc_error *err);

#endif /* SC_INSTALL_H */
