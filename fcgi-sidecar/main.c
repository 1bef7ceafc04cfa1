/* Entry: one sub-command, one function. */
#include <limits.h>
#include <string.h>

#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/base/sc_log.h"
#include "fcgi-sidecar/base/sc_options.h"
#include "fcgi-sidecar/commands/sc_hook.h"
#include "fcgi-sidecar/commands/sc_serve.h"
#include "fcgi-sidecar/commands/sc_tools.h"

static const struct {
    unsigned command;
    apr_status_t (*run)(const sc_options *o, sc_error *err);
} commands[] = {
    { SC_CMD_SERVE, sc_serve },
    { SC_CMD_POST_START, sc_hook_post_start },
    { SC_CMD_PRE_STOP, sc_hook_pre_stop },
    { SC_CMD_PROMOTE, sc_hook_promote },
    { SC_CMD_STATUS, sc_hook_status },
    { SC_CMD_SNAPSHOT, sc_tools_snapshot },
    { SC_CMD_CHECK, sc_tools_check },
};

/* SQLite puts log and wal-index beside the file that a link leads to; so do we. */
static apr_status_t follow_database(sc_options *o, sc_error *err)
{
    static char path[PATH_MAX];
    apr_status_t rv = sc_file_follow_links(o->database, path, sizeof(path), err);

    o->database = path;
    return rv;
}

int main(int argc, char **argv)
{
    sc_error err = { 0, "" };
    sc_options options;
    apr_status_t rv = sc_options_parse(&options, argc, argv, stdout, &err);
    size_t i;

    if (rv == APR_SUCCESS && options.command == 0) {
        return 0; /* --help or version */
    }
    if (rv == APR_SUCCESS) {
        sc_log_init(strcmp(options.log_format, "json") == 0);
        rv = follow_database(&options, &err);
    }
    if (rv == APR_SUCCESS) {
        for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
            if (commands[i].command == options.command) {
                rv = commands[i].run(&options, &err);
            }
        }
    }
    if (rv != APR_SUCCESS) {
        sc_fail(rv == SC_EUSAGE ? "SC0002" : "SC0001", "%s: %s",
                sc_options_command_name(options.command), err.text);
    }
    return sc_error_exit_code(rv);
}
