/* test_ini.c - what is written is what is read, and what cannot be read is said with its line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ini.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/ini.h"

struct fixture {
    struct arena arena;
    struct ini ini;
    struct err_list errors;
    int rc;
};

static struct fixture parse_bytes(const char *text, size_t len)
{
    struct fixture f;

    arena_init(&f.arena);
    err_list_init(&f.errors);
    /* A copy of exactly this size, so that a sanitizer sees each byte read too many. */
    char *copy = malloc(len ? len : 1);
    assert_non_null(copy);
    memcpy(copy, text, len);
    f.rc = ini_parse_text("x.ini", copy, len, &f.arena, &f.ini, &f.errors);
    free(copy);
    return f;
}

static struct fixture parse(const char *text) { return parse_bytes(text, strlen(text)); }

static void done(struct fixture *f)
{
    arena_done(&f->arena);
    err_list_done(&f->errors);
}

static void expect_entry(const struct fixture *f, size_t i, const char *section, const char *key,
                         const char *value, int line)
{
    assert_true(i < f->ini.count);
    const struct ini_entry *entry = &f->ini.entries[i];
    assert_string_equal(entry->section, section);
    if (key)
        assert_string_equal(entry->key, key);
    else
        assert_null(entry->key);
    assert_string_equal(entry->value, value);
    assert_int_equal(entry->line, line);
}

/* Parses a section with one key and expects its value. */
static void check_value(const char *written, const char *value)
{
    char text[1024];

    snprintf(text, sizeof(text), "[s]\n%s\n", written);
    struct fixture f = parse(text);
    assert_int_equal(f.rc, 0);
    assert_int_equal(f.ini.count, 2);
    assert_string_equal(f.ini.entries[1].value, value);
    done(&f);
}

static void expect_errors(const char *text, size_t count, const char *first)
{
    struct fixture f = parse(text);

    assert_int_equal(f.rc, ERR_INVALID);
    assert_int_equal(f.errors.total, count);
    assert_string_equal(f.errors.lines[0], first);
    done(&f);
}

static void sections_and_keys_have_their_lines(void **unused)
{
    (void)unused;
    struct fixture f = parse("; top\n"
                             "[supervisor]\n"
                             "log_level = info\n"
                             "\n"
                             "[ service:web ]  ; a comment\n"
                             "command=/bin/web\n"
                             "user : www\n"
                             "empty =\n");

    assert_int_equal(f.rc, 0);
    assert_string_equal(f.ini.file, "x.ini");
    assert_int_equal(f.ini.count, 6);
    expect_entry(&f, 0, "supervisor", NULL, "", 2);
    expect_entry(&f, 1, "supervisor", "log_level", "info", 3);
    expect_entry(&f, 2, "service:web", NULL, "", 5);
    expect_entry(&f, 3, "service:web", "command", "/bin/web", 6);
    expect_entry(&f, 4, "service:web", "user", "www", 7);
    expect_entry(&f, 5, "service:web", "empty", "", 8);
    done(&f);
}

static void nothing_is_nothing(void **unused)
{
    static const char *const texts[] = { "", "\n", "\n\n  \t\n", "; only\n# comments",
                                         "\xef\xbb\xbf" };

    (void)unused;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct fixture f = parse(texts[i]);
        assert_int_equal(f.rc, 0);
        assert_int_equal(f.ini.count, 0);
        done(&f);
    }
}

static void comments_stop_outside_quotes_only(void **unused)
{
    (void)unused;
    check_value("a = b ; c", "b");
    check_value("a = b # c", "b");
    check_value("a = b\t; c", "b");
    check_value("a = b;c", "b;c");
    check_value("a = b#c", "b#c");
    check_value("a = ; c", "");
    check_value("a = \"b ; c\" ; d", "\"b ; c\"");
    check_value("a = 'b # c' # d", "'b # c'");
    check_value("a = \"it's ; on\" ; d", "\"it's ; on\"");
    check_value("a = \"say \\\" ; on\" ; d", "\"say \\\" ; on\"");
    check_value("a = \\\" ; d", "\\\"");
    check_value("a = 'b\\' ; d", "'b\\'");
    check_value("a = x=y:z", "x=y:z");
    check_value("a = http://h/#top", "http://h/#top");
}

static void bom_crlf_and_tabs_are_accepted(void **unused)
{
    (void)unused;
    struct fixture f = parse("\xef\xbb\xbf[s]\r\n\tkey\t=\tvalue x\t\r\n\r\n\tmore = 1\r\n");

    assert_int_equal(f.rc, 0);
    assert_int_equal(f.ini.count, 3);
    expect_entry(&f, 1, "s", "key", "value x", 2);
    expect_entry(&f, 2, "s", "more", "1", 4);
    done(&f);
}

