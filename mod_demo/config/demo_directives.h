/*
 * demo_directives.h -- from httpd.conf into the records of demo_config.h.
 *
 * For the module record alone.  A directive that is wrong is an error that says
 * what it takes.
 */
#ifndef DEMO_DIRECTIVES_H
#define DEMO_DIRECTIVES_H

#include "httpd.h"
#include "http_config.h"

extern const command_rec demo_directives[];

/* The records with every default; those of an inner scope over an outer one's:
 * what is not given there is taken from base. */
void *demo_server_conf_create(apr_pool_t *p, server_rec *s);
void *demo_server_conf_merge(apr_pool_t *p, void *base, void *add);
void *demo_dir_conf_create(apr_pool_t *p, char *dir);
void *demo_dir_conf_merge(apr_pool_t *p, void *base, void *add);

#endif /* DEMO_DIRECTIVES_H */
