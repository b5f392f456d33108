/* test_format.c - every format, cut into pieces at every place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "supervisor/logger/format.h"

#define TIME "2026-11-24T01:51:41.123456+01:00"
#define HEAD "{\"time\":\"" TIME "\",\"instance\":\"web:0\",\"output\":\"stdout\",\"message\":\""

enum { RESULT_MAX = 4 * FORMAT_OUT_MAX };
static char out[FORMAT_OUT_MAX + FORMAT_HEAD_MAX], result[RESULT_MAX];

struct rig {
    struct format format;
    struct streams_line line;
    size_t len;
};

static void begin(struct rig *rig, enum streams_format kind)
{
    *rig = (struct rig){ 0 };
    format_init(&rig->format, kind, "web:0", "stdout", TIME);
}

static void keep(struct rig *rig, const char *data, size_t len)
{
    assert_true(rig->len + len < RESULT_MAX);
    memcpy(result + rig->len, data, len);
    rig->len += len;
    result[rig->len] = '\0';
}

/* Feeds all of it; each call must use something and stay inside the output. */
static void feed(struct rig *rig, const char *in, size_t len)
{
    while (len > 0) {
        struct format_piece piece = format_run(&rig->format, &rig->line, in, len, UINT64_MAX, out);
        assert_in_range(piece.used, 1, len);
        if (rig->format.kind != STREAMS_RAW)
            assert_in_range(piece.len, 1, FORMAT_OUT_MAX);
        keep(rig, piece.data, piece.len);
        in += piece.used;
        len -= piece.used;
    }
}

/* The text in two pieces, split at every place, gives the same as in one. */
static void expect(enum streams_format kind, const char *in, size_t len, const char *want)
{
    for (size_t cut = 0; cut <= len; cut++) {
        struct rig rig;
        begin(&rig, kind);
        feed(&rig, in, cut);
        feed(&rig, in + cut, len - cut);
        assert_string_equal(result, want);
        assert_int_equal(rig.line.midline, in[len - 1] != '\n');
    }
}

static void plain_stamps_each_line_once(void **state)
{
    (void)state;
    static const char in[] = "one\n\ntwo\r\nthree";
    expect(STREAMS_PLAIN, in, sizeof in - 1,
           TIME " one\n" TIME " \n" TIME " two\r\n" TIME " three");
}

static void raw_changes_nothing(void **state)
{
    (void)state;
    static const char in[] = "a\x01\xff\n\nb";
    expect(STREAMS_RAW, in, sizeof in - 1, in);
}

static void json_escapes_and_replaces(void **state)
{
    (void)state;
    static const char in[] = "say \"hi\" \\ \t\x01\x7f\n\n\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\n";
    expect(STREAMS_JSON, in, sizeof in - 1,
           HEAD "say \\\"hi\\\" \\\\ \\t\\u0001\x7f\"}\n" HEAD "\"}\n" HEAD
                "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"}\n");
    static const char nul[] = "a\0b\n";
    expect(STREAMS_JSON, nul, sizeof nul - 1, HEAD "a\\u0000b\"}\n");
}