static void the_last_line_needs_no_newline(void **unused)
{
    (void)unused;
    struct fixture f = parse("[s]\na = 1");

    assert_int_equal(f.rc, 0);
    expect_entry(&f, 1, "s", "a", "1", 2);
    done(&f);
}

static void deeper_lines_continue_the_value(void **unused)
{
    (void)unused;
    check_value("a = 1\n  2\n\t3", "1\n2\n3");
    check_value("a =\n  2\n  3", "2\n3");
    check_value("a = 1\n\n  2", "1\n2");
    check_value("a = 1\n  ; no\n  2 ; no\n# no\n  3", "1\n2\n3");
    check_value("a = 1\n  b = 2\n  [c] d", "1\nb = 2\n[c] d");
    check_value("a =\n  [1]\n  [::1]\n  [fe80::1]\n  [\"c\"]", "[1]\n[::1]\n[fe80::1]\n[\"c\"]");
    check_value("a = \"1\n  [c]\"", "\"1\n[c]\"");
    check_value("a = \"1 ; x\n  2 ; y\" ; z", "\"1 ; x\n2 ; y\"");
    check_value("a = \"1\n  # 2\"", "\"1\n# 2\"");
    check_value("a = 1 ; 'x\n  2 ; y", "1\n2");
}

/* A file that was pasted with a part of its indentation. */
static void an_indented_section_is_no_value(void **unused)
{
    (void)unused;
    struct fixture f = parse("[s]\na = 1\n    [service:web]\n    b = 2\n");

    assert_int_equal(f.rc, ERR_INVALID);
    assert_int_equal(f.errors.total, 1);
    assert_non_null(strstr(f.errors.lines[0], ":3: this [section] is indented"));
    assert_non_null(strstr(f.errors.lines[0], "\"a\""));
    done(&f);
}

static void keys_that_are_indented_alike_are_keys(void **unused)
{
    (void)unused;
    struct fixture f = parse("[s]\n  a = 1\n  b = 2\n    3\n c = 4\n");

    assert_int_equal(f.rc, 0);
    assert_int_equal(f.ini.count, 4);
    expect_entry(&f, 1, "s", "a", "1", 2);
    expect_entry(&f, 2, "s", "b", "2\n3", 3);
    expect_entry(&f, 3, "s", "c", "4", 5);
    done(&f);
}

/* Lengths around the sizes at which inih cuts, at our own pieces, and at our limit. */
static void long_lines_arrive_whole(void **unused)
{
    static const size_t lengths[] = { 1,   48,  49,  50,   190,  193,   194,
                                      195, 196, 197, 198,  199,  200,   201,
                                      389, 390, 391, 1000, 4096, 60000, INI_LINE_MAX - 4 };

    (void)unused;
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        size_t len = lengths[i];
        struct buf text;
        buf_init(&text, INI_FILE_MAX);
        buf_puts(&text, "[s]\nk = ");
        for (size_t n = 0; n < len; n++) /* blanks, signs and comment marks at every border */
            buf_putc(&text, n == 0 || n + 1 == len ? 'x' : "ab =:[];\\"[(n * 7 + n / 9) % 9]);
        /* No blank before ';' here, that would be a comment. */
        for (char *at = text.data; (at = strstr(at, " ;"));)
            at[0] = 'q';
        char *value = strdup(text.data + 8);
        buf_puts(&text, "\nuser = root\n");

        struct fixture f = parse(text.data);
        assert_int_equal(f.rc, 0);
        assert_int_equal(f.ini.count, 3);
        expect_entry(&f, 1, "s", "k", value, 2);
        expect_entry(&f, 2, "s", "user", "root", 3);
        done(&f);
        free(value);
        buf_done(&text);
    }
}

static void protected_comment_marks_survive_every_border(void **unused)
{
    (void)unused;
    for (size_t before = 180; before < 210; before++) {
        char text[512];
        int head = snprintf(text, sizeof(text), "[s]\nk = \"");
        memset(text + head, 'a', before);
        strcpy(text + head + before, "  ;  #  \" ; gone\n");
        struct fixture f = parse(text);
        assert_int_equal(f.rc, 0);
        const char *value = f.ini.entries[1].value;
        assert_int_equal(strlen(value), before + 10);
        assert_string_equal(value + 1 + before, "  ;  #  \"");
        done(&f);
    }
}

