#include "mod_demo/pool/demo_place.h"

#include "mod_demo/shm/demo_clock.h"
#include "mod_demo/shm/demo_gauges.h"

/* Whoever comes at the right moment takes a connection past those who wait,
 * which spares a change of threads; past one who waits for this long nobody. */
#define WAIT_FAIR_US 1000

/* Where answers take less than this it pays to look for them before sleeping;
 * a busy machine changes the average of that time, not the least. */
#define BRIEF_US 150

/* Long is what takes many times the usual; not less than a slice or two of the
 * scheduler, which anything may take, and not more than what a user would notice. */
#define LONG_TIMES  16
#define LONG_MIN_US 8000
#define LONG_MAX_US 25000

/* A new connection takes a tenth of a millisecond of the processors.  Where kept ones
 * come back less often than this, that is a small part of what is done. */
#define FLOW_US 1500

/* A request on a new connection that takes so many times longer than one on a kept one
 * waited in the listen queue.  One alone tells nothing. */
#define QUEUED_TIMES 2
#define FRESH_WEIGHT 4
#define QUEUE_MAX_US 100000 /* longer than this the listen queue is no reason */

/* Up to here a request is mostly PHP's computing. */
#define PROMPT_US 10000

/* A waiter looks whether it still pays; not before its turn is due. */
#define LOOK_MIN_US 12000
#define LOOK_MAX_US 25000

static unsigned idle_count;

void demo_place_init(demo_place *place)
{
    place->last = &place->first;
    place->used_last = &place->used;
}

/* --- connections -------------------------------------------------------------------- */

static void idle_counted(const demo_conn *conn, int n)
{
    idle_count += (unsigned)n;
    demo_conns_idle(conn->slot, n);
}

unsigned demo_places_idle(void)
{
    return idle_count;
}

void demo_place_use(demo_place *place, demo_conn *conn)
{
    conn->next = NULL;
    conn->link = place->used_last;
    *place->used_last = conn;
    place->used_last = &conn->next;
}

void demo_place_unuse(demo_place *place, demo_conn *conn)
{
    *conn->link = conn->next;
    if (conn->next != NULL) {
        conn->next->link = conn->link;
    }
    else {
        place->used_last = conn->link;
    }
}

demo_conn *demo_place_take(demo_place *place, apr_time_t now)
{
    demo_conn *conn = place->idle;

    if (conn != NULL) {
        place->idle = conn->next;
        idle_counted(conn, -1);
        conn->taken = now;
        conn->reused = true;
        demo_place_use(place, conn);
    }
    return conn;
}

/* The first request of a connection may be waiting in the listen queue: it is long if it
 * takes that much more than others on new connections.  Where all of them wait there, a
 * right would else be lost before a worker has taken the connection, nothing would ever be
 * kept, and so everybody would open connections, which wait there.  Where some answers take
 * microseconds no queue is in the way, the others work for long. */
static apr_interval_time_t long_for(const demo_place *place, const demo_conn *conn)
{
    apr_interval_time_t queue = QUEUED_TIMES * place->fresh;

    if (conn->reused || demo_place_is_brief(place)) {
        return demo_place_long(place);
    }
    return demo_place_long(place) + (queue < QUEUE_MAX_US ? queue : QUEUE_MAX_US);
}

bool demo_place_take_over(demo_place *place, apr_time_t now)
{
    demo_conn *conn = place->used;
    apr_interval_time_t least = demo_place_long(place);

    while (conn != NULL && now - conn->taken >= least && now - conn->taken < long_for(place, conn)) {
        conn = conn->next;
    }
    if (conn == NULL || now - conn->taken < least) {
        return false;
    }
    demo_place_unuse(place, conn);
    conn->counted = false;
    return true;
}

/* Of one who comes now and is served in turn. */
static apr_interval_time_t expected_wait(const demo_place *place)
{
    return place->held > 0 ? place->service * (place->waiting + 1) / place->held : 0;
}

apr_interval_time_t demo_place_next_look(const demo_place *place)
{
    apr_interval_time_t look = LOOK_MIN_US + expected_wait(place);

    return look < LOOK_MAX_US ? look : LOOK_MAX_US;
}

static void came_back(demo_place *place, apr_time_t now)
{
    apr_interval_time_t since = now - place->came_back;
    apr_interval_time_t most = 2 * FLOW_US * (place->parties > 1 ? place->parties : 1);

    if (since > most) {
        since = most; /* after a pause the next few tell how it is */
    }
    place->interval += (since - place->interval) / 8;
    place->came_back = now;
}

