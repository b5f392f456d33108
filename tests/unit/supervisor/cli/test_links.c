#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

#include "supervisor/cli/links.h"

enum { NOON_S = 12 * 3600 };

static void times_are_understood(void **state)
{
    (void)state;
    setenv("TZ", "UTC0", 1);
    tzset();
    const struct {
        const char *text;
        int64_t delay_s;
    } table[] = {
        { "now", 0 },          { "0", 0 },        { "+0", 0 },        { "5", 300 },
        { "+5", 300 },         { "12:00", 0 },    { "12:01", 60 },    { "13:00", 3600 },
        { "11:59", 86340 },    { "0:30", 45000 }, { "00:30", 45000 }, { "", -1 },
        { "+", -1 },           { "-5", -1 },      { "5m", -1 },       { "24:00", -1 },
        { "12:60", -1 },       { "12:5", -1 },    { "+12:05", -1 },   { "later", -1 },
        { "99999999999", -1 }, { "12:000", -1 },  { "Now", -1 },      { "12:", -1 },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        assert_int_equal(links_delay_s(table[i].text, NOON_S), table[i].delay_s);
    assert_int_equal(links_delay_s("12:01", NOON_S + 30), 30); /* the minute begins */
}

static const struct links_option rows[] = {
    { 'f', "force", 1, "Now." },
    { 'n', "no", 2, "No." },
    { 'h', "halt", 0, "it is refused" },
    { 0, NULL, 0, NULL },
};

static bool parse(int argc, char **argv, unsigned *bits, char ***words)
{
    int code;

    return links_options(rows, "x", argc, argv, bits, words, &code);
}

static void options_are_taken_off(void **state)
{
    (void)state;
    char x[] = "x", fn[] = "-fn", word[] = "word", force[] = "--force", other[] = "-z", h[] = "-h",
         two[] = "two", dash[] = "-";
    unsigned bits;
    char **words;

    char *first[] = { x, word, fn, two, dash, NULL };
    assert_true(parse(5, first, &bits, &words));
    assert_int_equal(bits, 3);
    assert_ptr_equal(words[0], word);
    assert_ptr_equal(words[1], two);
    assert_ptr_equal(words[2], dash);
    assert_null(words[3]);
    char *second[] = { x, force, NULL };
    assert_true(parse(2, second, &bits, &words));
    assert_int_equal(bits, 1);
    assert_null(words[0]);
    char *unknown[] = { x, other, NULL }, *refused[] = { x, h, NULL };
    assert_false(parse(2, unknown, &bits, &words));
    assert_false(parse(2, refused, &bits, &words));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_understood),
        cmocka_unit_test(options_are_taken_off),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
