/* test_unit.c - durations, sizes and the rest: what is right, what is refused, what is printed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/unit.h"

static void durations_are_read(void **unused)
{
    static const struct {
        const char *text;
        int64_t ms;
    } rows[] = {
        /* clang-format off */
        { "0", 0 },            { "10", 10000 },       { "1.5", 1500 },      { " 10 ", 10000 },
        { "500ms", 500 },      { "10s", 10000 },      { "5m", 300000 },     { "2h", 7200000 },
        { "1d", 86400000 },    { "1.5s", 1500 },      { "0.1s", 100 },      { "0.5h", 1800000 },
        { "1h30m", 5400000 },  { "1h 30m", 5400000 }, { "1d2h3m4s5ms", 93784005 },
        { "10 s", 10000 },     { "0.001s", 1 },       { "1.000000001s", 1000 },
        { "106751991167d", 106751991167LL * 86400000 },
        /* clang-format on */
    };

    (void)unused;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t ms = -1;
        assert_int_equal(unit_duration(rows[i].text, &ms, NULL), 0);
        assert_int_equal(ms, rows[i].ms);
    }
}

static void wrong_durations_are_refused(void **unused)
{
    static const char *const texts[] = {
        "",
        " ",
        "10 parsecs",
        "-5s",
        "+5s",
        "s",
        "1h30",
        "30m1h",
        "5m5m",
        "1.s",
        ".5s",
        "1..5s",
        "1e3s",
        "0x10s",
        "10S",
        "10M",
        "1,5s",
        "5s x",
        "1h -",
        "10 10s",
        "inf",
        "nan",
        "5mm",
        "5 m s",
        "1.0000000001s",
        "106751991168d",
        "99999999999999999999s",
        "999999999999999999s",
    };
    struct err err;

    (void)unused;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        int64_t ms = 77;
        if (unit_duration(texts[i], &ms, &err) != ERR_INVALID)
            fail_msg("\"%s\" was taken", texts[i]);
        assert_int_equal(ms, 77);
    }
    unit_duration("10 parsecs", &(int64_t){ 0 }, &err);
    assert_string_equal(err.text, "\"10 parsecs\" is not a duration (try 500ms, 10s, 5m)");
}

static void sizes_are_read(void **unused)
{
    static const struct {
        const char *text;
        int64_t bytes;
    } rows[] = {
        /* clang-format off */
        { "0", 0 },              { "10", 10 },           { "10B", 10 },       { "64KB", 65536 },
        { "64k", 65536 },        { "64 kb", 65536 },     { "64KiB", 65536 },  { "50MB", 52428800 },
        { "2GB", 2147483648LL }, { "1.5K", 1536 },       { "1T", 1LL << 40 }, { " 7 ", 7 },
        { "8388607T", 8388607LL << 40 },                 { "0.5MB", 524288 },
        /* clang-format on */
    };

    (void)unused;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t bytes = -1;
        assert_int_equal(unit_size(rows[i].text, &bytes, NULL), 0);
        assert_int_equal(bytes, rows[i].bytes);
    }
}

static void wrong_sizes_are_refused(void **unused)
{
    static const char *const texts[] = { "",     "KB",   "-1",       "1 K B",
                                         "10XB", "1KBs", "8388608T", "10 bytes" };
    struct err err;

    (void)unused;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        int64_t bytes = 77;
        assert_int_equal(unit_size(texts[i], &bytes, &err), ERR_INVALID);
        assert_int_equal(bytes, 77);
    }
    assert_string_equal(err.text, "\"10 bytes\" is not a size (try 4096, 64KB, 50MB, 2GB)");
}

static void integers_have_nothing_behind_them(void **unused)
{
    static const char *const wrong[] = { "", "-", "+1", "1x", "0x10", "1 2", "1.0", "- 1", "--1" };
    int64_t number;
    struct err err;

    (void)unused;
    assert_int_equal(unit_integer("42", 10, &number, NULL), 0);
    assert_int_equal(number, 42);
    assert_int_equal(unit_integer(" -42 ", 10, &number, NULL), 0);
    assert_int_equal(number, -42);
    assert_int_equal(unit_integer("022", 8, &number, NULL), 0);
    assert_int_equal(number, 18);
    assert_int_equal(unit_integer("9223372036854775807", 10, &number, NULL), 0);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(unit_integer(wrong[i], 10, &number, &err), ERR_INVALID);
    assert_string_equal(err.text, "\"--1\" is not a whole number (try 10)");
    assert_int_equal(unit_integer("9223372036854775808", 10, &number, &err), ERR_INVALID);
    assert_string_equal(err.text, "\"9223372036854775808\" is too large a number");
    assert_int_equal(unit_integer("089", 8, &number, &err), ERR_INVALID);
    assert_string_equal(err.text, "\"089\" is not an octal number (try 022)");
}