static void a_line_beyond_the_limit_is_an_error_and_nothing_else(void **unused)
{
    (void)unused;
    char *text = malloc(INI_LINE_MAX + 200);
    assert_non_null(text);
    size_t head = (size_t)sprintf(text, "[s]\na = 1\nk = ");
    memset(text + head, ' ', INI_LINE_MAX);
    strcpy(text + head + INI_LINE_MAX, "user = root\n  more\nb = 2\n");

    struct fixture f = parse(text);
    assert_int_equal(f.rc, ERR_INVALID);
    assert_int_equal(f.errors.total, 1);
    assert_string_equal(f.errors.lines[0], "x.ini:3: the line is longer than 65536 bytes");
    assert_int_equal(f.ini.count, 3);
    expect_entry(&f, 1, "s", "a", "1", 2);
    expect_entry(&f, 2, "s", "b", "2", 5);
    done(&f);
    free(text);
}

static void names_may_be_long_but_not_too_long(void **unused)
{
    char name[INI_NAME_MAX + 2], text[2 * sizeof(name) + 32], message[128];

    (void)unused;
    memset(name, 'n', sizeof(name));
    name[INI_NAME_MAX] = '\0';
    snprintf(text, sizeof(text), "[%s]\n%s = 1\n  2\n", name, name);
    struct fixture f = parse(text);
    assert_int_equal(f.rc, 0);
    expect_entry(&f, 0, name, NULL, "", 1);
    expect_entry(&f, 1, name, name, "1\n2", 2);
    done(&f);

    name[INI_NAME_MAX] = 'n';
    name[INI_NAME_MAX + 1] = '\0';
    snprintf(text, sizeof(text), "[s]\n%s = 1\n  2\nb = 3\n", name);
    snprintf(message, sizeof(message), "x.ini:2: the name of a key is longer than %d bytes",
             INI_NAME_MAX);
    expect_errors(text, 1, message);
    snprintf(text, sizeof(text), "[%s]\nb = 3\n", name);
    snprintf(message, sizeof(message), "x.ini:1: the name of a section is longer than %d bytes",
             INI_NAME_MAX);
    expect_errors(text, 1, message);
}

static void a_nul_byte_is_an_error(void **unused)
{
    static const char text[] = "[s]\na = 1\0 2\n  3\nb = 2\n";

    (void)unused;
    struct fixture f = parse_bytes(text, sizeof(text) - 1);
    assert_int_equal(f.rc, ERR_INVALID);
    assert_int_equal(f.errors.total, 1);
    assert_string_equal(f.errors.lines[0], "x.ini:2: the line contains a NUL byte");
    assert_int_equal(f.ini.count, 2);
    expect_entry(&f, 1, "s", "b", "2", 4);
    done(&f);
}

static void every_kind_of_error_is_told(void **unused)
{
    (void)unused;
    expect_errors("a = 1\n", 1, "x.ini:1: a key before the first [section]");
    expect_errors("[s\na = 1\n", 1, "x.ini:1: a section header without ]");
    expect_errors("[s] x\n", 1, "x.ini:1: unexpected text after the ] of a section header");
    expect_errors("[s]]\n", 1, "x.ini:1: unexpected text after the ] of a section header");
    expect_errors("[ ]\n", 1, "x.ini:1: a section without a name");
    expect_errors("[\"s\"]\n", 1, "x.ini:1: the name of a section may not contain \"");
    expect_errors("[a\001b]\n", 1, "x.ini:1: the name of a section contains a control character");
    expect_errors("[s]\n = 1\n", 1, "x.ini:2: a key without a name");
    expect_errors("[s]\nno\033sign\n", 1,
                  "x.ini:2: \"no?sign\" is neither KEY = VALUE nor [SECTION]");
    expect_errors("[s]\na'b = 1\n", 1, "x.ini:2: the name of a key may not contain '");
}

static void all_errors_are_told_and_the_rest_is_read(void **unused)
{
    (void)unused;
    struct fixture f = parse("x = 1\n"
                             "[good]\n"
                             "a = 1\n"
                             "nonsense\n"
                             "   that goes on\n"
                             "b = 2\n"
                             "[bad\n"
                             "c = 3\n"
                             "d = 4\n"
                             "[last]\n"
                             "= 5\n"
                             "e = 6\n");

    assert_int_equal(f.rc, ERR_INVALID);
    assert_int_equal(f.errors.total, 4);
    assert_string_equal(f.errors.lines[0], "x.ini:1: a key before the first [section]");
    assert_string_equal(f.errors.lines[1],
                        "x.ini:4: \"nonsense\" is neither KEY = VALUE nor [SECTION]");
    assert_string_equal(f.errors.lines[2], "x.ini:7: a section header without ]");
    assert_string_equal(f.errors.lines[3], "x.ini:11: a key without a name");
    assert_int_equal(f.ini.count, 5);
    expect_entry(&f, 2, "good", "b", "2", 6);
    expect_entry(&f, 3, "last", NULL, "", 10);
    expect_entry(&f, 4, "last", "e", "6", 12);
    done(&f);
}

