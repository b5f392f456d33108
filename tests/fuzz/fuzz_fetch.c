/* fuzz_fetch.c - whatever a server answers, a page lies inside the answer, and one that was whole
 * stays the same page when more bytes come.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "deployctl/agent/fetch.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int fact)
{
    if (!fact)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data, *body = NULL, *again = NULL;
    size_t len = 0, more = 0;
    struct err err = { 0 };

    for (size_t part = 0; part < size; part += 1 + size / 16) {
        int rc = fetch_parse(text, part, false, &body, &len, &err);
        if (rc <= 0)
            continue;
        require(body >= text && body + len <= text + part);
        require(fetch_parse(text, size, false, &again, &more, &err) == 1);
        require(again == body && more == len);
    }
    int rc = fetch_parse(text, size, true, &body, &len, &err);
    require(rc == 1 || rc == ERR_PROTOCOL); /* the end is the end */
    require(rc < 0 || (body >= text && body + len <= text + size));
    return 0;
}
