/*
 * sc_bytes.h -- big-endian numbers.
 */
#ifndef SC_BYTES_H
#define SC_BYTES_H

#include <stdint.h>

void     sc_put_u32(uint8_t out[4], uint32_t value);
void     sc_put_u64(uint8_t out[8], uint64_t value);
uint32_t sc_get_u32(const uint8_t in[4]);
uint64_t sc_get_u64(const uint8_t in[8]);

#endif /* SC_BYTES_H */
