/* test_users.c - names, numbers and who may become whom. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor/host/users.h"

static struct arena arena;
static struct err err;

static int setup(void **unused)
{
    (void)unused;
    arena_init(&arena);
    memset(&err, 0, sizeof err);
    return 0;
}

static int teardown(void **unused)
{
    (void)unused;
    arena_done(&arena);
    return 0;
}

static bool has(const struct users_identity *who, gid_t gid)
{
    for (size_t i = 0; i < who->ngroups; i++)
        if (who->groups[i] == gid)
            return true;
    return false;
}

static void nothing_asked_changes_nothing(void **unused)
{
    struct users_identity who;

    (void)unused;
    assert_int_equal(users_find(NULL, NULL, &arena, &who, &err), 0);
    assert_false(who.set);
    assert_null(who.environment);
    assert_int_equal(who.uid, geteuid());
}

static void a_name_brings_all(void **unused)
{
    struct users_identity who;
    const struct passwd *pw = getpwnam("daemon");

    (void)unused;
    if (geteuid() != 0 || !pw)
        skip();
    uid_t uid = pw->pw_uid;
    gid_t gid = pw->pw_gid;
    assert_int_equal(users_find("daemon", NULL, &arena, &who, &err), 0);
    assert_true(who.set);
    assert_int_equal(who.uid, uid);
    assert_int_equal(who.gid, gid);
    assert_true(has(&who, gid));
    assert_string_equal(who.environment[1], "USER=daemon");
    assert_string_equal(who.environment[2], "LOGNAME=daemon");
    assert_memory_equal(who.environment[0], "HOME=/", 6);
    assert_memory_equal(who.environment[3], "SHELL=/", 7);
    assert_null(who.environment[4]);
    assert_int_equal(users_find("daemon", "4242", &arena, &who, &err), 0);
    assert_int_equal(who.gid, 4242);
    assert_true(has(&who, 4242));
}

static void a_bare_number_gets_no_group_of_root(void **unused)
{
    struct users_identity who;

    (void)unused;
    if (geteuid() != 0)
        skip();
    assert_int_equal(users_find("54321", NULL, &arena, &who, &err), 0);
    assert_true(who.set);
    assert_int_equal(who.uid, 54321);
    assert_int_equal(who.gid, 54321);
    assert_null(who.environment);
    assert_int_equal(who.ngroups, 1);
    assert_int_equal(who.groups[0], 54321);
    assert_int_equal(users_find("54321", "0", &arena, &who, &err), 0);
    assert_int_equal(who.gid, 0);
    /* A number that has an entry is that user. */
    assert_int_equal(users_find("0", NULL, &arena, &who, &err), 0);
    assert_string_equal(who.environment[1], "USER=root");
}

static void only_root_takes_a_group_alone(void **unused)
{
    struct users_identity who;

    (void)unused;
    if (geteuid() != 0)
        skip();
    assert_int_equal(users_find(NULL, "4242", &arena, &who, &err), 0);
    assert_true(who.set);
    assert_int_equal(who.uid, 0);
    assert_int_equal(who.gid, 4242);
    assert_int_equal(who.ngroups, 1);
    assert_null(who.environment);
}

static void unknown_names_suggest(void **unused)
{
    struct users_identity who;
    gid_t gid = 77;

    (void)unused;
    assert_int_equal(users_find("deamon", NULL, &arena, &who, &err), ERR_NOT_FOUND);
    assert_string_equal(err.text,
                        "there is no user \"deamon\" on this host, did you mean \"daemon\"?");
    assert_int_equal(users_find("zzqqxxyy", NULL, &arena, &who, &err), ERR_NOT_FOUND);
    assert_null(strstr(err.text, "did you mean"));
    assert_int_equal(users_group("deamon", &gid, &err), ERR_NOT_FOUND);
    assert_string_equal(err.text,
                        "there is no group \"deamon\" on this host, did you mean \"daemon\"?");
    assert_int_equal(gid, 77);
    assert_int_equal(users_find("", NULL, &arena, &who, &err), ERR_NOT_FOUND);
}

