/*
 * demo_scoreboard.h -- httpd's scoreboard as apache_* metrics, with
 * apache_exporter's names so that its dashboards work.
 */
#ifndef DEMO_SCOREBOARD_H
#define DEMO_SCOREBOARD_H

#include "httpd.h"

#include "lib/prom.h"

/* All apache_* families.  Needs neither mod_status nor ExtendedStatus. */
void demo_scoreboard_write(prom_writer *w);

#endif /* DEMO_SCOREBOARD_H */
