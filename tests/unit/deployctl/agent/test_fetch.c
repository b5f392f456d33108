/* test_fetch.c - when an answer is whole, and what is no page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "deployctl/agent/fetch.h"

static void answers_are_told_apart(void **unused)
{
    (void)unused;
    static const struct {
        const char *text;
        bool ended;
        int rc;
        const char *said; /* the page, or a piece of the error */
    } cases[] = {
        { "", false, 0, "" },
        { "HTTP/1.0 200 OK\r\nA: b\r\n", false, 0, "" },
        { "HTTP/1.0 200 OK\r\n\r\na 1\n", false, 0, "" }, /* until it closes */
        { "HTTP/1.0 200 OK\r\n\r\na 1\n", true, 1, "a 1\n" },
        { "HTTP/1.1 200 OK\r\ncontent-length:  4\r\n\r\na 1\nmore", false, 1, "a 1\n" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na 1\n", false, 0, "" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na 1\n", true, ERR_PROTOCOL, "cut off" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, 1, "" },
        { "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n4", false, ERR_PROTOCOL, "not one to" },
        { "HTTP/1.1 200 OK\r\nContent-Length: 1234567890123456\r\n\r\n", false, ERR_PROTOCOL,
          "not one to" },
        { "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", false, ERR_PROTOCOL, "not one to" },
        { "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", false, ERR_PROTOCOL, "not one to" },
        { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, ERR_PROTOCOL, "not one" },
        { "HTTP/1.1 404 Not Found\r\n\r\n", false, ERR_PROTOCOL, "404, not 200" },
        { "SSH-2.0-OpenSSH_9.2\r\n", true, ERR_PROTOCOL, "no HTTP server" },
        { "HTTP/1.1 200 OK\r\n", true, ERR_PROTOCOL, "no end of its headers" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *body = NULL;
        size_t len = 0;
        struct err err = { 0 };
        int rc =
            fetch_parse(cases[i].text, strlen(cases[i].text), cases[i].ended, &body, &len, &err);
        if (rc != cases[i].rc)
            fail_msg("case %zu: %d, %s", i, rc, err.text);
        if (rc > 0)
            assert_true(len == strlen(cases[i].said) && memcmp(body, cases[i].said, len) == 0);
        if (rc < 0)
            assert_non_null(strstr(err.text, cases[i].said));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
