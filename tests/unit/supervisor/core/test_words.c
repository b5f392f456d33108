/* test_words.c - short texts come, are cut, and go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "supervisor/core/words.h"

static void they_are_never_null(void **unused)
{
    const char *words = NULL;

    (void)unused;
    words_init(&words);
    assert_string_equal(words, "");
    words_set(&words, 80, "%s %d", "code", 3);
    assert_string_equal(words, "code 3");
    words_set(&words, 80, "again: %s", words);
    assert_string_equal(words, "again: code 3");
    words_set(&words, 80, "%s", "");
    assert_string_equal(words, "");
    words_clear(&words);
    words_clear(&words);
    assert_string_equal(words, "");
}

static void they_are_cut(void **unused)
{
    const char *words;
    char text[5000];

    (void)unused;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    words_init(&words);
    words_set(&words, 8, "%s", text);
    assert_string_equal(words, "xxxxxxx");
    words_set(&words, sizeof text, "%s", text);
    assert_true(strlen(words) < sizeof text - 1);
    words_clear(&words);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_are_never_null),
        cmocka_unit_test(they_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
