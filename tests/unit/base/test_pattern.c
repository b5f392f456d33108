/* test_pattern.c - what matches, in pieces of every size, against regexec() where both agree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/pattern.h"

static bool matches(const char *pattern, const char *text)
{
    struct pattern compiled;
    struct err err = { 0 };
    bool first = false;

    if (pattern_compile(pattern, &compiled, &err) != 0)
        fail_msg("%s: %s", pattern, err.text);
    for (size_t piece = 1; piece <= strlen(text) + 1; piece++) {
        struct pattern_seen seen = { 0 };
        bool found = false;
        for (size_t at = 0; at < strlen(text) && !found; at += piece) {
            size_t left = strlen(text) - at;
            found = pattern_feed(&compiled, &seen, text + at, left < piece ? left : piece);
        }
        assert_true(piece == 1 || found == first);
        first = found;
    }
    return first;
}

static void lines_are_found(void **unused)
{
    (void)unused;
    assert_true(matches("ready", "one\nnow ready for work"));
    assert_false(matches("ready", "rea\ndy\n"));
    assert_true(matches("^Listening on .*:[0-9]+$", "x\nListening on 0.0.0.0:80\n"));
    assert_false(matches("^Listening on .*:[0-9]+$", "x Listening on 0.0.0.0:80\n"));
    assert_false(matches("^a$", "a")); /* the line may go on */
    assert_true(matches("^a$", "b\na\n"));
    assert_true(matches("^$", "a\n\n"));
    assert_false(matches("^$", "a\nb\n"));
    assert_true(matches("\\d{3,5} (clients?|users)", "7 users, 1234 client"));
    assert_false(matches("\\d{3} users", "12 users 12\n3 users"));
    assert_true(matches("a{2,}b", "aaaab"));
    assert_true(matches("\\[info\\]", "12:00 [info] up"));
    assert_true(matches("[]x-]", "-"));
    assert_true(matches("\\S\\s\\W\\t", "a -\t"));
    assert_true(matches("gr\303\274n", "alles gr\303\274n"));
    assert_true(matches("x*", "\n"));
}

static void what_is_wrong_is_said(void **unused)
{
    static const struct {
        const char *pattern, *what;
    } bad[] = {
        { "", "nothing to look for at character 1" },
        { "a|", "nothing to look for at character 3" },
        { "(a", "a ( without its )" },
        { "a)", "a ) without its (" },
        { "*a", "nothing to be repeated" },
        { "a**", "repeated twice" },
        { "[a", "a [ without its ]" },
        { "[z-a]", "a range that ends" },
        { "a{2", "make no sense" },
        { "a{3,2}", "make no sense" },
        { "a{999}", "too many repetitions" },
        { "a\\", "a \\ at the end" },
        { "[[:dig:]]", "an unknown class" },
        { "(a{100}){100}", "more than 256 states" },
        { "a{x}", "a number is missing" },
    };
    struct pattern pattern;

    (void)unused;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err err = { 0 };
        assert_true(pattern_compile(bad[i].pattern, &pattern, &err) < 0);
        if (!strstr(err.text, bad[i].what))
            fail_msg("%s: %s", bad[i].pattern, err.text);
    }
}

static unsigned next_random(unsigned *state) { return *state = *state * 1103515245 + 12345; }

/* Random patterns of a small alphabet: the same answer as the library's. */
static void it_agrees_with_regexec(void **unused)
{
    static const char *const parts[] = {
        "a", "b", ".", "[ab]", "[^a]", "(ab|b)", "(a|)", "^", "$"
    };
    static const char *const times[] = { "", "", "", "*", "+", "?", "{1,2}", "{2}" };
    unsigned state = 1, compared = 0;

    (void)unused;
    for (int round = 0; round < 3000; round++) {
        char pattern[128] = "", text[24];
        struct pattern compiled;
        struct pattern_seen seen = { 0 };
        struct err err = { 0 };
        regex_t library;

        for (unsigned i = 1 + (next_random(&state) >> 16) % 4; i > 0; i--) {
            const char *part = parts[(next_random(&state) >> 16) % 9];
            strcat(pattern, part);
            if (*part != '^' && *part != '$')
                strcat(pattern, times[(next_random(&state) >> 16) % 8]);
        }
        if (pattern_compile(pattern, &compiled, &err) != 0)
            continue; /* "(a|)" */
        size_t len = (next_random(&state) >> 16) % 12;
        for (size_t i = 0; i < len; i++)
            text[i] = "abc"[(next_random(&state) >> 16) % 3];
        text[len] = '\0';
        assert_int_equal(regcomp(&library, pattern, REG_EXTENDED | REG_NOSUB), 0);
        bool expect = regexec(&library, text, 0, NULL, 0) == 0;
        regfree(&library);
        text[len] = '\n';
        if (pattern_feed(&compiled, &seen, text, len + 1) != expect)
            fail_msg("\"%s\" in \"%.*s\": %d", pattern, (int)len, text, !expect);
        compared++;
    }
    assert_true(compared > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_found),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(it_agrees_with_regexec),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
