#include "config.h"
#include "fcgi-sidecar/base/sc_options.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

struct option_row {
    enum sc_option_kind kind;
    size_t offset;        /* of the member in sc_options */
    const char *name, *argument, *value;
    unsigned commands;
    const char *help;
};

static const struct option_row rows[] = {
#define X(kind, member, name, argument, value, commands, help) \
    { SC_OPTION_##kind, offsetof(sc_options, member), name, argument, value, commands, help },
#include "fcgi-sidecar/base/sc_options.def"
#undef X
};
#define N_ROWS (sizeof(rows) / sizeof(rows[0]))
#define NAME_MAX_LEN 64
#define HOST_MAX 256

struct command_row {
    unsigned bit;
    const char *name, *argument, *help;
    bool built;
};

static const struct command_row commands[] = {
    { SC_CMD_SERVE, "serve", NULL, "run beside php-fpm: relay, control port, HTTP endpoint", true },
    { SC_CMD_POST_START, "post-start", NULL,
      "hook: returns when php-fpm may start (first deployment, standby, or already primary)", true },
    { SC_CMD_PRE_STOP, "pre-stop", NULL,
      "hook: hands the database over, returns when the successor is primary", true },
    { SC_CMD_STATUS, "status", NULL, "what this instance is and does", true },
    { SC_CMD_SNAPSHOT, "snapshot", "FILE", "a consistent copy of the live database into FILE", true },
    { SC_CMD_CHECK, "check", NULL, "examines configuration, state, authority and database", true },
    { SC_CMD_PROMOTE, "promote", NULL,
      "the operator's word that the old primary is gone for ever: makes a standby primary", true },
    { SC_CMD_RESTORE, "restore", NULL, "from the backup store (not in this version)", false },
    { SC_CMD_BACKUP, "backup", NULL, "into the backup store (not in this version)", false },
    { SC_CMD_WORKER, "worker", NULL, "hands queue messages to php-fpm (not in this version)", false },
    { SC_CMD_VERSION, "version", NULL, "prints the version", true },
};
#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

const char *sc_options_command_name(unsigned command)
{
    size_t i;

    for (i = 0; i < N_COMMANDS; i++) {
        if (commands[i].bit == command) {
            return commands[i].name;
        }
    }
    return "fcgi-sidecar";
}

/* --- values -------------------------------------------------------------- */

bool sc_duration_parse(const char *text, apr_interval_time_t *value)
{
    static const struct { const char *unit; apr_interval_time_t us; } units[] = {
        { "ms", 1000 }, { "s", 1000000 }, { "m", 60000000 }, { "h", 3600000000LL }
    };
    char *end;
    long n;
    size_t i;

    if (!isdigit((unsigned char)text[0])) {
        return false;
    }
    n = strtol(text, &end, 10);
    for (i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (strcmp(end, units[i].unit) == 0 && n <= SC_DURATION_MAX / units[i].us) {
            *value = n * units[i].us;
            return true;
        }
    }
    return false;
}

/* "4096", "64K", "1M", "1G". */
static bool size_parse(const char *text, size_t *value)
{
    static const char units[] = "KMG";
    unsigned long n;
    const char *unit;
    char *end;

    if (!isdigit((unsigned char)text[0])) {
        return false;
    }
    n = strtoul(text, &end, 10);
    if (*end != '\0') {
        unit = strchr(units, *end);
        if (unit == NULL || end[1] != '\0' || n > 1ul << 30) {
            return false;
        }
        for (; unit >= units; unit--) {
            n = n > 1ul << 30 ? n : n * 1024;
        }
    }
    *value = n;
    return n >= 4096 && n <= 1ul << 30;
}

bool sc_address_split(const char *address, char *host, size_t host_size, uint16_t *port)
{
    const char *colon = strrchr(address, ':');
    const char *from = address;
    size_t len;
    char *end;
    unsigned long n;

    if (colon == NULL || !isdigit((unsigned char)colon[1])) {
        return false;
    }
    n = strtoul(colon + 1, &end, 10);
    if (*end != '\0' || n > 65535) {
        return false;
    }
    len = (size_t)(colon - address);
    if (len >= 2 && from[0] == '[' && from[len - 1] == ']') {
        from++;
        len -= 2;
    }
    else if (memchr(from, ':', len) != NULL) {
        return false; /* IPv6 needs its brackets */
    }
    if (len == 0) {
        from = "0.0.0.0";
        len = strlen(from);
    }
    if (len >= host_size) {
        return false;
    }
    memcpy(host, from, len);
    host[len] = '\0';
    *port = (uint16_t)n;
    return true;
}

void sc_address_join(char *out, size_t size, const char *host, uint16_t port)
{
    bool v6 = strchr(host, ':') != NULL;

    snprintf(out, size, "%s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "", port);
}

/* A name, or an address of either family; who resolves it finds out whether it is one. */
static bool host_is_plain(const char *host)
{
    size_t len = strlen(host);

    return len > 0 && len < HOST_MAX
        && strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:%_-") == len;
}

/* HOST or HOST:PORT; of more than one colon it is an IPv6 address. */
static bool peer_is_plain(const char *value)
{
    char host[HOST_MAX];
    const char *colon = strchr(value, ':');
    uint16_t port = 0;

    if (colon == value) {
        return strchr(value + 1, ':') != NULL && host_is_plain(value);
    }
    if (colon == NULL || (colon != strrchr(value, ':') && value[0] != '[')) {
        return host_is_plain(value);
    }
    return sc_address_split(value, host, sizeof(host), &port) && port != 0 && host_is_plain(host);
}

/* NULL, or what is wrong with the value. */
static const char *value_error(const struct option_row *row, const char *value)
{
    char host[HOST_MAX];
    uint16_t port;

    switch (row->kind) {
    case SC_OPTION_UNBUILT:
        return "is not built in this version; leave it out";
    case SC_OPTION_HOST:
        return host_is_plain(value) ? NULL : "must be a host name or an address, without a port";
    case SC_OPTION_PEER:
        return peer_is_plain(value) ? NULL : "must be HOST or HOST:PORT";
    case SC_OPTION_ADDRESS:
    case SC_OPTION_UPSTREAM:
        if (strncmp(value, "unix:/", 6) == 0 && value[6] != '\0') {
            return strlen(value + 5) < sizeof(((struct sockaddr_un *)NULL)->sun_path)
                ? NULL : "has too long a path for a socket, 107 bytes are allowed";
        }
        /* fall through */
    case SC_OPTION_HOSTPORT:
        if (sc_address_split(value, host, sizeof(host), &port)
            && (row->kind != SC_OPTION_UPSTREAM || port != 0)) {
            return NULL;
        }
        return row->kind != SC_OPTION_HOSTPORT
            ? "must be HOST:PORT or unix:/path" : "must be HOST:PORT, the port 0..65535";
    case SC_OPTION_CHOICE_LOG:
        return strcmp(value, "text") == 0 || strcmp(value, "json") == 0
            ? NULL : "must be text or json";
    default:
        return value[0] == '\0' ? "must not be empty" : NULL;
    }
}

static apr_status_t value_set(sc_options *o, const struct option_row *row, const char *value,
                              const char *origin, sc_error *err)
{
    void *member = (char *)o + row->offset;
    const char *why = value_error(row, value);
    bool duration = row->kind == SC_OPTION_DURATION || row->kind == SC_OPTION_TIMEOUT;
    char *end;
    unsigned long n;

    if (why == NULL && duration && !sc_duration_parse(value, member)) {
        why = "must be a time such as 500ms, 10s, 5m or 1h, 100h at most";
    }
    if (why == NULL && row->kind == SC_OPTION_TIMEOUT && *(apr_interval_time_t *)member == 0) {
        why = "must be above 0, a time such as 500ms, 10s, 5m or 1h";
    }
    if (why == NULL && row->kind == SC_OPTION_SIZE && !size_parse(value, member)) {
        why = "must be a size from 4K to 1G, such as 4096, 64K or 1M";
    }
    if (why == NULL && row->kind == SC_OPTION_NUMBER) {
        n = strtoul(value, &end, 10);
        if (!isdigit((unsigned char)value[0]) || *end != '\0' || n < 1 || n > 1000000) {
            why = "must be a number from 1 to 1000000";
        }
        else {
            *(unsigned *)member = (unsigned)n;
        }
    }
    if (why != NULL) {
        return sc_error_set(err, SC_EUSAGE, "%s: \"%s\" %s", origin, value, why);
    }
    if (!duration && row->kind != SC_OPTION_NUMBER && row->kind != SC_OPTION_SIZE) {
        *(const char **)member = value;
    }
    return APR_SUCCESS;
}

/* --- environment ------------------------------------------------------------ */

static void variable_name(const char *name, char *out, size_t size)
{
    size_t n = (size_t)snprintf(out, size, "SIDECAR_%s", name);
    size_t i;

    for (i = 8; i < n && i < size; i++) {
        out[i] = name[i - 8] == '-' ? '_' : (char)toupper((unsigned char)name[i - 8]);
    }
}

static apr_status_t take_environment(sc_options *o, sc_error *err)
{
    size_t i;

    for (i = 0; i < N_ROWS; i++) {
        char variable[NAME_MAX_LEN];
        const char *value;
        apr_status_t rv;

        variable_name(rows[i].name, variable, sizeof(variable));
        value = getenv(variable);
        if (rows[i].kind == SC_OPTION_FLAG) {
            if (value != NULL && value[0] != '\0' && strcmp(value, "0") != 0) {
                *(bool *)((char *)o + rows[i].offset) = true;
            }
            continue;
        }
        if (value == NULL || value[0] == '\0') {
            value = rows[i].value;
        }
        if (value != NULL) {
            rv = value_set(o, &rows[i], value, variable, err);
            if (rv != APR_SUCCESS) {
                return rv;
            }
        }
    }
    return APR_SUCCESS;
}

/* --- help --------------------------------------------------------------------- */

static void print_version(FILE *out)
{
    fprintf(out, "fcgi-sidecar %s\n", PACKAGE_VERSION);
}

static void print_option(FILE *out, const struct option_row *row)
{
    char head[NAME_MAX_LEN], variable[NAME_MAX_LEN];

    variable_name(row->name, variable, sizeof(variable));
    snprintf(head, sizeof(head), "--%s%s%s", row->name, row->argument != NULL ? " " : "",
             row->argument != NULL ? row->argument : "");
    fprintf(out, "  %-30s %s\n", head, row->help);
    fprintf(out, "  %-30s %s%s%s\n", "", variable,
            row->value != NULL ? ", default " : "", row->value != NULL ? row->value : "");
}

static void print_help(FILE *out, unsigned command)
{
    size_t i;

    if (command == 0) {
        fputs("Usage: fcgi-sidecar COMMAND [OPTION…]\n\nCommands:\n", out);
    }
    for (i = 0; i < N_COMMANDS; i++) {
        const struct command_row *c = &commands[i];

        if (command == 0) {
            fprintf(out, "  %-14s %s\n", c->name, c->help);
        }
        else if (c->bit == command) {
            fprintf(out, "Usage: fcgi-sidecar %s [OPTION…]%s%s\n%s\n", c->name,
                    c->argument != NULL ? " " : "", c->argument != NULL ? c->argument : "", c->help);
        }
    }
    fputs(command == 0 ? "\nOptions (\"COMMAND --help\" lists those of a command):\n"
                       : "\nOptions:\n", out);
    for (i = 0; i < N_ROWS; i++) {
        if (command == 0 || (rows[i].commands & command) != 0) {
            print_option(out, &rows[i]);
        }
    }
    fputs("\nEach option is also the variable below it; the option wins.\n"
          "Exit: 0 done, 1 failed, 2 usage, 3 refused by the protocol, 75 try again.\n", out);
}

/* --- command line -------------------------------------------------------------- */

static const struct option_row *find_row(const char *name, size_t len)
{
    size_t i;

    for (i = 0; i < N_ROWS; i++) {
        if (strlen(rows[i].name) == len && strncmp(rows[i].name, name, len) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

/* One argument that starts with "--"; *i moves over a value of its own. */
static apr_status_t take_option(sc_options *o, int argc, char *const *argv, int *i, sc_error *err)
{
    const char *arg = argv[*i];
    const char *equals = strchr(arg, '=');
    size_t len = equals != NULL ? (size_t)(equals - arg) : strlen(arg);
    const struct option_row *row = find_row(arg + 2, len - 2);
    char origin[NAME_MAX_LEN];

    if (row == NULL) {
        return sc_error_set(err, SC_EUSAGE, "unknown option %.*s; see fcgi-sidecar --help",
                            (int)len, arg);
    }
    snprintf(origin, sizeof(origin), "--%s", row->name);
    if ((row->commands & o->command) == 0) {
        return sc_error_set(err, SC_EUSAGE, "%s is no option of %s", origin,
                            sc_options_command_name(o->command));
    }
    if (row->kind == SC_OPTION_FLAG) {
        if (equals != NULL) {
            return sc_error_set(err, SC_EUSAGE, "%s takes no value", origin);
        }
        *(bool *)((char *)o + row->offset) = true;
        return APR_SUCCESS;
    }
    if (equals == NULL && *i + 1 >= argc) {
        return sc_error_set(err, SC_EUSAGE, "%s needs a value (%s)", origin, row->argument);
    }
    return value_set(o, row, equals != NULL ? equals + 1 : argv[++*i], origin, err);
}

static apr_status_t take_command(sc_options *o, const char *name, sc_error *err)
{
    size_t i;

    for (i = 0; i < N_COMMANDS; i++) {
        if (strcmp(name, commands[i].name) == 0) {
            if (!commands[i].built) {
                return sc_error_set(err, SC_EUSAGE, "the command %s is not built in this version",
                                    name);
            }
            o->command = commands[i].bit;
            return APR_SUCCESS;
        }
    }
    return sc_error_set(err, SC_EUSAGE, "unknown command \"%s\"; see fcgi-sidecar --help", name);
}

static bool is_help(const char *arg)
{
    return strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0;
}

static apr_status_t take_arguments(sc_options *o, int argc, char *const *argv, sc_error *err)
{
    apr_status_t rv;
    int i;

    for (i = 2; i < argc; i++) {
        if (strncmp(argv[i], "--", 2) == 0 && argv[i][2] != '\0') {
            rv = take_option(o, argc, argv, &i, err);
            if (rv != APR_SUCCESS) {
                return rv;
            }
        }
        else if (o->command == SC_CMD_SNAPSHOT && o->file == NULL && argv[i][0] != '-') {
            o->file = argv[i];
        }
        else {
            return sc_error_set(err, SC_EUSAGE, "unexpected argument \"%s\"", argv[i]);
        }
    }
    if (o->command == SC_CMD_SNAPSHOT && o->file == NULL) {
        return sc_error_set(err, SC_EUSAGE, "snapshot needs the FILE to write");
    }
    return APR_SUCCESS;
}

apr_status_t sc_options_parse(sc_options *o, int argc, char *const *argv, FILE *out,
                              sc_error *err)
{
    apr_status_t rv;
    int i;

    memset(o, 0, sizeof(*o));
    if (argc < 2) {
        return sc_error_set(err, SC_EUSAGE, "a command is needed; see fcgi-sidecar --help");
    }
    if (is_help(argv[1])) {
        print_help(out, 0);
        return APR_SUCCESS;
    }
    if (strcmp(argv[1], "--version") == 0) {
        print_version(out);
        return APR_SUCCESS;
    }
    rv = take_command(o, argv[1], err);
    if (rv != APR_SUCCESS) {
        return rv;
    }
    for (i = 2; i < argc; i++) {
        if (is_help(argv[i])) {
            print_help(out, o->command);
            o->command = 0;
            return APR_SUCCESS;
        }
    }
    if (o->command == SC_CMD_VERSION) {
        rv = take_arguments(o, argc, argv, err);
        if (rv == APR_SUCCESS) {
            print_version(out);
            o->command = 0;
        }
        return rv;
    }
    rv = take_environment(o, err);
    return rv != APR_SUCCESS ? rv : take_arguments(o, argc, argv, err);
}
