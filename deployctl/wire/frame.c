/* frame.c - the contract is in frame.h. */
#include "deployctl/wire/frame.h"

#include <string.h>

void frame_header(enum frame_type type, size_t len, unsigned char header[static FRAME_HEADER_BYTES])
{
    header[0] = (unsigned char)(len >> 24);
    header[1] = (unsigned char)(len >> 16);
    header[2] = (unsigned char)(len >> 8);
    header[3] = (unsigned char)len;
    header[4] = (unsigned char)type;
}

/* The longest payload of a type; 0 = no such type. */
static size_t max_payload(unsigned char type)
{
    switch (type) {
    case FRAME_CONTROL:
        return FRAME_CONTROL_MAX;
    case FRAME_DATA:
    case FRAME_MANIFEST:
        return FRAME_DATA_MAX;
    }
    return 0;
}

int frame_parse(const char *in, size_t len, struct frame *ret, size_t *ret_used, struct err *err)
{
    if (len < FRAME_HEADER_BYTES)
        return 0;
    const unsigned char *h = (const unsigned char *)in;
    size_t size = (size_t)h[0] << 24 | (size_t)h[1] << 16 | (size_t)h[2] << 8 | h[3];
    size_t max = max_payload(h[4]);
    if (max == 0)
        return err_set(err, ERR_PROTOCOL,
                       "a frame of unknown type 0x%02x: this is not the "
                       "conversation of deployctl, or bytes were lost",
                       h[4]);
    if (size > max)
        return err_set(err, ERR_PROTOCOL,
                       "a frame of type '%c' says %zu bytes; at most %zu are "
                       "allowed",
                       h[4], size, max);
    if (len - FRAME_HEADER_BYTES < size)
        return 0;
    *ret = (struct frame){ (enum frame_type)h[4], in + FRAME_HEADER_BYTES, size };
    *ret_used = FRAME_HEADER_BYTES + size;
    return 1;
}

size_t frame_find_magic(const char *in, size_t len)
{
    const char *at = len == 0 ? NULL : memmem(in, len, FRAME_MAGIC, FRAME_MAGIC_BYTES);
    return at == NULL ? 0 : (size_t)(at - in) + FRAME_MAGIC_BYTES;
}
