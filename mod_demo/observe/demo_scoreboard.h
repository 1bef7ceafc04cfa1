/*
 * demo_scoreboard.h -- httpd's scoreboard and all its requests as apache_*
 * metrics, with the names of apache_exporter and mod_prometheus_status so that
 * their dashboards work.
 */
#ifndef DEMO_SCOREBOARD_H
#define DEMO_SCOREBOARD_H

#include "httpd.h"

#include "lib/prom.h"

/* All apache_* families.  Needs neither mod_status nor ExtendedStatus. */
void demo_scoreboard_write(prom_writer *w);

#endif /* DEMO_SCOREBOARD_H */
