/*
 * demo_output.h -- the body of an answer, to the client.
 *
 * PHP is read as fast as it writes.  What a fast client takes at once never
 * touches a disk:
 *
 *   hold (memory)  -->  pass down httpd's filters, which write what the client
 *                       takes without waiting
 *                  -->  file, as soon as httpd itself holds bytes that the
 *                       client did not take; handed over as a file bucket at
 *                       the end, so that httpd writes it out asynchronously
 *                       and neither this thread nor PHP waits
 *                  -->  streaming at the client's pace, once the file is full
 *
 * Immediate mode (DemoResponseBuffering off, text/event-stream,
 * X-Accel-Buffering: no) passes each piece on with a flush.
 */
#ifndef DEMO_OUTPUT_H
#define DEMO_OUTPUT_H

#include "mod_demo/exchange/demo_exchange.h"

/* The header is known and in x->r. */
void demo_output_begin(demo_exchange *x, bool immediate);

/* In immediate mode: the header, unless it went out with a piece of the body.
 * An event stream counts as open as soon as the client has it.  False after
 * demo_fail(): the client is gone. */
bool demo_output_header(demo_exchange *x);

/* A piece of the body, borrowed.  Cuts what exceeds Content-Length.  False
 * after demo_fail(): the client is gone. */
bool demo_output_write(demo_exchange *x, const char *data, size_t len);

/* Forgets the body so far.  False, and nothing done: some of it is on its way. */
bool demo_output_take_back(demo_exchange *x);

/* The answer is whole: the rest and the end of it go down the filters.  False
 * after demo_fail(): the client is gone. */
bool demo_output_end(demo_exchange *x);

/* The answer broke off after its header was accepted: what came goes out, and
 * then the client's connection (or HTTP/2 stream) is ended so that it can not
 * take the answer for complete. */
void demo_output_abort(demo_exchange *x);

#endif /* DEMO_OUTPUT_H */
