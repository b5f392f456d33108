/* sample.c - prints the commented sample configuration, for `make sample`. */
#include <stdio.h>

#include "base/buf.h"
#include "supervisor/plan/sample.h"

enum { SAMPLE_MAX = 1024 * 1024 };

int main(void)
{
    struct buf text;

    buf_init(&text, SAMPLE_MAX);
    bool ok = sample_write(&text) && fwrite(text.data, 1, text.len, stdout) == text.len &&
              fflush(stdout) == 0;
    buf_done(&text);
    return ok ? 0 : 1;
}
