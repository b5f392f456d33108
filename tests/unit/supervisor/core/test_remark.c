/* test_remark.c - remarks come, are cut, and go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "supervisor/core/remark.h"

static void they_are_never_null(void **unused)
{
    const char *remark = NULL;

    (void)unused;
    remark_init(&remark);
    assert_string_equal(remark, "");
    remark_set(&remark, 80, "%s %d", "code", 3);
    assert_string_equal(remark, "code 3");
    remark_set(&remark, 80, "again: %s", remark);
    assert_string_equal(remark, "again: code 3");
    remark_set(&remark, 80, "%s", "");
    assert_string_equal(remark, "");
    remark_clear(&remark);
    remark_clear(&remark);
    assert_string_equal(remark, "");
}

static void they_are_cut(void **unused)
{
    const char *remark;
    char text[5000];

    (void)unused;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    remark_init(&remark);
    remark_set(&remark, 8, "%s", text);
    assert_string_equal(remark, "xxxxxxx");
    remark_set(&remark, sizeof text, "%s", text);
    assert_true(strlen(remark) < sizeof text - 1);
    remark_clear(&remark);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_are_never_null),
        cmocka_unit_test(they_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
