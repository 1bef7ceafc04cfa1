/*
 * demo_status.h -- php-fpm's status page as phpfpm_* metrics.
 *
 * The names and the labels pool and scrape_uri are php-fpm_exporter's, so that
 * its dashboards work.  The pages are fetched when metrics are asked for, all at
 * once, within DEMO_STATUS_TIMEOUT, and kept for DEMO_STATUS_FRESH.
 */
#ifndef DEMO_STATUS_H
#define DEMO_STATUS_H

#include "httpd.h"

#include "lib/prom.h"

#define DEMO_STATUS_TIMEOUT  900000LL /* microseconds; for all pages together */
#define DEMO_STATUS_FRESH   1000000LL /* two scrapers a second cost one fetch */
#define DEMO_STATUS_ABSENT 60000000LL /* a pool without the page is asked again after this */
#define DEMO_STATUS_MAX          64   /* pages */

/* The numbers of one status page; -1: the page does not have it. */
enum demo_status_field {
    DEMO_ST_START_SINCE, DEMO_ST_ACCEPTED, DEMO_ST_QUEUE, DEMO_ST_MAX_QUEUE, DEMO_ST_QUEUE_LEN,
    DEMO_ST_IDLE, DEMO_ST_ACTIVE, DEMO_ST_TOTAL, DEMO_ST_MAX_ACTIVE, DEMO_ST_MAX_CHILDREN,
    DEMO_ST_SLOW, DEMO_ST_COUNT
};

typedef struct {
    char    pool[64]; /* "" when the page names none */
    int64_t value[DEMO_ST_COUNT];
} demo_status_page;

/* Reads the text form of the page, best with ?full: "accepted conn:  12" lines in
 * any order, others ignored, then a list of workers behind a line of asterisks.
 * 1 when it names a pool, else 0. */
int demo_status_parse(const char *text, demo_status_page *page);

/* All phpfpm_* families.  s is the main server. */
void demo_status_write(prom_writer *w, server_rec *s);

#endif /* DEMO_STATUS_H */
