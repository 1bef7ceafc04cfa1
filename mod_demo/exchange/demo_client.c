#include "mod_demo/exchange/demo_client.h"

#include "http_config.h"

demo_client *demo_client_of(const conn_rec *c)
{
    return ap_get_module_config(c->conn_config, &demo_module);
}

demo_client *demo_client_get(conn_rec *c)
{
    demo_client *client = demo_client_of(c);

    if (client == NULL) {
        client = apr_pcalloc(c->pool, sizeof *client);
        ap_set_module_config(c->conn_config, &demo_module, client);
    }
    return client;
}
