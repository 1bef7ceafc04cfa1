/*
 * sc_authority.h -- who says which instance is primary.
 *
 * One record a lineage, changed only by compare-and-swap: it holds the epoch
 * and the address of the primary.  An absent record is the only proof that no
 * lineage exists.  Kinds: file:///path (one machine, tests, a shared disk with
 * working locks) and lease://NAMESPACE/NAME (a Kubernetes Lease object).
 *
 * Calls block (file: lock and fsync; lease: at most its HTTP time-outs) and may
 * be made from any thread; each call is independent.
 */
#ifndef SC_AUTHORITY_H
#define SC_AUTHORITY_H

#include "fcgi-sidecar/base/sc_options.h"
#include "fcgi-sidecar/base/sc_record.h"

typedef struct {
    char      lineage[SC_LINEAGE_LEN + 1];
    uint64_t  epoch;    /* >= 1 */
    sc_member primary;
} sc_authority_record;

typedef struct sc_authority sc_authority;

/* A kind of authority. */
typedef struct {
    const char *scheme;   /* "file://" */
    /* SC_ENONE when there is no record yet; SC_EUNKNOWN when the account that asks
     * does not exist (lease: HTTP 401); any other error: not known. */
    apr_status_t (*read)(const sc_authority *a, sc_authority_record *r, sc_error *err);
    /* Writes `to` if the record is still `from` (NULL: absent), by lineage, epoch
     * and uid.  SC_ECHANGED when it is not. */
    apr_status_t (*swap)(const sc_authority *a, const sc_authority_record *from,
                         const sc_authority_record *to, sc_error *err);
    /* What of a swap to `to` can be done before it; and what of that lies about when it
     * does not come (NULL: nothing). */
    void (*ahead)(const sc_authority *a, const sc_authority_record *to);
    void (*drop_ahead)(const sc_authority *a, const sc_authority_record *to);
} sc_authority_kind;

struct sc_authority {
    const sc_authority_kind *kind;
    char place[1024]; /* what follows the scheme */
    const char *kubernetes_api, *kubernetes_account; /* of the options, borrowed */
};

/* What --authority says; SC_EUSAGE for an URL of no known kind. */
apr_status_t sc_authority_open(sc_authority *a, const sc_options *o, sc_error *err);

apr_status_t sc_authority_read(const sc_authority *a, sc_authority_record *r, sc_error *err);
apr_status_t sc_authority_swap(const sc_authority *a, const sc_authority_record *from,
                               const sc_authority_record *to, sc_error *err);

/* A swap to `to`, of this instance, is expected: so that it has less to wait for.  Best
 * effort; changes nothing that anybody reads.  Of `to` drop looks at the uid alone. */
void sc_authority_ahead(const sc_authority *a, const sc_authority_record *to);
void sc_authority_drop_ahead(const sc_authority *a, const sc_authority_record *to);

/* Of that lineage, at an epoch before, or after, that one? */
bool sc_authority_record_before(const sc_authority_record *r, const char *lineage, uint64_t epoch);
bool sc_authority_record_after(const sc_authority_record *r, const char *lineage, uint64_t epoch);

/* Same lineage, epoch and uid. */
bool sc_authority_record_equal(const sc_authority_record *a, const sc_authority_record *b);

/* What the operator has to know when a record bears a foreign lineage: somebody began
 * from the seed while the record was lost. */
#define SC_AUTHORITY_FOREIGN \
    "decide which of the two databases is to live; end the other one's instance, and remove the " \
    "record if it names that one"

/* The comparison of a swap, common to both kinds.  rv is what reading the
 * record now gave: APR_SUCCESS, SC_ENONE, or a failure, which is returned.
 * APR_SUCCESS: the record is from (NULL: there is none); else SC_ECHANGED. */
apr_status_t sc_authority_expect(apr_status_t rv, const sc_authority_record *now,
                                 const sc_authority_record *from, sc_error *err);

/* The record's JSON text, common to both kinds.  malloc'ed; NULL: no memory. */
char *sc_authority_record_text(const sc_authority_record *r);
bool  sc_authority_record_parse(sc_authority_record *r, const char *text, size_t len);

extern const sc_authority_kind sc_authority_file;
extern const sc_authority_kind sc_authority_lease;

#endif /* SC_AUTHORITY_H */
