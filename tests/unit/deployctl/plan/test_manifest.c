/* test_manifest.c - both forms round-trip, and every trick with names is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deployctl/plan/manifest.h"

#define HASH        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
#define HASH_PREFIX "9f86d081884c7d65"

static const char good_text[] = "d 755 empty\n"
                                "f 444 4 " HASH " index.html\n"
                                "l 10 lib/link\\012x index.html\n"
                                "f 555 4 " HASH " lib-x\n"
                                "f 444 0 " HASH " lib/\\134back\n"
                                "l 13 lib/up ../index.html\n";

static void both_forms_round_trip(void **unused)
{
    (void)unused;
    static const char sorted[] = "d 755 empty\n"
                                 "f 444 4 " HASH " index.html\n"
                                 "f 555 4 " HASH " lib-x\n"
                                 "f 444 0 " HASH " lib/\\134back\n"
                                 "l 10 lib/link\\012x index.html\n"
                                 "l 13 lib/up ../index.html\n";
    struct manifest m, again;
    struct err err;
    struct buf full, brief;
    buf_init(&full, 1 << 20);
    buf_init(&brief, 1 << 20);
    assert_int_equal(manifest_parse(sorted, strlen(sorted), false, &m, &err), 0);
    assert_int_equal(m.count, 6);
    assert_int_equal(m.bytes, 8);
    assert_string_equal(m.entries[4].path, "lib/link\nx");
    assert_string_equal(m.entries[4].target, "index.html");
    assert_true(manifest_write(&m, false, &full));
    assert_string_equal(buf_text(&full), sorted);
    assert_true(manifest_write(&m, true, &brief));
    assert_non_null(strstr(buf_text(&brief), "f 444 4 " HASH_PREFIX " index.html\n"));
    assert_int_equal(manifest_parse(buf_text(&brief), brief.len, true, &again, &err), 0);
    assert_true(again.entries[1].short_digest);
    buf_clear(&full);
    assert_false(manifest_write(&again, false, &full)); /* half a digest is no digest */
    manifest_done(&again);
    manifest_done(&m);
    buf_done(&full);
    buf_done(&brief);
    /* The same entries out of order are another text, which is refused. */
    assert_int_equal(manifest_parse(good_text, strlen(good_text), false, &m, &err), ERR_INVALID);
    assert_non_null(strstr(err.text, "line 4"));
}

static void refused(const char *text, const char *because)
{
    struct manifest m;
    struct err err = { 0 };
    int rc = manifest_parse(text, strlen(text), false, &m, &err);
    if (rc == 0 || strstr(err.text, because) == NULL) {
        print_error("%s-> %d \"%s\", wanted \"%s\"\n", text, rc, err.text, because);
        fail();
    }
}

static void path_tricks_are_refused(void **unused)
{
    (void)unused;
    static const char *const paths[] = { "/etc/passwd", "../x",  "a/../b", "a/..", "..",
                                         ".",           "./a",   "a/.",    "a//b", "a/",
                                         "//",          "a/./b", "",       "/",    "a/../../b" };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct err err;
        assert_int_equal(manifest_check_path(paths[i], &err), ERR_INVALID);
        char text[256];
        snprintf(text, sizeof text, "f 444 1 " HASH " %s\n", paths[i]);
        refused(text, "line 1");
        snprintf(text, sizeof text, "d 755 %s\n", paths[i]);
        refused(text, "line 1");
    }
    static const char *const fine[] = { "a", "...", "..a", "a..", "a/.b/c..", "-rf", " ", "a b" };
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++)
        assert_int_equal(manifest_check_path(fine[i], NULL), 0);
}

static void long_and_deep_names_are_refused(void **unused)
{
    (void)unused;
    struct err err;
    char name[6000];
    memset(name, 'a', sizeof name);
    name[256] = '\0';
    assert_int_equal(manifest_check_path(name, &err), ERR_INVALID);
    name[255] = '\0';
    assert_int_equal(manifest_check_path(name, &err), 0);
    for (size_t i = 0; i < sizeof name; i++)
        name[i] = i % 2 == 0 ? 'a' : '/';
    name[2 * MANIFEST_DEPTH_MAX + 1] = '\0';
    assert_int_equal(manifest_check_path(name, &err), ERR_INVALID);
    name[2 * MANIFEST_DEPTH_MAX - 1] = '\0';
    assert_int_equal(manifest_check_path(name, &err), 0);
    for (size_t i = 0; i < sizeof name; i++)
        name[i] = i % 200 == 199 ? '/' : 'a';
    name[MANIFEST_PATH_MAX + 1] = '\0';
    assert_int_equal(manifest_check_path(name, &err), ERR_INVALID);
}

