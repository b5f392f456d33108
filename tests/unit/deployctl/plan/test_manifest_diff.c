/* test_manifest_diff.c - every kind of difference between two manifests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "deployctl/plan/manifest_diff.h"

#define ONES  "1111111111111111111111111111111111111111111111111111111111111111"
#define TWOS  "2222222222222222222222222222222222222222222222222222222222222222"
#define MIXED "1111111111111111222222222222222222222222222222222222222222222222"

static void read_text(const char *text, bool brief, struct manifest *ret)
{
    struct err err;
    manifest_init(ret);
    assert_int_equal(manifest_parse(text, strlen(text), brief, ret, &err), 0);
}

struct told {
    char text[512];
};

static void tell(void *context, const struct manifest_entry *from, const struct manifest_entry *to)
{
    struct told *told = context;
    size_t len = strlen(told->text);
    assert_true(from || to);
    if (from && to)
        assert_string_equal(from->path, to->path);
    snprintf(told->text + len, sizeof told->text - len, "%s%s ",
             !from ? "+"
             : !to ? "-"
                   : "~",
             from ? from->path : to->path);
}

static const char *diff(const char *from, const char *to, bool brief, struct told *told)
{
    struct manifest a, b;
    told->text[0] = '\0';
    read_text(from, false, &a);
    read_text(to, brief, &b);
    manifest_diff(&a, &b, tell, told);
    manifest_done(&a);
    manifest_done(&b);
    return told->text;
}

static void each_difference_once_in_order(void **unused)
{
    (void)unused;
    struct told told;
    static const char all[] = "f 444 1 " ONES " a\nd 755 b\nl 1 c a\nf 444 2 " TWOS " d\n";
    assert_string_equal(diff("", "", false, &told), "");
    assert_string_equal(diff(all, all, false, &told), "");
    assert_string_equal(diff(all, "", false, &told), "-a -b -c -d ");
    assert_string_equal(diff("", all, false, &told), "+a +b +c +d ");
    assert_string_equal(
        diff(all, "f 444 1 " TWOS " a\nd 700 b\nl 1 c d\nf 555 2 " TWOS " d\n", false, &told),
        "~a ~b ~c ~d ");
    assert_string_equal(
        diff(all, "f 444 3 " ONES " a\nf 444 0 " ONES " b\nd 755 c\nl 1 d a\n", false, &told),
        "~a ~b ~c ~d ");
    assert_string_equal(
        diff(all, "f 444 1 " ONES " A\nf 444 1 " ONES " a\nd 755 bb\nl 1 c a\n", false, &told),
        "+A -b +bb -d ");
}

/* The short form, as it travels, tells as much as its digits do. */
static void short_digests_are_compared_as_far_as_they_go(void **unused)
{
    (void)unused;
    struct told told;
    static const char one[] = "f 444 1 " ONES " a\n", mixed[] = "f 444 1 " MIXED " a\n";
    assert_string_equal(diff(one, "f 444 1 1111111111111111 a\n", true, &told), "");
    assert_string_equal(diff(one, "f 444 1 1111111111111112 a\n", true, &told), "~a ");
    assert_string_equal(diff(mixed, "f 444 1 1111111111111111 a\n", true, &told), "");
    assert_string_equal(diff(one, mixed, false, &told), "~a ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_difference_once_in_order),
        cmocka_unit_test(short_digests_are_compared_as_far_as_they_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
