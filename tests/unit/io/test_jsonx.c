/* test_jsonx.c - JSON from strangers, and texts that are no UTF-8. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "io/jsonx.h"

static json_t *parse(const char *text, struct err *err)
{
    return jsonx_parse(text, strlen(text), err);
}

static void assert_put(const json_t *value, const char *expected)
{
    struct buf out;
    buf_init(&out, 1000);
    assert_true(jsonx_put(value, &out));
    assert_string_equal(buf_text(&out), expected);
    buf_done(&out);
}

static void order_and_numbers_survive(void **unused)
{
    (void)unused;
    const char *text = "{\"z\":1,\"a\":[true,null,0.1,-9007199254740993],\"m\":\"\xc3\xa9\"}";
    json_t *value = parse(text, NULL);
    assert_put(value, text);
    struct buf out;
    buf_init(&out, 1000);
    assert_true(jsonx_put_pretty(value, &out));
    assert_non_null(strstr(buf_text(&out), "{\n  \"z\": 1,\n"));
    assert_int_equal(out.data[out.len - 1], '\n');
    buf_done(&out);
    buf_init(&out, 10);
    assert_false(jsonx_put(value, &out));
    buf_done(&out);
    json_decref(value);
}

static void wrong_text_is_refused_with_its_place(void **unused)
{
    (void)unused;
    const char *const wrong[] = { "",
                                  "{",
                                  "{} {}",
                                  "1",
                                  "\"x\"",
                                  "{\"a\":1,}",
                                  "{'a':1}",
                                  "[1] x",
                                  "\xff{}",
                                  "[\"\xff\"]",
                                  "{\"a\":1,\"a\":2}",
                                  "[\"\\u0000\"]",
                                  "nul",
                                  "[1e9999999]",
                                  "[99999999999999999999]" };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct err err = { 0 };
        assert_null(parse(wrong[i], &err));
        assert_int_equal(err.code, ERR_PROTOCOL);
        assert_non_null(strstr(err.text, "line "));
    }
    assert_null(jsonx_parse("{}\0", 3, NULL));
}

static void nesting_has_an_end(void **unused)
{
    (void)unused;
    char text[300];
    struct err err;
    memset(text, '[', 65);
    memset(text + 65, ']', 65);
    assert_null(jsonx_parse(text, 130, &err));
    assert_non_null(strstr(err.text, "64"));
    json_t *value = jsonx_parse(text + 1, 128, &err);
    assert_non_null(value);
    json_decref(value);
    memset(text, '[', sizeof(text)); /* brackets inside of texts do not count */
    memcpy(text, "[\"\\\"", 4);
    memcpy(text + 200, "\"]", 3);
    value = parse(text, &err);
    assert_non_null(value);
    json_decref(value);
}

static void members_have_types(void **unused)
{
    (void)unused;
    json_t *value = parse("{\"t\":\"x\",\"i\":7,\"r\":1.5,\"b\":true}", NULL);
    const char *text = NULL;
    int64_t number = 0;
    struct err err;
    assert_string_equal(jsonx_text(value, "t", "-"), "x");
    assert_string_equal(jsonx_text(value, "i", "-"), "-");
    assert_int_equal(jsonx_int(value, "i", -1), 7);
    assert_int_equal(jsonx_int(value, "r", -1), -1);
    assert_true(jsonx_real(value, "r", 0) == 1.5);
    assert_true(jsonx_real(value, "i", 0) == 7);
    assert_true(jsonx_bool(value, "b", false));
    assert_true(jsonx_bool(value, "none", true));
    assert_true(jsonx_bool(NULL, "none", true));
    assert_int_equal(jsonx_need_text(value, "t", &text, &err), 0);
    assert_string_equal(text, "x");
    assert_int_equal(jsonx_need_text(value, "i", &text, &err), ERR_PROTOCOL);
    assert_string_equal(err.text, "\"i\" must be a text");
    assert_int_equal(jsonx_need_int(value, "i", &number, &err), 0);
    assert_int_equal(number, 7);
    assert_int_equal(jsonx_need_int(value, "none", &number, &err), ERR_PROTOCOL);
    assert_string_equal(err.text, "\"none\" is missing");
    json_decref(value);
}

