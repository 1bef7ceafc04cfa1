#include "fcgi-sidecar/base/sc_fault.h"

#ifdef SC_FAULTS
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_FAULTS 8

static struct fault {
    char arm[32];   /* point that starts the count; "" when it has started */
    char point[32];
    char action[16];
    long left;
} faults[MAX_FAULTS];
static size_t n_faults;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void parse(void)
{
    const char *spec = getenv("SIDECAR_FAULT");

    while (spec != NULL && *spec != '\0' && n_faults < MAX_FAULTS) {
        struct fault *f = &faults[n_faults];

        if (sscanf(spec, "%31[^:,>]>%31[^:,]:%ld:%15[^:,]", f->arm, f->point, &f->left,
                   f->action) == 4) {
            n_faults++;
        }
        else if (sscanf(spec, "%31[^:,]:%ld:%15[^:,]", f->point, &f->left, f->action) == 3) {
            f->arm[0] = '\0';
            n_faults++;
        }
        spec = strchr(spec, ',');
        spec = spec == NULL ? NULL : spec + 1;
    }
}

static int act(const char *action)
{
    static const struct { const char *name; int value; } errnos[] = {
        { "EIO", EIO }, { "ENOSPC", ENOSPC }, { "ENOMEM", ENOMEM }, { "EBUSY", EBUSY },
        { "EINVAL", EINVAL }, { "ECONNRESET", ECONNRESET }, { "ETIMEDOUT", ETIMEDOUT }
    };
    char *unit;
    unsigned long seconds = strtoul(action, &unit, 10);
    size_t i;

    if (unit != action && strcmp(unit, "s") == 0) {
        sleep((unsigned)seconds);
        return 0;
    }
    if (strcmp(action, "kill") == 0) {
        raise(SIGKILL);
    }
    if (strcmp(action, "stop") == 0) {
        raise(SIGSTOP);
        return 0;
    }
    errno = EIO;
    for (i = 0; i < sizeof(errnos) / sizeof(errnos[0]); i++) {
        if (strcmp(action, errnos[i].name) == 0) {
            errno = errnos[i].value;
        }
    }
    return 1;
}

int sc_fault_hit(const char *point)
{
    const char *actions[MAX_FAULTS];
    size_t n_actions = 0, i;
    int failed = 0;

    pthread_once(&once, parse);
    pthread_mutex_lock(&lock);
    for (i = 0; i < n_faults; i++) {
        struct fault *f = &faults[i];

        if (strcmp(f->arm, point) == 0) {
            f->arm[0] = '\0';
        }
        else if (f->arm[0] == '\0' && (strcmp(f->point, "*") == 0 || strcmp(f->point, point) == 0) && --f->left == 0) {
            actions[n_actions++] = f->action;
        }
    }
    pthread_mutex_unlock(&lock);
    for (i = 0; i < n_actions; i++) {
        failed = act(actions[i]) || failed;
    }
    return failed;
}
#else
typedef int sc_fault_not_built; /* ISO C wants a declaration */
#endif
