#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <setjmp.h>
#include <cmocka.h>

#include "supervisor/guardian/early.h"
#include "supervisor/guardian/leave.h"
#include "supervisor/guardian/leave_mounts.h"
#include "supervisor/guardian/orders.h"

static void signals_mean_what_the_contract_says(void **state)
{
    (void)state;
    const struct {
        int signum;
        enum leave_how how;
    } table[] = {
        { SIGTERM, LEAVE_REBOOT },  { SIGINT, LEAVE_REBOOT },     { SIGRTMIN + 5, LEAVE_REBOOT },
        { SIGPWR, LEAVE_POWEROFF }, { SIGUSR2, LEAVE_POWEROFF },  { SIGRTMIN + 4, LEAVE_POWEROFF },
        { SIGUSR1, LEAVE_HALT },    { SIGRTMIN + 3, LEAVE_HALT },
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        assert_int_equal(leave_how_of(table[i].signum), table[i].how);
        assert_int_equal(orders_of(table[i].signum), ORDERS_SHUTDOWN);
    }
    assert_int_equal(leave_how_of(0), LEAVE_POWEROFF); /* a service with on_exit = shutdown */
    for (int how = 0; how < LEAVE_NHOWS; how++)
        assert_int_equal(leave_how_of(leave_signal((enum leave_how)how)), how);
}

static void each_file_system_has_its_end(void **state)
{
    (void)state;
    const struct {
        const char *line, *path;
        enum leave_act act;
        bool read_only;
    } table[] = {
        /* clang-format off */
        { "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw", "/", LEAVE_READ_ONLY, false },
        { "22 1 254:0 / / ro,relatime - ext4 /dev/vda1 ro,errors=continue", "/", LEAVE_READ_ONLY,
          true },
        /* only this place of it is read-only, what lies below is not */
        { "40 22 8:1 / /srv ro - xfs /dev/sda1 rw,attr2", "/srv", LEAVE_UNMOUNT, false },
        { "41 22 8:2 / /a\\040b\\134c rw shared:2 master:1 - ext4 /dev/sda2 rw\n", "/a b\\c",
          LEAVE_UNMOUNT, false },
        { "1 1 0:2 / / rw - rootfs none rw", "/", LEAVE_KEEP, false },
        { "23 22 0:20 / /proc rw - proc proc rw", "/proc", LEAVE_KEEP, false },
        { "24 22 0:21 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw", "/sys/fs/cgroup", LEAVE_KEEP,
          false },
        { "25 22 0:22 / /run rw - tmpfs tmpfs rw", "/run", LEAVE_KEEP, false },
        { "26 22 0:22 / /dev/shm rw - tmpfs tmpfs rw", "/dev/shm", LEAVE_KEEP, false },
        { "27 22 0:23 / /runs rw - tmpfs tmpfs rw", "/runs", LEAVE_UNMOUNT, false },
        { "28 22 0:24 / /tmp rw - tmpfs tmpfs rw", "/tmp", LEAVE_UNMOUNT, false },
        { "29 25 8:3 / /run/media/usb rw - vfat /dev/sda3 rw", "/run/media/usb", LEAVE_UNMOUNT,
          false },
        { "30 22 0:40 / /home rw - nfs4 server:/home rw", "/home", LEAVE_FORCE, false },
        { "31 22 0:41 / /mnt rw - fuse.sshfs host:/ rw", "/mnt", LEAVE_FORCE, false },
        { "32 22 0:42 / / rw - overlay overlay rw,lowerdir=/ro", "/", LEAVE_READ_ONLY, false },
        /* "ro" inside another word */
        { "33 22 8:4 / /x rw - ext4 /dev/sda4 rw,errors=remount-ro", "/x", LEAVE_UNMOUNT, false },
        /* clang-format on */
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char line[200];
        struct leave_mount found;
        snprintf(line, sizeof line, "%s", table[i].line);
        assert_true(leave_mount_parse(line, &found));
        assert_string_equal(found.path, table[i].path);
        assert_int_equal(found.act, table[i].act);
        assert_int_equal(found.read_only, table[i].read_only);
    }
}

static void what_is_no_line_is_left_alone(void **state)
{
    (void)state;
    const char *const lines[] = { "",
                                  "\n",
                                  "22",
                                  "22 1 254:0 / /",
                                  "22 1 254:0 / / rw shared:1",
                                  "22 1 254:0 / / rw -",
                                  "22 1 254:0 / / rw - ext4",
                                  "22 1 254:0 / / rw - ext4 /dev/vda1" };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char line[100];
        struct leave_mount found;
        snprintf(line, sizeof line, "%s", lines[i]);
        assert_false(leave_mount_parse(line, &found));
    }
}

static void early_mounts_come_after_what_they_lie_on(void **state)
{
    (void)state;
    for (size_t i = 0; i < early_nmounts; i++) {
        assert_int_equal(early_mounts[i].path[0], '/');
        for (size_t j = i + 1; j < early_nmounts; j++) {
            size_t len = strlen(early_mounts[j].path);
            assert_string_not_equal(early_mounts[i].path, early_mounts[j].path);
            assert_false(strncmp(early_mounts[i].path, early_mounts[j].path, len) == 0 &&
                         early_mounts[i].path[len] == '/');
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signals_mean_what_the_contract_says),
        cmocka_unit_test(each_file_system_has_its_end),
        cmocka_unit_test(what_is_no_line_is_left_alone),
        cmocka_unit_test(early_mounts_come_after_what_they_lie_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
