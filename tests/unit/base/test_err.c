/* test_err.c - errors keep their code and grow their context from the outside in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/err.h"

static void set_wrap_and_name(void **unused)
{
    struct err err = { 0 };

    (void)unused;
    assert_int_equal(err_set(&err, ERR_NOT_FOUND, "no file %d", 7), ERR_NOT_FOUND);
    assert_int_equal(err_wrap(&err, "line %d", 3), ERR_NOT_FOUND);
    assert_int_equal(err_wrap(&err, "reading %s", "x.ini"), ERR_NOT_FOUND);
    assert_string_equal(err.text, "reading x.ini: line 3: no file 7");
    assert_int_equal(err.sys, 0);
    assert_string_equal(err_code_name(err.code), "not-found");
    assert_string_equal(err_code_name((enum err_code) - 99), "unknown");
    for (int code = 0; code >= ERR_CORRUPT; code--)
        assert_string_not_equal(err_code_name((enum err_code)code), "unknown");
}

static void system_errors_are_explained(void **unused)
{
    struct err err = { 0 };

    (void)unused;
    assert_int_equal(err_sys(&err, ENOENT, "open %s", "/x"), ERR_SYSTEM);
    assert_string_equal(err.text, "open /x: No such file or directory");
    assert_int_equal(err.sys, ENOENT);
    assert_int_equal(err_sys(&err, ENOMEM, "map"), ERR_MEMORY);
    assert_int_equal(err.code, ERR_MEMORY);
    /* A later error of another kind must not keep the errno. */
    err_set(&err, ERR_INVALID, "x");
    assert_int_equal(err.sys, 0);
}

static void null_is_fine(void **unused)
{
    (void)unused;
    assert_int_equal(err_set(NULL, ERR_LIMIT, "x"), ERR_LIMIT);
    assert_int_equal(err_sys(NULL, EIO, "x"), ERR_SYSTEM);
    assert_int_equal(err_wrap(NULL, "x"), ERR_INVALID);
}

static void long_texts_are_cut(void **unused)
{
    struct err err = { 0 };
    char text[2 * ERR_TEXT_MAX];

    (void)unused;
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    err_set(&err, ERR_INVALID, "%s", text);
    assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);
    err_wrap(&err, "head");
    assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);
    assert_memory_equal(err.text, "head: xxx", 9);
    err_wrap(&err, "%s", text);
    assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);
    err_sys(&err, ENOENT, "%s", text);
    assert_int_equal(strlen(err.text), ERR_TEXT_MAX - 1);
}

static void an_error_may_quote_itself(void **unused)
{
    struct err err = { 0 };

    (void)unused;
    err_set(&err, ERR_INVALID, "inner");
    err_set(&err, ERR_STATE, "outer (%s)", err.text);
    assert_string_equal(err.text, "outer (inner)");
    err_wrap(&err, "again (%s)", err.text);
    assert_string_equal(err.text, "again (outer (inner)): outer (inner)");
}

static void lists_are_bounded_and_count_all(void **unused)
{
    struct err_list list;

    (void)unused;
    err_list_init(&list);
    for (int i = 0; i < ERR_LIST_MAX + 5; i++)
        err_list_add(&list, "x:%d: wrong", i);
    assert_int_equal(list.count, ERR_LIST_MAX);
    assert_int_equal(list.total, ERR_LIST_MAX + 5);
    assert_string_equal(list.lines[99], "x:99: wrong");
    err_list_done(&list);
    err_list_done(&list);
    assert_int_equal(list.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_wrap_and_name),
        cmocka_unit_test(system_errors_are_explained),
        cmocka_unit_test(null_is_fine),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(an_error_may_quote_itself),
        cmocka_unit_test(lists_are_bounded_and_count_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