static void broken_utf8_is_repaired(void **unused)
{
    (void)unused;
#define R "\xef\xbf\xbd"
    const struct {
        const char *text, *expected;
    } cases[] = {
        { "plain \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "plain \xc3\xa9 \xe2\x82\xac "
                                                          "\xf0\x9f\x98\x80" },
        { "a\xff"
          "b",
          "a" R "b" },
        { "cut \xe2\x82", "cut " R R },
        { "\xe0\x80\xaf", R R R },
        { "\xc0\xaf", R R },                  /* longer than needed */
        { "\xed\xa0\x80", R R R },            /* a surrogate */
        { "\xf4\x90\x80\x80", R R R R },      /* beyond the last character */
        { "\xf0\x8f\xbf\xbf.", R R R R "." }, /* longer than needed */
        { "\xef\xbf\xbf", "\xef\xbf\xbf" },
        { "\xff", R },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        json_t *object = json_object();
        assert_int_equal(jsonx_set_text(object, "k", cases[i].text), 0);
        assert_string_equal(jsonx_text(object, "k", "?"), cases[i].expected);
        json_decref(object);
    }
}

static void setters_set(void **unused)
{
    (void)unused;
    json_t *object = json_object();
    assert_int_equal(jsonx_set_text(object, "t", NULL), 0);
    assert_int_equal(jsonx_set_int(object, "i", INT64_MIN), 0);
    assert_int_equal(jsonx_set_real(object, "r", 0.25), 0);
    assert_int_equal(jsonx_set_real(object, "inf", INFINITY), 0);
    assert_int_equal(jsonx_set_bool(object, "b", false), 0);
    assert_put(object,
               "{\"t\":null,\"i\":-9223372036854775808,\"r\":0.25,\"inf\":null,\"b\":false}");
    assert_int_equal(jsonx_set_int(NULL, "i", 1), ERR_MEMORY);
    json_decref(object);
}

/* As text they are the same bytes as by way of values. */
static void members_as_text_are_the_same(void **unused)
{
    (void)unused;
    const char *const texts[] = { "",
                                  "web:0",
                                  "a \"b\" \\ /",
                                  "\b\f\n\r\t\x01\x1f\x7f",
                                  "\xc3\xa9 \xe2\x80\xa8",
                                  "\xff\xfe",
                                  "cut \xe2\x82",
                                  "\xed\xa0\x80",
                                  "\xf0\x9f\x98\x80",
                                  NULL };
    const double reals[] = { 0,       1,        -2.5,       0.000001,  0.873,    1e15, 1e16,
                             1.5e300, 3.25e-12, 123456.789, 0.1 + 0.2, INFINITY, NAN };
    const int64_t whole[] = { 0, -1, INT64_MAX, INT64_MIN };
    json_t *object = json_object();
    struct buf out, expected;
    char key[16];

    buf_init(&out, 10000);
    buf_init(&expected, 10000);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        snprintf(key, sizeof key, "t%zu", i);
        jsonx_set_text(object, key, texts[i]);
        jsonx_add_text(&out, key, texts[i]);
    }
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++) {
        snprintf(key, sizeof key, "r%zu", i);
        jsonx_set_real(object, key, reals[i]);
        jsonx_add_real(&out, key, reals[i]);
    }
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        snprintf(key, sizeof key, "i%zu", i);
        jsonx_set_int(object, key, whole[i]);
        jsonx_add_int(&out, key, whole[i]);
    }
    jsonx_set_bool(object, "yes", true);
    jsonx_add_bool(&out, "yes", true);
    jsonx_set_bool(object, "no", false);
    jsonx_add_bool(&out, "no", false);
    buf_putc(&out, '}');
    out.data[0] = '{'; /* instead of the first comma */
    assert_true(jsonx_put(object, &expected));
    assert_string_equal(buf_text(&out), buf_text(&expected));
    buf_done(&out);
    buf_done(&expected);
    json_decref(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_as_text_are_the_same),
        cmocka_unit_test(order_and_numbers_survive),
        cmocka_unit_test(wrong_text_is_refused_with_its_place),
        cmocka_unit_test(nesting_has_an_end),
        cmocka_unit_test(members_have_types),
        cmocka_unit_test(broken_utf8_is_repaired),
        cmocka_unit_test(setters_set),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
