/*
 * demo_header.h -- the CGI header of an answer (RFC 3875 §6.3).
 */
#ifndef DEMO_HEADER_H
#define DEMO_HEADER_H

#include "mod_demo/exchange/demo_exchange.h"

/* The next piece of the header; *used of its bytes belong to it, the rest is
 * body.  When the header is whole (answer.header_done) status and fields are in
 * x->r and demo_output is begun.  Nothing of the request_rec is touched before,
 * so a refused header leaves it ready for another attempt.  False after
 * demo_fail(): malformed, or longer than DemoLimit headers=. */
bool demo_header_feed(demo_exchange *x, const char *data, size_t len, size_t *used);

/* The request_rec as it was before the header, which is to have come on a
 * connection that may be kept, and nothing of whose answer went out. */
void demo_header_take_back(demo_exchange *x);

#endif /* DEMO_HEADER_H */
