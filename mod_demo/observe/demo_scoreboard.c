#include "mod_demo/observe/demo_scoreboard.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ap_mpm.h"
#include "ap_release.h"
#include "http_core.h"
#include "scoreboard.h"

#include "mod_demo/observe/demo_counters.h"

/* apache_exporter's names of the letters of the scoreboard, by SERVER_*. */
static const char *const state_names[SERVER_NUM_STATUS] = {
    [SERVER_DEAD] = "open_slot",        [SERVER_STARTING] = "startup",
    [SERVER_READY] = "idle",            [SERVER_BUSY_READ] = "read",
    [SERVER_BUSY_WRITE] = "reply",      [SERVER_BUSY_KEEPALIVE] = "keepalive",
    [SERVER_BUSY_LOG] = "logging",      [SERVER_BUSY_DNS] = "dns",
    [SERVER_CLOSING] = "closing",       [SERVER_GRACEFUL] = "graceful_stop",
    [SERVER_IDLE_KILL] = "idle_cleanup",
};

typedef struct {
    uint64_t state[SERVER_NUM_STATUS];
    uint64_t busy, idle;
    uint64_t processes, stopping;
    uint64_t connections, writing, keepalive, closing;
    uint64_t cpu_ticks;
} totals;

/* User and system time of a process in clock ticks, with children the ones it
 * has already waited for; 0 when it is gone.  proc(5): fields 14 to 17 of stat,
 * counted from the last parenthesis, as the name may hold anything. */
static uint64_t cpu_of(pid_t pid, int children)
{
    char path[32], text[1024];
    uint64_t sum = 0;

    (void)snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    ssize_t n = read(fd, text, sizeof(text) - 1);
    (void)close(fd);
    text[n > 0 ? n : 0] = '\0';
    char *p = strrchr(text, ')');
    for (int field = 2; p != NULL && field <= 17; field++) {
        if (field >= 14 && (field <= 15 || children)) {
            sum += strtoull(p, NULL, 10);
        }
        p = strchr(p + 1, ' ');
    }
    return sum;
}

/* What mod_status does: a slot counts as a worker only while its process is of
 * the running generation and not on its way out. */
static void add_process(totals *t, int i, int threads, ap_generation_t running)
{
    const process_score *ps = ap_get_scoreboard_process(i);

    if (ps == NULL) {
        return;
    }
    for (int j = 0; j < threads; j++) {
        const worker_score *ws = ap_get_scoreboard_worker_from_indexes(i, j);
        int status = ws != NULL ? ws->status : SERVER_DEAD;
        if (status < 0 || status >= SERVER_NUM_STATUS) {
            continue;
        }
        t->state[status]++;
        if (ps->quiescing || ps->pid == 0) {
            continue;
        }
        if (status == SERVER_READY) {
            t->idle += ps->generation == running;
        }
        else if (status != SERVER_DEAD && status != SERVER_STARTING && status != SERVER_IDLE_KILL
                 && status != SERVER_GRACEFUL) {
            t->busy++;
        }
    }
    if (ps->pid != 0) {
        t->processes++;
        t->stopping += ps->quiescing != 0;
        t->connections += ps->connections;
        t->writing += ps->write_completion;
        t->keepalive += ps->keep_alive;
        t->closing += ps->lingering_close;
        t->cpu_ticks += cpu_of(ps->pid, 0);
    }
}

static void add_all(totals *t)
{
    int daemons = 0, threads = 0;

    memset(t, 0, sizeof(*t));
    (void)ap_mpm_query(AP_MPMQ_HARD_LIMIT_DAEMONS, &daemons);
    (void)ap_mpm_query(AP_MPMQ_HARD_LIMIT_THREADS, &threads);
    for (int i = 0; ap_scoreboard_image != NULL && i < daemons; i++) {
        add_process(t, i, threads, ap_scoreboard_image->global->running_generation);
    }
    t->cpu_ticks += cpu_of(demo_seg->parent, 1);
}

static void one(prom_writer *w, const prom_family *family, double value)
{
    prom_begin(w, family);
    prom_double(w, NULL, 0, value);
}

static void by_label(prom_writer *w, const char *label, const char *name, uint64_t value)
{
    prom_label l = { label, name };

    prom_u64(w, &l, 1, value);
}

