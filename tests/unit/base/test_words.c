/* test_words.c - words and environments are split as a shell would. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "base/words.h"

/* Splits and joins with '|' so that a row is readable. */
static const char *joined(int (*split)(const char *, struct arena *, char ***, size_t *,
                                       struct err *),
                          const char *text, struct arena *arena)
{
    struct err err;
    char **words, *all = arena_strdup(arena, "");
    size_t count;

    if (split(text, arena, &words, &count, &err) < 0)
        return arena_strdup(arena, err.text);
    assert_null(words[count]);
    for (size_t i = 0; i < count; i++)
        all = arena_printf(arena, "%s%s|", all, words[i]);
    return all;
}

static void words_as_in_a_shell(void **unused)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        { "", "" },
        { " \t\n ", "" },
        { "a", "a|" },
        { " a  b\tc\nd ", "a|b|c|d|" },
        { "'a b' \"c d\"", "a b|c d|" },
        { "a'b'\"c\"d", "abcd|" },
        { "'' \"\"", "||" },
        { "'a\\b'", "a\\b|" },
        { "\"a\\b \\\" \\\\ \\$x \\`\"", "a\\b \" \\ $x `|" },
        { "a\\ b \\'c\\' \\\\", "a b|'c'|\\|" },
        { "a\\\nb", "ab|" },
        { "a \\\n b", "a|b|" },
        { "\"a\\\nb\"", "ab|" },
        { "$HOME *.c ~ #x", "$HOME|*.c|~|#x|" },
        { "\"it's\" 'say \"x\"'", "it's|say \"x\"|" },
        { "a 'b", "a ' quote is not closed" },
        { "a \"b", "a \" quote is not closed" },
        { "a \"b\\", "a \" quote is not closed" },
        { "a \\", "nothing follows the last backslash" },
    };
    struct arena arena;

    (void)unused;
    arena_init(&arena);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_string_equal(joined(words_split, rows[i].text, &arena), rows[i].words);
    arena_done(&arena);
}

static void words_are_counted(void **unused)
{
    static char text[2 * WORDS_MAX + 4];
    struct arena arena;
    struct err err;
    char **words;
    size_t count;

    (void)unused;
    arena_init(&arena);
    for (size_t i = 0; i < WORDS_MAX; i++)
        memcpy(text + 2 * i, "a ", 2);
    assert_int_equal(words_split(text, &arena, &words, &count, &err), 0);
    assert_int_equal(count, WORDS_MAX);
    text[2 * WORDS_MAX] = 'a';
    assert_int_equal(words_split(text, &arena, &words, &count, &err), ERR_LIMIT);
    arena_done(&arena);
}

static void environments_as_in_supervisord(void **unused)
{
    static const struct {
        const char *text, *pairs;
    } rows[] = {
        { "", "" },
        { "KEY=\"val\",KEY2='v,2',KEY3=plain", "KEY=val|KEY2=v,2|KEY3=plain|" },
        { "A=1, B=2 ,C=3,", "A=1|B=2|C=3|" },
        { "A=1\nB=2\n\n  C=3", "A=1|B=2|C=3|" },
        { "A = 1 , B\t=\t2", "A=1|B=2|" },
        { "A=", "A=|" },
        { "A=,B=", "A=|B=|" },
        { "A=\"x=y\"", "A=x=y|" },
        { "A=x=y", "A=x=y|" },
        { "A=pre'mid'\"post\"", "A=premidpost|" },
        { "A=\"\\\"q\\\"\"", "A=\"q\"|" },
        { "A=1,B=2,A=3", "A=3|B=2|" },
        { "AB=1,A=2", "AB=1|A=2|" },
        { "A=1 B=2", "unexpected \"B=2\" after A (put quotes around a value with blanks, and a "
                     "comma between pairs)" },
        { "A", "\"A\" is not KEY=VALUE (try KEY=\"value\")" },
        { "=1", "\"=1\" is not KEY=VALUE (try KEY=\"value\")" },
        { "A B=1", "\"A B=1\" is not KEY=VALUE (try KEY=\"value\")" },
        { "A='1", "a ' quote is not closed" },
    };
    struct arena arena;

    (void)unused;
    arena_init(&arena);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_string_equal(joined(words_environment, rows[i].text, &arena), rows[i].pairs);
    arena_done(&arena);
}

/* What Python's shlex.split and supervisord's dict_of_key_value_pairs say of these. */
static void words_as_in_python(void **unused)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        { "a b", "a|b|" },
        { "a 'b c' \"d e\"", "a|b c|d e|" },
        { "\"\\$x \\\\ \\\" \\n\"", "\\$x \\ \" \\n|" },
        { "a\\ b", "a b|" },
        { "a\\\nb", "a\nb|" },
        { "\"a\\\nb\"", "a\\\nb|" },
        { "''", "|" },
        { "x\"y\"z", "xyz|" },
    };
    struct arena arena;

    (void)unused;
    arena_init(&arena);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_string_equal(joined(words_split_shlex, rows[i].text, &arena), rows[i].words);
    arena_done(&arena);
}

static void environments_as_in_python(void **unused)
{
    static const struct {
        const char *text, *pairs;
    } rows[] = {
        { "", "" },
        { "A=1", "A=1|" },
        { "A=\"x y\",B='z'", "A=x y|B=z|" },
        { "A=1;B=2", "A=1|B=2|" },
        { "A=\"C:\\\\x\\n\"", "A=C:\\\\x\\n|" },
        { "A=\"'both'\"", "A=both|" },
        { "A=\"it's\"", "A=it's|" },
        { "A=it's", "A=it's|" },
        { "A=b#c,D=e", "A=b|" },
        { "A = 1 ,\n  B\t=2", "A=1|B=2|" },
        { "A=\"\"", "A=|" },
        { "A=*", "A=*|" },
        { "A=ü,B=x", "A=ü|B=x|" },
        { "A=http://x/-+.(y)", "A=http://x/-+.(y)|" },
        { "A=\"a\\\"b\"", "A=a\\|" },
        { "A=1,B=2,A=3", "A=3|B=2|" },
    };
    static const char *const wrong[] = {
        "A=b c,D=e", "A=x=y,B=1",       "A",       "A=", "A=1,B", "=1",
        "A=\"open",  "A=user@host,B=x", "A=1 B=2",
    };
    struct arena arena;
    struct err err;
    char **pairs;
    size_t count;

    (void)unused;
    arena_init(&arena);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_string_equal(joined(words_environment_shlex, rows[i].text, &arena), rows[i].pairs);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(words_environment_shlex(wrong[i], &arena, &pairs, &count, &err),
                         ERR_INVALID);
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_as_in_a_shell),
        cmocka_unit_test(words_are_counted),
        cmocka_unit_test(environments_as_in_supervisord),
        cmocka_unit_test(words_as_in_python),
        cmocka_unit_test(environments_as_in_python),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
