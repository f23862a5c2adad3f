#include <stddef.h>
#include <stdint.h>

uint32_t @IDENT@_checksum(const uint8_t *bytes, size_t count);
