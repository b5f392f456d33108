/* Columns: width, alignment, what is left out, what is cut, colours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "supervisor/core/table.h"

static const struct table_column columns[] = {
    { "NAME", false, false },
    { "PID", true, false },
    { "EXTRA", false, true },
    { "NOTE", false, true },
};

static void expect(const struct table *table, size_t width, bool colour, const char *wanted)
{
    struct buf out;

    buf_init(&out, 64 * 1024);
    table_print(table, width, colour, &out);
    assert_string_equal(buf_text(&out), wanted);
    buf_done(&out);
}

static void fill(struct table *table, const char *extra, const char *note)
{
    table_init(table, columns, 4);
    table_add(table, "web:0", TABLE_PLAIN);
    table_add(table, "7", TABLE_PLAIN);
    table_add(table, extra, TABLE_PLAIN);
    table_add(table, note, TABLE_BAD);
    table_add(table, "a", TABLE_PLAIN);
    table_add(table, "1234", TABLE_PLAIN);
    table_add(table, NULL, TABLE_PLAIN);
    table_add(table, "", TABLE_PLAIN);
}

static void aligned(void **state)
{
    struct table table;

    (void)state;
    fill(&table, "x", "hello");
    expect(&table, 0, false,
           "NAME    PID  EXTRA  NOTE\n"
           "web:0     7  x      hello\n"
           "a      1234  -      -\n");
    table_done(&table);
    table_done(&table);
}

static void empty_columns_are_left_out(void **state)
{
    struct table table;

    (void)state;
    fill(&table, NULL, "");
    expect(&table, 0, false,
           "NAME    PID\n"
           "web:0     7\n"
           "a      1234\n");
    table_done(&table);
}

static void the_last_column_is_cut(void **state)
{
    struct table table;

    (void)state;
    fill(&table, NULL, "exited with code 3");
    expect(&table, 23, false,
           "NAME    PID  NOTE\n"
           "web:0     7  exited w..\n"
           "a      1234  -\n");
    expect(&table, 31, false,
           "NAME    PID  NOTE\n"
           "web:0     7  exited with code 3\n"
           "a      1234  -\n");
    /* Never to nothing, even where it cannot fit. */
    expect(&table, 3, false,
           "NAME    PID  NOTE\n"
           "web:0     7  exited..\n"
           "a      1234  -\n");
    table_done(&table);
}

static void characters_count_not_bytes(void **state)
{
    static const struct table_column two[] = { { "N", false, false }, { "M", false, false } };
    struct table table;

    (void)state;
    table_init(&table, two, 2);
    table_add(&table, "\xc3\xa4\xc3\xb6", TABLE_PLAIN); /* two letters */
    table_add(&table, "x", TABLE_PLAIN);
    table_add(&table, "abc", TABLE_PLAIN);
    table_add(&table, "\xc3\xa4\xc3\xb6\xc3\xa4\xc3\xb6\xc3\xa4\xc3\xb6\xc3\xa4\xc3\xb6\xc3\xa4",
              TABLE_PLAIN);
    expect(&table, 13, false,
           "N    M\n"
           "\xc3\xa4\xc3\xb6   x\n"
           "abc  \xc3\xa4\xc3\xb6\xc3\xa4\xc3\xb6\xc3\xa4\xc3\xb6..\n");
    table_done(&table);
}

static void colours_do_not_count(void **state)
{
    struct table table;

    (void)state;
    fill(&table, NULL, "down");
    expect(&table, 0, true,
           "\033[2mNAME\033[0m    \033[2mPID\033[0m  \033[2mNOTE\033[0m\n"
           "web:0     7  \033[31mdown\033[0m\n"
           "a      1234  -\n");
    table_done(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aligned),
        cmocka_unit_test(empty_columns_are_left_out),
        cmocka_unit_test(the_last_column_is_cut),
        cmocka_unit_test(characters_count_not_bytes),
        cmocka_unit_test(colours_do_not_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