static void the_id_that_means_unchanged_is_refused(void **unused)
{
    struct users_identity who;
    gid_t gid;

    (void)unused;
    assert_int_equal(users_find("4294967295", NULL, &arena, &who, &err), ERR_INVALID);
    assert_int_equal(users_find("99999999999999999999", NULL, &arena, &who, &err), ERR_INVALID);
    assert_int_equal(users_group("4294967295", &gid, &err), ERR_INVALID);
    assert_int_equal(users_group("4294967294", &gid, &err), 0);
}

static void owners(void **unused)
{
    uid_t uid = 1;
    gid_t gid = 1;

    (void)unused;
    assert_int_equal(users_owner("root:4242", &uid, &gid, &err), 0);
    assert_true(uid == 0 && gid == 4242);
    assert_int_equal(users_owner("root", &uid, &gid, &err), 0);
    assert_true(uid == 0 && gid == 0);
    assert_int_equal(users_owner("500:root", &uid, &gid, &err), 0);
    assert_true(uid == 500 && gid == 0);
    assert_int_equal(users_owner(":4242", &uid, &gid, &err), 0);
    assert_true(uid == (uid_t)-1 && gid == 4242);
    assert_int_equal(users_owner("root:", &uid, &gid, &err), ERR_INVALID);
    assert_int_equal(users_owner("", &uid, &gid, &err), ERR_INVALID);
    assert_int_equal(users_owner("rot:root", &uid, &gid, &err), ERR_NOT_FOUND);
}

/* What a supervisor that is not root may ask for, as exit code: the number of the failed fact. */
static int ask_as_stranger(void)
{
    struct users_identity who;

    if (setgroups(0, NULL) != 0 || setgid(54321) != 0 || setuid(54321) != 0)
        return 1;
    if (users_find("root", NULL, &arena, &who, &err) != ERR_DENIED || !strstr(err.text, "54321"))
        return 2;
    if (users_find(NULL, "54321", &arena, &who, &err) != ERR_DENIED)
        return 3;
    if (users_find("54321", "root", &arena, &who, &err) != ERR_DENIED)
        return 4;
    if (users_find("54321", NULL, &arena, &who, &err) != 0 || who.set || who.uid != 54321)
        return 5;
    if (users_find("54321", "54321", &arena, &who, &err) != 0 || who.set)
        return 6;
    return 0;
}

static void others_are_denied_without_root(void **unused)
{
    int status;

    (void)unused;
    if (geteuid() != 0)
        skip();
    pid_t pid = fork();
    if (pid == 0)
        _exit(ask_as_stranger());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void who_we_are_needs_no_change(void **unused)
{
    struct users_identity who;
    char uid[16], gid[16];
    gid_t groups[64];
    int count = getgroups(64, groups);

    (void)unused;
    snprintf(uid, sizeof uid, "%u", (unsigned)geteuid());
    snprintf(gid, sizeof gid, "%u", (unsigned)getegid());
    assert_int_equal(users_find(uid, gid, &arena, &who, &err), 0);
    assert_int_equal(who.uid, geteuid());
    if (count <= 1 && who.ngroups <= 1)
        assert_false(who.set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_asked_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_name_brings_all, setup, teardown),
        cmocka_unit_test_setup_teardown(a_bare_number_gets_no_group_of_root, setup, teardown),
        cmocka_unit_test_setup_teardown(only_root_takes_a_group_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(unknown_names_suggest, setup, teardown),
        cmocka_unit_test_setup_teardown(the_id_that_means_unchanged_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(owners, setup, teardown),
        cmocka_unit_test_setup_teardown(others_are_denied_without_root, setup, teardown),
        cmocka_unit_test_setup_teardown(who_we_are_needs_no_change, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
