/*
 * sc_direct.h -- much data for one file, past the page cache.
 *
 * A second descriptor of the file, with O_DIRECT (Linux).  What goes through it
 * leaves nothing behind that somebody else's fsync would have to write, or that
 * fills the memory of a container.  It needs a file system that can (tmpfs
 * before 6.6 and some layered ones can not), and memory, length and place in
 * whole blocks: all else goes through the plain descriptor.  The kernel keeps
 * the two ways coherent, for the file's other readers as well.  Nothing is
 * durable before an fsync, whichever way it went.  Any thread; the calls for one
 * file one after the other.
 */
#ifndef SC_DIRECT_H
#define SC_DIRECT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "fcgi-sidecar/base/sc_error.h"

#define SC_DIRECT_BLOCK 4096u /* a multiple of every usual disk's block */

/* Opens the second way into the file at path; -1: there is none. */
int sc_direct_open(const char *path);

/* Writes all of len at offset: whole blocks through *direct, the rest, or all
 * without it, through fd.  *direct is closed and -1 when the file system refuses
 * (EINVAL).  errno. */
apr_status_t sc_direct_pwrite(int *direct, int fd, const uint8_t *data, size_t len, off_t offset);

/* Memory of at least size bytes at a whole block, for free(); NULL without memory. */
void *sc_direct_alloc(size_t size);

#endif /* SC_DIRECT_H */
