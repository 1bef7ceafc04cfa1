/*
 * sc_install.h -- a received image takes its place.
 */
#ifndef SC_INSTALL_H
#define SC_INSTALL_H

#include "fcgi-sidecar/node/sc_node.h"

typedef struct {
    const char *incoming; /* the file, fenced */
    int fd;               /* open for writing */
    mode_t mode;          /* that it gets */
    bool checked;         /* its pages are those of a database that was checked */
} sc_install;

/* Renames what lies at the path to PATH.replaced-TIME, its log and journal accordingly,
 * and they first.  Nothing there is no error; on an error some may be renamed. */
apr_status_t sc_install_set_aside(const char *database, sc_error *err);

/* Checks the file, unless it was, makes it durable, sets owner and mode, and
 * renames it to --database.  A database of unknown origin that is there is
 * set aside, not lost.  On failure --database is what it was, or set aside. */
apr_status_t sc_install_image(sc_node *n, const sc_install *image, sc_error *err);

#endif /* SC_INSTALL_H */
