/* test_cgroup_path.c - where control groups are, from what /proc says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "supervisor/host/cgroup_path.h"

static void test_mounts(void **unused)
{
    static const char text[] =
        "23 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"
        "31 23 0:28 / /sys/fs/cgroup rw shared:9 - tmpfs tmpfs rw\n"
        "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
        "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:5 master:6 - cgroup2 cgroup2 rw\n"
        "42 31 0:38 /a\\040b/c\\134d /mnt/x\\011y ro - cgroup2 none rw\n"
        "43 31 0:38 /short - cgroup2 \n"
        "44 31 0:38 / /not/that rw - cgroup2fake none rw";
    struct cgroup_mount mount;
    const char *at = text;

    (void)unused;
    assert_true(cgroup_path_mount(&at, &mount));
    assert_string_equal(mount.root, "/");
    assert_string_equal(mount.point, "/sys/fs/cgroup/unified");
    assert_true(cgroup_path_mount(&at, &mount));
    assert_string_equal(mount.root, "/a b/c\\d");
    assert_string_equal(mount.point, "/mnt/x\ty");
    while (cgroup_path_mount(&at, &mount))
        assert_string_not_equal(mount.point, "/not/that");
}

static void test_own(void **unused)
{
    char own[64];

    (void)unused;
    assert_true(cgroup_path_own("9:cpu:/x\n0::/system.slice/a b.service\n", own, sizeof own));
    assert_string_equal(own, "/system.slice/a b.service");
    assert_true(cgroup_path_own("0::/", own, sizeof own));
    assert_string_equal(own, "/");
    assert_false(cgroup_path_own("9:cpu:/x\n10::/y\n", own, sizeof own));
    assert_false(cgroup_path_own("0::/gone (deleted)\n", own, sizeof own));
    assert_false(cgroup_path_own("", own, sizeof own));
    assert_false(
        cgroup_path_own("0::/longer than what there is room for, by far, by very far\n", own, 16));
}

static void expect_join(const char *root, const char *own, const char *expected)
{
    struct cgroup_mount mount = { .point = "/sys/fs/cgroup" };
    char dir[64];

    snprintf(mount.root, sizeof mount.root, "%s", root);
    bool ok = cgroup_path_join(&mount, own, dir, sizeof dir);
    assert_int_equal(ok, expected != NULL);
    if (expected)
        assert_string_equal(dir, expected);
}

static void test_join(void **unused)
{
    (void)unused;
    expect_join("/", "/", "/sys/fs/cgroup");
    expect_join("/", "/a/b", "/sys/fs/cgroup/a/b");
    expect_join("/docker/1", "/docker/1", "/sys/fs/cgroup");
    expect_join("/docker/1", "/docker/1/x", "/sys/fs/cgroup/x");
    expect_join("/docker/1", "/docker/12", NULL);
    expect_join("/docker/1", "/", NULL);
    expect_join("/", "/../other", NULL); /* outside of our namespace */
}

static void test_names(void **unused)
{
    char name[CGROUP_NAME_MAX], longest[200];

    (void)unused;
    assert_true(cgroup_path_name("web-1_x.y:0", 1, name, sizeof name));
    assert_string_equal(name, "web-1_x.y:0");
    assert_true(cgroup_path_name("web:0", 2, name, sizeof name));
    assert_string_equal(name, "web:0~2");
    assert_true(cgroup_path_name("../a b/\n%\xc3\xa4:0", 1, name, sizeof name));
    assert_string_equal(name, "%2E.%2Fa%20b%2F%0A%25%C3%A4:0");
    memset(longest, ' ', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_false(cgroup_path_name(longest, 1, name, sizeof name));
    assert_false(cgroup_path_name("", 1, name, sizeof name));
}

static void test_inside(void **unused)
{
    char name[32];

    (void)unused;
    assert_true(cgroup_path_inside("/a/supervisor.12/web:0", "supervisor.12", name, sizeof name));
    assert_string_equal(name, "web:0");
    assert_true(cgroup_path_inside("/supervisor.12/web:0/x/y", "supervisor.12", name, sizeof name));
    assert_string_equal(name, "web:0");
    assert_false(cgroup_path_inside("/supervisor.123/web:0", "supervisor.12", name, sizeof name));
    assert_false(cgroup_path_inside("/xsupervisor.12/web:0", "supervisor.12", name, sizeof name));
    assert_false(cgroup_path_inside("/supervisor.12", "supervisor.12", name, sizeof name));
    assert_false(cgroup_path_inside("/supervisor.12/", "supervisor.12", name, sizeof name));
    assert_false(cgroup_path_inside("/x/web:0", "", name, sizeof name));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mounts), cmocka_unit_test(test_own),    cmocka_unit_test(test_join),
        cmocka_unit_test(test_names),  cmocka_unit_test(test_inside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
