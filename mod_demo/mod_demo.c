/* The module record and the hooks; everything else has a file of its own. */
#include "httpd.h"
#include "http_config.h"

AP_DECLARE_MODULE(demo) = {
    STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, NULL, 0
};
