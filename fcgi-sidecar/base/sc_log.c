#include "fcgi-sidecar/base/sc_log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_LEN 2048

static bool as_json;

void sc_log_init(bool json)
{
    as_json = json;
}

/* Appends text with what JSON can not hold escaped; control characters become
 * spaces in either form.  Returns the new length. */
static size_t append_text(char *line, size_t n, const char *text)
{
    for (; *text != '\0' && n + 4 < LINE_MAX_LEN; text++) {
        unsigned char c = (unsigned char)*text;

        if (as_json && (c == '"' || c == '\\')) {
            line[n++] = '\\';
        }
        line[n++] = c < ' ' || c == 0x7f ? ' ' : (char)c;
    }
    return n;
}

void sc_log(enum sc_log_level level, const char *id, const char *fmt, ...)
{
    static const char *const names[] = { "error", "warning", "info" };
    char line[LINE_MAX_LEN], text[LINE_MAX_LEN], when[32];
    struct timespec ts;
    struct tm tm;
    va_list ap;
    size_t n;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
    n = (size_t)snprintf(line, sizeof(line),
                         as_json ? "{\"time\":\"%s.%03dZ\",\"level\":\"%s\",\"id\":\"%s\",\"message\":\""
                                 : "%s.%03dZ %s %s ",
                         when, (int)(ts.tv_nsec / 1000000), names[level], id);
    n = append_text(line, n, text);
    if (as_json) {
        line[n++] = '"';
        line[n++] = '}';
    }
    line[n++] = '\n';
    /* Nothing can be done about a log that can not be written. */
    if (write(STDERR_FILENO, line, n) < 0) {
        return;
    }
}