static void keys_given_twice_are_both_there(void **unused)
{
    (void)unused;
    struct fixture f = parse("[s]\na = 1\na = 2\n[s]\na = 3\n");

    assert_int_equal(f.rc, 0);
    assert_int_equal(f.ini.count, 5);
    expect_entry(&f, 1, "s", "a", "1", 2);
    expect_entry(&f, 2, "s", "a", "2", 3);
    expect_entry(&f, 4, "s", "a", "3", 5);
    done(&f);
}

static void a_file_beyond_the_limit_is_refused(void **unused)
{
    (void)unused;
    char *text = malloc(INI_FILE_MAX + 1);
    assert_non_null(text);
    memset(text, '\n', INI_FILE_MAX + 1);
    struct fixture f = parse_bytes(text, INI_FILE_MAX + 1);
    assert_int_equal(f.rc, ERR_INVALID);
    assert_string_equal(f.errors.lines[0], "x.ini: the file is larger than 4194304 bytes");
    done(&f);
    f = parse_bytes(text, INI_FILE_MAX);
    assert_int_equal(f.rc, 0);
    done(&f);
    free(text);
}

static void a_quote_ends_with_its_value(void **unused)
{
    (void)unused;
    struct fixture f = parse("[s]\na = don't ; kept\nb = 1 ; gone\n[t] ; gone\nc = 2 ; gone\n");

    assert_int_equal(f.rc, 0);
    expect_entry(&f, 1, "s", "a", "don't ; kept", 2);
    expect_entry(&f, 2, "s", "b", "1", 3);
    expect_entry(&f, 4, "t", "c", "2", 5);
    done(&f);
}

static void a_thousand_errors_are_counted(void **unused)
{
    (void)unused;
    struct buf text;
    buf_init(&text, INI_FILE_MAX);
    for (int i = 0; i < 1000; i++)
        buf_puts(&text, "nonsense\n");
    struct fixture f = parse(text.data);
    assert_int_equal(f.errors.total, 1000);
    assert_int_equal(f.errors.count, ERR_LIST_MAX);
    done(&f);
    buf_done(&text);
}

/* The library could be built or set otherwise; a cut must then be an error, never a loss. */
static void an_inih_that_cuts_is_noticed(void **unused)
{
    (void)unused;
    int saved = ini_max_line;
    ini_max_line = 20;
    struct fixture f = parse("[s]\na = 1\n");
    ini_max_line = saved;
    assert_int_equal(f.rc, ERR_INVALID);
    assert_int_equal(f.errors.total, 1);
    done(&f);

    ini_allow_multiline = false;
    f = parse("[s]\na = 1\n");
    ini_allow_multiline = true;
    assert_int_equal(f.rc, ERR_INVALID);
    done(&f);

    /* Dropped without a word: only counting tells. */
    char *prefixes = ini_start_comment_prefixes;
    ini_start_comment_prefixes = (char *)"P";
    f = parse("[s]\na = 1\n");
    ini_start_comment_prefixes = prefixes;
    assert_int_equal(f.rc, ERR_INVALID);
    done(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sections_and_keys_have_their_lines),
        cmocka_unit_test(nothing_is_nothing),
        cmocka_unit_test(comments_stop_outside_quotes_only),
        cmocka_unit_test(bom_crlf_and_tabs_are_accepted),
        cmocka_unit_test(the_last_line_needs_no_newline),
        cmocka_unit_test(deeper_lines_continue_the_value),
        cmocka_unit_test(an_indented_section_is_no_value),
        cmocka_unit_test(keys_that_are_indented_alike_are_keys),
        cmocka_unit_test(long_lines_arrive_whole),
        cmocka_unit_test(protected_comment_marks_survive_every_border),
        cmocka_unit_test(a_line_beyond_the_limit_is_an_error_and_nothing_else),
        cmocka_unit_test(names_may_be_long_but_not_too_long),
        cmocka_unit_test(a_nul_byte_is_an_error),
        cmocka_unit_test(every_kind_of_error_is_told),
        cmocka_unit_test(all_errors_are_told_and_the_rest_is_read),
        cmocka_unit_test(keys_given_twice_are_both_there),
        cmocka_unit_test(a_file_beyond_the_limit_is_refused),
        cmocka_unit_test(a_quote_ends_with_its_value),
        cmocka_unit_test(a_thousand_errors_are_counted),
        cmocka_unit_test(an_inih_that_cuts_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
