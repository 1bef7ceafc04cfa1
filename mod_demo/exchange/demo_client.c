#include "mod_demo/exchange/demo_client.h"

#include "apr_portable.h"
#include "http_config.h"
#include "http_core.h"

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

int demo_client_fd(conn_rec *c)
{
    apr_socket_t *socket = c->master == NULL ? ap_get_conn_socket(c) : NULL;
    apr_os_sock_t fd;

    return socket != NULL && apr_os_sock_get(&fd, socket) == APR_SUCCESS ? fd : -1;
}
