/* test_look_order.c - services as deploy.ini names them, and as the supervisor switches them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "deployctl/agent/look_order.h"

static const char *says(const char *instances, const char *services)
{
    static char text[512];
    json_t *state = json_pack("{s:o}", "instances", json_loads(instances, 0, NULL));
    json_t *names = json_loads(services, 0, NULL);
    look_order_warning(state, names, text, sizeof text);
    json_decref(state);
    json_decref(names);
    return text;
}

#define THREE "[{\"id\":\"migrate:0\"},{\"id\":\"api:0\"},{\"id\":\"api:1\"},{\"id\":\"worker:0\"}]"

static void the_same_order_says_nothing(void **unused)
{
    (void)unused;
    assert_string_equal(says(THREE, "[\"migrate\",\"api\",\"worker\"]"), "");
    assert_string_equal(says("[{\"id\":\"web:0\"}]", "[\"web\"]"), "");
    assert_string_equal(says("[]", "[\"web\"]"), ""); /* that it is missing is another's word */
    assert_string_equal(says("null", "[]"), "");
}

static void another_order_is_told_with_the_remedy(void **unused)
{
    (void)unused;
    const char *text = says(THREE, "[\"migrate\",\"worker\",\"api\"]");
    assert_non_null(strstr(text, "switches api before worker"));
    assert_non_null(strstr(text, "add after = worker to [service:api]"));
    text = says(THREE, "[\"api\",\"nobody\",\"migrate\",\"worker\"]");
    assert_non_null(strstr(text, "switches migrate before api"));
}

static void who_is_not_named_is_not_watched(void **unused)
{
    (void)unused;
    assert_non_null(strstr(says(THREE, "[\"migrate\",\"api\"]"), "worker:0 runs from this folder"));
    assert_non_null(strstr(says(THREE, "[\"migrate\",\"ap\",\"worker\"]"), "api:0 runs from"));
    assert_non_null(strstr(says(THREE, "[\"migrate\",7,\"worker\"]"), "api:0 runs from"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_order_says_nothing),
        cmocka_unit_test(another_order_is_told_with_the_remedy),
        cmocka_unit_test(who_is_not_named_is_not_watched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
