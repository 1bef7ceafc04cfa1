/*
 * sc_memory.h -- gives memory back that only the start, or a rare task, needed.
 *
 * The libraries (SQLite, libcrypto, libcurl with what it brings) run a lot of
 * code once.  Their pages would stay resident, and count against the
 * container's limit, for as long as serve runs: several times what serving a
 * thousand clients takes.
 */
#ifndef SC_MEMORY_H
#define SC_MEMORY_H

#include <stdint.h>

/* To be called now and then, with the same *next (0 at first); does something
 * every two seconds.  Costs a page fault for each piece of code that is still
 * in use.  Any thread. */
void sc_memory_tidy(int64_t now_ms, int64_t *next);

#endif /* SC_MEMORY_H */
