#include "greet.h"

#include <stdio.h>

int cgreet_greet(char *out, size_t room, const char *name, size_t name_bytes)
{
    return snprintf(out, room, GREETING "%.*s!", (int)name_bytes, name);
}

uint32_t cgreet_checksum(const uint8_t *data, size_t bytes)
{
    uint32_t sum = 0xffffffffu;
    for (size_t i = 0; i < bytes; i++) {
        sum ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            sum = (sum >> 1) ^ (0xedb88320u & (0u - (sum & 1u)));
    }
    return ~sum;
}
