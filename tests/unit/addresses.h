/*
 * addresses.h -- a backend's addresses as its name would resolve to, for tests of the table.
 */
#ifndef ADDRESSES_H
#define ADDRESSES_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "mod_demo/backend/demo_backend.h"

#define ADDRESSES_NET 0x0a000000u /* 10.0.0.0 */

/* b has 10.0.0.(first), and so on, n of them, port 9000; how many were left out. */
static inline unsigned set_addresses(const demo_backend *b, unsigned first, unsigned n)
{
    demo_sockaddr addrs[DEMO_PER_BACKEND_MAX];
    socklen_t lens[DEMO_PER_BACKEND_MAX];

    memset(addrs, 0, sizeof(addrs));
    for (unsigned i = 0; i < n; i++) {
        struct sockaddr_in *in = (struct sockaddr_in *)(void *)&addrs[i];
        in->sin_family = AF_INET;
        in->sin_port = htons(9000);
        in->sin_addr.s_addr = htonl(ADDRESSES_NET + first + i);
        lens[i] = sizeof(*in);
    }
    return demo_backend_set(b, addrs, lens, n);
}

#endif /* ADDRESSES_H */