static void write_identity(prom_writer *w)
{
    static const prom_family up = { "apache_up", PROM_GAUGE, NULL, "1: httpd answers." };
    static const prom_family version = { "apache_version", PROM_GAUGE, NULL,
        "httpd's version as a number: 2.462 is 2.4.62." };
    static const prom_family info = { "apache_info", PROM_GAUGE, NULL,
        "httpd's version and processing module." };
    static const prom_family generation = { "apache_generation", PROM_GAUGE, NULL,
        "How often the configuration was read and the children replaced." };
    ap_version_t v;
    char text[32];
    int mpm = 0;

    one(w, &up, 1);
    ap_get_server_revision(&v);
    (void)snprintf(text, sizeof(text), "%d.%d%d", v.major, v.minor, v.patch);
    one(w, &version, strtod(text, NULL));
    prom_label l[] = { { "version", ap_get_server_banner() }, { "mpm", ap_show_mpm() } };
    prom_begin(w, &info);
    prom_u64(w, l, 2, 1);
    (void)ap_mpm_query(AP_MPMQ_GENERATION, &mpm);
    prom_begin(w, &generation);
    by_label(w, "type", "config", (uint64_t)ap_state_query(AP_SQ_CONFIG_GEN));
    by_label(w, "type", "mpm", (uint64_t)mpm);
}

static void write_traffic(prom_writer *w, const totals *t)
{
    static const prom_family uptime = { "apache_uptime_seconds", PROM_COUNTER, "seconds",
        "Seconds since httpd started." };
    static const prom_family accesses = { "apache_accesses", PROM_COUNTER, NULL,
        "Requests of all handlers." };
    static const prom_family sent = { "apache_sent_kilobytes", PROM_COUNTER, NULL,
        "Kilobytes of answers' bodies sent." };
    static const prom_family cpuload = { "apache_cpuload", PROM_GAUGE, NULL,
        "CPU time of all processes since the start, in percent of one CPU." };
    uint64_t buckets[DEMO_HISTOGRAM_BOUNDS + 1];
    double up = (double)(apr_time_now() - demo_seg->start_wall) / 1e6;
    double cpu = (double)t->cpu_ticks / (double)sysconf(_SC_CLK_TCK);

    one(w, &uptime, up > 0 ? (double)(uint64_t)up : 0);
    uint64_t bytes = demo_histogram_sum(DEMO_H_ALL_SIZE, buckets), n = 0;
    for (int i = 0; i <= DEMO_SIZE_BOUNDS; i++) {
        n += buckets[i];
    }
    prom_begin(w, &accesses);
    prom_u64(w, NULL, 0, n);
    /* No base unit, which promtool hints at; but its dashboards ask for this name. */
    prom_begin(w, &sent);
    prom_u64(w, NULL, 0, bytes / 1024);
    one(w, &cpuload, up > 0 ? cpu / up * 100 : 0);
}

/* What mod_prometheus_status tells of all requests, with its names. */
static void write_requests(prom_writer *w)
{
    static const prom_family requests = { "apache_requests", PROM_COUNTER, NULL,
        "Requests of all handlers by status and method." };
    static const prom_family took = { "apache_response_time_seconds", PROM_HISTOGRAM, "seconds",
        "Time of the requests of all handlers." };
    static const prom_family size = { "apache_response_size_bytes", PROM_HISTOGRAM, "bytes",
        "Bodies sent by all handlers." };
    uint64_t buckets[DEMO_HISTOGRAM_BOUNDS + 1];
    double bounds[DEMO_SIZE_BOUNDS];

    prom_begin(w, &requests);
    demo_write_codes(w, DEMO_SCOPE_ALL, "status");
    prom_begin(w, &took);
    demo_write_histogram(w, DEMO_H_ALL_TIME);
    uint64_t bytes = demo_histogram_sum(DEMO_H_ALL_SIZE, buckets);
    for (int i = 0; i < DEMO_SIZE_BOUNDS; i++) {
        bounds[i] = (double)demo_bounds_bytes[i];
    }
    prom_histogram h = { bounds, DEMO_SIZE_BOUNDS, buckets, (double)bytes };
    prom_begin(w, &size);
    prom_histogram_write(w, NULL, 0, &h);
}

void demo_scoreboard_write(prom_writer *w)
{
    static const prom_family workers = { "apache_workers", PROM_GAUGE, NULL,
        "Workers that serve a request or wait for one." };
    static const prom_family board = { "apache_scoreboard", PROM_GAUGE, NULL,
        "Slots of the scoreboard by state." };
    static const prom_family processes = { "apache_processes", PROM_GAUGE, NULL,
        "Child processes." };
    static const prom_family connections = { "apache_connections", PROM_GAUGE, NULL,
        "Connections of the event MPM." };
    totals t;

    add_all(&t);
    write_identity(w);
    write_traffic(w, &t);
    write_requests(w);
    prom_begin(w, &workers);
    by_label(w, "state", "busy", t.busy);
    by_label(w, "state", "idle", t.idle);
    prom_begin(w, &board);
    for (int i = 0; i < SERVER_NUM_STATUS; i++) {
        by_label(w, "state", state_names[i], t.state[i]);
    }
    prom_begin(w, &processes);
    by_label(w, "state", "all", t.processes);
    by_label(w, "state", "stopping", t.stopping);
    prom_begin(w, &connections);
    by_label(w, "state", "total", t.connections);
    by_label(w, "state", "writing", t.writing);
    by_label(w, "state", "keepalive", t.keepalive);
    by_label(w, "state", "closing", t.closing);
}
