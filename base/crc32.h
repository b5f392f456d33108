/* crc32.h - CRC-32 (IEEE 802.3, polynomial 0xEDB88320) to recognise torn or damaged records. */
#ifndef BASE_CRC32_H
#define BASE_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* Start with 0; feed pieces with the value before. */
uint32_t crc32_of(uint32_t before, const void *data, size_t len);

#endif