void demo_place_give(demo_place *place, demo_conn *conn, apr_time_t now)
{
    demo_waiter *w = place->first;

    came_back(place, now);
    if (w != NULL && now - w->since >= WAIT_FAIR_US + 2 * expected_wait(place)) {
        demo_place_leave(place, w);
        w->conn = conn;
        conn->taken = now;
        conn->reused = true;
        demo_place_use(place, conn);
        pthread_cond_signal(&w->given);
        return;
    }
    conn->next = place->idle;
    place->idle = conn;
    idle_counted(conn, 1);
    if (w != NULL && place->yielding == 0 && !place->waking) {
        place->waking = true;
        pthread_cond_signal(&w->given);
    }
}

demo_conn *demo_place_expired(demo_place *place, apr_time_t now, bool all)
{
    demo_conn *out = NULL, **at = &place->idle;

    while (*at != NULL) {
        demo_conn *conn = *at;
        if (all || now >= conn->idle_until) {
            *at = conn->next;
            conn->next = out;
            out = conn;
            place->held--;
            idle_counted(conn, -1);
        }
        else {
            at = &conn->next;
        }
    }
    return out;
}

/* --- who waits ------------------------------------------------------------------------ */

void demo_place_enter(demo_place *place, demo_waiter *w, const pthread_condattr_t *clock)
{
    w->next = NULL;
    w->conn = NULL;
    w->admitted = false;
    w->since = demo_now();
    pthread_cond_init(&w->given, clock);
    *place->last = w;
    place->last = &w->next;
    place->waiting++;
}

void demo_place_leave(demo_place *place, demo_waiter *w)
{
    demo_waiter **at = &place->first;

    while (*at != w) {
        at = &(*at)->next;
    }
    *at = w->next;
    if (place->last == &w->next) {
        place->last = at;
    }
    place->waiting--;
}

bool demo_place_look(demo_place *place, demo_waiter *w)
{
    if (w->conn == NULL && !w->admitted && place->idle != NULL) {
        w->conn = demo_place_take(place, demo_now());
        demo_place_leave(place, w);
    }
    return w->conn != NULL || w->admitted;
}

bool demo_place_admit_first(demo_place *place)
{
    demo_waiter *w = place->first;

    if (w == NULL) {
        return false;
    }
    demo_place_leave(place, w);
    w->admitted = true;
    pthread_cond_signal(&w->given);
    return true;
}

/* --- what is known -------------------------------------------------------------------- */

void demo_place_note(demo_place *place, apr_time_t now, apr_interval_time_t took)
{
    if (took < 1) {
        took = 1;
    }
    place->service += (took - place->service) / 8;
    if (now - place->second > APR_USEC_PER_SEC) {
        place->second = now;
        place->least[1] = place->least[0];
        place->least[0] = took;
    }
    else if (took < place->least[0]) {
        place->least[0] = took;
    }
}

void demo_place_note_fresh(demo_place *place, apr_interval_time_t took)
{
    place->fresh += (took - place->fresh) / FRESH_WEIGHT;
}

bool demo_place_is_prompt(const demo_place *place)
{
    return place->service > 0 && place->service < PROMPT_US && !demo_place_is_brief(place);
}

bool demo_place_is_brief(const demo_place *place)
{
    apr_interval_time_t a = place->least[0], b = place->least[1];

    return (a > 0 && a < BRIEF_US) || (b > 0 && b < BRIEF_US);
}

apr_interval_time_t demo_place_long(const demo_place *place)
{
    apr_interval_time_t usual = place->service;

    return usual < LONG_MIN_US / LONG_TIMES ? LONG_MIN_US
           : usual > LONG_MAX_US / LONG_TIMES ? LONG_MAX_US : usual * LONG_TIMES;
}

bool demo_place_flows(const demo_place *place, apr_time_t now)
{
    apr_interval_time_t often = FLOW_US;

    /* Requests that do not wait here fill the listen queue; the bound falls for that, so
     * that connections come back to each child less often, so that more do not wait: where
     * it is so, what comes back to all children counts. */
    if (place->fresh > QUEUED_TIMES * place->service && place->parties > 1) {
        often *= place->parties;
    }
    return place->interval < often && now - place->came_back < LONG_MIN_US;
}