static void links_stay_inside(void **unused)
{
    (void)unused;
    static const struct {
        const char *path, *target;
        bool inside;
    } rows[] = {
        /* clang-format off */
        { "a",     "b",             true },
        { "a",     "./b",           true },
        { "a/b",   "../c",          true },
        { "a/b/c", "../../d",       true },
        { "a/b",   "..",            true },
        { "a",     ".",             true },
        { "a",     "..",            false },
        { "a",     "../x",          false },
        { "a/b",   "../../x",       false },
        { "a/b",   ".././../x",     false },
        { "a/b",   "..//../x",      false },
        { "a",     "/etc/passwd",   false },
        { "a",     "/",             false },
        { "a",     "",              false },
        /* Lexically inside, but `d` may be a link to somewhere less deep. */
        { "a",     "d/e/f/../..",   false },
        { "a/b",   "../d/../../x",  false },
        /* clang-format on */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int rc = manifest_check_link(rows[i].path, rows[i].target, false, NULL);
        if ((rc == 0) != rows[i].inside) {
            print_error("%s -> %s\n", rows[i].path, rows[i].target);
            fail();
        }
    }
    assert_int_equal(manifest_check_link("a", "/etc/passwd", true, NULL), 0);
    assert_int_equal(manifest_check_link("a", "", true, NULL), ERR_INVALID);
}

static void nothing_lies_below_files_and_links(void **unused)
{
    (void)unused;
    refused("l 4 a /etc\nf 444 1 " HASH " a/passwd\n", "below");
    refused("f 444 1 " HASH " a\nf 444 1 " HASH " a/b\n", "below");
    /* '-' sorts before '/': the offender is not the neighbour. */
    refused("l 1 a b\nf 444 1 " HASH " a-b\nf 444 1 " HASH " a/b/c\n", "below");
    refused("f 444 1 " HASH " a/b\nf 444 1 " HASH " a/b/c/d\n", "below");
    struct manifest m;
    static const char folder[] = "d 755 a\nf 444 1 " HASH " a/b\n";
    assert_int_equal(manifest_parse(folder, strlen(folder), false, &m, NULL), 0);
    manifest_done(&m);
}

