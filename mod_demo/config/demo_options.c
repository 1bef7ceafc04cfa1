#include "mod_demo/config/demo_options.h"

#include <errno.h>
#include <stdlib.h>

#include "apr_lib.h"
#include "apr_strings.h"

/* A number and the unit behind it; 0 when there is no number or too large a one. */
static int number_split(const char *text, apr_int64_t *n, const char **unit)
{
    char *end;

    if (!apr_isdigit(*text)) {
        return 0;
    }
    errno = 0;
    *n = apr_strtoi64(text, &end, 10);
    *unit = end;
    return errno == 0;
}

static apr_int64_t time_unit(const char *unit)
{
    static const struct { const char *name; apr_int64_t us; } units[] = {
        { "", APR_USEC_PER_SEC }, { "us", 1 }, { "ms", 1000 }, { "s", APR_USEC_PER_SEC },
        { "m", 60 * APR_USEC_PER_SEC }, { "min", 60 * APR_USEC_PER_SEC },
        { "h", 3600 * APR_USEC_PER_SEC },
    };
    for (apr_size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strcasecmp(unit, units[i].name) == 0) {
            return units[i].us;
        }
    }
    return 0;
}

static apr_int64_t size_unit(const char *unit)
{
    static const char names[] = "KMGT";
    const char *at;

    if (*unit == '\0' || strcasecmp(unit, "B") == 0) {
        return 1;
    }
    at = strchr(names, apr_toupper(*unit));
    if (at == NULL || (unit[1] != '\0' && strcasecmp(unit + 1, "B") != 0
                       && strcasecmp(unit + 1, "iB") != 0)) {
        return 0;
    }
    return (apr_int64_t)1 << (10 * (at - names + 1));
}

static const char *type_hint(enum demo_option_type type)
{
    switch (type) {
    case DEMO_OPT_TIME: return "a time such as 500ms, 2s or 1m";
    case DEMO_OPT_SIZE: return "a size such as 65536, 64K or 1G";
    case DEMO_OPT_COUNT: return "a whole number";
    default: return "a text";
    }
}

/* How the bounds read in the unit that the user writes. */
static const char *bound_text(enum demo_option_type type, apr_int64_t v, apr_pool_t *p)
{
    if (type == DEMO_OPT_TIME) {
        return v % APR_USEC_PER_SEC == 0
               ? apr_psprintf(p, "%" APR_INT64_T_FMT "s", v / APR_USEC_PER_SEC)
               : apr_psprintf(p, "%" APR_INT64_T_FMT "ms", v / 1000);
    }
    return apr_psprintf(p, "%" APR_INT64_T_FMT, v);
}

static const char *number_store(const demo_option *o, void *record, const char *value,
                                apr_pool_t *p)
{
    apr_int64_t n, scale = 1;
    const char *unit;

    if (!number_split(value, &n, &unit)) {
        return apr_psprintf(p, "%s=%s is not %s", o->name, value, type_hint(o->type));
    }
    if (o->type == DEMO_OPT_TIME) {
        scale = time_unit(unit);
    }
    else if (o->type == DEMO_OPT_SIZE) {
        scale = size_unit(unit);
    }
    else if (*unit != '\0') {
        scale = 0;
    }
    if (scale == 0) {
        return apr_psprintf(p, "%s=%s is not %s", o->name, value, type_hint(o->type));
    }
    if (n > APR_INT64_MAX / scale || n * scale < o->min || n * scale > o->max) {
        return apr_psprintf(p, "%s=%s is out of range, it may be %s to %s", o->name, value,
                            bound_text(o->type, o->min, p), bound_text(o->type, o->max, p));
    }
    n *= scale;
    void *member = (char *)record + o->offset;
    switch (o->type) {
    case DEMO_OPT_TIME: *(apr_interval_time_t *)member = n; break;
    case DEMO_OPT_SIZE: *(apr_off_t *)member = n; break;
    default: *(int *)member = (int)n; break;
    }
    return NULL;
}

static const char *known_names(const demo_option *table, apr_pool_t *p)
{
    const char *all = table->name;

    for (const demo_option *o = table + 1; o->name != NULL; o++) {
        all = apr_pstrcat(p, all, ", ", o->name, NULL);
    }
    return all;
}

const char *demo_option_parse(const demo_option *table, void *record,
                              const char *arg, int *bit, apr_pool_t *p)
{
    const char *eq = strchr(arg, '=');

    if (eq == NULL || eq[1] == '\0') {
        return apr_psprintf(p, "%s is not of the form name=value; known names: %s", arg,
                            known_names(table, p));
    }
    for (const demo_option *o = table; o->name != NULL; o++) {
        if (strlen(o->name) != (apr_size_t)(eq - arg)
            || strncasecmp(o->name, arg, (apr_size_t)(eq - arg)) != 0) {
            continue;
        }
        *bit = (int)(o - table);
        if (o->type == DEMO_OPT_STRING) {
            *(const char **)((char *)record + o->offset) = apr_pstrdup(p, eq + 1);
            return NULL;
        }
        return number_store(o, record, eq + 1, p);
    }
    return apr_psprintf(p, "%s: unknown name; known: %s", arg, known_names(table, p));
}
