/*
 * demo_options.h -- "name=value" arguments of directives.
 *
 * DemoTimeout connect=2s send=1m, DemoSpool max=1G and their like.  Each
 * function returns NULL, or a message of pool p that names the argument and
 * says what it may be.
 */
#ifndef DEMO_OPTIONS_H
#define DEMO_OPTIONS_H

#include "apr_pools.h"
#include "apr_time.h"

enum demo_option_type {
    DEMO_OPT_TIME,   /* apr_interval_time_t; "2s", "500ms", "1m", "0"; a bare number is seconds */
    DEMO_OPT_SIZE,   /* apr_off_t, bytes; "64K", "1G", "65536" */
    DEMO_OPT_COUNT,  /* int */
    DEMO_OPT_STRING  /* const char *, not empty, of the directive's own pool */
};

typedef struct {
    const char *name;            /* "connect"; NULL ends a table */
    enum demo_option_type type;
    apr_size_t offset;           /* of the member in the record */
    apr_int64_t min, max;        /* inclusive; microseconds, bytes or pieces */
} demo_option;

/* Takes "name=value" apart and stores it at record + offset.  *bit is the
 * index of the option in the table, for a record of what was given. */
const char *demo_option_parse(const demo_option *table, void *record,
                              const char *arg, int *bit, apr_pool_t *p);

#endif /* DEMO_OPTIONS_H */
