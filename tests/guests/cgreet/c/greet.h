#ifndef GREET_H
#define GREET_H

#include <stddef.h>
#include <stdint.h>

/* What stands before a name. */
#define GREETING "Hello from C, "

/* A world's functions are exported under their own names, so C must not have functions of the same names. */

/* Writes the greeting into `out`, ended with a zero; how long it is, or would be. */
int cgreet_greet(char *out, size_t room, const char *name, size_t name_bytes);

/* CRC-32 (IEEE) of the bytes. */
uint32_t cgreet_checksum(const uint8_t *data, size_t bytes);

#endif
