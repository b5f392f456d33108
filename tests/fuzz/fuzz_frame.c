/* fuzz_frame.c - frames and noise before them: never beyond the buffer, always forward. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "deployctl/wire/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size > 0 ? size : 1); /* so that a sanitizer sees the exact end */
    memcpy(copy, data, size);
    size_t at = frame_find_magic(copy, size);
    if (at > size)
        abort();
    for (;;) {
        struct frame frame;
        struct err err;
        size_t used = 0;
        if (frame_parse(copy + at, size - at, &frame, &used, &err) <= 0)
            break;
        if (used < FRAME_HEADER_BYTES || used > size - at || frame.len != used - FRAME_HEADER_BYTES)
            abort();
        unsigned char header[FRAME_HEADER_BYTES];
        frame_header(frame.type, frame.len, header);
        if (memcmp(header, copy + at, sizeof header) != 0)
            abort();
        at += used;
    }
    free(copy);
    return 0;
}
