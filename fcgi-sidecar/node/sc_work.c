#include "fcgi-sidecar/node/sc_work.h"

#define PROGRESS_MS 500

void sc_work_stream(sc_node *n, sc_control_request *request, const sc_work *w)
{
    sc_frame_writer *out;
    apr_status_t rv = sc_control_stream(request, &out);
    json_t *done;

    pthread_mutex_lock(&n->lock);
    while (rv == APR_SUCCESS && w->running) {
        json_t *progress = json_pack("{s:s, s:I, s:I}", "phase", w->phase,
                                     "done", (json_int_t)w->done, "total", (json_int_t)w->total);

        pthread_mutex_unlock(&n->lock);
        rv = sc_control_send_json(request, SC_FRAME_PROGRESS, progress);
        pthread_mutex_lock(&n->lock);
        if (w->running) {
            sc_node_wait(n, PROGRESS_MS);
        }
    }
    done = json_pack("{s:i, s:s, s:s, s:I}", "code", sc_error_exit_code(w->rv), "text", w->text,
                     "state", sc_state_name(n->state.id), "epoch", (json_int_t)n->state.epoch);
    pthread_mutex_unlock(&n->lock);
    if (rv == APR_SUCCESS) {
        sc_control_send_json(request, SC_FRAME_DONE, done);
    }
    else {
        json_decref(done);
    }
}
