/*
 * fuzz.h -- what the fuzz harnesses share.
 *
 * A harness is one LLVMFuzzerTestOneInput(): linked with libFuzzer when
 * configured with --enable-fuzzing, and always with replay.c, which feeds it
 * the seeds (make check), files, or standard input (AFL).
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What follows is the harness: libFuzzer is to look at the code under test. */
#ifdef __clang__
#define FUZZ_NOT_COVERED                                                              \
    _Pragma("clang attribute push(__attribute__((no_sanitize(\"coverage\"))), apply_to = function)")
#define FUZZ_COVERED _Pragma("clang attribute pop")
#else
#define FUZZ_NOT_COVERED
#define FUZZ_COVERED
#endif

/* An invariant: when it does not hold the input is a finding. */
#define FUZZ_CHECK(cond)                                                             \
    do {                                                                             \
        if (!(cond)) {                                                               \
            (void)fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #cond); \
            abort();                                                                 \
        }                                                                            \
    } while (0)

/* A block of exactly len bytes, so that AddressSanitizer sees each byte too many;
 * its owner frees it. */
static inline void *fuzz_copy(const void *data, size_t len)
{
    void *p = malloc(len > 0 ? len : 1);

    FUZZ_CHECK(p != NULL);
    if (len > 0) {
        memcpy(p, data, len);
    }
    return p;
}

#endif /* FUZZ_H */
