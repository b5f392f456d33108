/* fuzz_http.c - whatever a server answers, the verdict is one of three and fits the code.
 *
 * Beside what the sanitizers see: a code comes with a verdict and never without; it is read from
 * where it stands; and more bytes behind a whole line change nothing.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/health/probe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int fact)
{
    if (!fact)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    int code = -1, again = -1;
    int rc = probe_http_status(text, size, &code);

    require(rc == -1 || rc == 0 || rc == 1);
    require((rc == -1) == (code == -1));
    if (rc == -1)
        return 0;
    require(size >= 12 && memcmp(text, "HTTP/1.", 7) == 0);
    require(code >= 100 && code <= 999 && rc == (code >= 200 && code < 400));
    require(code == (text[9] - '0') * 100 + (text[10] - '0') * 10 + (text[11] - '0'));
    require(probe_http_status(text, 12, &again) == rc && again == code);
    return 0;
}
