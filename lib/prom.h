/*
 * prom.h -- writer of the Prometheus text formats.
 *
 * Writes text format 0.0.4 or OpenMetrics 1.0.0 into a sink.  It knows the
 * rules that differ (a counter's family name, `_total`, `# EOF`, `# UNIT`) and
 * escapes labels and help texts; the caller names the families once, as
 * OpenMetrics does: without `_total`.  Numbers have the point, whatever the
 * locale has, and the exponents of Go's %g.  No allocation; one writer belongs
 * to one thread at a time.
 *
 * Sources: "Exposition formats" (Prometheus, version 0.0.4), OpenMetrics 1.0.0.
 */
#ifndef PROM_H
#define PROM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum prom_format {
    PROM_TEXT,       /* text/plain; version=0.0.4 */
    PROM_OPENMETRICS /* application/openmetrics-text; version=1.0.0 */
};

/* PROM_UNKNOWN: for names that others fixed and that break the rules of their type. */
enum prom_type { PROM_COUNTER, PROM_GAUGE, PROM_HISTOGRAM, PROM_INFO, PROM_UNKNOWN };

/* Takes len bytes; 0 on success.  After a failure the writer calls it no more. */
typedef int (*prom_sink)(void *ctx, const char *data, size_t len);

typedef struct {
    const char *name;  /* [a-zA-Z_][a-zA-Z0-9_]* */
    const char *value; /* any text; escaped by the writer, bytes that are not UTF-8 become
                        * U+FFFD; NULL is "" */
} prom_label;

typedef struct {
    const char    *name; /* counters without _total, infos without _info */
    enum prom_type type;
    const char    *unit; /* "seconds", "bytes", or NULL; then name ends with _unit */
    const char    *help; /* one sentence */
} prom_family;

/* A histogram that counts into buckets, not cumulatively: counts[i] are the
 * observations ≤ bounds[i], counts[n] those above the last bound. */
typedef struct {
    const double   *bounds; /* n ascending upper bounds, +Inf not among them */
    size_t          n;
    const uint64_t *counts; /* n + 1 */
    double          sum;
} prom_histogram;

typedef struct {
    prom_sink          sink;
    void              *ctx;
    enum prom_format   format;
    const prom_family *family; /* the open family, or NULL */
    bool               failed; /* a sink call failed */
} prom_writer;

/* The format a client asks for: OpenMetrics when the Accept header (may be
 * NULL) lists application/openmetrics-text with a quality above 0 that is not
 * below that of text/plain (which the ranges text/ * and * / * cover where it is
 * not listed itself). */
enum prom_format prom_negotiate(const char *accept);

/* True when the Accept header (may be NULL) lists the media type (lower case)
 * itself, not by a range such as * / *, with a quality above 0. */
bool prom_accepts(const char *accept, const char *type);

/* The Content-Type, always with version= and charset=. */
const char *prom_content_type(enum prom_format format);

void prom_init(prom_writer *w, enum prom_format format, prom_sink sink, void *ctx);

/* Starts a family: # HELP, # TYPE and, where due, # UNIT.  All samples of a
 * family follow it before the next one starts.  The family is borrowed until
 * then. */
void prom_begin(prom_writer *w, const prom_family *family);

/* A sample of the open family: counter (gets its _total), gauge, unknown, or info (gets
 * its _info; value 1).  labels may be NULL when n is 0. */
void prom_u64(prom_writer *w, const prom_label *labels, size_t n, uint64_t value);
void prom_double(prom_writer *w, const prom_label *labels, size_t n, double value);

/* The _bucket, _sum and _count samples of one histogram. */
void prom_histogram_write(prom_writer *w, const prom_label *labels, size_t n,
                          const prom_histogram *h);

/* Ends the exposition (# EOF).  0, or -1 when a sink call failed. */
int prom_end(prom_writer *w);

#endif /* PROM_H */