static void malformed_lines_are_refused(void **unused)
{
    (void)unused;
    static const char *const lines[] = {
        "x 444 1 " HASH " a\n",
        "f 444 1 " HASH "\n",
        "f 444 01 " HASH " a\n",
        "f 0444 1 " HASH " a\n",
        "f 448 1 " HASH " a\n",
        "f 444 -1 " HASH " a\n",
        "f 444 99999999999999999999 " HASH " a\n",
        "f  444 1 " HASH " a\n",
        "f 444 1 9F" HASH_PREFIX " a\n",
        "f 444 1 " HASH_PREFIX " a\n",
        "f\n",
        "\n",
        "l 3 a b\n",
        "l 0 a \n",
        "l 99 a b\n",
        "l 1 ab\n",
        "f 444 1 " HASH " a\\012\\\n",
        "f 444 1 " HASH " \\141\n",
        "f 444 1 " HASH " \\000\n",
        "f 444 1 " HASH " a\tb\n",
        "f 444 1 " HASH " \\12\n",
        "d 755 a b\n\n",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        refused(lines[i], "line");
    refused("f 4755 1 " HASH " a\n", "setuid");
    refused("f 444 1 " HASH " a", "cut off");
    refused("f 444 1 " HASH " a\nf 444 1 " HASH " a\n", "twice");
    refused("f 444 1 " HASH " b\nf 444 1 " HASH " a\n", "order");
    refused("f 444 9223372036854775807 " HASH " a\nf 444 9223372036854775807 " HASH " b\n",
            "add up");
    struct manifest m;
    static const char nul[] = "f 444 1 " HASH " a\0b\n";
    assert_int_equal(manifest_parse(nul, sizeof nul - 1, false, &m, NULL), ERR_INVALID);
    assert_int_equal(manifest_parse("", 0, false, &m, NULL), 0);
    assert_int_equal(m.count, 0);
    manifest_done(&m);
}

static void sealing_sorts_and_checks(void **unused)
{
    (void)unused;
    struct manifest m;
    struct err err;
    struct manifest_entry entries[] = {
        { .kind = MANIFEST_FILE, .mode = 0444, .size = 2, .path = "b" },
        { .kind = MANIFEST_LINK, .path = "c", .target = "b" },
        { .kind = MANIFEST_FILE, .mode = 0555, .size = 3, .path = "a" },
    };
    manifest_init(&m);
    m.entries = entries;
    m.count = 3;
    assert_int_equal(manifest_seal(&m, &err), 0);
    assert_string_equal(m.entries[0].path, "a");
    assert_int_equal(m.bytes, 5);
    m.entries[1].path = "a";
    assert_int_equal(manifest_seal(&m, &err), ERR_INVALID);
    m.entries[1].path = "../a";
    assert_int_equal(manifest_seal(&m, &err), ERR_INVALID);
    m.count = 0;
    m.entries = NULL;
    assert_int_equal(manifest_seal(&m, &err), 0);
    manifest_done(&m);
}

static void ids_have_number_and_digest(void **unused)
{
    (void)unused;
    unsigned char digest[MANIFEST_DIGEST_BYTES];
    char id[MANIFEST_ID_MAX], hex[MANIFEST_HEX_MAX];
    uint64_t number = 0;
    assert_true(manifest_unhex(HASH, digest));
    manifest_hex(digest, hex);
    assert_string_equal(hex, HASH);
    manifest_id(123, digest, id);
    assert_string_equal(id, "000123-9f86d081");
    assert_true(manifest_id_parse(id, &number));
    assert_int_equal(number, 123);
    manifest_id(UINT64_MAX, digest, id);
    assert_true(manifest_id_parse(id, &number));
    assert_true(number == UINT64_MAX);
    static const char *const bad[] = { "",
                                       "1-9f86d081",
                                       "000123",
                                       "000123-",
                                       "000123-9f86d08",
                                       "000123-9F86D081",
                                       "000123-9f86d081/..",
                                       "../000123-9f86d081",
                                       "99999999999999999999999-9f86d081",
                                       "000123-9f86d081 ",
                                       "000123-9f86d0819f86d0819f86d0819f86d081" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(manifest_id_parse(bad[i], &number));
    assert_false(manifest_unhex(HASH_PREFIX, digest));
}

static void paths_are_found_and_compared(void **unused)
{
    (void)unused;
    static const char text[] = "d 755 a\nd 755 b-1\nd 755 c\n";
    struct manifest manifest;
    manifest_init(&manifest);
    assert_int_equal(manifest_parse(text, sizeof text - 1, false, &manifest, NULL), 0);
    assert_ptr_equal(manifest_find(&manifest, "a"), &manifest.entries[0]);
    assert_ptr_equal(manifest_find(&manifest, "b-1"), &manifest.entries[1]);
    assert_ptr_equal(manifest_find(&manifest, "c"), &manifest.entries[2]);
    assert_null(manifest_find(&manifest, "b"));
    assert_null(manifest_find(&manifest, ""));
    manifest_done(&manifest);
    assert_true(manifest_alike("lib/app-1.9.jar", "lib/app-1.10.jar"));
    assert_true(manifest_alike("a1", "a1"));
    assert_true(manifest_alike("", ""));
    assert_false(manifest_alike("a1", "a")); /* a number is not nothing */
    assert_false(manifest_alike("a", "a1"));
    assert_false(manifest_alike("a1b", "a1c"));
    assert_false(manifest_alike("lib/a-1", "lib2/a-1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_forms_round_trip),
        cmocka_unit_test(path_tricks_are_refused),
        cmocka_unit_test(long_and_deep_names_are_refused),
        cmocka_unit_test(links_stay_inside),
        cmocka_unit_test(nothing_lies_below_files_and_links),
        cmocka_unit_test(malformed_lines_are_refused),
        cmocka_unit_test(sealing_sorts_and_checks),
        cmocka_unit_test(ids_have_number_and_digest),
        cmocka_unit_test(paths_are_found_and_compared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
