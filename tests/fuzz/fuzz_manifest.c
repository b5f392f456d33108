/* fuzz_manifest.c - whatever is accepted must be written back byte for byte, in either form. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "deployctl/plan/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int brief = 0; brief < 2; brief++) {
        struct manifest m;
        struct err err;
        if (manifest_parse((const char *)data, size, brief, &m, &err) < 0)
            continue;
        struct buf out;
        buf_init(&out, size + 1);
        if (!manifest_write(&m, brief, &out) || out.len != size ||
            (size > 0 && memcmp(out.data, data, size) != 0))
            abort();
        for (size_t i = 0; i < m.count; i++)
            if (m.entries[i].path[0] == '/' || strncmp(m.entries[i].path, "../", 3) == 0 ||
                strstr(m.entries[i].path, "/../") != NULL)
                abort();
        buf_done(&out);
        manifest_done(&m);
    }
    return 0;
}
