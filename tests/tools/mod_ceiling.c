/* The most that a handler of httpd can do: 1 KiB from memory, nothing behind it.  What scripts/bench measures mod_demo
 * against, beside the other gateways. */
#include "httpd.h"
#include "http_config.h"
#include "http_protocol.h"

static int handler(request_rec *r)
{
    static const char body[1024] = { 'x' };

    if (r->handler == NULL || strcmp(r->handler, "ceiling") != 0) {
        return DECLINED;
    }
    ap_set_content_type(r, "text/plain");
    ap_set_content_length(r, sizeof body);
    return ap_rwrite(body, sizeof body, r) < 0 ? HTTP_INTERNAL_SERVER_ERROR : OK;
}

static void hooks(apr_pool_t *p)
{
    (void)p;
    ap_hook_handler(handler, NULL, NULL, APR_HOOK_MIDDLE);
}

AP_DECLARE_MODULE(ceiling) = { STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, hooks, 0 };
