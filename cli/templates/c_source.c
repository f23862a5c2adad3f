#include "@NAME@.h"

/* RFC 1950, section 9: two sums modulo the largest prime below 65536. */
uint32_t @IDENT@_checksum(const uint8_t *bytes, size_t count) {
    uint32_t low = 1, high = 0;
    for (size_t at = 0; at < count; at++) {
        low = (low + bytes[at]) % 65521;
        high = (high + low) % 65521;
    }
    return high << 16 | low;
}
