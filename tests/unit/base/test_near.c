/* test_near.c - only what is near is suggested. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/near.h"

static const char *const names[] = { "command", "comment", NULL,    "",      "stopsignal",
                                     "user",    "ok",      "start", "status" };

static const char *name_at(size_t i, const void *context)
{
    assert_ptr_equal(context, names);
    return names[i];
}

static const char *near(const char *wrong)
{
    const char *name = near_name(wrong, sizeof(names) / sizeof(names[0]), name_at, names);

    return name ? name : "(none)";
}

static void typing_errors_are_near(void **unused)
{
    (void)unused;
    assert_string_equal(near("comand"), "command");
    assert_string_equal(near("commnad"), "command"); /* swapped letters are one error */
    assert_string_equal(near("coment"), "comment");
    assert_string_equal(near("COMMAND"), "command");
    assert_string_equal(near("stop_signal"), "stopsignal");
    assert_string_equal(near("usre"), "user");
    assert_string_equal(near("uesr"), "user");
    assert_string_equal(near("stat"), "status"); /* the beginning of one, an error in the other */
    assert_string_equal(near("stars"), "start");
}

static void others_are_not(void **unused)
{
    char longest[1000];

    (void)unused;
    assert_string_equal(near(""), "(none)");
    assert_string_equal(near("xyzzy"), "(none)");
    assert_string_equal(near("no"), "(none)"); /* one letter of two is half of it */
    assert_string_equal(near("signal"), "(none)");
    memset(longest, 'c', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    assert_string_equal(near(longest), "(none)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(typing_errors_are_near),
        cmocka_unit_test(others_are_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
