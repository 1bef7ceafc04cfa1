/*
 * http_mix -- a mixed load of HTTP/1.1 requests in which every failure is looked at.
 *
 *   http_mix PORT CONNECTIONS KINDS
 *
 * KINDS: names of the table below with weights, "get=60,head=10,post=10".  Each connection is a thread that sends one
 * request after the other until SIGTERM comes; then each ends the request that it is at.  What is asked for and what a
 * right answer is: tests/integration/www/soak.php; static.bin lies beside it.
 *
 * Standard output, a line each:
 *   P ANSWERS FAILED                    once a second
 *   A ID LENGTH                         a POST was acknowledged
 *   F KIND PHASE CAUSE fresh|kept BYTES BEFORE STATUS ID
 *       a request without a right answer: PHASE connect, send, head, body, check; BYTES of the answer came, BEFORE
 *       requests were answered on the connection
 *   J {…}                               the sums, at the end
 *
 * A request is sent again only where RFC 9112 §9.3.1 lets a client: the method is idempotent, and a connection that had
 * carried an answer before was closed before a byte of this answer came.  Those are counted apart ("closed_kept"); so
 * are POSTs to which the same happened ("unsure"), which are not sent again: whoever has the list of what was executed
 * knows what they are.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "http_mix_try.h"

#define THREADS_MAX 512

static const mix_kind KINDS[] = {
    { "get",     "GET",  "/soak.php",   NO_BODY, false, 0, 16384, true },
    { "head",    "HEAD", "/soak.php",   NO_BODY, false, 0, 16384, true },
    { "post",    "POST", "/soak.php",   PLAIN,   true,  1, 65536, true },
    { "postbig", "POST", "/soak.php",   PLAIN,   true,  65536, MIX_BODY_MAX, true },
    { "chunked", "POST", "/soak.php",   CHUNKED, true,  1, 65536, true },
    { "keptpost", "POST", "/soak.php",  PLAIN,   false, 1, 4096, true },
    { "big",     "GET",  "/soak.php",   NO_BODY, false, 1 << 20, 4 << 20, true },
    { "slow",    "GET",  "/soak.php",   NO_BODY, false, 1024, 1024, true },
    { "static",  "GET",  "/static.bin", NO_BODY, false, 4096, 4096, false },
};
#define KIND_COUNT (sizeof KINDS / sizeof KINDS[0])

typedef struct {
    uint64_t sent, answered, failed, closed_kept, unsure, body_in, body_out, connects;
} sums;

typedef struct {
    mix_client client;
    unsigned index;
    uint64_t serial;
    sums by_kind[KIND_COUNT];
} worker;

static atomic_bool stopping;
static _Atomic uint64_t answers, failures;
static unsigned weight[KIND_COUNT], weight_sum;
static uint32_t run_id;
static pthread_mutex_t out_lock = PTHREAD_MUTEX_INITIALIZER;

static void say(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    pthread_mutex_lock(&out_lock);
    vprintf(format, ap);
    pthread_mutex_unlock(&out_lock);
    va_end(ap);
}

/* --- the loop ----------------------------------------------------------------------------------- */

static const mix_kind *kind_any(mix_client *c)
{
    unsigned w = mix_any(c, 0, weight_sum - 1);
    size_t i = 0;

    while (w >= weight[i]) {
        w -= weight[i++];
    }
    return &KINDS[i];
}

static void failure_note(const mix_client *c, const mix_try *t, sums *s)
{
    s->failed++;
    atomic_fetch_add(&failures, 1);
    say("F %s %s %s %s %zu %u %d %" PRIx64 "\n", t->k->name, t->phase, t->error ? strerrorname_np(t->error) : "closed",
        c->before > 0 ? "kept" : "fresh", t->came, c->before, t->status, t->id);
}

/* Tries until it is answered, or may not be sent again. */
static bool request_answered(mix_client *c, mix_try *t, sums *s)
{
    while (!mix_attempt(c, t)) {
        bool unanswered = c->fd >= 0 && c->before > 0 && t->came == 0
                          && (t->error == 0 || t->error == ECONNRESET || t->error == EPIPE);
        mix_hang_up(c);
        if (!unanswered) {
            failure_note(c, t, s);
            return false;
        }
        s->closed_kept++;
        if (t->k->body != NO_BODY) {
            s->unsure++;
            say("F %s unsure closed kept 0 %u 0 %" PRIx64 "\n", t->k->name, c->before, t->id);
            return false;
        }
    }
    return true;
}

