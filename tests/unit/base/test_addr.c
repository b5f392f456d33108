/* test_addr.c - addresses are read and printed without any lookup. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/un.h>

#include "base/addr.h"

static void addresses_are_read_and_printed(void **unused)
{
    static const struct {
        const char *text, *printed;
        int family;
    } rows[] = {
        { "127.0.0.1:80", "127.0.0.1:80", AF_INET },
        { ":80", "0.0.0.0:80", AF_INET },
        { "*:65535", "0.0.0.0:65535", AF_INET },
        { "localhost:1", "127.0.0.1:1", AF_INET },
        { "[::1]:80", "[::1]:80", AF_INET6 },
        { "[::]:80", "[::]:80", AF_INET6 },
        { "[2001:db8::1]:443", "[2001:db8::1]:443", AF_INET6 },
        { "/run/x.sock", "/run/x.sock", AF_UNIX },
        { "unix:/run/x.sock", "/run/x.sock", AF_UNIX },
        { "@abstract", "@abstract", AF_UNIX },
        { "unix:@abstract", "@abstract", AF_UNIX },
    };

    (void)unused;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct addr addr;
        struct err err = { 0 };
        char text[ADDR_TEXT_MAX];
        assert_int_equal(addr_parse(rows[i].text, &addr, &err), 0);
        assert_int_equal(addr.at.ss_family, rows[i].family);
        assert_string_equal(addr_text(&addr, text), rows[i].printed);
    }
}

static void lengths_are_what_the_kernel_wants(void **unused)
{
    struct addr addr;

    (void)unused;
    assert_int_equal(addr_parse("127.0.0.1:80", &addr, NULL), 0);
    assert_int_equal(addr.len, sizeof(struct sockaddr_in));
    assert_int_equal(addr_parse("[::1]:80", &addr, NULL), 0);
    assert_int_equal(addr.len, sizeof(struct sockaddr_in6));
    assert_int_equal(addr_parse("/x", &addr, NULL), 0);
    assert_int_equal(addr.len, offsetof(struct sockaddr_un, sun_path) + 3);
    /* Each byte of an abstract name counts, so there must be no NUL at its end. */
    assert_int_equal(addr_parse("@x", &addr, NULL), 0);
    assert_int_equal(addr.len, offsetof(struct sockaddr_un, sun_path) + 2);
}

static void others_are_refused(void **unused)
{
    static const char *const texts[] = {
        "",
        "80",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "1.2.3:1",
        "1.2.3.4.5:1",
        "256.1.1.1:1",
        "::1:80",
        "[::1]",
        "[::1:80",
        "[]:80",
        "[1.2.3.4]:80",
        "a b:80",
        "127.0.0.1:8x",
        "/",
        "@",
        "unix:",
        "unix:x",
        "127.0.0.1:+80",
        "host:99999",
    };
    struct err err = { 0 };
    struct addr addr;

    (void)unused;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (addr_parse(texts[i], &addr, &err) != ERR_INVALID)
            fail_msg("\"%s\" was taken", texts[i]);
        assert_false(addr_needs_lookup(texts[i]));
    }
    assert_string_equal(err.text, "\"host:99999\" is not an address (try 127.0.0.1:8080, "
                                  "[::1]:8080, :8080 or /run/x.sock)");
}

static void names_need_a_lookup(void **unused)
{
    struct err err = { 0 };
    struct addr addr;

    (void)unused;
    assert_true(addr_needs_lookup("web.example.net:80"));
    assert_true(addr_needs_lookup("db-1:5432"));
    assert_false(addr_needs_lookup("localhost:80"));
    assert_false(addr_needs_lookup("127.0.0.1:80"));
    assert_false(addr_needs_lookup("/a:80"));
    assert_int_equal(addr_parse("db-1:5432", &addr, &err), ERR_INVALID);
    assert_non_null(strstr(err.text, "needs a name lookup"));
}

static void socket_paths_have_a_longest(void **unused)
{
    char path[200], text[ADDR_TEXT_MAX];
    struct err err = { 0 };
    struct addr addr;

    (void)unused;
    memset(path, 'x', sizeof(path));
    path[0] = '/';
    path[107] = '\0';
    assert_int_equal(addr_parse(path, &addr, &err), 0);
    assert_string_equal(addr_text(&addr, text), path);
    path[107] = 'x';
    path[108] = '\0';
    assert_int_equal(addr_parse(path, &addr, &err), ERR_INVALID);
    assert_non_null(strstr(err.text, "too long for a socket path (at most 107)"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_read_and_printed),
        cmocka_unit_test(lengths_are_what_the_kernel_wants),
        cmocka_unit_test(others_are_refused),
        cmocka_unit_test(names_need_a_lookup),
        cmocka_unit_test(socket_paths_have_a_longest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