/* One U+FFFD for each longest part that could have begun a character, as Unicode advises. */
static void json_invalid_utf8(void **state)
{
    (void)state;
#define BAD "\xef\xbf\xbd"
    static const struct {
        const char *in, *want;
    } rows[] = {
        { "\xff\n", BAD },
        { "\xc3\n", BAD },
        { "\x80z\n", BAD "z" },
        { "\xc0\xaf\n", BAD BAD },
        { "\xe0\x80\xaf\n", BAD BAD BAD },
        { "\xed\xa0\x80\n", BAD BAD BAD },
        { "\xf4\x91\x92\x93\xff\x41\n", BAD BAD BAD BAD BAD "A" },
        { "\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41\n", BAD BAD BAD BAD "A" },
        { "\xf0\x9f\x98\xc3\xa4\n", BAD "\xc3\xa4" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char want[512];
        snprintf(want, sizeof want, HEAD "%s\"}\n", rows[i].want);
        expect(STREAMS_JSON, rows[i].in, strlen(rows[i].in), want);
    }
}

static void json_names_are_escaped_and_cut(void **state)
{
    (void)state;
    struct rig rig;
    char name[2000];

    begin(&rig, STREAMS_JSON);
    format_init(&rig.format, STREAMS_JSON, "a\"\xff", "e", TIME);
    feed(&rig, "x\n", 2);
    assert_string_equal(result, "{\"time\":\"" TIME "\",\"instance\":\"a\\\"" BAD
                                "\",\"output\":\"e\",\"message\":\"x\"}\n");
    memset(name, 1, sizeof name - 1);
    name[sizeof name - 1] = '\0';
    format_init(&rig.format, STREAMS_JSON, name, name, TIME);
    assert_in_range(rig.format.head_len, 1, FORMAT_HEAD_MAX / 3 * 2);
}

static size_t count_of(const char *what)
{
    size_t n = 0;
    for (const char *at = result; (at = strstr(at, what)); at += strlen(what))
        n++;
    return n;
}

static void json_long_lines_are_several_objects(void **state)
{
    (void)state;
    enum { LONG = 2 * FORMAT_OBJECT_MAX + 100 };
    char *in = malloc(LONG + 1);
    struct rig rig;

    assert_non_null(in);
    memset(in, 'x', LONG);
    in[LONG] = '\n';
    begin(&rig, STREAMS_JSON);
    feed(&rig, in, LONG + 1);
    assert_int_equal(count_of(HEAD), 3);
    assert_int_equal(count_of("x\",\"partial\":true}\n"), 2);
    assert_int_equal(count_of("x\"}\n"), 1);
    free(in);
}

static void fill(char *in, size_t len, int period)
{
    for (size_t i = 0; i < len; i++)
        in[i] = (int)(i % (size_t)period) == period - 1 ? '\n' : '\x02';
}

/* What grows most: nothing is written behind the output (the sanitizer looks as well). */
static void output_stays_in_its_bounds(void **state)
{
    (void)state;
    static const int periods[] = { 1, 2, 3, 7, 50, 1000, 70000 };
    static char in[STREAMS_BATCH_MAX];
    char *exact = malloc(FORMAT_OUT_MAX);

    assert_non_null(exact);
    for (size_t i = 0; i < sizeof periods / sizeof periods[0]; i++) {
        fill(in, sizeof in, periods[i]);
        for (int kind = STREAMS_RAW; kind <= STREAMS_JSON; kind++) {
            struct rig rig;
            size_t used = 0;
            begin(&rig, (enum streams_format)kind);
            rig.line.broken = 1;
            while (used < sizeof in) {
                struct format_piece piece = format_run(&rig.format, &rig.line, in + used,
                                                       sizeof in - used, UINT64_MAX, exact);
                assert_in_range(piece.used, 1, sizeof in - used);
                assert_in_range(piece.len, 1, FORMAT_OUT_MAX);
                used += piece.used;
            }
        }
    }
    free(exact);
}

static void room_stops_at_the_end_of_a_line(void **state)
{
    (void)state;
    static const char in[] = "1234\n1234\n1234\n12";
    static const struct {
        enum streams_format kind;
        uint64_t room;
        size_t used;
    } rows[] = {
        { STREAMS_RAW, 0, 5 },     { STREAMS_RAW, 1, 5 },    { STREAMS_RAW, 5, 5 },
        { STREAMS_RAW, 6, 10 },    { STREAMS_RAW, 16, 17 },  { STREAMS_RAW, 17, 17 },
        { STREAMS_PLAIN, 0, 5 },   { STREAMS_PLAIN, 38, 5 }, { STREAMS_PLAIN, 39, 10 },
        { STREAMS_PLAIN, 77, 15 }, { STREAMS_JSON, 0, 5 },   { STREAMS_JSON, 150, 10 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig rig;
        begin(&rig, rows[i].kind);
        struct format_piece piece =
            format_run(&rig.format, &rig.line, in, sizeof in - 1, rows[i].room, out);
        assert_int_equal(piece.used, rows[i].used);
    }
}

static void a_foreign_line_is_ended_first(void **state)
{
    (void)state;
    struct rig rig;

    begin(&rig, STREAMS_PLAIN);
    rig.line.broken = 1;
    feed(&rig, "a\nb\n", 4);
    assert_string_equal(result, "\n" TIME " a\n" TIME " b\n");
    begin(&rig, STREAMS_RAW);
    rig.line.broken = 1;
    feed(&rig, "a\n", 2);
    assert_string_equal(result, "a\n");
}

static void ends_and_cuts(void **state)
{
    (void)state;
    struct rig rig;

    begin(&rig, STREAMS_PLAIN);
    feed(&rig, "a", 1);
    assert_int_equal(format_cut(&rig.format, &rig.line, out), 0);
    assert_true(rig.line.midline);
    keep(&rig, out, format_end(&rig.format, &rig.line, out));
    keep(&rig, out, format_end(&rig.format, &rig.line, out));
    assert_string_equal(result, TIME " a\n");

    begin(&rig, STREAMS_JSON);
    feed(&rig, "a\xc3", 2);
    keep(&rig, out, format_cut(&rig.format, &rig.line, out));
    feed(&rig, "\xa4", 1);
    keep(&rig, out, format_end(&rig.format, &rig.line, out));
    assert_string_equal(result, HEAD "a\",\"partial\":true}\n" HEAD "\xc3\xa4\"}\n");

    begin(&rig, STREAMS_JSON);
    feed(&rig, "a\xc3", 2);
    keep(&rig, out, format_end(&rig.format, &rig.line, out));
    assert_string_equal(result, HEAD "a" BAD "\"}\n");
}

static void a_notice_stands_on_its_own_line(void **state)
{
    (void)state;
#define NOTICE "supervisor: 4711 bytes dropped here, the log could not be written"
    static const struct {
        enum streams_format kind;
        const char *want;
    } rows[] = {
        { STREAMS_RAW, "a\n" TIME " " NOTICE "\n" },
        { STREAMS_PLAIN, TIME " a\n" TIME " " NOTICE "\n" },
        { STREAMS_JSON, HEAD "a\"}\n" HEAD NOTICE "\",\"dropped\":4711}\n" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rig rig;
        begin(&rig, rows[i].kind);
        feed(&rig, "a", 1);
        keep(&rig, out, format_notice(&rig.format, &rig.line, 4711, out));
        assert_string_equal(result, rows[i].want);
        assert_false(rig.line.midline);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_stamps_each_line_once),
        cmocka_unit_test(raw_changes_nothing),
        cmocka_unit_test(json_escapes_and_replaces),
        cmocka_unit_test(json_invalid_utf8),
        cmocka_unit_test(json_names_are_escaped_and_cut),
        cmocka_unit_test(json_long_lines_are_several_objects),
        cmocka_unit_test(output_stays_in_its_bounds),
        cmocka_unit_test(room_stops_at_the_end_of_a_line),
        cmocka_unit_test(a_foreign_line_is_ended_first),
        cmocka_unit_test(ends_and_cuts),
        cmocka_unit_test(a_notice_stands_on_its_own_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