static void request_run(worker *w)
{
    mix_client *c = &w->client;
    mix_try t = { .k = kind_any(c), .id = (uint64_t)run_id << 32 | (uint64_t)w->index << 24 | ++w->serial };
    sums *s = &w->by_kind[t.k - KINDS];
    bool answered;

    t.size = mix_any(c, t.k->low, t.k->high);
    if (t.k->fresh && c->before > 0) {
        mix_hang_up(c);
    }
    s->sent++;
    answered = request_answered(c, &t, s);
    s->connects += t.connects;
    if (!answered) {
        return;
    }
    if (t.k->body != NO_BODY) {
        say("A %" PRIx64 " %u\n", t.id, t.size);
        s->body_out += t.size;
    }
    s->answered++;
    s->body_in += t.body;
    atomic_fetch_add(&answers, 1);
    if (++c->before >= c->chain || t.close) {
        mix_hang_up(c);
        c->before = 0;
    }
}

static void *worker_main(void *data)
{
    worker *w = data;

    while (!atomic_load(&stopping)) {
        request_run(w);
    }
    mix_hang_up(&w->client);
    return NULL;
}

static bool kinds_parse(char *text)
{
    for (char *word = strtok(text, ","); word != NULL; word = strtok(NULL, ",")) {
        char *equals = strchr(word, '=');
        size_t i = 0;
        if (equals != NULL) {
            *equals = '\0';
        }
        while (i < KIND_COUNT && strcmp(KINDS[i].name, word) != 0) {
            i++;
        }
        if (i == KIND_COUNT) {
            fprintf(stderr, "http_mix: no kind %s\n", word);
            return false;
        }
        weight[i] = equals != NULL ? (unsigned)atoi(equals + 1) : 1;
        weight_sum += weight[i];
    }
    return weight_sum > 0;
}

static void report(worker **all, unsigned n)
{
    printf("J {");
    for (size_t i = 0; i < KIND_COUNT; i++) {
        sums t = { 0 };
        for (unsigned k = 0; k < n; k++) {
            const sums *s = &all[k]->by_kind[i];
            t.sent += s->sent;
            t.answered += s->answered;
            t.failed += s->failed;
            t.closed_kept += s->closed_kept;
            t.unsure += s->unsure;
            t.body_in += s->body_in;
            t.body_out += s->body_out;
            t.connects += s->connects;
        }
        printf("%s\"%s\": {\"method\": \"%s\", \"demo\": %s, \"sent\": %" PRIu64 ", \"answered\": %" PRIu64
               ", \"failed\": %" PRIu64 ", \"closed_kept\": %" PRIu64 ", \"unsure\": %" PRIu64 ", \"body_in\": %" PRIu64
               ", \"body_out\": %" PRIu64 ", \"connects\": %" PRIu64 "}", i > 0 ? ", " : "", KINDS[i].name,
               KINDS[i].method, KINDS[i].demo ? "true" : "false", t.sent, t.answered, t.failed, t.closed_kept, t.unsure,
               t.body_in, t.body_out, t.connects);
    }
    printf("}\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    worker *all[THREADS_MAX];
    pthread_t thread[THREADS_MAX];
    struct timespec second = { .tv_sec = 1 };
    sigset_t term;
    unsigned n = argc == 4 ? (unsigned)atoi(argv[2]) : 0;

    if (n == 0 || n > THREADS_MAX || !kinds_parse(argv[3])) {
        fprintf(stderr, "usage: http_mix PORT CONNECTIONS KIND=WEIGHT,…\n");
        return 2;
    }
    mix_init((uint16_t)atoi(argv[1]));
    run_id = (uint32_t)getpid() ^ (uint32_t)time(NULL) << 8;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigaddset(&term, SIGINT);
    sigprocmask(SIG_BLOCK, &term, NULL);
    for (unsigned i = 0; i < n; i++) {
        all[i] = calloc(1, sizeof **all);
        if (all[i] == NULL) {
            perror("http_mix: memory");
            return 1;
        }
        all[i]->index = i;
        all[i]->client.random = run_id + i;
        all[i]->client.fd = -1;
        if (pthread_create(&thread[i], NULL, worker_main, all[i]) != 0) {
            perror("http_mix: a thread");
            return 1;
        }
    }
    while (sigtimedwait(&term, NULL, &second) < 0) {
        say("P %" PRIu64 " %" PRIu64 "\n", atomic_load(&answers), atomic_load(&failures));
        fflush(stdout);
    }
    atomic_store(&stopping, true);
    for (unsigned i = 0; i < n; i++) {
        pthread_join(thread[i], NULL);
    }
    report(all, n);
    return 0;
}
