/* test_haproxy.c - what HAProxy's runtime socket says, as it says it and damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "deployctl/agent/haproxy.h"

#define HEAD "# pxname,svname,qcur,qmax,scur,smax,slim,\n"

static void sessions_of_the_right_server(void **unused)
{
    (void)unused;
    struct err err;
    const char *text = HEAD "web,h1,0,0,3,7,,\nweb,h10,0,0,12,7,,\nother,h2,0,0,9,1,,\n"
                            "web,h2,0,0,0,1,,\n\n";
    assert_int_equal(haproxy_sessions(text, "web", "h1", &err), 3);
    assert_int_equal(haproxy_sessions(text, "web", "h10", &err), 12);
    assert_int_equal(haproxy_sessions(text, "web", "h2", &err), 0);
    assert_int_equal(haproxy_sessions(text, "other", "h2", &err), 9);
    assert_int_equal(haproxy_sessions(text, "web", "h3", &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "web/h3"));
    assert_int_equal(haproxy_sessions(text, "we", "h1", &err), ERR_NOT_FOUND);
}

static void what_is_no_table_is_refused(void **unused)
{
    (void)unused;
    struct err err;
    static const struct {
        const char *text;
        enum err_code code;
    } rows[] = {
        { "", ERR_PROTOCOL },
        { "Permission denied\n", ERR_STATE },
        { "# pxname,svname,qcur\nweb,h1,0\n", ERR_STATE },
        { HEAD, ERR_NOT_FOUND },
        { HEAD "web,h1,0,0,,7\n", ERR_PROTOCOL },
        { HEAD "web,h1,0,0,-3,7\n", ERR_PROTOCOL },
        { HEAD "web,h1,0,0,99999999999999999999,7\n", ERR_PROTOCOL },
        { HEAD "web,h1,0,0\n", ERR_PROTOCOL },
        { HEAD "web,h1", ERR_PROTOCOL },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(haproxy_sessions(rows[i].text, "web", "h1", &err), rows[i].code);
}

static void an_order_is_answered_with_nothing(void **unused)
{
    (void)unused;
    struct err err;
    char command[HAPROXY_COMMAND_MAX];
    haproxy_set_state("web", "h1", "drain", command);
    assert_string_equal(command, "set server web/h1 state drain\n");
    assert_int_equal(haproxy_check("\n", &err), 0);
    assert_int_equal(haproxy_check("", &err), 0);
    assert_int_equal(haproxy_check("No such server.\n\n", &err), ERR_STATE);
    assert_string_equal(err.text, "HAProxy says: No such server.");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sessions_of_the_right_server),
        cmocka_unit_test(what_is_no_table_is_refused),
        cmocka_unit_test(an_order_is_answered_with_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
