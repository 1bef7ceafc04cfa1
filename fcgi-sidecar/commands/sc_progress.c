#include "fcgi-sidecar/commands/sc_progress.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/base/sc_log.h"
#include "fcgi-sidecar/base/sc_record.h"

#define LINE_EVERY_MS     5000 /* between two log lines of one phase */
#define TERMINAL_EVERY_MS 200
#define MIB               (1024.0 * 1024.0)

static void describe(char *out, size_t size, const sc_progress *p, uint64_t done, uint64_t total)
{
    int64_t ms = sc_now_ms() - p->phase_ms;
    double rate = ms > 0 ? (double)(done - p->first) * 1000.0 / (double)ms : 0;
    double left = rate > 0 && total > done ? (double)(total - done) / rate : 0;

    if (total == 0) {
        snprintf(out, size, "%s", p->phase);
        return;
    }
    snprintf(out, size, "%s: %.1f of %.1f MiB (%.0f %%), %.1f MiB/s, %.0f s left", p->phase,
             (double)done / MIB, (double)total / MIB, 100.0 * (double)done / (double)total,
             rate / MIB, left);
}

void sc_progress_bytes(sc_progress *p, const char *phase, uint64_t done, uint64_t total)
{
    bool terminal = isatty(STDERR_FILENO) == 1;
    int64_t now = sc_now_ms();
    bool changed = strcmp(p->phase, phase) != 0;
    char line[256];

    if (changed) {
        snprintf(p->phase, sizeof(p->phase), "%s", phase);
        p->phase_ms = now;
        p->first = done;
    }
    if (!changed && now - p->shown_ms < (terminal ? TERMINAL_EVERY_MS : LINE_EVERY_MS)) {
        return;
    }
    p->shown_ms = now;
    describe(line, sizeof(line), p, done, total);
    if (terminal) {
        fprintf(stderr, "\r\033[K%s", line);
        p->open = true;
    }
    else {
        sc_info("SC0500", "%s", line);
    }
}

void sc_progress_show(sc_progress *p, const uint8_t *payload, size_t len)
{
    json_t *json = json_loadb((const char *)payload, len, 0, NULL);
    char phase[64] = "";
    uint64_t done = 0, total = 0;

    if (sc_json_string(json, "phase", phase, sizeof(phase))) {
        sc_json_uint(json, "done", &done);
        sc_json_uint(json, "total", &total);
        sc_progress_bytes(p, phase, done, total);
    }
    json_decref(json);
}

void sc_progress_end(sc_progress *p)
{
    if (p->open) {
        fputc('\n', stderr);
        p->open = false;
    }
}
