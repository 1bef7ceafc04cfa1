#include "mod_demo/response/demo_turn.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "ap_listen.h"
#include "ap_mpm.h"
#include "apr_portable.h"
#include "scoreboard.h"

#include "mod_demo/shm/demo_clock.h"
#include "mod_demo/shm/demo_yield.h"

#define NEXT_LOOKS 2         /* for the next request, where answers take microseconds */
#define NEXT_WAIT_US 10000   /* and then, or else, asleep */
#define TURN_MAX_US 200000   /* while others wait; measured: docs/performance.md */

static struct {
    atomic_int busy;  /* threads between demo_turn_begin() and demo_turn_end() */
    int threads;      /* of this child, all of them */
} turn;

void demo_turn_child_init(void)
{
    if (ap_mpm_query(AP_MPMQ_MAX_THREADS, &turn.threads) != APR_SUCCESS) {
        turn.threads = 0;
    }
}

/* Or nearly: between two requests a thread is not counted for a moment. */
static bool all_are_busy(void)
{
    return atomic_load_explicit(&turn.busy, memory_order_relaxed)
           >= turn.threads - turn.threads / 8;
}

/* Do clients wait for the MPM to accept their connections?  A few do at any time,
 * those among them whose connections were ended here. */
static bool others_wait(void)
{
    for (const ap_listen_rec *l = ap_listeners; l != NULL; l = l->next) {
        struct tcp_info info;
        socklen_t len = sizeof info;
        apr_os_sock_t fd;
        if (l->sd != NULL && apr_os_sock_get(&fd, l->sd) == APR_SUCCESS
            && getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) == 0
            && info.tcpi_unacked > (unsigned)turn.threads / 8) { /* the queue of a socket that listens */
            return true;
        }
    }
    return false;
}

void demo_turn_begin(conn_rec *c)
{
    demo_client *client = demo_client_get(c);

    atomic_fetch_add_explicit(&turn.busy, 1, memory_order_relaxed);
    if (!c->data_in_input_filters) { /* the listener brings it */
        client->turn = 0;
    }
    if (client->left_at != 0 && demo_now() - client->left_at < NEXT_WAIT_US) {
        client->left_at = 0;
    }
    client->sent = false;
}

void demo_turn_limit(const demo_exchange *x)
{
    conn_rec *c = x->r->connection;
    demo_client *client = c->master == NULL ? demo_client_of(c) : NULL;
    apr_time_t now;

    if (client == NULL) {
        return;
    }
    if (client->turn == 0) {
        client->turn = x->started;
    }
    if (c->keepalive == AP_CONN_CLOSE || !all_are_busy()) {
        return;
    }
    now = demo_now();
    if (now - client->turn > TURN_MAX_US) {
        if (others_wait()) {
            /* So, and not by c->keepalive: an answer of unknown length stays chunked. */
            apr_table_setn(x->r->headers_out, "Connection", "close");
        }
        client->turn = now;
    }
}

void demo_turn_sent(const demo_exchange *x)
{
    demo_client *client = demo_client_of(x->r->connection);

    if (client != NULL) {
        client->sent = true;
        client->brief = x->brief;
    }
}

/* A moment in which others run, one of which may be the client. */
static bool next_is_here(int fd)
{
    char byte;

    for (int i = 0; i < NEXT_LOOKS; i++) {
        demo_yield();
        if (recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0) {
            return true;
        }
    }
    return false;
}

static bool next_comes(conn_rec *c, demo_client *client, int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    if (client->brief && next_is_here(fd)) {
        return true;
    }
    if (client->left_at != 0) {
        return false;
    }
    ap_update_child_status_from_conn(c->sbh, SERVER_BUSY_KEEPALIVE, c);
    if (poll(&p, 1, NEXT_WAIT_US / 1000) > 0) {
        return true;
    }
    client->left_at = demo_now();
    return false;
}

void demo_turn_end(conn_rec *c)
{
    demo_client *client = demo_client_get(c);
    int fd = demo_client_fd(c);

    if (client->sent && c->cs->state == CONN_STATE_WRITE_COMPLETION
        && c->keepalive == AP_CONN_KEEPALIVE && !c->aborted && !c->data_in_input_filters
        && !c->data_in_output_filters && fd >= 0 && next_comes(c, client, fd)) {
        c->data_in_input_filters = 1; /* so the MPM reads it at once */
    }
    else {
        demo_give_way(false);
    }
    atomic_fetch_sub_explicit(&turn.busy, 1, memory_order_relaxed);
}
