/*
 * testlib.h -- what the unit tests share: cmocka and blocks of exact size.
 *
 * A test puts its input at the very end of a heap block, so that AddressSanitizer
 * and valgrind see a function that reads one byte too many.
 */
#ifndef TESTLIB_H
#define TESTLIB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* len uninitialised bytes that end where their block ends.  One byte lies in
 * front of them: malloc(0) may be larger than nothing. */
static inline uint8_t *tight_new(size_t len)
{
    uint8_t *block = malloc(len + 1);

    assert_non_null(block);
    return block + 1;
}

/* The same with a copy of data. */
static inline uint8_t *tight(const void *data, size_t len)
{
    uint8_t *p = tight_new(len);

    if (len > 0) {
        memcpy(p, data, len);
    }
    return p;
}

static inline void tight_free(void *p)
{
    free((uint8_t *)p - 1);
}

#endif /* TESTLIB_H */
