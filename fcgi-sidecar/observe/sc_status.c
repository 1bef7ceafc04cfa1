#include "config.h"
#include "fcgi-sidecar/observe/sc_status.h"

#include <stdio.h>
#include <string.h>

#include "fcgi-sidecar/base/sc_dial.h"
#include "fcgi-sidecar/base/sc_file.h"
#include "fcgi-sidecar/handoff/sc_ship.h"

#define PROBE_MS 200 /* for a connection to php-fpm while no request keeps one */

json_t *sc_status_file(const sc_state *s)
{
    bool primary = sc_state_writable(s->id);

    return json_pack("{s:s, s:s, s:I, s:s, s:b, s:s, s:s, s:s, s:s, s:o, s:o, s:b}",
                     "version", PACKAGE_VERSION, "lineage", s->lineage,
                     "epoch", (json_int_t)s->epoch, "state", sc_state_name(s->id),
                     "primary", primary ? 1 : 0, "uid", s->uid,
                     "primary_uid", s->primary.uid, "primary_control", s->primary.control,
                     "primary_relay", s->primary.relay,
                     "successor", s->successor.uid[0] != '\0' ? sc_member_to_json(&s->successor)
                                                              : json_null(),
                     "position", s->prepared ? sc_position_to_json(&s->position) : json_null(),
                     "serving", 0);
}

static json_t *relay_status(const sc_relay *relay)
{
    sc_relay_stats s;

    sc_relay_stats_get(relay, &s);
    return json_pack("{s:s, s:b, s:i, s:i, s:i, s:I, s:I, s:I}", "mode",
                     sc_relay_mode_name(s.mode), "upstream_up", s.upstream_up ? 1 : 0,
                     "clients", (int)s.clients, "queued", (int)s.queued,
                     "in_flight", (int)s.in_flight, "requests", (json_int_t)s.requests,
                     "forwarded", (json_int_t)s.forwarded, "held", (json_int_t)s.held);
}

json_t *sc_status_node(sc_node *n)
{
    unsigned followers, standbys;
    uint64_t lag;
    json_t *json, *work;

    pthread_mutex_lock(&n->lock);
    json = sc_status_file(&n->state);
    sc_ship_count(n, &followers, &standbys, &lag);
    if (n->state.id == SC_STATE_STANDBY && n->image_fd >= 0) {
        json_object_set_new(json, "position", sc_position_to_json(&n->image_position));
    }
    json_object_set_new(json, "followers", json_integer(followers));
    json_object_set_new(json, "standbys", json_integer(standbys));
    json_object_set_new(json, "lag_bytes", json_integer((json_int_t)lag));
    work = n->start.running ? json_pack("{s:s, s:I, s:I}", "phase", n->start.phase,
                                        "done", (json_int_t)n->start.done,
                                        "total", (json_int_t)n->start.total)
                            : json_null();
    json_object_set_new(json, "copy", work);
    json_object_set_new(json, "handing_over", json_boolean(n->handoff.running));
    json_object_set_new(json, "leaving", json_boolean(n->leaving));
    json_object_set_new(json, "advice", sc_node_advice(n)[0] != '\0' ? json_string(sc_node_advice(n))
                                                                    : json_null());
    pthread_mutex_unlock(&n->lock);
    json_object_set_new(json, "serving", json_true());
    json_object_set_new(json, "self", sc_member_to_json(&n->self));
    json_object_set_new(json, "relay", relay_status(n->relay));
    return json;
}

static bool is_ready(sc_node *n, const char **why)
{
    sc_relay_stats stats;
    sc_state state;
    bool connected, up;

    sc_relay_stats_get(n->relay, &stats);
    sc_node_state(n, &state);
    switch (state.id) {
    case SC_STATE_PRIMARY:
    case SC_STATE_DRAINING:
        /* What the relay knows is as old as its last connection: php-fpm may have died since. */
        connected = stats.upstream_up && stats.upstream_connections > 0;
        up = connected || sc_dial_accepts(n->options->upstream, PROBE_MS);
        *why = connected ? "php-fpm answers"
             : up ? "php-fpm accepts connections" : "php-fpm is down";
        return up;
    case SC_STATE_EMPTY:
        *why = "no database yet: post-start has not run or has failed";
        return false;
    case SC_STATE_SYNCING:
        *why = stats.mode == SC_RELAY_FORWARD ? "forwarding to the primary while copying"
                                              : "copying, the primary is not known yet";
        return stats.mode == SC_RELAY_FORWARD;
    case SC_STATE_FENCED:
        *why = "waiting for the successor";
        return true;
    default:
        *why = "forwarding to the primary";
        return stats.mode == SC_RELAY_FORWARD;
    }
}

bool sc_status_ready(sc_node *n, char why[SC_STATUS_WHY_LEN])
{
    const char *text, *advice;
    bool ready = is_ready(n, &text);

    pthread_mutex_lock(&n->lock);
    advice = sc_node_advice(n);
    snprintf(why, SC_STATUS_WHY_LEN, "%s%s%s", text, advice[0] != '\0' ? "; " : "", advice);
    pthread_mutex_unlock(&n->lock);
    return ready;
}

static void print_value(FILE *out, const char *name, const json_t *value, const char *indent)
{
    const char *key;
    json_t *member;

    if (json_is_object(value)) {
        fprintf(out, "%s%s\n", indent, name);
        json_object_foreach((json_t *)(uintptr_t)value, key, member) {
            print_value(out, key, member, "    ");
        }
        return;
    }
    fprintf(out, "%s%-*s ", indent, indent[0] == '\0' ? 18 : 14, name);
    if (json_is_string(value)) {
        fprintf(out, "%s\n", json_string_value(value)[0] != '\0' ? json_string_value(value) : "-");
    }
    else if (json_is_integer(value)) {
        fprintf(out, "%lld\n", (long long)json_integer_value(value));
    }
    else {
        fputs(json_is_true(value) ? "yes\n" : json_is_false(value) ? "no\n" : "-\n", out);
    }
}

void sc_status_print(FILE *out, const json_t *status)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)status, key, value) {
        print_value(out, key, value, "");
    }
}
