/* frame.h - 4-byte big-endian payload length, 1-byte type, payload.  Pure: bytes in, frames out.
 *
 * Before its first frame the agent sends FRAME_MAGIC; up to FRAME_NOISE_MAX bytes in front of it
 * (login shells that print) are skipped by the other side and kept for the error message.
 */
#ifndef DEPLOYCTL_WIRE_FRAME_H
#define DEPLOYCTL_WIRE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* clang-format off */
#define FRAME_MAGIC "\x89" "deployctl\r\n\x1a\n\x00\x01" /* 16 bytes */
/* clang-format on */
enum {
    FRAME_MAGIC_BYTES = 16,
    FRAME_NOISE_MAX = 64 * 1024,
    FRAME_HEADER_BYTES = 5,
    FRAME_CONTROL_MAX = 16 * 1024 * 1024,
    FRAME_DATA_MAX = 256 * 1024 + 64,
};
enum frame_type { FRAME_CONTROL = 'J', FRAME_DATA = 'D', FRAME_MANIFEST = 'M' };

struct frame {
    enum frame_type type;
    const char *payload; /* inside the buffer that was parsed */
    size_t len;
};
void frame_header(enum frame_type type, size_t len,
                  unsigned char header[static FRAME_HEADER_BYTES]);
/* Looks at the beginning of `in`.  1: *ret is a whole frame of *ret_used bytes (header included);
 * 0: more bytes are needed; ERR_PROTOCOL: unknown type or too long (said which). */
int frame_parse(const char *in, size_t len, struct frame *ret, size_t *ret_used, struct err *err);
/* Finds the magic: returns the number of bytes up to and including it, 0 = not there yet. */
size_t frame_find_magic(const char *in, size_t len);

#endif
