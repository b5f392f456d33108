/* test_accounts.c - users and groups from files, and the same answers as the C library's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/accounts.h"

static char folder[] = "/tmp/test-accounts-XXXXXX";
static char passwd[64], group[64];

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int set_up(void **unused)
{
    (void)unused;
    if (!mkdtemp(folder))
        return -1;
    snprintf(passwd, sizeof passwd, "%s/passwd", folder);
    snprintf(group, sizeof group, "%s/group", folder);
    write_file(passwd, "root:x:0:0:root:/root:/bin/bash\n"
                       "+web::::::\n"
                       "# nobody knows why\n"
                       "web:x:33:34:web,,,:/srv/web:/bin/sh\n"
                       "twin:x:33:35::/:/bin/sh\n");
    write_file(group, "root:x:0:\nweb:x:34:\nlogs:x:50:other,web\nfiles:x:51:web\nadm:x:4:other\n");
    return 0;
}

static int tear_down(void **unused)
{
    (void)unused;
    unlink(passwd);
    unlink(group);
    return rmdir(folder);
}

static void users_by_name_and_number(void **unused)
{
    struct passwd pw, *found;
    char space[1024], small[8];

    (void)unused;
    assert_int_equal(accounts_file_user(passwd, "web", 0, &pw, space, sizeof space, &found), 0);
    assert_non_null(found);
    assert_int_equal(found->pw_uid, 33);
    assert_int_equal(found->pw_gid, 34);
    assert_string_equal(found->pw_dir, "/srv/web");
    assert_int_equal(accounts_file_user(passwd, NULL, 33, &pw, space, sizeof space, &found), 0);
    assert_string_equal(found->pw_name, "web"); /* the first one */
    assert_int_equal(accounts_file_user(passwd, "we", 0, &pw, space, sizeof space, &found), 0);
    assert_null(found);
    assert_int_equal(accounts_file_user(passwd, "+web", 0, &pw, space, sizeof space, &found), 0);
    assert_null(found);
    assert_int_equal(accounts_file_user(passwd, "web", 0, &pw, small, sizeof small, &found),
                     ERANGE);
    assert_int_equal(accounts_file_user("/nowhere/x", "a", 0, &pw, space, sizeof space, &found),
                     ENOENT);
    assert_null(found);
}

static void groups_and_their_members(void **unused)
{
    struct group gr, *found;
    char space[1024];
    gid_t list[8];
    int count = 8;

    (void)unused;
    assert_int_equal(accounts_file_group(group, "logs", &gr, space, sizeof space, &found), 0);
    assert_int_equal(found->gr_gid, 50);
    assert_int_equal(accounts_file_group(group, "log", &gr, space, sizeof space, &found), 0);
    assert_null(found);
    assert_int_equal(accounts_file_groups(group, "web", 34, list, &count), 3);
    assert_int_equal(list[0], 34);
    assert_int_equal(list[1], 50);
    assert_int_equal(list[2], 51);
    count = 2;
    assert_int_equal(accounts_file_groups(group, "web", 34, list, &count), -1);
    assert_int_equal(count, 3);
    count = 8;
    assert_int_equal(accounts_file_groups(group, "web", 50, list, &count), 2); /* once */
}

/* A group of more members than a first buffer holds. */
static void a_long_line(void **unused)
{
    char *text = calloc(1, 200000);
    size_t len = (size_t)snprintf(text, 64, "many:x:7:");
    gid_t list[8];
    int count = 8;

    (void)unused;
    for (int i = 0; i < 20000; i++)
        len += (size_t)snprintf(text + len, 16, "u%d,", i);
    snprintf(text + len, 16, "last\n");
    write_file(group, text);
    free(text);
    assert_int_equal(accounts_file_groups(group, "last", 1, list, &count), 2);
    assert_int_equal(list[1], 7);
}

static void root_is_found(void **unused)
{
    struct passwd pw, *found;
    struct group gr, *its;
    char space[4096];
    gid_t list[64];
    int count = 64;

    (void)unused;
    assert_int_equal(accounts_user("root", 0, &pw, space, sizeof space, &found), 0);
    assert_int_equal(found->pw_uid, 0);
    assert_int_equal(accounts_user(NULL, 0, &pw, space, sizeof space, &found), 0);
    assert_string_equal(found->pw_name, "root");
    assert_int_equal(accounts_group("root", &gr, space, sizeof space, &its), 0);
    assert_int_equal(its->gr_gid, 0);
    assert_true(accounts_groups("root", 0, list, &count) >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(users_by_name_and_number),
        cmocka_unit_test(groups_and_their_members),
        cmocka_unit_test(a_long_line),
        cmocka_unit_test(root_is_found),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
