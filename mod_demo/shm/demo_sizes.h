/*
 * demo_sizes.h -- how much the shared memory has room for.
 */
#ifndef DEMO_SIZES_H
#define DEMO_SIZES_H

#define DEMO_BACKENDS_MAX    32  /* different URLs in one httpd */
#define DEMO_PER_BACKEND_MAX 64  /* addresses of one backend */
#define DEMO_ADDRESSES_MAX   256 /* addresses of all of them together */

/* Texts, NUL included; longer ones are cut. */
#define DEMO_URL_MAX         272 /* of a backend: fcgi:// host :port, whole */
#define DEMO_TARGET_NAME_MAX 128 /* of an address, for logs: "fcgi://php-fpm:9000 (10.0.0.7:9000)" */
#define DEMO_HEALTH_TEXT_MAX 192 /* result of a health check, or why a name was not resolved */

#endif /* DEMO_SIZES_H */
