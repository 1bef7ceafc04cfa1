/* The module record and the hooks; everything else has a file of its own. */
#include "httpd.h"
#include "http_config.h"
#include "http_connection.h"
#include "http_core.h"
#include "http_protocol.h"
#include "http_request.h"
#include "mpm_common.h"

#include "mod_demo/backend/demo_cluster.h"
#include "mod_demo/background/demo_leader.h"
#include "mod_demo/config/demo_config.h"
#include "mod_demo/config/demo_directives.h"
#include "mod_demo/exchange/demo_spool.h"
#include "mod_demo/observe/demo_health_page.h"
#include "mod_demo/observe/demo_metrics_page.h"
#include "mod_demo/pool/demo_pool.h"
#include "mod_demo/request/demo_handler.h"
#include "mod_demo/request/demo_park.h"
#include "mod_demo/request/demo_path.h"
#include "mod_demo/response/demo_turn.h"
#include "mod_demo/shm/demo_metrics.h"
#include "mod_demo/shm/demo_shm.h"

static int pre_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp)
{
    demo_cluster_reset();
    return OK;
}

static int post_config(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *s)
{
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG) {
        return OK; /* the first of two readings at the start */
    }
    if (demo_shm_open(s) != APR_SUCCESS) {
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    demo_config_publish(s);
    return OK;
}

static void child_init(apr_pool_t *pchild, server_rec *s)
{
    demo_shm_child_init(s);
    demo_leader_child_init(pchild, s);
    demo_pool_child_init(pchild, s);
    demo_spool_child_init(pchild, s);
    demo_turn_child_init();
}

static void child_status(server_rec *s, pid_t pid, ap_generation_t gen, int slot,
                         mpm_child_status state)
{
    if (state == MPM_CHILD_EXITED) {
        demo_shm_child_gone(pid);
    }
}

static void hooks(apr_pool_t *p)
{
    static const char *const after_dir[] = { "mod_dir.c", NULL };

    ap_hook_pre_config(pre_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_check_config(demo_config_finish, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(post_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_init(child_init, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_status(child_status, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_process_connection(demo_park_process, NULL, NULL, APR_HOOK_LAST);
    ap_hook_resume_connection(demo_park_resume, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_map_to_storage(demo_path_map_to_storage, NULL, NULL, APR_HOOK_LAST);
    ap_hook_fixups(demo_path_fixup, after_dir, NULL, APR_HOOK_LAST);
    ap_hook_handler(demo_handler_before, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_handler(demo_handler, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(demo_health_handler, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(demo_metrics_handler, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_log_transaction(demo_handler_log, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_log_transaction(demo_metrics_log, NULL, NULL, APR_HOOK_MIDDLE);
}

AP_DECLARE_MODULE(demo) = {
    STANDARD20_MODULE_STUFF,
    demo_dir_conf_create,
    demo_dir_conf_merge,
    demo_server_conf_create,
    demo_server_conf_merge,
    demo_directives,
    hooks,
    0
};
