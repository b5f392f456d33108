/* probe_http.c - reading the first line of an HTTP answer.  The contract is in probe.h. */
#include "supervisor/health/probe.h"

#include <string.h>

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

int probe_http_status(const char *answer, size_t len, int *ret_code)
{
    static const char version[] = "HTTP/1.";
    const size_t at = sizeof version - 1; /* of the minor version, then a blank, then the code */

    if (len < at + 5 || memcmp(answer, version, at) != 0 || !is_digit(answer[at]) ||
        answer[at + 1] != ' ')
        return -1;
    const char *code = answer + at + 2;
    if (code[0] < '1' || code[0] > '9' || !is_digit(code[1]) || !is_digit(code[2]))
        return -1;
    if (len > at + 5 && code[3] != ' ' && code[3] != '\r' && code[3] != '\n')
        return -1;
    *ret_code = (code[0] - '0') * 100 + (code[1] - '0') * 10 + (code[2] - '0');
    return *ret_code >= 200 && *ret_code < 400;
}
