/*
 * sc_progress.h -- shows how far a copy is: a line that renews itself on a
 * terminal, log lines otherwise.
 */
#ifndef SC_PROGRESS_H
#define SC_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    char phase[64];
    int64_t phase_ms, shown_ms; /* monotonic */
    uint64_t first;             /* bytes when the phase began to be watched */
    bool open;                  /* a terminal line without its end */
} sc_progress;

/* payload: JSON {phase, done, total} as serve sends it. */
void sc_progress_show(sc_progress *p, const uint8_t *payload, size_t len);

/* The same without JSON. */
void sc_progress_bytes(sc_progress *p, const char *phase, uint64_t done, uint64_t total);

/* Ends a terminal line. */
void sc_progress_end(sc_progress *p);

#endif /* SC_PROGRESS_H */
