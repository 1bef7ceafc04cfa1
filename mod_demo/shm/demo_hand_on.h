/*
 * demo_hand_on.h -- tells ThreadSanitizer that httpd hands connections from thread to thread.
 *
 * What a thread did to a connection, its requests and their memory happened
 * before the thread that httpd gives them to next begins.  httpd and APR are not
 * built with ThreadSanitizer, so it does not see the queue between the two and
 * takes a field that one thread wrote after the other for a race.  In other
 * builds both calls are nothing.
 *
 *      demo_hand_on_taken(); … work on a connection or request … demo_hand_on_given();
 */
#ifndef DEMO_HAND_ON_H
#define DEMO_HAND_ON_H

#ifdef __SANITIZE_THREAD__ /* gcc's */

#include <sanitizer/tsan_interface.h>

#include "mod_demo/shm/demo_segment.h"

static inline void demo_hand_on_taken(void)
{
    __tsan_acquire(&demo_seg);
}

static inline void demo_hand_on_given(void)
{
    __tsan_release(&demo_seg);
}

#else

static inline void demo_hand_on_taken(void) {}
static inline void demo_hand_on_given(void) {}

#endif

#endif /* DEMO_HAND_ON_H */
