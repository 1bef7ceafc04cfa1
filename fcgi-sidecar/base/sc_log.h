/*
 * sc_log.h -- one line an event on stderr.
 *
 *   2026-03-01T12:00:00.123Z info SC0201 state PRIMARY -> DRAINING …      (text)
 *   {"time":"…","level":"info","id":"SC0201","message":"…"}              (json)
 *
 * A line is written by one write(2), so that lines of threads and hooks do not
 * mix.  Ids are listed in docs/messages.md.  No secret is ever passed here.
 */
#ifndef SC_LOG_H
#define SC_LOG_H

#include <stdbool.h>

enum sc_log_level { SC_LOG_ERROR, SC_LOG_WARNING, SC_LOG_INFO };

/* Before any other thread runs. */
void sc_log_init(bool json);

void sc_log(enum sc_log_level level, const char *id, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define sc_info(id, ...)  sc_log(SC_LOG_INFO, id, __VA_ARGS__)
#define sc_warn(id, ...)  sc_log(SC_LOG_WARNING, id, __VA_ARGS__)
#define sc_fail(id, ...)  sc_log(SC_LOG_ERROR, id, __VA_ARGS__)

#endif /* SC_LOG_H */
