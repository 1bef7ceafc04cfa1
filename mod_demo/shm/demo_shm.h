/*
 * demo_shm.h -- the memory that all children share.
 *
 * One anonymous mapping, made once in the life of the httpd process and found
 * again after a graceful restart (ap_retained_data), although the module was
 * unloaded in between: counters go on, old and new children count in the same
 * place.  Every field that two threads may touch is atomic; the rest is said
 * beside the field.
 */
#ifndef DEMO_SHM_H
#define DEMO_SHM_H

#include <sys/types.h>

#include "httpd.h"

/* Makes or finds the mapping; call in post_config of the real run (not of the
 * configuration test).  Logs what failed. */
apr_status_t demo_shm_open(server_rec *s);

/* Claims this child's place; call in child_init, before all others. */
void demo_shm_child_init(server_rec *s);

/* Gives back what a child held that has ended; call in the parent. */
void demo_shm_child_gone(pid_t pid);

#endif /* DEMO_SHM_H */
