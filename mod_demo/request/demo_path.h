/*
 * demo_path.h -- which PHP script a request is for.
 *
 * The path of the URL is cut behind the first segment that ends in ".php"
 * (these four bytes exactly: no other case, no Unicode folding); what follows
 * is PATH_INFO.  httpd's own files are asked where they exist, but need not.
 *
 *   /blog/index.php/2024/may   script /blog/index.php, PATH_INFO /2024/may
 *   /x.jpg/y.php               script /x.jpg/y.php; refused when x.jpg is a file here
 *   /blog/2024                 DemoFrontController, where no file is behind it
 */
#ifndef DEMO_PATH_H
#define DEMO_PATH_H

#include "mod_demo/exchange/demo_exchange.h"

/* OK, or the status to answer with; why is logged.  Strings live in r->pool or
 * in the configuration. */
int demo_path_map(request_rec *r, const demo_dir_conf *conf, demo_script *script);

/* Hook map_to_storage: as httpd's own, but a script that does not exist here
 * is still the whole r->filename, so that <Files> and <FilesMatch> see its
 * name and not that of the first folder that is missing. */
int demo_path_map_to_storage(request_rec *r);

/* Hook fixups, after mod_dir's: DemoFrontController. */
int demo_path_fixup(request_rec *r);

#endif /* DEMO_PATH_H */