static void booleans_as_in_supervisord(void **unused)
{
    static const char *const yes[] = { "yes", "true", "on", "1", "True", "ON", " true " };
    static const char *const no[] = { "no", "false", "off", "0", "False", "NO" };
    bool value;
    struct err err;

    (void)unused;
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
        value = false;
        assert_int_equal(unit_boolean(yes[i], &value, NULL), 0);
        assert_true(value);
    }
    for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
        value = true;
        assert_int_equal(unit_boolean(no[i], &value, NULL), 0);
        assert_false(value);
    }
    assert_int_equal(unit_boolean("", &value, &err), ERR_INVALID);
    assert_int_equal(unit_boolean("true true", &value, &err), ERR_INVALID);
    assert_int_equal(unit_boolean("maybe", &value, &err), ERR_INVALID);
    assert_string_equal(err.text, "\"maybe\" is not a boolean (try true or false)");
}

static void shares_are_percent_or_count(void **unused)
{
    static const char *const wrong[] = { "", "%", "-1", "1.5", "10%%", "101%", "5 hosts" };
    struct unit_share share;

    (void)unused;
    assert_int_equal(unit_share("25%", &share, NULL), 0);
    assert_true(share.percent == 25 && share.count == -1);
    assert_int_equal(unit_share("12.5 %", &share, NULL), 0);
    assert_true(share.percent == 12.5 && share.count == -1);
    assert_int_equal(unit_share("3", &share, NULL), 0);
    assert_true(share.percent == -1 && share.count == 3);
    assert_int_equal(unit_share("100%", &share, NULL), 0);
    assert_int_equal(unit_share("0", &share, NULL), 0);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(unit_share(wrong[i], &share, NULL), ERR_INVALID);
}

static void durations_are_printed_for_people(void **unused)
{
    static const struct {
        int64_t ms;
        const char *text;
    } rows[] = {
        /* clang-format off */
        { 0, "0s" },            { 1, "1ms" },            { 340, "340ms" },     { 999, "999ms" },
        { 1000, "1s" },         { 12540, "12.5s" },      { 59999, "59.9s" },   { 60000, "1m" },
        { 63000, "1m 3s" },     { 3600000, "1h" },       { 3780000, "1h 3m" }, { 86400000, "1d" },
        { 183600000, "2d 3h" }, { -1500, "-1.5s" },      { 3600001, "1h" },
        /* clang-format on */
    };
    char text[UNIT_TEXT_MAX];

    (void)unused;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_string_equal(unit_duration_text(rows[i].ms, text), rows[i].text);
    assert_true(strlen(unit_duration_text(INT64_MIN, text)) < UNIT_TEXT_MAX);
    assert_true(strlen(unit_duration_text(INT64_MAX, text)) < UNIT_TEXT_MAX);
}

static void printed_durations_can_be_read(void **unused)
{
    char text[UNIT_TEXT_MAX];

    (void)unused;
    for (int64_t ms = 0; ms < 400000000; ms = ms * 3 + 1) {
        int64_t again = -1;
        assert_int_equal(unit_duration(unit_duration_text(ms, text), &again, NULL), 0);
        assert_true(again <= ms);
        assert_true(again >= ms - ms / 10); /* at most the smaller parts are lost */
    }
}

static void sizes_are_printed_for_people(void **unused)
{
    char text[UNIT_TEXT_MAX];

    (void)unused;
    assert_string_equal(unit_size_text(0, text), "0 B");
    assert_string_equal(unit_size_text(10, text), "10 B");
    assert_string_equal(unit_size_text(1023, text), "1023 B");
    assert_string_equal(unit_size_text(1024, text), "1 KB");
    assert_string_equal(unit_size_text(1536, text), "1.5 KB");
    assert_string_equal(unit_size_text(20 << 20, text), "20 MB");
    assert_string_equal(unit_size_text(INT64_MAX, text), "8388607.9 TB");
    assert_string_equal(unit_size_text(-1536, text), "-1.5 KB");
    assert_true(strlen(unit_size_text(INT64_MIN, text)) < UNIT_TEXT_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_are_read),
        cmocka_unit_test(wrong_durations_are_refused),
        cmocka_unit_test(sizes_are_read),
        cmocka_unit_test(wrong_sizes_are_refused),
        cmocka_unit_test(integers_have_nothing_behind_them),
        cmocka_unit_test(booleans_as_in_supervisord),
        cmocka_unit_test(shares_are_percent_or_count),
        cmocka_unit_test(durations_are_printed_for_people),
        cmocka_unit_test(printed_durations_can_be_read),
        cmocka_unit_test(sizes_are_printed_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
