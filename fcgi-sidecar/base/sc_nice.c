#include "fcgi-sidecar/base/sc_nice.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NICE 10

struct job {
    apr_status_t (*work)(void *context);
    void *context;
    apr_status_t rv;
};

/* Linux: the "process" of this call is the thread.  Without it the work is done
 * all the same. */
void sc_nice_self(void)
{
    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE);
}

static void *run(void *data)
{
    struct job *job = data;

    sc_nice_self();
    job->rv = job->work(job->context);
    return NULL;
}

apr_status_t sc_nice_run(apr_status_t (*work)(void *context), void *context)
{
    struct job job = { work, context, APR_SUCCESS };
    pthread_t thread;

    if (pthread_create(&thread, NULL, run, &job) != 0) {
        return work(context);
    }
    pthread_join(thread, NULL);
    return job.rv;
}
