#include "fcgi-sidecar/base/sc_bytes.h"

void sc_put_u32(uint8_t out[4], uint32_t value)
{
    out[0] = (uint8_t)(value >> 24);
    out[1] = (uint8_t)(value >> 16);
    out[2] = (uint8_t)(value >> 8);
    out[3] = (uint8_t)value;
}

void sc_put_u64(uint8_t out[8], uint64_t value)
{
    sc_put_u32(out, (uint32_t)(value >> 32));
    sc_put_u32(out + 4, (uint32_t)value);
}

uint32_t sc_get_u32(const uint8_t in[4])
{
    return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
}

uint64_t sc_get_u64(const uint8_t in[8])
{
    return (uint64_t)sc_get_u32(in) << 32 | sc_get_u32(in + 4);
}
